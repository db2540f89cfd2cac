"""The app as a whole: it starts, answers, keeps users apart, explains errors, and talks to nobody else."""

from pathlib import Path
from typing import Any

from conftest import GOLDEN

VIDEO = GOLDEN / "video_a30.mp4"


def open_file(page: Any, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#open-file")
    chooser.value.set_files(str(path))


def test_the_first_page_shows_an_answered_example_under_the_models_name(page: Any) -> None:
    assert "random weights" in page.inner_text("#banner") and "tiny" in page.inner_text("#banner")
    assert page.input_value("#question textarea") == "what is the man riding?"
    assert page.inner_text("#answer .big b") in ("red", "green", "blue", "white")
    assert page.locator("#examples img").count() == 6


def test_a_chosen_example_brings_its_question(page: Any) -> None:
    page.locator("#examples button.thumbnail-item, #examples .thumbnail-lg").nth(1).click()
    page.wait_for_function("document.querySelector('#question textarea').value == 'what animal is it?'")


def test_an_uploaded_video_clears_the_page_and_can_be_asked(page: Any) -> None:
    open_file(page, VIDEO)
    page.wait_for_selector("#answer .big", state="detached")
    page.fill("#question textarea", "what colour?")
    page.click("#ask")
    page.wait_for_selector("#answer .big")


def test_a_file_that_is_no_video_is_refused_in_the_page_without_a_path(page: Any, tmp_path: Path) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_text("no video at all\n" * 50)
    open_file(page, fake)
    text = page.inner_text("#video-notice .bad")
    assert "fake.mp4" in text and "/" not in text.replace("https://", "")


def test_an_empty_question_is_refused_below_its_box(page: Any) -> None:
    page.fill("#question textarea", "  ")
    page.click("#ask")
    page.wait_for_function("document.querySelector('#question').innerText.includes('Write a question first.')")
