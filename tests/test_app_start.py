"""The app's start: the page comes first, then the model; both without a network or a GPU."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from app import engine, examples
from app.engine import Engine
from app.examples import Examples
from clipbert.sampling import POLICIES
from clipbert.sampling_config import POLICY_NAMES

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "plotly", "matplotlib", "scipy", "mcp")
COMMAND = """
import ast
import json
import sys
from clipbert import commands
from clipbert.cli import main

parse, parsed = ast.parse, []


def count(source, *arguments, **settings):
    parsed.append(str(source))
    return parse(source, *arguments, **settings)


ast.parse = count
application = commands._import_app(with_mcp=False)
import app.engine, app.examples

app.engine.HEAD_START_SECONDS = app.examples.HEAD_START_SECONDS = 600


def serve(load, **settings):
    application.build_app(load)
    print(json.dumps({{"heavy": sorted(set({heavy}) & set(sys.modules)), "parsed": sum("gradio" in source for source in parsed)}}))


application.serve = serve
raise SystemExit(main(["app"]))
"""


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    """What the command had done when the page was built."""
    done = subprocess.run([sys.executable, "-c", COMMAND.format(heavy=HEAVY)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_until_the_page_is_built_the_command_imports_nothing_heavy(built: dict[str, Any]) -> None:
    assert built["heavy"] == []


def test_gradio_does_not_parse_itself_at_the_start(built: dict[str, Any]) -> None:
    assert built["parsed"] == 0


LAUNCH = """
import os, sys
import app.app as application
from clipbert.cli import main


def launch(app, **settings):
    print("transformers" in sys.modules, os.environ["CLIPBERT_VIDEO_BACKEND"])
    raise SystemExit


application.launch = launch
main(["app"])
"""


def test_before_the_first_visitor_transformers_is_whole_and_decoding_a_matter_of_its_own_process() -> None:
    done = subprocess.run([sys.executable, "-c", LAUNCH], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "True process"), done.stderr


@pytest.mark.slow
def test_the_page_shows_an_answered_example_within_half_a_minute_of_the_command(browser: Any) -> None:
    from app_fixtures import _free_port

    patience = 4  # for machines that have other work to do
    start = time.monotonic()
    command = [sys.executable, "app/app.py", "--port", str(_free_port())]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            page = browser.new_page()
            page.goto(server.stdout.readline().split()[2], wait_until="commit", timeout=patience * 30_000)
            page.wait_for_selector("#question textarea", timeout=patience * 30_000)
            drawn = time.monotonic() - start
            page.wait_for_selector("#answer .big", timeout=patience * 30_000)
            answered = time.monotonic() - start
            page.close()
        finally:
            server.terminate()
    assert drawn < patience * 8 and answered < patience * 30, f"drawn after {drawn:.1f} s, answered after {answered:.1f} s"


def test_the_names_that_the_page_offers_are_those_of_the_policies() -> None:
    assert tuple(POLICIES) == POLICY_NAMES


def test_the_model_is_loaded_when_it_is_first_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "HEAD_START_SECONDS", 600)
    loaded = threading.Event()
    made = Engine(lambda: loaded.set() or "a predictor", then=lambda predictor: None)  # pyright: ignore[reportArgumentType]
    assert not loaded.wait(0.3) and made.state == "loading"
    assert made.predictor() == "a predictor" and loaded.is_set()


def test_without_a_visitor_the_model_is_loaded_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "HEAD_START_SECONDS", 0.1)
    loaded = threading.Event()
    Engine(lambda: loaded.set() or "a predictor", then=lambda predictor: None)  # pyright: ignore[reportArgumentType]
    assert loaded.wait(30)


def test_the_examples_are_made_when_they_are_first_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(examples, "HEAD_START_SECONDS", 600)
    asked: list[Any] = []
    monkeypatch.setattr(examples, "_examples", lambda folder: asked.append(folder) or ())
    made = Examples(tmp_path)
    assert asked == [] and made.all() == () and asked == [tmp_path]
