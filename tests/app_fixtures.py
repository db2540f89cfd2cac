"""A running app over a tiny predictor, a client of its API, and a page of it in a real browser."""

import json
import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"


@pytest.fixture(scope="session")
def app_predictor() -> Any:
    """The tiny untrained predictor behind the app, for tests that slow it down or count its calls."""
    from test_predict import make_predictor

    return make_predictor()


@pytest.fixture(scope="session")
def app_url(app_predictor: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an app over `app_predictor`."""
    with running_app(app_predictor, tmp_path_factory) as url:
        yield url


@contextmanager
def running_app(predictor: Any, tmp_path_factory: pytest.TempPathFactory, **settings: Any) -> Iterator[str]:
    """The address of an app over a predictor (`settings` are of `build_app`), whose examples are quick to make and answered already."""
    from videos import write_video

    from app.app import build_app, launch
    from app.examples import Examples

    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    uploads, examples = tmp_path_factory.mktemp("uploads"), tmp_path_factory.mktemp("examples")
    (examples / "made").mkdir()
    for name in ("cat-rocket-coffee.mp4", "long.mp4"):
        write_video(examples / "made" / name)
    write_video(examples / "made" / "cat.gif", codec="gif", pix_fmt="rgb8", num_frames=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        patch.setattr("app.engine.HEAD_START_SECONDS", 0)
        known = Examples(examples)
        patch.setattr("app.app.Examples", lambda folder: known)
        app = build_app(predictor, examples=examples, **settings)
        known.answered(known.all()[-1].name, within_seconds=300)  # so that what a test counts of the model's work is its own
        yield launch(app, server_port=_free_port(), allowed_paths=[str(examples)], max_file_size="5mb")
        app.close()


def _free_port() -> int:
    """A port nobody listens on: where Gradio looks for one itself and finds 7860 taken, it leaves a socket open, which is an error here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def client(app_url: str) -> Iterator[Any]:
    """A gradio_client of the app."""
    from gradio_client import Client

    client = Client(app_url, verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium.  Skips where it is missing, and fails where CLIPBERT_REQUIRE_BROWSER=1."""
    if not CHROMIUM.is_file():
        reason = f"needs {CHROMIUM} (apt-get install chromium)"
        pytest.fail(reason) if os.environ.get("CLIPBERT_REQUIRE_BROWSER") == "1" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=QUIET.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, app_url: str) -> Iterator[Any]:
    """A fresh page of the app with its first example answered; fails on a request that leaves the machine or a script's error."""
    with fresh_page(browser, app_url) as page:
        yield page


@pytest.fixture(scope="module")
def kept(browser: Any, app_url: str) -> Iterator[Any]:
    """The same, one for all tests of a file that leave it as good as new: a fresh page takes seconds."""
    with fresh_page(browser, app_url) as page:
        yield page


TRAFFIC: deque[str] = deque(maxlen=60)
"""What the last page said to the app about events, and what became of it."""


def _listen(page: Any) -> None:
    TRAFFIC.clear()

    def note(kind: str, request: Any) -> None:
        if "/queue/" in request.url or "/run/" in request.url:
            said = json.loads(request.post_data or "{}") if request.method == "POST" else {}
            TRAFFIC.append(f"{time.monotonic():.3f} {kind} {request.method} {request.url.rpartition('/')[2]} {said.get('fn_index', '')}")

    for kind in ("request", "requestfinished", "requestfailed"):
        page.on(kind, lambda request, kind=kind: note(kind, request))


CALM = """() => new Promise((resolve) => {
  const end = () => { watch.disconnect(); clearTimeout(still); clearTimeout(limit); resolve(); };
  const watch = new MutationObserver(() => { clearTimeout(still); still = setTimeout(end, 400); });
  let still = setTimeout(end, 400);
  const limit = setTimeout(end, 5000);
  watch.observe(document.body, { subtree: true, childList: true, characterData: true });
})"""


def calm(page: Any) -> None:
    """Wait until nothing has changed for a moment: what is typed or clicked while the page is redrawn can be lost."""
    page.evaluate(CALM)


def errors_shown(page: Any) -> list[str]:
    """What the page says went wrong."""
    return [f"the page says: {text}" for text in page.locator(".bad").all_inner_texts() if text]


@contextmanager
def fresh_page(browser: Any, app_url: str, *, answered: str = "#answer .big", **settings: Any) -> Iterator[Any]:
    """The same of the app at an address; `answered` is seen once the example is, `settings` are of playwright's new_context."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, **settings)
    page = context.new_page()
    page.set_default_timeout(90_000)
    strays, errors = [], []
    page.on("request", lambda request: strays.append(request.url) if not request.url.startswith((app_url, "data:", "blob:")) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    _listen(page)
    page.goto(app_url)
    page.wait_for_selector(answered, timeout=300_000)
    calm(page)
    try:
        yield page
    except Exception as error:  # of a fixture that goes on from here; a test's own is told by conftest.py
        error.add_note("\n".join((*TRAFFIC, *errors_shown(page))))
        raise
    context.close()
    assert not strays and not errors, f"requests to elsewhere: {strays}; errors: {errors}"
