"""The Ask tab in a browser: streamed, stoppable, clickable, and honest about what the model reads."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest


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


def ask(page: Any, question: str) -> None:
    page.fill("#question textarea", question)
    page.click("#ask")


def test_an_answer_grows_clip_by_clip(page: Any, scored: list[float]) -> None:
    ask(page, "does it grow?")
    page.wait_for_function("/after [123]\\/4 clips: /.test(document.querySelector('#answer .state')?.innerText)")
    page.wait_for_function("document.querySelector('#answer .state')?.innerText == 'after all 4 clips'")
    assert len(scored) == 4 and page.locator("#clips .clip-card").count() == 4 and page.locator("#answer .bar").count() == 4


def test_stop_ends_the_work_within_a_clip_and_leaves_a_partial_result(page: Any, scored: list[float]) -> None:
    ask(page, "does it stop?")
    page.wait_for_function("/after 1\\/4/.test(document.querySelector('#answer .state')?.innerText)")
    page.click("#ask-stop")
    told = page.inner_text("#answer .state:has(.partial)")
    done = int(re.search(r"after (\d) of 4", told)[1])
    assert done < 4 and len(scored) == done and page.locator("#clips .clip-card").count() == done
    page.wait_for_timeout(1000)
    assert len(scored) == done


def test_another_aggregation_runs_no_model(page: Any, scored: list[float]) -> None:
    page.click("#settings button")
    page.click("#aggregation input[value=mean]")
    page.wait_for_function("document.querySelector('#answer').innerText.includes('pooled by mean')")
    assert not scored


def test_a_clip_card_seeks_the_player(page: Any) -> None:
    card = page.locator("#clips .clip-card").nth(2)
    start = float(card.get_attribute("data-seconds"))
    card.click()
    page.wait_for_function(f"Math.abs(document.querySelector('#player video').currentTime - {start}) < 1 && {start} > 1")


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


def test_the_page_shows_what_the_model_cannot_read(page: Any) -> None:
    page.fill("#question textarea", "what 🦖 is " + "very " * 60)
    page.wait_for_selector("#pieces .piece.unknown")
    page.wait_for_selector("#pieces .piece.cut s")
    assert "are not used" in page.inner_text("#pieces summary")


def test_the_keyboard_asks_and_reaches_the_clips(page: Any) -> None:
    page.fill("#question textarea", "by keyboard?")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("/reused/.test(document.querySelector('#answer').innerText) && !document.querySelector('#answer progress')")
    page.locator("#clips .clip-card").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "clip-card"


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


def test_two_visitors_do_not_see_each_others_results(page: Any, browser: Any, app_url: str) -> None:
    context = browser.new_context()
    other = context.new_page()
    other.goto(app_url)
    other.wait_for_selector("#clips .clip-card", timeout=300_000)
    before = other.inner_text("#answer")
    ask(page, "mine alone?")
    page.wait_for_function("document.querySelector('#answer .state')?.innerText == 'after all 4 clips'")
    page.click("#settings button")
    page.click("#aggregation input[value=max]")
    page.wait_for_function("document.querySelector('#answer').innerText.includes('pooled by max')")
    assert other.inner_text("#answer") == before and other.input_value("#question textarea") == "what is the man riding?"
    context.close()
