"""The notebook's explorer in JupyterLab 4, in a real browser: it draws, it answers a change, and nothing is asked of the network."""

from pathlib import Path
from typing import Any

import pytest
from conftest import GOLDEN
from lab_server import run_two_cells, running_lab

TESTS = Path(__file__).parent
CELL = f"""
import sys
sys.path[:0] = [{str(TESTS.parent)!r}, {str(TESTS)!r}]
from test_predict import make_predictor
from clipbert.viz.widgets import Explorer
ex = Explorer(make_predictor(), {str(GOLDEN / "video_a30.mp4")!r}, "what colour?")
ex
"""


@pytest.mark.slow
def test_it_draws_and_answers_a_change_in_jupyterlab(browser: Any, tmp_path: Path) -> None:
    with running_lab(tmp_path, (CELL.strip(), "ex.timeline()")) as lab:
        page = browser.new_page(viewport={"width": 1300, "height": 1700})
        page.set_default_timeout(240_000)
        ours, strays = (lab, lab.replace("http", "ws"), "data:", "blob:"), []
        page.on("request", lambda request: None if request.url.startswith(ours) else strays.append(request.url))
        run_two_cells(page, lab)
        assert page.locator(".widget-dropdown, .widget-slider, .widget-text").count() >= 6
        page.locator(".widget-text input[type=text]").first.fill("what shape is it?")
        page.keyboard.press("Enter")
        page.wait_for_selector("caption:has-text('what shape is it?')")
        page.click(".clipbert-timeline .chosen button.clip >> nth=2")
        page.wait_for_selector(".clipbert-timeline .selected")
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("document.activeElement.dataset.clip") == "1"
        page.wait_for_function("[...document.querySelectorAll('.widget-text input')].some((input) => input.value === '3')")  # looked into
        page.wait_for_selector("[role=status]:has-text('model tiny')")
        page.close()
    assert not strays
