"""Our measurements of the paper's numbers: those of the checkout, and those that a user brings."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipbert.results import committed_results

if TYPE_CHECKING:
    from clipbert.comparison import Measured


def committed() -> "list[Measured]":
    """Our results of the checkout."""
    from clipbert.comparison import read_results

    folder = committed_results()
    return [replace(run, file=Path(run.file).name) for run in read_results(folder)] if folder else []


def imported(path: Path) -> "list[Measured]":
    """What an uploaded file measured.  Raises ValueError where it measured no number of the paper."""
    from clipbert.comparison import read_result

    found = read_result(path)
    if not found:
        raise ValueError(f"{path.name} names none of the paper's numbers; it needs paper_cells, see clipbert/comparison.py.")
    return [replace(run, file=path.name) for run in found]
