"""Write docs/screenshots/: every tab of the app with a result, in both themes and at phone width.

Start `python app/app.py --port 7860`, wait until it answers, then: python docs/screenshots.py http://127.0.0.1:7860 [TAB or VIEW ...]
"""

import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from app.tabs import tabs  # noqa: E402

FOLDER = Path(__file__).resolve().parent / "screenshots"
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 1000}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 1000}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "is_mobile": True, "has_touch": True},
}
RESULTS = {  # tab -> what is pressed for a result, and what shows that it is whole
    "ask": (None, "document.querySelector('#answer-line .chart-title')"),
    "sampling": (None, "document.querySelector('#timeline .clip')"),
    "ntest": ("#sweep", "document.querySelectorAll('#ntest-matrix button').length >= 15 && document.querySelector('#responsibility')"),
    "attribution": ("#explain", "document.querySelector('#attribution-clips [data-clip]')"),
    "retrieve": ("#retrieve-search", "document.querySelector('#retrieve-ranking .chart-title')"),
    "cost": ("#cost-go", "document.querySelector('#cost-csv')?.checkVisibility()"),
    "tables": (None, "document.querySelector('#tables-view table')"),
}
TITLES = {tab.__name__.rsplit(".", 1)[-1]: tab.TITLE for tab in tabs()}
OPEN = """([tab, title]) => (document.querySelector(`#tab-${tab}-button`)
  ?? [...document.querySelectorAll("#tabs .overflow-dropdown button")].find((button) => button.textContent.trim() === title)).click()"""
CALM_MS = 1500  # what slides or fades is at its end


def prepare(page: Any, tab: str) -> None:
    """What the tab needs before its button is pressed."""
    if tab == "retrieve":
        page.fill("#retrieve-query textarea, #retrieve-query input", "a cat looks at the camera")
    if tab == "cost":
        page.click("#cost-largest label:has-text('4')")


def shoot(page: Any, tab: str, name: str) -> None:
    page.evaluate(OPEN, [tab, TITLES[tab]])
    press, whole = RESULTS[tab]
    prepare(page, tab)
    if press:
        page.click(press)
    page.wait_for_function(whole)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(CALM_MS)
    page.screenshot(path=str(FOLDER / f"{tab}-{name}.png"), full_page=True)
    width = page.evaluate("document.documentElement.scrollWidth")
    print(f"{tab}-{name}.png {width} pixels wide", flush=True)


def main(address: str, wanted: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        for name in [view for view in VIEWS if view in wanted] or VIEWS:
            page = browser.new_context(**VIEWS[name]).new_page()
            page.set_default_timeout(300_000)
            page.goto(address)
            page.wait_for_selector("#answer .big")
            for tab in [tab for tab in RESULTS if tab in wanted] or RESULTS:
                shoot(page, tab, name)
            page.context.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
