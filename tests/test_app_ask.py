"""The Ask tab in a browser: streamed, stoppable, clickable, and honest about what the model reads."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from app_fixtures import fresh_page
from gradio_client import handle_file
from test_app_saving import answered
from test_predict import VIDEO, make_predictor

from app.asking import CHOICE, MATCH, OPEN, Question
from app.clip_files import logit_rows, strip_png
from app.views import answer_html
from clipbert.viz import figures
from clipbert.viz.style import THEMES


@pytest.fixture
def scored(app_predictor: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The times at which the model scored clips, each of which now takes 0.4 s."""
    times: list[float] = []
    score = app_predictor.model.score

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.4)
        times.append(time.monotonic())
        return score(*arguments)

    monkeypatch.setattr(app_predictor.model, "score", slowly)
    return times


@pytest.fixture
def held(app_predictor: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """The model scores as many clips as this is released for."""
    allowed, score = threading.Semaphore(0), app_predictor.model.score

    def when_let(*arguments: Any) -> Any:
        allowed.acquire(timeout=60)
        return score(*arguments)

    monkeypatch.setattr(app_predictor.model, "score", when_let)
    yield allowed
    allowed.release(100)


def ask(page: Any, question: str) -> None:
    page.fill("#question textarea", question)
    page.click("#ask")


def test_an_answer_grows_clip_by_clip(page: Any, scored: list[float]) -> None:
    ask(page, "does it grow?")
    page.wait_for_function("/after [123]\\/4 clips: /.test(document.querySelector('#answer .state')?.innerText)")
    page.wait_for_function("document.querySelector('#answer .state')?.innerText == 'after all 4 clips'")
    assert len(scored) == 4 and page.locator("#clips .clip-card").count() == 4 and page.locator("#answer .bar").count() == 4


def test_enter_asks_and_the_strip_of_clips_is_there_before_the_answer(page: Any, held: threading.Semaphore) -> None:
    seconds = page.locator("#clips .when").all_inner_texts()
    page.fill("#question textarea", "before the answer?")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('#clips .waiting-card').length == 4")
    assert page.locator("#clips .when").all_inner_texts() == seconds and not page.locator("#answer .big").count()
    held.release(100)
    page.wait_for_function("document.querySelector('#answer .state')?.innerText == 'after all 4 clips'")
    assert page.locator("#clips .clip-card").count() == 4 and not page.locator("#clips .waiting-card").count()


def test_a_card_shows_the_models_picture_its_seconds_its_vote_and_its_part(kept: Any) -> None:
    card = kept.locator("#clips .clip-card").nth(1)
    assert re.fullmatch(r"\d\d:\d\d\.\d–\d\d:\d\d\.\d( shortened)?", card.locator(".when").inner_text())
    assert re.fullmatch(r"(red|green|blue|white) \d+\.\d %", card.locator(".vote").inner_text())
    assert re.match(r"[+-]\d+\.\d{3} nats", card.locator("> .soft").inner_text())
    wide, high, side = card.locator("img").first.evaluate("img => [img.naturalWidth, img.naturalHeight, img.parentElement.clientWidth]")
    assert wide == make_predictor().model.image_size > high, "a wide video fills the width of the model's square"
    shown = card.locator("img").first.evaluate("img => [img.clientWidth, img.clientHeight]")
    assert shown == pytest.approx([side, side * high / wide], abs=1.5), "what is left of the square is padding, and shown as such"


def test_the_clips_are_saved_as_a_picture_and_their_logits_as_a_table(kept: Any) -> None:
    with kept.expect_download() as picture:
        kept.click("#clips-png")
    assert picture.value.path().read_bytes().startswith(b"\x89PNG")
    with kept.expect_download() as table:
        kept.click("#clips-csv")
    head, *rows = table.value.path().read_text().splitlines()
    assert head == "clip,start_seconds,end_seconds,contribution_nats,logit red,logit green,logit blue,logit white" and len(rows) == 4


@pytest.mark.parametrize("question", [Question(CHOICE, "which?", ("red", "blue")), Question(MATCH, "", ("a dog", "a cat", "a car"))], ids=str)
def test_the_table_of_logits_is_the_predictions(question: Question) -> None:
    asked = answered(make_predictor(), question)
    rows = logit_rows(asked)
    assert [[row[f"logit {name}"] for name in question.texts] for row in rows] == asked.prediction.clip_logits.tolist()
    assert strip_png(make_predictor(), VIDEO, asked).startswith(b"\x89PNG")


def test_of_a_whole_answer_every_other_bar_can_be_asked_why_not() -> None:
    asked = answered(make_predictor(), Question(OPEN, "what colour?"))
    others = re.findall('data-versus="([^"]*)"', answer_html(asked))
    assert sorted([*others, asked.prediction.answer]) == sorted(asked.prediction.candidates)
    captions = answered(make_predictor(), Question(MATCH, "", ("a dog", "a cat")))
    for without in (replace(asked, stopped=True), replace(asked, video=None), captions):
        assert "data-versus" not in answer_html(without)


def test_stop_ends_the_work_within_a_clip_and_leaves_a_partial_result(page: Any, held: threading.Semaphore, scored: list[float]) -> None:
    held.release()
    ask(page, "does it stop?")
    page.wait_for_function("/after 1\\/4/.test(document.querySelector('#answer .state')?.innerText)")
    with page.expect_response(lambda answer: "/gradio_api/run/" in answer.url or "/queue/join" in answer.url):
        page.click("#ask-stop")
    held.release(100)
    told = page.inner_text("#answer .state:has(.partial)")
    assert "stopped after 2 of 4 clips" in told and len(scored) == 2, "the clip that was being looked at, and none after it"
    assert page.locator("#clips .clip-card").count() == 2 and not page.locator("#clips .waiting-card").count()
    page.wait_for_timeout(1000)
    assert len(scored) == 2


def test_another_aggregation_runs_no_model(page: Any, scored: list[float]) -> None:
    page.click("#settings button")
    page.click("#aggregation input[value=mean]")
    page.wait_for_function("document.querySelector('#answer').innerText.includes('pooled by mean')")
    assert not scored


def test_a_pooling_chosen_while_the_answer_grows_is_that_of_its_end(page: Any, held: threading.Semaphore) -> None:
    page.click("#settings button")
    held.release()
    ask(page, "does the choice stay?")
    page.wait_for_function("/after 1\\/4/.test(document.querySelector('#answer .state')?.innerText)")
    page.click("#aggregation input[value=mean]")
    page.wait_for_function("document.querySelector('#answer').innerText.includes('pooled by mean')")
    held.release()
    page.wait_for_function("/after 2\\/4/.test(document.querySelector('#answer .state')?.innerText)")
    assert "2 clips pooled by mean" in page.inner_text("#answer")
    held.release(100)
    page.wait_for_function("document.querySelector('#answer .state')?.innerText == 'after all 4 clips'")
    assert "4 clips pooled by mean" in page.inner_text("#answer")


def test_a_pooling_chosen_while_the_question_waits_for_its_turn_is_that_of_its_end(
    page: Any, client: Any, held: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.click("#settings button")
    before = client.submit(handle_file(VIDEO), "who is first?", 2, api_name="/ask")
    while before.status().code.name != "PROCESSING":
        time.sleep(0.05)
    ask(page, "whose turn is it?")
    page.wait_for_function("/queue: \\d+\\/\\d+/.test(document.querySelector('#answer').innerText)")
    drawing, let_draw, draw = threading.Event(), threading.Event(), figures.answer_over_clips

    def slowly(*arguments: Any, **settings: Any) -> Any:
        drawing.set()
        let_draw.wait(timeout=60)
        return draw(*arguments, **settings)

    monkeypatch.setattr(figures, "answer_over_clips", slowly)
    page.click("#aggregation input[value=max]")
    page.wait_for_function("document.querySelector('#answer').innerText.includes('pooled by max')")
    assert drawing.wait(timeout=60)
    held.release()  # the endpoint scores its clips at once; what is left over would let the page's own go on
    before.result(timeout=60)
    page.wait_for_selector("#answer .state:has-text('looking at the first clip')")
    let_draw.set()  # the last answer, drawn too late, must not cover the question under way
    page.wait_for_timeout(1000)
    assert "looking at the first clip" in page.inner_text("#answer .state")
    held.release(100)
    page.wait_for_function("document.querySelector('#answer').innerText.includes('after all 4 clips')")
    page.wait_for_function("document.querySelector('#answer').innerText.includes('4 clips pooled by max')")


def test_the_answer_pooled_otherwise_is_shown_before_the_server_is_heard(page: Any) -> None:
    page.click("#settings button")
    page.wait_for_selector("#answer [data-pooled=mean]", state="attached")
    page.click("#aggregation input[value=max]")
    page.wait_for_selector("#answer [data-pooled=lse]", state="attached")  # the server's own answer has come
    page.route("**/gradio_api/**", lambda route: None)  # no reply
    page.click("#aggregation input[value=mean]")
    page.wait_for_function("document.querySelector('#answer .answer').innerText.includes('pooled by mean')", timeout=20_000)
    assert page.locator("#answer .answer .bar").count() == 4
    page.unroute_all(behavior="ignoreErrors")


def test_a_bundled_example_was_answered_in_advance(page: Any, scored: list[float]) -> None:
    page.locator("#examples button.thumbnail-item, #examples .thumbnail-lg").nth(1).click()
    page.wait_for_function("document.querySelector('#question textarea').value == 'what animal is it?'")
    page.wait_for_selector("#answer .big")
    assert page.inner_text("#answer .state").startswith("after all") and not scored


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_chart_takes_the_colours_of_the_page(browser: Any, app_url: str, scheme: str) -> None:
    with fresh_page(browser, app_url, color_scheme=scheme) as page:
        page.wait_for_selector("#answer-line .js-plotly-plot .main-svg", timeout=300_000)
        assert page.evaluate("document.querySelector('#answer-line .js-plotly-plot')._fullLayout.font.color") == THEMES[scheme].text


def test_a_clip_card_seeks_the_player(kept: Any) -> None:
    card = kept.locator("#clips .clip-card").nth(2)
    start = float(card.get_attribute("data-seconds"))
    card.click()
    kept.wait_for_function(f"Math.abs(document.querySelector('#player video').currentTime - {start}) < 1 && {start} > 1")


def test_captions_are_compared_with_the_video(page: Any) -> None:
    page.click("#mode input[value='Caption match']")
    page.fill("#texts textarea", "a red ball\na dog\n")
    page.click("#ask")
    page.wait_for_function("document.querySelectorAll('#answer .bar').length == 2")
    assert page.inner_text("#answer .big b") in ("a red ball", "a dog")


def test_choices_limit_the_answer_and_one_choice_is_refused(page: Any) -> None:
    page.click("#mode input[value='Multiple choice']")
    page.fill("#texts textarea", "red")
    page.click("#ask")
    page.wait_for_selector("#ask-notice .bad")
    page.fill("#texts textarea", "red\nblue")
    page.click("#ask")
    page.wait_for_function("document.querySelectorAll('#answer .bar').length == 2 && !document.querySelector('#ask-notice .bad')")


def test_pasted_lines_are_choices_and_a_line_less_is_one_less(page: Any) -> None:
    page.click("#mode input[value='Multiple choice']")
    page.click("#texts textarea")
    page.keyboard.insert_text("red\nblue\n\n white \n")
    page.click("#ask")
    page.wait_for_function("document.querySelectorAll('#answer .bar').length == 3")
    assert sorted(page.locator("#answer .bar .name").all_inner_texts()) == ["blue", "red", "white"]
    page.fill("#texts textarea", "red\nblue")
    page.click("#ask")
    page.wait_for_function("document.querySelectorAll('#answer .bar').length == 2")


def test_a_video_can_be_uploaded_or_taken_with_the_webcam(kept: Any) -> None:
    assert kept.locator("#player [aria-label='Upload file'], #player [data-testid='upload-button']").count()
    assert kept.locator("#player [aria-label='Webcam'], #player [aria-label*='amera']").count()


def test_the_page_shows_what_the_model_cannot_read(kept: Any) -> None:
    kept.fill("#question textarea", "what 🦖 is " + "very " * 60)
    kept.wait_for_selector("#pieces .piece.unknown")
    kept.wait_for_selector("#pieces .piece.cut s")
    longest = make_predictor().model.processor.max_text_length - 2  # beside [CLS] and [SEP]
    assert re.search(rf"\d+ of \d+ pieces are not used \(struck through\): the model reads {longest} of a text", kept.inner_text("#pieces summary"))


def test_the_keyboard_asks_and_reaches_the_clips(page: Any) -> None:
    page.fill("#question textarea", "by keyboard?")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("/reused/.test(document.querySelector('#answer').innerText) && !document.querySelector('#answer progress')")
    for _ in range(20):  # the cards are drawn behind the answer, anew, and take the focus with them
        page.locator("#clips .clip-card").first.focus()
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement == document.querySelectorAll('#clips .clip-card')[1]"):
            return
        page.wait_for_timeout(250)
    pytest.fail("Tab never led from the first clip to the second")


def test_a_phone_needs_no_sideways_scrolling(browser: Any, app_url: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.goto(app_url)
    page.wait_for_selector("#clips .clip-card", timeout=300_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    caption = page.locator("#answer-line-caption")
    assert "model tiny · 4 clips pooled by lse" in caption.inner_text()
    assert page.evaluate("(() => { const p = document.querySelector('#answer-line-caption p'); return p.scrollWidth <= p.clientWidth; })()")
    context.close()


def test_on_a_phone_the_tabs_are_on_the_first_screen(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.querySelector('#tabs [role=tablist]').getBoundingClientRect().bottom < 844")
    assert page.locator("#examples img").count() == 6 and page.locator("#settings").is_visible()


def test_two_visitors_do_not_see_each_others_results(page: Any, browser: Any, app_url: str) -> None:
    context = browser.new_context()
    other = context.new_page()
    other.goto(app_url)
    other.wait_for_selector("#answer .big", timeout=300_000)
    other.wait_for_selector("#answer-line .chart-title")  # the last of what an answer shows
    before = other.inner_text("#answer")
    page.evaluate("document.querySelector('#answer .state').dataset.old = ''")  # the example's answer says the same
    ask(page, "mine alone?")
    page.wait_for_function("document.querySelector('#answer .state:not([data-old])')?.innerText == 'after all 4 clips'")
    page.click("#settings button")
    page.click("#aggregation input[value=max]")
    page.wait_for_function("document.querySelector('#answer').innerText.includes('pooled by max')")
    assert other.inner_text("#answer") == before and other.input_value("#question textarea") == "what is the man riding?"
    context.close()
