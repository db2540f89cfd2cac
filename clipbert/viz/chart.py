"""A picture as data: tidy rows, two axes and the marks that draw them.

`clipbert.viz.screen` draws a chart with Plotly and `clipbert.viz.prints` with
matplotlib, from the same rows, which are also its CSV and its table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

Row = dict[str, Any]
"""Column -> text or number; every row of a chart has the same columns."""


@dataclass(frozen=True)
class Axis:
    """What is measured along it, with its unit."""

    label: str
    scale: str = "linear"
    """"linear", "log2", or "category"."""
    order: tuple[str, ...] = ()
    """The values of a category axis, from the left or from the top."""
    limits: tuple[float, float] | None = None
    ticks: tuple[float, ...] = ()

    def positions(self, rows: Sequence[Row], column: str) -> list[float]:
        """Where values lie; those of a category by their number, so that no name is ever read as markup or as a date."""
        if self.scale != "category":
            return [row[column] for row in rows]
        place = {name: i for i, name in enumerate(self.order)}
        return [place[row[column]] for row in rows]


def percent_axis(label: str, percents: Sequence[float], room: float = 1.3) -> Axis:
    """From 0 to 100 %, or to `room` times the largest value where all are small."""
    return Axis(label, limits=(0, 103 if max(percents) * room > 100 else max(room * max(percents), 1.0)))


@dataclass(frozen=True)
class Bars:
    """A bar a row, from `base` (a column; else 0) over `length`, at `at` on the other axis."""

    rows: Sequence[Row]
    at: str
    length: str
    hover: str
    horizontal: bool = False
    base: str = ""
    thickness: str = ""
    """A column, in units of the axis; empty for the usual."""
    series: str = ""
    label: str = ""
    """A column of text at the bar's end."""
    unseen: bool = False
    """Drawn as background, in the grey of what no clip touches."""


@dataclass(frozen=True)
class Lines:
    """A line with markers for each value of the column `series`; `low` and `high` are columns of an interval."""

    rows: Sequence[Row]
    x: str
    y: str
    series: str
    hover: str
    low: str = ""
    high: str = ""
    interval: str = "bars"
    """How it is drawn: "bars", or "band" for one too dense for bars."""
    label: str = ""


@dataclass(frozen=True)
class Points:
    """A marker a row; "hollow" is for numbers that were not measured here, "tick" for a frame in a lane."""

    rows: Sequence[Row]
    x: str
    y: str
    hover: str
    series: str = ""
    shape: str = "filled"
    """"filled", "hollow" or "tick"."""
    label: str = ""


@dataclass(frozen=True)
class Heat:
    """A coloured cell a row; both axes are categories."""

    rows: Sequence[Row]
    x: str
    y: str
    value: str
    hover: str
    text: str
    signed: bool
    unit: str
    outlined: str = ""
    """A column of truth values: cells to outline."""

    @property
    def limits(self) -> tuple[float, float]:
        """Of the colour scale: around 0 if signed, all of a percentage."""
        values = [row[self.value] for row in self.rows]
        if self.signed:
            reach = max(max(map(abs, values)), 1e-9)
            return -reach, reach
        return (0.0, 100.0) if self.unit == "%" else (min(values), max(max(values), min(values) + 1e-9))


@dataclass(frozen=True)
class Rule:
    """A dashed line across the picture at `at` on the x axis, which is linear."""

    at: float
    label: str


@dataclass(frozen=True)
class Reference:
    """A thin grey line to compare with: a fit, dashed, or numbers not measured here, dotted with hollow markers on an axis of their own."""

    rows: Sequence[Row]
    x: str
    y: str
    name: str
    hover: str
    on_right: bool = False
    """Against the chart's `right` axis."""


Mark = Bars | Lines | Points | Heat | Rule | Reference


@dataclass(frozen=True)
class Chart:
    """A picture of a result.

    `model` is named under every title; it is empty only where no model had a
    part.  `caption` says what the numbers are, in plain text.
    """

    title: str
    model: str
    caption: str
    rows: Sequence[Row]
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    series: tuple[str, ...] = ()
    """All series in the order of their colours."""
    panels: str = ""
    """A column of which each value has a panel of its own, with lines alone, on the same axes."""
    right: Axis | None = None
    """Of what is measured in another unit."""

    def __post_init__(self) -> None:
        for row in self.rows:
            assert row.keys() == self.rows[0].keys(), f"rows of {self.title!r} have different columns"
            for column, value in row.items():
                assert not isinstance(value, float) or math.isfinite(value), f"{column} of {self.title!r} is {value}"

    @property
    def subtitle(self) -> str:
        return " · ".join(part for part in (f"model {self.model}" if self.model else "", self.caption) if part)

    def groups(self, mark: Bars | Lines | Points) -> list[tuple[str, list[Row]]]:
        """The rows of a mark by series, in the order of colours."""
        if not mark.series:
            return [("", list(mark.rows))]
        groups = [(name, [row for row in mark.rows if row[mark.series] == name]) for name in self.series]
        return [(name, rows) for name, rows in groups if rows]

    def number(self, series: str) -> int:
        """Which colour and look a series has."""
        return self.series.index(series) if series else 0

    def panel_names(self) -> list[str]:
        """The values of the column `panels`, in their order."""
        return list(dict.fromkeys(row[self.panels] for row in self.rows))

    def panel(self, name: str) -> "Chart":
        """What lies in one of the panels."""
        marks = tuple(replace(mark, rows=[row for row in mark.rows if row[self.panels] == name]) for mark in self.marks if isinstance(mark, Lines))
        return replace(self, rows=[row for row in self.rows if row[self.panels] == name], marks=marks, panels="")

    @property
    def has_legend(self) -> bool:
        named = {name for mark in self.marks if isinstance(mark, Bars | Lines | Points) for name, _ in self.groups(mark) if name}
        return len(named | {mark.name for mark in self.marks if isinstance(mark, Reference)}) > 1
