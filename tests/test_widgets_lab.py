"""The notebook's explorer in JupyterLab 4, in a real browser: it draws, it answers a change, and nothing is asked of the network."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from app_fixtures import _free_port
from conftest import GOLDEN

TESTS = Path(__file__).parent
CELL = f"""
import sys
sys.path[:0] = [{str(TESTS.parent)!r}, {str(TESTS)!r}]
from test_predict import make_predictor
from clipbert.viz.widgets import Explorer
ex = Explorer(make_predictor(), {str(GOLDEN / "video_a30.mp4")!r}, "what colour?")
ex
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab that has one notebook."""
    folder, port = tmp_path_factory.mktemp("lab"), _free_port()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}  # else Lab asks for one
    cells = [nbformat.v4.new_code_cell(source) for source in (CELL.strip(), "ex.timeline()")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "explorer.ipynb")
    settings = ("--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", "--ip=127.0.0.1")
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    news = "--LabApp.news_url=None"
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *settings, news, "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield _when_up(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def _when_up(url: str, seconds: float = 180.0) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{url}/api", timeout=5):
                return url
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no JupyterLab at {url} within {seconds} s")


@pytest.mark.slow
def test_it_draws_and_answers_a_change_in_jupyterlab(lab: str, browser: Any, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 1700})
    page.set_default_timeout(240_000)
    strays: list[str] = []
    page.on(
        "request",
        lambda request: strays.append(request.url) if not request.url.startswith((lab, lab.replace("http", "ws"), "data:", "blob:")) else None,
    )
    page.goto(f"{lab}/lab/tree/explorer.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector("text=/ipykernel. . Idle/")  # what runs before the kernel is up is lost
    page.click(".jp-CodeCell .jp-InputArea-editor")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".jp-OutputArea img")
    page.keyboard.press("Shift+Enter")
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
    page.screenshot(path=os.environ.get("CLIPBERT_SCREENSHOT", str(tmp_path / "lab.png")))
    page.close()
    assert not strays
