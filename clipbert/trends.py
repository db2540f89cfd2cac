"""Do smaller runs of ours go the paper's way?  Kendall's tau for a table, sign tests for Figure 4 from rows of `train/ablate.py`.

The paper ran each configuration once and ordered its rows by that; ours are
ordered by their mean over seeds.  What chance alone would do stands beside
every agreement: with few rows or few seeds nothing can be significant, and
then the verdict is "unclear", however well it looks.
"""

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from clipbert.comparison import Measured
from clipbert.paper import Cell, PaperTable

Row = dict[str, Any]
KEYS = {"run", "seed", "scale", "paper_cells", "figure_points"}
LEVEL = 0.05
MAX_EXACT_ROWS, NUM_DRAWS = 7, 20_000
COLUMNS = ("R1", "Accuracy")
STATEMENTS: tuple[tuple[str, dict[tuple[str, int], int]], ...] = (
    ("16 clips beat one, averaged", {("mean", 16): 1, ("mean", 1): -1}),
    ("16 clips beat one, by LogSumExp", {("lse", 16): 1, ("lse", 1): -1}),
    ("averaged, 4 clips add more to one than 16 to 4", {("mean", 4): 2, ("mean", 1): -1, ("mean", 16): -1}),
    ("by LogSumExp, 4 clips add more to one than 16 to 4", {("lse", 4): 2, ("lse", 1): -1, ("lse", 16): -1}),
    ("LogSumExp beats mean pooling of 16 clips", {("lse", 16): 1, ("mean", 16): -1}),
    ("LogSumExp beats max pooling of 16 clips", {("lse", 16): 1, ("max", 16): -1}),
)
"""Each with its points by aggregation and N_test, whose weighted sum it says is above 0; the paper's own curves are averaged."""


def verdict(agrees: float, p_value: float) -> str:
    """Whether `agrees` is above 0 ("yes") or below ("no"); "unclear" where chance alone would do as much once in 20 times."""
    return "unclear" if p_value > LEVEL else "yes" if agrees > 0 else "no"


@dataclass(frozen=True)
class TableTrend:
    """How far our rows of one table come in the paper's order, in one column; a pair is two rows that the paper does not tie."""

    column: str
    scale: str
    agreeing: int
    pairs: int
    kendall_tau: float
    """Of the means over seeds: +1 the paper's order, 0 none, -1 its reverse; a tie of ours counts as half."""
    tau_by_seed: tuple[float, ...]
    """Of each seed alone that has all rows."""
    p_value: float
    """How often a random order of our rows would have a tau as far from 0."""

    @property
    def verdict(self) -> str:
        return verdict(self.kendall_tau, self.p_value)


@dataclass(frozen=True)
class CurveTrend:
    """One statement on Figure 4, and by how much each seed is for it (above 0) or against it."""

    says: str
    series: str
    column: str
    scale: str
    differences: tuple[float, ...]

    @property
    def agreeing(self) -> int:
        return sum(difference > 0 for difference in self.differences)

    @property
    def p_value(self) -> float:
        """Two-sided sign test, without ties: how often fair coins would be as one-sided."""
        num_seeds, agreeing = sum(difference != 0 for difference in self.differences), self.agreeing
        as_far = [k for k in range(num_seeds + 1) if abs(2 * k - num_seeds) >= abs(2 * agreeing - num_seeds)]
        return sum(math.comb(num_seeds, k) for k in as_far) / 2**num_seeds

    @property
    def verdict(self) -> str:
        return verdict(mean(self.differences), self.p_value)


def read_rows(path: Path) -> list[Row]:
    """Rows of `train/ablate.py` in one file, or in all `ablations-*.jsonl` of a folder; ValueError naming file and line for any that is none."""
    files = sorted(path.rglob("ablations-*.jsonl")) if path.is_dir() else [path]
    return [row for file in files for row in _read_file(file)]


def _read_file(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not row.keys() >= KEYS:
            raise ValueError(f"{path}, line {number} is no row of train/ablate.py.")
        yield row


def table_trends(table: PaperTable, results: Sequence[Measured]) -> list[TableTrend]:
    """One for every column and smaller scale of which at least two rows were run that the paper does not tie."""
    found: dict[tuple[str, str], dict[Cell, list[Measured]]] = {}
    for result in results:
        if result.cell.table == table.name and result.cell.value is not None and result.scale != "full":
            found.setdefault((result.cell.column, result.scale), {}).setdefault(result.cell, []).append(result)
    trends = (_table_trend(column, scale, measured) for (column, scale), measured in found.items())
    return [trend for trend in trends if trend]


def _table_trend(column: str, scale: str, measured: dict[Cell, list[Measured]]) -> TableTrend | None:
    signs = _signs(np.array([cell.value for cell in measured]))
    if not signs.any():
        return None
    ours = np.array([mean(run.value for run in runs) for runs in measured.values()])
    by_seed = [{run.seed: run.value for run in runs if run.seed is not None} for runs in measured.values()]
    whole = sorted(seed for seed in by_seed[0] if all(seed in values for values in by_seed))
    taus = tuple(_tau(signs, np.array([values[seed] for values in by_seed])) for seed in whole)
    agreeing, pairs = int((signs * _signs(ours) > 0).sum()) // 2, int(np.abs(signs).sum()) // 2
    return TableTrend(column, scale, agreeing, pairs, _tau(signs, ours), taus, _permutation_p(signs, ours))


def _signs(values: np.ndarray) -> np.ndarray:
    return np.sign(values[:, None] - values[None, :])


def _tau(paper_signs: np.ndarray, ours: np.ndarray) -> float:
    """Agreeing less disagreeing pairs, as a share of those that the paper orders."""
    return float((paper_signs * _signs(ours)).sum() / np.abs(paper_signs).sum())


def _permutation_p(paper_signs: np.ndarray, ours: np.ndarray) -> float:
    size, observed = len(ours), abs(_tau(paper_signs, ours))
    if size <= MAX_EXACT_ROWS:
        orders = np.array(list(itertools.permutations(range(size))))
    else:
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(size), (NUM_DRAWS, 1)), axis=1)
    drawn = ours[orders]
    agreement = np.einsum("ij,pij->p", paper_signs, np.sign(drawn[:, :, None] - drawn[:, None, :]))
    return float((np.abs(agreement) >= observed * np.abs(paper_signs).sum() - 1e-9).mean())


def curve_trends(rows: Sequence[Row]) -> list[CurveTrend]:
    """What section 4.2 says of more clips at inference and of pooling them, for every curve of Figure 4 that was measured."""
    curves: dict[tuple[str, str, str], dict[int, dict[tuple[str, int], float]]] = {}
    for row in rows:
        for point in row["figure_points"]:
            if point["figure"] == 4 and point["column"] in COLUMNS:
                by_seed = curves.setdefault((point["series"], point["column"], row["scale"]), {})
                by_seed.setdefault(row["seed"], {})[point["aggregation"], point["x"]] = point["value"]
    return [
        CurveTrend(says, *about, differences)
        for about, by_seed in curves.items()
        for says, terms in STATEMENTS
        if (differences := tuple(_sum(terms, by_seed[seed]) for seed in sorted(by_seed) if terms.keys() <= by_seed[seed].keys()))
    ]


def _sum(terms: dict[tuple[str, int], int], points: dict[tuple[str, int], float]) -> float:
    return round(sum(weight * points[place] for place, weight in terms.items()), 6)
