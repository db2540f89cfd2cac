"""Attribution below the level of clips, in the browser: clip, frame, cells and words by clicks and keys; the test of a map, stopped and run."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from app_fixtures import calm, fresh_page, running_app
from inside_case import inside_predictor
from PIL import Image
from test_app_keys import axe, violations  # noqa: F401
from tiny import tiny_model, tiny_processor

from clipbert.predict import Predictor
from clipbert.types import Attribution


@pytest.fixture(scope="module")
def predictor() -> Any:
    """A tiny one with 3 x 3 cells."""
    return inside_predictor()


@pytest.fixture(scope="module")
def url(predictor: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    coarse = tiny_model(seed=1, image_size=128)  # 2 x 2 cells
    other = Predictor(coarse, tiny_processor(coarse), name="coarse")
    with running_app(predictor, tmp_path_factory, others={"coarse": lambda: other}) as address:
        yield address


@contextmanager
def explained_page(browser: Any, url: str, **settings: Any) -> Iterator[Any]:
    """The tab with the first example explained: 3 clips of 2 frames, 272 x 640 pixels, so that the last row of cells is padding."""
    with fresh_page(browser, url, **settings) as page:
        page.click("#tab-attribution-button")
        page.click("#explain")
        page.wait_for_selector("#attribution-clips [data-clip]")
        calm(page)
        yield page


@pytest.fixture
def tab(browser: Any, url: str) -> Iterator[Any]:
    with explained_page(browser, url) as page:
        yield page


@pytest.fixture(scope="module")
def opened(browser: Any, url: str) -> Iterator[Any]:
    """The same with clip 2 and its frame 2 open, for tests that leave them so."""
    with explained_page(browser, url) as page:
        assert not page.is_visible("#attribution-inside")
        open_frame(page)
        yield page


def open_frame(tab: Any, clip: int = 1, frame: int = 1) -> None:
    tab.click(f"#attribution-clips [data-clip='{clip}']")
    tab.wait_for_selector("#attribution-frames .signed")
    tab.click(f"#attribution-frames [data-frame='{frame}']")
    tab.wait_for_selector("#attribution-cells .cell")
    tab.wait_for_selector("#attribution-tokens .word")


def choose(tab: Any, level: str, method: str) -> None:
    tab.click(f"#attribution-{level}-method input")
    tab.get_by_role("option", name=method, exact=True).click()


def test_a_click_leads_from_clip_to_frame_to_cells_and_words(opened: Any) -> None:
    assert "Frames of clip 2" in opened.inner_text("#attribution-frames-heading")
    assert "add up" in opened.inner_text("#attribution-frames-lines") and opened.locator("#attribution-frames [data-frame]").count() == 2
    assert "Where in frame 2 of clip 2" in opened.inner_text("#attribution-cells-heading")
    assert opened.locator("#attribution-cells .cell").count() == 9 and opened.locator("#attribution-cells .cell.padding").count() == 3
    assert "of |attribution| on padding (3 of 9 cells" in opened.inner_text("#attribution-cells-lines")
    assert opened.locator("#attribution-tokens .word b").all_inner_texts()[:2] == ["what", "is"]
    opened.wait_for_function("document.querySelector('#player video').currentTime > 0")


def test_cells_are_read_by_pointer_and_by_keys(opened: Any) -> None:
    opened.hover("#attribution-cells .cell[data-row='1'][data-column='2']")
    said = opened.inner_text("#attribution-cells .cell-said")
    assert said.startswith("row 1, column 2:") and "rank" in said and "pixels x 213–427, y 0–215" in said
    opened.focus("#attribution-cells .cell[data-row='1'][data-column='1']")
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        opened.keyboard.press(key)
    said = opened.inner_text("#attribution-cells .cell-said")
    assert said.startswith("row 3, column 2:") and "padding alone" in said


@pytest.mark.parametrize(
    ("level", "starts"), [("frames", "clip,start,end,frame"), ("cells", "clip,start,end,row"), ("tokens", "clip,start,end,token")]
)
def test_each_map_is_saved_as_numbers_as_a_picture_and_to_be_loaded_again(opened: Any, level: str, starts: str) -> None:
    files = {}
    if not opened.is_visible(f"#attribution-{level}-csv"):
        opened.click(f"#attribution-{level}-files > button")
    for suffix in ("csv", "png", "npz"):
        with opened.expect_download() as download:
            opened.click(f"#attribution-{level}-{suffix}")
        files[suffix] = download.value.path()
        assert download.value.suggested_filename.endswith(f"attribution-{level}.{suffix}")
    assert files["csv"].read_text().startswith(starts) and files["png"].read_bytes().startswith(b"\x89PNG")
    again = files["npz"].rename(files["npz"].with_suffix(".npz"))
    assert Attribution.load(again).level == level and Attribution.load(again).clip_index == (1,)


def test_the_cells_of_all_clips_are_saved_as_a_moving_picture(opened: Any) -> None:
    if not opened.is_visible("#attribution-sequence-gif"):
        opened.click("#attribution-cells-files > button")
    with opened.expect_download() as download:
        opened.click("#attribution-sequence-gif")
    assert opened.inner_text("#attribution-sequence-state").strip() == ""
    with Image.open(download.value.path()) as moving:
        assert moving.format == "GIF" and getattr(moving, "n_frames", 1) == 6  # 3 clips of 2 frames


def test_a_map_is_compared_with_that_of_another_method_but_not_with_itself(opened: Any) -> None:
    opened.click("#attribution-compare > button")
    opened.click("#compare-go")
    opened.wait_for_selector("#attribution-comparison .js-plotly-plot")
    assert "beside" in opened.inner_text("#attribution-comparison .chart-title")
    opened.click("#compare-method input")
    opened.get_by_role("option", name="Occlusion", exact=True).last.click()
    opened.click("#compare-go")
    opened.wait_for_selector("#attribution-notice .bad")
    assert "both maps would be the same" in opened.inner_text("#attribution-notice")


def test_a_map_is_compared_with_that_of_another_model_whose_cells_are_larger(opened: Any) -> None:
    if not opened.is_visible("#compare-go"):
        opened.click("#attribution-compare > button")
    opened.click("#compare-method input")
    opened.get_by_role("option", name="Occlusion", exact=True).last.click()
    opened.click("#compare-model input")
    opened.get_by_role("option", name="coarse").click()
    opened.click("#compare-go")
    opened.wait_for_function("document.querySelector('#attribution-comparison .chart-title')?.innerText.includes('tiny beside coarse')")
    assert "no rank agreement, since the models' cells lie differently" in opened.inner_text("#attribution-comparison")


def test_a_head_that_is_clicked_is_drawn_on_the_frame_and_the_slider_goes_through_the_layers(opened: Any) -> None:
    opened.click("#attribution-heads > button")
    opened.click("#heads-go")
    opened.wait_for_selector("#heads-view .head-matrix")
    assert "not an explanation" in opened.inner_text("#attribution-heads")
    said, colors = "#heads-view .head-said", "[...document.querySelectorAll('#heads-view .cells i')].map((cell) => cell.style.background)"
    opened.click("#heads-view table:not([hidden]) [data-layer='1'][data-head='2']")
    assert opened.inner_text(said).startswith("layer 1, head 2, text to image: the brightest cell gets")
    drawn = opened.evaluate(colors)
    assert len(drawn) == 9 and all(color.startswith("rgb(") for color in drawn)
    opened.click("#heads-view table:not([hidden]) [data-layer='2'][data-head='0']")
    assert opened.inner_text(said).startswith("layer 2, mean of its heads")
    opened.locator("#heads-view [type=range]").fill("1")
    assert opened.inner_text(said).startswith("layer 1, mean of its heads")
    opened.click("#heads-view .play")
    opened.wait_for_function("document.querySelector('#heads-view .head-said').innerText.startsWith('layer 2')")
    opened.click("#heads-view .play")
    opened.check("#heads-view [value='within text']")
    assert "no cell takes part" in opened.inner_text(said) and set(opened.evaluate(colors)) == {"none"}
    with opened.expect_download() as download:
        opened.click("#attribution-head-matrix-csv")
    assert download.value.path().read_text().startswith("direction,layer,head")


def test_the_view_and_its_strength_stay_when_another_frame_is_opened(opened: Any) -> None:
    opened.check("#attribution-cells [value=heat]")
    assert opened.evaluate("getComputedStyle(document.querySelector('#attribution-cells .overlay img')).visibility") == "hidden"
    opened.click("#attribution-frames [data-frame='0']")
    opened.wait_for_function("document.querySelector('#attribution-cells-heading')?.innerText.includes('frame 1')")
    opened.wait_for_function("document.querySelector('#attribution-cells .overlay')?.dataset.view == 'heat'")
    opened.check("#attribution-cells [value=overlay]")
    opened.click("#attribution-frames [data-frame='1']")
    opened.wait_for_function("document.querySelector('#attribution-cells-heading')?.innerText.includes('frame 2')")


def test_a_method_with_a_baseline_shows_it_and_what_is_known_is_not_computed_again(tab: Any, predictor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    open_frame(tab)
    assert not tab.is_visible("#attribution-cells-baseline")
    choose(tab, "cells", "Integrated gradients")
    tab.wait_for_selector("#attribution-cells-baseline", state="visible")
    tab.wait_for_function("document.querySelector('#attribution-cells-lines')?.innerText.includes('a grey clip')")
    choose(tab, "cells", "Attention (not an explanation)")
    tab.wait_for_function("document.querySelector('#attribution-cells-lines')?.innerText.includes('no sum to check')")
    with monkeypatch.context() as patch:
        patch.setattr(predictor.model.model, "score", None)  # a run of the model would be an error now
        choose(tab, "cells", "Occlusion")
        tab.wait_for_function("document.querySelector('#attribution-cells-lines')?.innerText.includes('need not add up')")
    assert tab.locator("#attribution-notice .bad").count() == 0


def test_another_answer_changes_all_levels(tab: Any) -> None:
    open_frame(tab)
    target = "blue" if "blue" not in tab.inner_text("#attribution-clips-heading") else "red"
    tab.fill("#attribution-target input", target)
    tab.keyboard.press("Enter")
    for level in ("clips", "frames"):
        tab.wait_for_function(f"document.querySelector('#attribution-{level}').innerText.includes('log p({target} |')")
    tab.wait_for_function("document.querySelectorAll('#attribution-tokens .word').length")
    assert "clip 2" in tab.inner_text("#attribution-frames-heading")  # the same clip stays open


@pytest.mark.slow
def test_a_click_as_soon_as_the_clips_are_drawn_opens_the_clip(browser: Any, url: str) -> None:
    with fresh_page(browser, url) as page:
        page.click("#tab-attribution-button")
        page.evaluate(
            """() => {
              const drawn = new MutationObserver(() => {
                const clip = document.querySelector("#attribution-clips [data-clip='1']");
                if (clip) { drawn.disconnect(); setTimeout(() => clip.click(), 20); }
              });
              drawn.observe(document.body, { childList: true, subtree: true });
            }"""
        )
        page.click("#explain")
        page.wait_for_selector("#attribution-frames .signed")
        assert "clip 2" in page.inner_text("#attribution-frames-heading")


def test_the_test_of_a_map_is_stopped_and_then_run(tab: Any, predictor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    open_frame(tab)
    tab.click("#faithfulness > button")
    assert tab.locator("#faithfulness-level input:checked").get_attribute("value") == "cells"
    allowed, score = threading.Semaphore(0), predictor.model.model.score

    def when_let(*given: Any) -> Any:
        allowed.acquire(timeout=60)
        return score(*given)

    with monkeypatch.context() as patch:
        patch.setattr(predictor.model.model, "score", when_let)
        tab.click("#faithfulness-go")
        allowed.release()  # the first of some five batches
        tab.wait_for_selector("#faithfulness-state progress")
        tab.click("#faithfulness-stop")
        for _ in range(3):  # a busy machine may be slow to hear of the Stop
            tab.wait_for_timeout(2000)
            allowed.release()
            if tab.locator("#faithfulness-state .partial").count():
                break
        tab.wait_for_selector("#faithfulness-state .partial")
        assert "nothing is concluded" in tab.inner_text("#faithfulness-state") and tab.inner_text("#faithfulness-table").strip() == ""
    tab.click("#faithfulness-go")
    tab.wait_for_selector("#faithfulness-table table")
    verdict = tab.inner_text("#faithfulness-verdict")
    assert "p = " in verdict and verdict in tab.inner_text("#attribution-cells-lines")
    assert "beats random?" in tab.inner_text("#faithfulness-table")
    tab.wait_for_selector("#faithfulness-curves .js-plotly-plot")


def test_a_map_is_tested_beside_the_other_methods_and_checked(opened: Any) -> None:
    opened.click("#faithfulness > button")
    opened.check("#faithfulness-others input")
    opened.click("#faithfulness-go")
    opened.wait_for_function("document.querySelector('#faithfulness-state')?.innerText.includes('Beside it 6 other methods')")
    rows = opened.locator("#faithfulness-table tbody tr")
    assert rows.count() == 9 and "Relevance (gradient × attention)" in opened.inner_text("#faithfulness-table")
    opened.click("#faithfulness-steps [value^='as Chefer']")
    opened.get_by_text("sets of units: some").wait_for()
    opened.uncheck("#faithfulness-others input")
    opened.click("#faithfulness-go")
    opened.wait_for_function("document.querySelectorAll('#faithfulness-table tbody tr').length == 3")
    opened.click("#checks > button")
    opened.click("#checks-go")
    opened.wait_for_selector("#checks-tables table")
    said = opened.inner_text("#checks-tables")
    wanted = ("comprehensiveness", "sufficiency", "infidelity", "sensitivity_max", "sign violations", "Random layers", "Spearman", "50%", "Attention")
    assert all(name in said for name in wanted)
    with opened.expect_download() as download:
        opened.click("#checks-json")
    assert set(json.loads(download.value.path().read_text())) == {"faithfulness", "checks"}


def test_how_long_a_blur_takes_is_told_before_it_runs(opened: Any) -> None:
    if not opened.is_visible("#faithfulness-go"):
        opened.click("#faithfulness > button")
    opened.click("#faithfulness-perturbation [value=blur]")
    opened.wait_for_function(
        "/Test will ask for \\d+ sets of units: some \\d+ s here/.test(document.querySelector('#faithfulness-state')?.innerText)"
    )
    opened.click("#faithfulness-perturbation [value=mask]")


def test_a_map_that_is_not_open_cannot_be_tested(tab: Any) -> None:
    tab.click("#faithfulness > button")
    tab.click("#faithfulness-level input[value=cells]")
    tab.click("#faithfulness-go")
    tab.wait_for_selector("#attribution-notice .bad")
    assert "click a clip and one of its frames" in tab.inner_text("#attribution-notice")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_the_open_tab_breaks_no_rule_of_axe(browser: Any, url: str, axe: str, scheme: str) -> None:  # noqa: F811
    with explained_page(browser, url, color_scheme=scheme) as tab:
        open_frame(tab)
        tab.click("#attribution-heads > button")
        tab.click("#heads-go")
        tab.wait_for_selector("#heads-view .head-matrix")
        tab.evaluate(axe)
        tab.evaluate("document.querySelectorAll('button.label-wrap:not(.open)').forEach((label) => label.checkVisibility() && label.click())")
        tab.wait_for_timeout(500)
        assert violations(tab) == []


def test_nothing_is_wider_than_a_phone_with_all_tables_open(opened: Any) -> None:
    opened.evaluate(
        "document.querySelectorAll('#tab-attribution button.label-wrap:not(.open)').forEach((label) => label.checkVisibility() && label.click())"
    )
    opened.wait_for_selector("#attribution-cells-table table")
    opened.set_viewport_size({"width": 390, "height": 844})
    try:
        opened.wait_for_function("document.documentElement.scrollWidth <= 390")  # charts follow a new width in their own time
    finally:
        opened.set_viewport_size({"width": 1280, "height": 1000})
