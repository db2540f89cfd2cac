"""Without a mouse, and for screen readers: keys, the help sheet, and axe-core's rules in both themes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from app_fixtures import fresh_page

from app.tour import STEPS


@pytest.fixture
def slow(app_predictor: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scoring a clip takes a second, so that a busy machine's page still draws the answer after it."""
    score = app_predictor.model.score

    def slowly(*arguments: Any) -> Any:
        time.sleep(1.0)
        return score(*arguments)

    monkeypatch.setattr(app_predictor.model, "score", slowly)
    yield


def help_is_open(page: Any) -> bool:
    return page.evaluate("document.querySelector('#help-sheet').open")


def test_a_question_mark_opens_the_help_and_esc_closes_it_where_one_was(kept: Any) -> None:
    kept.focus("#ask")
    kept.keyboard.press("?")
    assert help_is_open(kept) and kept.evaluate("document.activeElement.closest('#help-sheet') !== null")
    told = kept.inner_text("#help-sheet")
    assert all(tab in told for tab in kept.locator("#tabs [role=tab]").all_inner_texts()) and "doubles the odds" in told
    kept.keyboard.press("Escape")
    assert not help_is_open(kept) and kept.evaluate("document.activeElement.id") == "ask"


def test_the_help_is_a_button_too_and_a_question_mark_can_be_typed(kept: Any) -> None:
    kept.click("#question textarea")
    kept.keyboard.press("End")
    kept.keyboard.type("?")
    assert not help_is_open(kept) and kept.input_value("#question textarea").endswith("??")
    kept.click("#open-help")
    assert help_is_open(kept)
    kept.click("#help-sheet form button")
    assert not help_is_open(kept)


def test_the_tour_marks_five_places_and_esc_ends_it(kept: Any) -> None:
    kept.click("#open-tour")
    for number, (tab, place, title, _) in enumerate(STEPS, 1):
        kept.wait_for_selector(f"{place}.tour-at")
        assert (kept.inner_text("#tour-title"), kept.inner_text("#tour-count")) == (title, f"{number} of 5")
        assert kept.get_attribute(f"#tab-{tab}-button", "aria-selected") == "true" and kept.locator(".tour-at").count() == 1
        if number < len(STEPS):
            kept.click("#tour-next")
    kept.keyboard.press("Escape")
    assert not kept.is_visible("#tour") and not kept.locator(".tour-at").count() and kept.evaluate("document.activeElement.id") == "open-tour"
    kept.click("#tab-ask-button")


def test_on_a_phone_the_tour_opens_tabs_that_lie_in_the_menu(kept: Any) -> None:
    kept.set_viewport_size({"width": 390, "height": 844})
    kept.wait_for_selector("#tab-ntest-button", state="detached")
    kept.click("#open-tour")
    for _ in STEPS[1:]:
        kept.click("#tour-next")
    kept.wait_for_selector("#sweep-question.tour-at")
    assert kept.evaluate("document.documentElement.scrollWidth") <= 390
    kept.click("#tour-next")
    kept.set_viewport_size({"width": 1280, "height": 1000})
    kept.click("#tab-ask-button")


def test_presenting_enlarges_the_page_and_hides_its_settings_until_pressed_again(kept: Any) -> None:
    size = "document.querySelector('#answer .big').getBoundingClientRect().height"
    before = kept.evaluate(size)
    kept.click("#present")
    assert kept.evaluate(size) > 1.2 * before and not kept.is_visible("#settings") and kept.get_attribute("#present", "aria-pressed") == "true"
    kept.click("#present")
    assert kept.evaluate(size) == before and kept.is_visible("#settings")


def test_esc_stops_the_model_and_with_the_help_open_only_closes_it(page: Any, slow: None) -> None:
    page.fill("#question textarea", "does Esc stop it?")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("/after [12]\\/4/.test(document.querySelector('#answer .state')?.innerText)")
    page.focus("#ask")
    page.keyboard.press("?")
    page.keyboard.press("Escape")
    page.wait_for_function("/after [2-4]\\/?/.test(document.querySelector('#answer .state')?.innerText)")
    page.keyboard.press("Escape")
    page.wait_for_selector("#answer .state .partial")


def test_tab_goes_from_control_to_control_each_with_a_visible_focus(kept: Any) -> None:
    kept.focus("#question textarea")
    reached = []
    for _ in range(6):
        kept.keyboard.press("Tab")
        reached.append(
            kept.evaluate(
                "(() => { const at = document.activeElement, style = getComputedStyle(at); return [at.closest('[id]').id, "
                "style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]; })()"
            )
        )
    names = [name for name, _ in reached]
    assert names[:2] == ["ask", "ask-stop"] and len(set(names)) > 3
    assert [name for name, visible in reached if not visible] == []


@pytest.fixture(scope="module")
def axe() -> str:
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Any, rules: str = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']") -> list[str]:
    found = page.evaluate(f"axe.run(document, {{ runOnly: {rules} }})")["violations"]
    return [f"{rule['impact']}: {rule['id']}: {node['html'][:200]}" for rule in found if rule["impact"] != "minor" for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_no_tab_breaks_a_rule_of_axe(browser: Any, app_url: str, axe: str, scheme: str) -> None:
    with fresh_page(browser, app_url, color_scheme=scheme) as page:
        page.wait_for_selector("#answer-line .chart-title", timeout=300_000)  # the last of what an answer shows
        page.evaluate(axe)
        found = {}
        for tab in page.locator("#tabs [role=tab]").all():
            tab.click()
            page.evaluate("document.querySelectorAll('button.label-wrap:not(.open)').forEach((label) => label.checkVisibility() && label.click())")
            page.wait_for_timeout(500)  # what slides or fades is at its end
            if broken := violations(page):
                found[tab.inner_text()] = broken
        page.click("#open-help")
        assert found == {} and violations(page) == []
        assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")


def test_axe_finds_a_button_without_a_name_and_text_without_contrast(page: Any, axe: str) -> None:
    page.evaluate(axe)
    page.evaluate("document.querySelector('#answer .big b').style.color = '#ccc'; document.querySelector('#ask').innerHTML = ''")
    assert {line.split(": ")[1] for line in violations(page)} >= {"color-contrast", "button-name"}


def test_ids_are_unique_and_there_is_one_first_heading(kept: Any) -> None:
    ids = kept.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert sorted(id for id in ids if id and ids.count(id) > 1 and not id.startswith("plotly.js-style")) == []  # plotly's own style elements
    assert kept.locator("h1").count() == 1
