"""Saving an answer and reopening it: exact without a browser, and once the way a user does it."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from test_app import open_file
from test_predict import VIDEO, make_predictor

from app.asking import CHOICE, MATCH, OPEN, Asked, Question, ask_stream
from app.saving import Saved, advice, compared, is_about, reopened, session_of
from app.settings import sampling, shown_settings
from app.views import answer_html, cards_html
from clipbert.config import SamplingConfig
from clipbert.predict import Predictor
from clipbert.session_file import save_session

CHOSEN = {"num_clips": 3, "num_frames": 2, "fps": 4.0, "policy": "random"}
QUESTIONS = [Question(OPEN, "what colour?"), Question(CHOICE, "which?", ("red", "blue")), Question(MATCH, "", ("a dog", "a cat", "a car"))]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor()


def answered(predictor: Predictor, question: Question = QUESTIONS[0], **settings: Any) -> Asked:
    *_, asked = ask_stream(predictor, VIDEO, question, aggregation="max", seed=3, **(CHOSEN | settings))
    return asked


def saved_and_reopened(predictor: Predictor, asked: Asked, folder: Path, *, video: Path | None = None) -> tuple[Saved, Path | None]:
    save_session(session_of(predictor, asked, VIDEO).run(predictor, VIDEO), folder / "saved.zip", video=video)
    return reopened(folder / "saved.zip", folder)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.mode)
def test_a_reopened_answer_is_the_one_that_was_saved(predictor: Predictor, question: Question, tmp_path: Path) -> None:
    asked = answered(predictor, question)
    saved, video = saved_and_reopened(predictor, asked, tmp_path)
    found, before = saved.asked.prediction, asked.prediction
    assert video is None and saved.asked.question == question
    assert saved.asked.sampling == asked.sampling == SamplingConfig(**CHOSEN, aggregation="max", seed=3)
    assert found.answer == before.answer and torch.equal(found.clip_logits, before.clip_logits) and torch.equal(saved.asked.spans, asked.spans)
    assert torch.equal(found.scores, before.scores)
    torch.testing.assert_close(found.contribution, before.contribution, check_dtype=False)


def test_a_reopened_answer_shows_the_frames_of_the_zip_and_says_where_it_is_from(predictor: Predictor, tmp_path: Path) -> None:
    asked = answered(predictor)
    saved, _ = saved_and_reopened(predictor, asked, tmp_path)
    page = cards_html(saved.asked)
    assert page.count("data:image/jpeg") == 3 * 2 and page.count("data-seconds") == 3
    assert [(p.width, p.height) for clip in saved.asked.pictures for p in clip] == [(p.width, p.height) for clip in asked.pictures for p in clip]
    assert f"From the saved session about {VIDEO.name}" in answer_html(saved.asked) and "reused" not in answer_html(saved.asked)


def test_asked_again_a_saved_question_gives_the_same_logits(predictor: Predictor, tmp_path: Path) -> None:
    saved, video = saved_and_reopened(predictor, answered(predictor), tmp_path, video=VIDEO)
    assert video is not None and is_about(saved, video) and is_about(saved, None)
    other = make_predictor()
    again = answered(other)
    assert compared(saved, session_of(other, again, video), again.prediction).startswith("The same as in the saved session")
    elsewhere = answered(other, fps=2.0)
    assert compared(saved, session_of(other, elsewhere, video), elsewhere.prediction) == ""


def test_another_video_or_model_is_not_the_sessions(predictor: Predictor, tmp_path: Path) -> None:
    saved, _ = saved_and_reopened(predictor, answered(predictor), tmp_path)
    other = tmp_path / "other.mp4"
    other.write_bytes(VIDEO.read_bytes() + b"x")
    assert not is_about(saved, other)
    assert "other weights" in advice(saved, "another", True) and f"open {VIDEO.name}" in advice(saved, saved.session.fingerprint, False)


def test_a_partial_answer_is_not_saved(predictor: Predictor) -> None:
    first = next(ask_stream(predictor, VIDEO, QUESTIONS[0], aggregation="lse", seed=0, **CHOSEN))
    with pytest.raises(ValueError, match="the answer is of 1 of 3 clips; ask again"):
        session_of(predictor, first, VIDEO)


def test_a_zip_with_a_video_that_is_not_its_own_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_bytes(VIDEO.read_bytes() + b"x")
    with pytest.raises(ValueError, match=rf"saved\.zip is not {VIDEO.name}, which its session is about"):
        saved_and_reopened(predictor, answered(predictor), tmp_path, video=fake)
    assert not (tmp_path / VIDEO.name).exists()


def test_settings_beyond_a_slider_are_shown_as_they_are() -> None:
    wide = SamplingConfig(64, 20, 0.1, "random", "mean", 7)
    clips, frames, fps, *rest = shown_settings(wide)
    assert clips.maximum == 64 and frames.maximum == 20 and fps.minimum == 0.1
    assert sampling([clips.value, frames.value, fps.value, *rest]) == wide


def test_an_answer_is_saved_reopened_and_asked_again(page: Any, tmp_path: Path) -> None:
    video = shutil.copy(VIDEO, tmp_path / "mine.mp4")
    open_file(page, video)
    page.wait_for_selector("#answer .big", state="detached")
    page.fill("#question textarea", "what is saved?")
    page.click("#ask")
    page.wait_for_function("document.querySelector('#answer .state')?.innerText == 'after all 4 clips'")
    before = [page.inner_text(f"#answer .{part}") for part in ("big", "bars")]
    assert "why not?" in before[1]  # offered only where the video can be asked again
    page.click("#saving > button")
    files = {}
    for button in ("#save-session", "#save-report"):
        with page.expect_download() as download:
            page.click(button)
        files[button] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[button])
    assert [file.name for file in files.values()] == ["mine-session.zip", "mine-report.html"]
    assert "what is saved?" in files["#save-report"].read_text()
    assert not any(name.startswith("video/") for name in zipfile.ZipFile(files["#save-session"]).namelist())

    page.reload()
    page.wait_for_selector("#answer .big", timeout=300_000)
    page.click("#saving > button")
    reopen(page, video)  # no zip
    assert "mine.mp4 is no session zip" in page.inner_text("#saving-notice .bad") and str(tmp_path) not in page.inner_text("body")
    assert page.input_value("#question textarea") == "what is the man riding?"
    reopen(page, files["#save-session"])
    page.wait_for_function("document.querySelector('#answer .state')?.innerText == 'From the saved session about mine.mp4'")
    assert page.input_value("#question textarea") == "what is saved?" and page.locator("#clips .frame img").count() == 8
    assert [page.inner_text(f"#answer .{part}") for part in ("big", "bars")] == [text.replace(" why not?", "") for text in before]
    open_file(page, video)
    page.wait_for_function("document.querySelector('#ask-notice').innerText.includes('its video is here')")
    page.click("#ask")
    page.wait_for_function("document.querySelector('#answer .state')?.innerText.startsWith('The same as in the saved session')")


def test_a_zip_whose_video_unpacks_beyond_the_limit_of_uploads_is_refused(page: Any, predictor: Predictor, tmp_path: Path) -> None:
    save_session(session_of(predictor, answered(predictor), VIDEO).run(predictor, VIDEO), tmp_path / "bomb.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"video/{VIDEO.name}", bytes(6 << 20))
    assert (tmp_path / "bomb.zip").stat().st_size < 1 << 20
    page.click("#saving > button")
    reopen(page, tmp_path / "bomb.zip")
    assert "larger than 5 MB; open the video by itself" in page.inner_text("#saving-notice .bad")


def reopen(page: Any, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#reopen")
    chooser.value.set_files(str(path))
