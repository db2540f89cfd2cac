"""A server of its own: it asks for a password, and after kill -9 in the middle of an answer it starts clean."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from app_fixtures import _free_port
from conftest import GOLDEN
from gradio_client import Client, handle_file
from gradio_client.exceptions import AuthenticationError
from gradio_client.utils import Status

ROOT = Path(__file__).parents[1]
VIDEO = GOLDEN / "video_a30.mp4"
LOGIN = ("ann", "secret")


@contextmanager
def server(folder: Path, port: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process of an app whose temporary files lie in `folder`."""
    (folder / "temporary").mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(folder / "temporary"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("GRADIO_TEMP_DIR", None)
    command = [sys.executable, str(Path(__file__).parent / "app_server.py"), str(port), str(folder / "examples")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("clipbert explorer: http://127.0.0.1:"), line
        yield line.split()[2], process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def uploads(folder: Path) -> set[Path]:
    return set((folder / "temporary").glob("clipbert-uploads-*"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there no process can be asked whether it runs without ending it")
def test_a_killed_server_starts_clean_and_asks_for_the_password(tmp_path: Path) -> None:
    port = _free_port()
    with server(tmp_path, port) as (address, process):
        with pytest.raises(AuthenticationError):
            Client(address, verbose=False)
        client = Client(address, auth=LOGIN, verbose=False)
        job = client.submit(handle_file(VIDEO), "is it cut short?", 16, api_name="/ask")
        until = time.monotonic() + 60
        while job.status().code != Status.PROCESSING and time.monotonic() < until:
            time.sleep(0.05)
        assert job.status().code == Status.PROCESSING
        process.kill()
        process.wait()
        left = uploads(tmp_path)
        assert len(left) == 1
        client.close()
    with server(tmp_path, port) as (address, _):
        assert not left & uploads(tmp_path) and len(uploads(tmp_path)) == 1
        client = Client(address, auth=LOGIN, verbose=False)
        assert client.predict(handle_file(VIDEO), "is it whole?", 2, api_name="/ask")["answer"]
        client.close()


def log_in(page: Any) -> None:
    for kind, word in zip(("text", "password"), LOGIN, strict=True):
        page.fill(f"input[type={kind}]", word)
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer .big", timeout=300_000)


def test_a_page_says_that_its_server_is_gone_and_comes_back_with_it(browser: Any, tmp_path: Path) -> None:
    port = _free_port()
    page = browser.new_page()
    page.set_default_timeout(90_000)
    with server(tmp_path, port) as (address, process):
        page.goto(address)
        log_in(page)
        page.fill("#question textarea", "is it cut short?")
        page.click("#ask")
        page.wait_for_function("/after [123]\\/4/.test(document.querySelector('#answer .state')?.innerText)")
        process.kill()
        page.wait_for_selector(".toast-body:has-text('Connection to the server was lost')")
    with server(tmp_path, port):
        page.wait_for_selector("input[type=password]")
        log_in(page)
    page.close()
