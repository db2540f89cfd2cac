"""Shape annotations of the package are checked in tests, and only there; GPU tests fail where a GPU is demanded."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from app_fixtures import app_predictor, app_url, browser, client, kept, page  # noqa: F401
from jaxtyping import install_import_hook

ROOT = Path(__file__).parent.parent
MODULES = [f"clipbert.{path.stem}" for path in (ROOT / "clipbert").glob("*.py") if path.stem not in ("__init__", "__main__", "cli", "config")]
# not config: the hook rewrites dataclasses, and transformers' strict ones take settings that are no fields
install_import_hook([*MODULES, "clipbert.data", "clipbert.hf"], "beartype.beartype")

GOLDEN = Path(__file__).parent / "golden"
SHARED = ROOT.parent / "shared"


def pytest_configure() -> None:
    torch.set_num_threads(1)  # the suite runs one process per core


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu") and os.environ.get("CLIPBERT_REQUIRE_GPU") != "1":
            item.add_marker(pytest.mark.skip(reason="needs CUDA"))


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
