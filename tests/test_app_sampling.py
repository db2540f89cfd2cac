"""The Sampling tab in a browser: the timeline by mouse and keyboard, what it saves, the train view and the draws."""

from typing import Any

import pytest


@pytest.fixture
def tab(kept: Any) -> Any:
    kept.click("#tab-sampling-button")
    kept.wait_for_selector("#timeline .clip")
    return kept


def detail(tab: Any) -> str:
    return tab.inner_text("#timeline .tl-detail")


def test_a_clicked_clip_opens_its_card_and_moves_the_player(tab: Any) -> None:
    clip = tab.locator("#timeline .tl-lane.chosen .clip").nth(3)
    clip.click()
    tab.wait_for_function("document.querySelector('#clip-card').innerText.includes('clip 4')")
    assert "clip 4 of" in detail(tab)
    tab.wait_for_function("document.querySelector('#player video').currentTime > 0")


def test_the_arrow_keys_walk_over_clips_and_enter_opens_one(tab: Any) -> None:
    tab.focus("#timeline .tl-lane.chosen .clip")
    assert tab.locator("#timeline .clip[tabindex='0']").count() == 1
    tab.keyboard.press("ArrowRight")
    assert "paper: clip 2 of" in detail(tab)
    tab.keyboard.press("End")
    last = detail(tab)
    tab.keyboard.press("ArrowRight")
    assert detail(tab) == last
    tab.keyboard.press("ArrowDown")
    assert detail(tab).startswith("official: clip")
    tab.keyboard.press("Home")
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelector('#clip-card').innerText.includes('official, clip 1')")


def test_settings_move_the_clips_without_the_model(tab: Any) -> None:
    tab.click("#settings button")
    tab.fill("#num-clips input[type=number]", "3")
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelectorAll('#timeline .tl-lane.chosen .clip').length == 3")
    assert tab.inner_text("#sampling-counts dd").strip() == "6"


def test_another_image_size_changes_the_cells_and_no_clip(tab: Any) -> None:
    before = tab.locator("#timeline .clip").count()
    for size, cells in (("224", 9), ("1000", 256)):
        tab.click("#sampling-size input")
        tab.click(f"#sampling-size [role=option]:has-text('{size}')")
        tab.wait_for_function(f"document.querySelectorAll('#sampling-counts dd')[4].innerText == '{cells}'")
    assert tab.locator("#timeline .clip").count() == before


@pytest.mark.parametrize("suffix", ["svg", "png", "csv", "gif"])
def test_the_timeline_is_saved(tab: Any, suffix: str) -> None:
    with tab.expect_download() as download:
        tab.click(f"#timeline-{suffix}")
    assert download.value.suggested_filename.endswith(f"-timeline.{suffix}")
    content = download.value.path().read_bytes()
    assert content.startswith({"svg": b"<?xml", "png": b"\x89PNG", "csv": b"policy,clip", "gif": b"GIF8"}[suffix])


def test_training_steps_are_drawn_until_stopped(tab: Any) -> None:
    tab.click("#train-view button")
    tab.click("#train-play")
    tab.wait_for_selector("#train-timeline .clip")
    tab.wait_for_function("!document.querySelector('#train-timeline .tl-name').innerText.endsWith('step 1')")
    tab.wait_for_selector("#train-histogram-plot .js-plotly-plot")
    tab.click("#train-stop")


def test_twenty_draws_of_each_size_are_compared(tab: Any) -> None:
    tab.click("#seed-variance button")
    tab.fill("#seeds-question textarea, #seeds-question input", "what colour?")
    tab.click("#seeds")
    tab.wait_for_function("document.querySelector('#seeds-said').innerText.includes('of 20 draws agree')")
    tab.wait_for_selector("#seeds-strip-plot .js-plotly-plot")


def test_a_phone_scrolls_the_lanes_and_not_the_page(tab: Any) -> None:
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait_for_function("document.documentElement.scrollWidth <= 390")
    assert tab.evaluate("(() => { const lanes = document.querySelector('#timeline .tl-scroll'); return lanes.scrollWidth > lanes.clientWidth; })()")
