"""Shape annotations of the package are checked in tests, and only there; GPU tests fail where a GPU is demanded."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from _pytest.runner import runtestprotocol
from app_fixtures import TRAFFIC, app_predictor, app_url, browser, client, errors_shown, kept, page  # noqa: F401
from jaxtyping import install_import_hook

ROOT = Path(__file__).parent.parent
MODULES = [f"clipbert.{path.stem}" for path in (ROOT / "clipbert").glob("*.py") if path.stem not in ("__init__", "__main__", "cli", "config")]
# not config: the hook rewrites dataclasses, and transformers' strict ones take settings that are no fields
install_import_hook([*MODULES, "clipbert.data", "clipbert.hf"], "beartype.beartype")

GOLDEN = Path(__file__).parent / "golden"
SHARED = ROOT.parent / "shared"
TRIED_TWICE = "tried twice"


def pytest_configure() -> None:
    torch.set_num_threads(1)  # the suite runs one process per core


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu") and os.environ.get("CLIPBERT_REQUIRE_GPU") != "1":
            item.add_marker(pytest.mark.skip(reason="needs CUDA"))


def pytest_runtest_protocol(item: Any, nextitem: pytest.Item | None) -> bool | None:
    """A test in a browser that waited in vain is tried once more; the summary says so, and what the page and the app had said to each other.

    Three runs of the suite each had one, never the same; the causes of two are
    known and dealt with.  What fails twice, or in another way, fails.
    """
    if "browser" not in item.fixturenames:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if any(report.failed and "TimeoutError: " in report.longreprtext for report in reports):
        item._initrequest()
        waited = [line for report in reports if report.failed for line in report.longreprtext.splitlines() if line.startswith(("E ", ">"))]
        item.user_properties.append((TRIED_TWICE, "\n    ".join((item.nodeid, *waited, *TRAFFIC))))
        for fixture in (one for found in item._fixtureinfo.name2fixturedefs.values() for one in found):
            kept = fixture.cached_result  # of the file or the session: one that waited in vain itself, or a page left half way
            if kept and (kept[2] or hasattr(kept[0], "locator")):
                fixture.finish(item._request)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """While the page of a test that waited in vain is still open."""
    if call.excinfo and call.excinfo.typename == "TimeoutError":
        for page in item.funcargs.values():
            if hasattr(page, "locator") and not page.is_closed():
                TRAFFIC.extend(errors_shown(page))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for kind in ("passed", "failed", "error") for report in terminalreporter.stats.get(kind, ())]
    for test in sorted({value for report in reports for name, value in report.user_properties if name == TRIED_TWICE}):
        terminalreporter.write_line(f"tried twice, for it waited in vain: {test}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real images and videos beside a developer's checkout; a stranger's clone has none."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"needs the real data in {SHARED / 'data'}")
    return SHARED / "data"


@pytest.fixture(scope="module")
def predictor() -> Any:
    """A tiny model of three clips of 3 x 3 cells, where a file has none of its own."""
    from inside_case import inside_predictor

    return inside_predictor()


@pytest.fixture(scope="module")
def video(predictor: Any) -> Any:
    """A video of random features, encoded by the tiny model, where a file has none of its own."""
    from inside_case import random_video

    return random_video(predictor)
