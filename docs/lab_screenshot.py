"""Write docs/screenshots/jupyterlab.png: the notebook's explorer and its timeline in JupyterLab, over the quickstart's video.

python docs/lab_screenshot.py
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]
from lab_server import run_two_cells, running_lab  # noqa: E402

CALM_MS = 1500  # what slides or fades is at its end
EXPLORER = """
from pathlib import Path
from clipbert.data.footage import demo_videos
from clipbert.viz.notebook import load
from clipbert.viz.widgets import Explorer

reel = demo_videos(Path("footage"))[1]
ex = Explorer(load("real"), reel.path, reel.question, num_clips=8)
ex
"""


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_lab(Path(folder), (EXPLORER.strip(), "ex.timeline()")) as lab,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 1900})
        page.set_default_timeout(300_000)
        run_two_cells(page, lab)
        page.wait_for_selector(".clipbert-timeline .chosen button.clip")
        page.click("button:text-is('No')")  # no news from the network
        page.keyboard.press("Control+b")  # the list of files away
        page.evaluate("document.querySelector('.jp-CodeCell').scrollIntoView()")
        page.wait_for_timeout(CALM_MS)
        page.screenshot(path=str(ROOT / "docs/screenshots/jupyterlab.png"))
        browser.close()


if __name__ == "__main__":
    main()
