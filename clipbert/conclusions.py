"""The paper's six Main Conclusions as differences of its own cells, and what the paper's numbers and ours say to each.

An expectation holds where its sum of cells is above 0, or, "on par", within a
point of it.  The paper ran each configuration once: beside its R@1 stands
the 95 % margin that 1,000 queries leave, taking rows as independent (they
share their queries, so the true margin is smaller).  Our runs count seed by
seed, and have the margin of their own test set.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from clipbert.comparison import TOLERANCE, Measured
from clipbert.paper import Cell, conclusion_rows, table_part

COLUMNS = ("R1", "Accuracy")  # of retrieval and of question answering
THE_PAPER = "the paper"


@dataclass(frozen=True)
class Expectation:
    """What a conclusion says of one column: the sum of weighted cells is above 0, or within TOLERANCE of it."""

    says: str
    column: str
    terms: tuple[tuple[int, Cell], ...]
    on_par: bool

    def holds(self, difference: float) -> bool:
        return abs(difference) <= TOLERANCE if self.on_par else difference > 0


@dataclass(frozen=True)
class Conclusion:
    """One of the six, in the paper's words."""

    number: str
    statement: str
    section: str
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class Finding:
    """How an expectation fared: in the paper's own numbers, or in our runs at one `scale`, a difference for each seed."""

    expectation: Expectation
    scale: str
    differences: tuple[float, ...]
    margin: float | None = None
    """Half the 95 % interval of the difference, of ours for the mean over seeds, all asked the same; None where the test set's size is not told."""

    @property
    def agreeing(self) -> int:
        return sum(map(self.expectation.holds, self.differences))

    @property
    def sign_test_p(self) -> float:
        """Two-sided: how often a fair coin for each seed would be as one-sided."""
        n, k = len(self.differences), max(self.agreeing, len(self.differences) - self.agreeing)
        return min(1.0, 2 * sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n)

    @property
    def verdict(self) -> str:
        """Of the paper's numbers "holds", "within the noise" or "does not hold"; of ours "for", "against" or "mixed", as all seeds say or not."""
        if self.scale != THE_PAPER:
            return "for" if self.agreeing == len(self.differences) else "against" if not self.agreeing else "mixed"
        if self.margin is not None and not self.expectation.on_par and abs(self.differences[0]) < self.margin:
            return "within the noise"
        return "holds" if self.agreeing else "does not hold"


def conclusions() -> tuple[Conclusion, ...]:
    """All six, each with what it expects of retrieval and of question answering."""
    return tuple(
        Conclusion(row["number"], row["statement"], row["section"], tuple(_expectation(e, column) for e in row["expects"] for column in COLUMNS))
        for row in conclusion_rows()
    )


def _expectation(row: dict[str, Any], column: str) -> Expectation:
    terms = [(weight, table_part(table).cell(column, *names)) for key, weight in (("plus", 1), ("minus", -1)) for table, *names in row[key]]
    return Expectation(row["says"], column, tuple(terms), row.get("on_par", False))


def findings(conclusion: Conclusion, results: Sequence[Measured] = ()) -> list[Finding]:
    """For each expectation the paper's own finding, then ours for each scale that measured all of its cells."""
    return [finding for expectation in conclusion.expectations for finding in _findings(expectation, results)]


def _findings(expectation: Expectation, results: Sequence[Measured]) -> Iterator[Finding]:
    paper = {cell: cell.value or 0.0 for _, cell in expectation.terms}
    sizes = {cell: None if cell.value is None else cell.num_examples for cell in paper}
    yield Finding(expectation, THE_PAPER, (_total(expectation, paper),), _margin(expectation, paper, sizes))
    runs: dict[str, dict[int | None, dict[Cell, list[Measured]]]] = {}
    for run in results:
        if run.cell in paper:
            runs.setdefault(run.scale, {}).setdefault(run.seed, {}).setdefault(run.cell, []).append(run)
    for scale, seeds in runs.items():
        whole = [measured for measured in seeds.values() if measured.keys() == paper.keys()]
        if whole:
            values = [{cell: mean(run.value for run in measured[cell]) for cell in paper} for measured in whole]
            means = {cell: mean(value[cell] for value in values) for cell in paper}
            sizes = {cell: whole[0][cell][0].num_examples for cell in paper}
            yield Finding(expectation, scale, tuple(_total(expectation, value) for value in values), _margin(expectation, means, sizes))


def _total(expectation: Expectation, values: Mapping[Cell, float]) -> float:
    return round(sum(weight * values[cell] for weight, cell in expectation.terms), 6)


def _margin(expectation: Expectation, values: Mapping[Cell, float], sizes: Mapping[Cell, int | None]) -> float | None:
    weights: dict[Cell, int] = {}
    for weight, cell in expectation.terms:
        weights[cell] = weights.get(cell, 0) + weight
    variance = 0.0
    for cell, weight in weights.items():
        size = sizes[cell]
        if not size:
            return None
        variance += weight**2 * values[cell] * (100 - values[cell]) / size
    return 1.96 * math.sqrt(variance)
