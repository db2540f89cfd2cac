"""A JupyterLab with one notebook and its first two cells run in a browser: for the explorer's test, and for the guide's picture of it."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from app_fixtures import _free_port

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}  # else Lab asks for one
SETTINGS = (
    "--no-browser", "--allow-root", "--ip=127.0.0.1", "--IdentityProvider.token=", "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
)  # fmt: skip


@contextmanager
def running_lab(folder: Path, cells: Sequence[str]) -> Iterator[str]:
    """The address of a JupyterLab in `folder`, which has `explorer.ipynb` of these cells and keeps all that Lab writes."""
    port, notebook = _free_port(), nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=KERNEL)
    nbformat.write(notebook, folder / "explorer.ipynb")
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *SETTINGS, f"--port={port}", f"--ServerApp.root_dir={folder}"],
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


def run_two_cells(page: Any, lab: str) -> None:
    """Open the notebook, run its first cell until a picture stands below it, and start the second."""
    page.goto(f"{lab}/lab/tree/explorer.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector("text=/ipykernel. . Idle/")  # what runs before the kernel is up is lost
    page.click(".jp-CodeCell .jp-InputArea-editor")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".jp-OutputArea img")
    page.keyboard.press("Shift+Enter")
