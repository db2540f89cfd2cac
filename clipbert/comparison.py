"""The paper's numbers beside ours, with an honest status for every cell.

A result file is any `*.json` that says which cells it measured:

    {"scale": "full", "num_examples": 1000,
     "paper_cells": [{"table": "7a", "row": ["ClipBERT 8×2"], "column": "R1", "value": 21.6}]}

`scale` is "full" for the data and size of the paper, else a sentence ("synthetic, 2,000
videos"): such figures show a trend and never count as ours.  Other JSON files are left alone.

Ablations (`train/ablate.py`) come as `ablations-*.jsonl`: such an object a line, one for each run, with its `seed`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from clipbert.metrics import binomial_interval
from clipbert.paper import SETTINGS, Cell, PaperTable, table_part

TOLERANCE = 1.0  # percentage points, or ranks
STATUSES = ("reproduced", "deviates", "scaled-down", "not run", "cited", "setting")


@dataclass(frozen=True)
class Measured:
    """Our number for one cell of the paper."""

    cell: Cell
    value: float
    scale: str
    num_examples: int | None
    file: str
    seed: int | None = None


@dataclass(frozen=True)
class Comparison:
    """A cell of the paper with ours: the mean over full-size runs, or None.

    "reproduced": within 1 point (or rank) of the paper; "deviates": not;
    "scaled-down": only smaller runs exist, which stand in `scaled_down`;
    "not run"; "cited": another method's number; "setting": of a training.
    """

    cell: Cell
    status: str
    ours: float | None
    num_runs: int
    scaled_down: tuple[Measured, ...]
    files: tuple[str, ...]

    @property
    def difference(self) -> float | None:
        return None if self.ours is None or self.cell.value is None else round(self.ours - self.cell.value, 6)


@dataclass(frozen=True)
class SmallerRuns:
    """A cell as our runs of one `scale` below the paper's filled it, a value for each seed."""

    cell: Cell
    scale: str
    values: tuple[float, ...]
    num_examples: int | None
    """That each of them was asked; None where they differ."""

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % binomial interval of the mean, for the examples of one run: all runs are asked the same ones."""
        return interval_of(self.mean, self.cell, self.num_examples)


def smaller_runs(table: PaperTable, results: Sequence[Measured]) -> list[SmallerRuns]:
    """What runs below full size measured of a table, scale by scale, in the order of its cells."""
    scales = dict.fromkeys(result.scale for result in results if result.cell.table == table.name and result.scale != "full")
    groups = [(cell, scale, [run for run in results if run.cell == cell and run.scale == scale]) for scale in scales for cell in table.cells]
    return [
        SmallerRuns(cell, scale, tuple(run.value for run in runs), sizes.pop() if len(sizes) == 1 else None)
        for cell, scale, runs in groups
        if runs and (sizes := {run.num_examples for run in runs})
    ]


def compare(table: PaperTable, results: Sequence[Measured] = ()) -> list[Comparison]:
    """Every cell of a table, with what was measured for it."""
    return [_comparison(cell, [found for found in results if found.cell == cell]) for cell in table.cells]


def _comparison(cell: Cell, found: Sequence[Measured]) -> Comparison:
    full = [result for result in found if result.scale == "full"]
    scaled = tuple(result for result in found if result.scale != "full")
    ours = mean(result.value for result in full) if full else None
    if not cell.is_clipbert:
        status = "setting" if cell.benchmark == SETTINGS else "cited"
    elif ours is not None and cell.value is not None:
        status = "reproduced" if abs(ours - cell.value) <= TOLERANCE else "deviates"
    else:
        status = "scaled-down" if scaled else "not run"
    return Comparison(cell, status, ours, len(full), scaled, tuple(result.file for result in full))


def read_results(folder: Path) -> list[Measured]:
    """What the result files in a folder and below measured of the paper's cells.

    Raises ValueError for a folder that is none, a file that is no JSON, or a
    cell that the paper does not have.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name one with result files, such as benchmarks/results.")
    files = [measured for path in sorted(folder.rglob("*.json")) for measured in read_result(path)]
    return files + [measured for path in sorted(folder.rglob("ablations-*.jsonl")) for measured in read_ablations(path)]


def read_result(path: Path) -> list[Measured]:
    """What one file measured of the paper's cells: nothing, if it is a JSON file of another kind.  Raises ValueError like `read_results`."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no JSON ({error}).") from error
    return _measured(result, path) if isinstance(result, dict) and "paper_cells" in result else []


def read_ablations(path: Path) -> list[Measured]:
    """What each line, which is one run, measured of the paper's cells.  Raises ValueError like `read_results`."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            run = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is no JSON ({error}).") from error
        found += _measured(run, path)
    return found


def _measured(result: Any, path: Path) -> list[Measured]:
    try:
        scale, size, seed = str(result["scale"]), result.get("num_examples"), result.get("seed")
        cells = [
            (table_part(row["table"]).cell(row["column"], *row["row"]), float(row["value"]), row.get("num_examples", size))
            for row in result["paper_cells"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{path} needs "scale", and "table", "row", "column" and "value" for each of its paper_cells; see clipbert/comparison.py.'
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return [Measured(cell, value, scale, num_examples, str(path), seed) for cell, value, num_examples in cells]


def interval(cell: Cell) -> tuple[float, float] | None:
    """The 95 % binomial interval of a recall or accuracy, in percent; None where the paper does not tell the split's size."""
    return interval_of(cell.value, cell, cell.num_examples)


def interval_of(value: float | None, cell: Cell, num_examples: int | None) -> tuple[float, float] | None:
    """The same for a `value` of `cell`'s kind measured on `num_examples`."""
    if cell.unit != "%" or value is None or not num_examples or not 0 <= value <= 100:
        return None
    low, high = binomial_interval(round(value / 100 * num_examples), num_examples)
    return 100 * low, 100 * high
