"""What if: an answer is pinned, edited and compared, by clicks; and what each step says of itself."""

from dataclasses import replace
from typing import Any

import pytest
from test_app_saving import answered
from test_predict import make_predictor

from app.asking import MATCH, OPEN, Question, ask_footage
from app.editing import MOST_VERSIONS, ORDER_FREE, Version, asked_again, followed, history_html, pinned, versus_html
from clipbert import edits
from clipbert.predict import Predictor

NUM_CLIPS = 4
STEPS = "document.querySelectorAll('#edit-history li').length == {}"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor()


@pytest.fixture
def panel(page: Any) -> Any:
    page.click("#whatif > button")
    page.click("#pin")
    page.wait_for_selector("#edit-versus .card")
    return page


def edited(predictor: Predictor, before: Version, shown: edits.Footage, same_because: str = "") -> Version:
    *_, asked = ask_footage(predictor, shown, before.asked.question)
    return Version(shown.edits[-1], asked, same_because)


def test_a_clip_is_left_out_and_the_change_is_shown_without_the_model(panel: Any, app_predictor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    for name in ("score", "encode"):
        usual = getattr(app_predictor.model, name)
        monkeypatch.setattr(app_predictor.model, name, lambda *given, usual=usual, name=name: ran.append(name) or usual(*given))
    panel.locator("#edit-clips .clip-card").nth(1).click()
    panel.wait_for_function(STEPS.format(2))
    panel.wait_for_selector("#edit-changes .js-plotly-plot")
    assert panel.locator("#edit-versus .card").count() == 2 and panel.locator("#edit-clips .clip-card").count() == NUM_CLIPS - 1
    assert f"{NUM_CLIPS - 1} clips pooled by" in panel.inner_text("#edit-versus [aria-label='Edited answer']")
    assert "without the clip" in panel.inner_text("#edit-history li:last-child") and not ran
    panel.click("#edit-reverse")
    panel.wait_for_function(STEPS.format(3))
    assert f"No change, as it must be: {ORDER_FREE}" in panel.inner_text("#edit-history li:last-child") and not ran
    panel.click("#edit-trim")
    assert "undo them, trim first" in panel.inner_text("#edit-notice .bad")
    for steps in (2, 1):
        panel.click("#edit-undo")
        panel.wait_for_function(STEPS.format(steps))
    assert panel.locator("#edit-versus .card").count() == 1 and panel.locator("#edit-clips .clip-card").count() == NUM_CLIPS


def test_another_question_or_pooling_is_a_step_while_an_answer_is_pinned(panel: Any) -> None:
    panel.fill("#question textarea", "what is pinned?")
    panel.click("#ask")
    panel.wait_for_function(STEPS.format(2))
    assert "asked “what is pinned?”" in panel.inner_text("#edit-history li:last-child")
    panel.click("#settings button")
    panel.click("#aggregation input[value=max]")
    panel.wait_for_function(STEPS.format(3))
    assert "aggregation max" in panel.inner_text("#edit-history li:last-child")
    panel.click("#edit-mirror")
    panel.wait_for_function(STEPS.format(4))
    assert "pooled by max" in panel.inner_text("#edit-versus [aria-label='Edited answer']")
    panel.click("#unpin")
    panel.wait_for_selector("#edit-versus", state="hidden")


def test_each_step_says_what_it_alone_changed(predictor: Predictor) -> None:
    (first,) = pinned(answered(predictor))
    mirrored = edited(predictor, first, edits.mirrored(first.footage))
    reverse = edited(predictor, mirrored, edits.reversed_clips(mirrored.footage), ORDER_FREE)
    told = history_html((first, mirrored, reverse)).split("<li>")
    assert "Changed most:" in told[2] and "percentage points" in told[2]
    assert f"No change, as it must be: {ORDER_FREE}" in told[3]
    wrong = replace(mirrored, same_because=ORDER_FREE)
    assert f"Changed, which should not be, since {ORDER_FREE}" in history_html((first, wrong))
    assert versus_html((first, mirrored)).count("<section") == 2


def test_clips_that_could_not_be_decoded_are_not_among_those_to_edit(predictor: Predictor) -> None:
    asked = answered(predictor)
    assert asked.video is not None
    lost = replace(
        asked.video, features=asked.video.features[1:], times=asked.video.times[1:], spans=asked.video.spans[1:], shortened=(), clip_keys=()
    )
    shown = Version("", replace(asked, video=lost)).footage
    assert [clip.times.tolist() for clip in shown.clips] == asked.video.times[1:].tolist()


def test_only_a_whole_answer_of_a_video_at_hand_is_pinned(predictor: Predictor) -> None:
    asked = answered(predictor)
    for wrong, message in ((None, "ask about the video first"), (replace(asked, video=None), "ask its video again"),
                           (replace(asked, stopped=True), "let it finish, then pin it")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            pinned(wrong)
    with pytest.raises(ValueError, match="undo some"):
        followed([Version("", asked)] * MOST_VERSIONS, Version("", asked))


def test_a_new_answer_is_named_by_what_is_new(predictor: Predictor) -> None:
    before = answered(predictor)
    assert asked_again(before, before) == "asked again, unedited"
    other = replace(before, question=Question(OPEN, "why?"), sampling=replace(before.sampling, num_clips=8))
    assert asked_again(before, other) == "asked “why?”, num clips 8"
    assert asked_again(before, replace(before, question=Question(MATCH, "", ("a dog", "a cat")))) == "asked “a dog, a cat”"
