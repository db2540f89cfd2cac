"""A picture as data: tidy rows, two axes and the marks that draw them.

`clipbert.viz.screen` draws a chart with Plotly and `clipbert.viz.prints` with
matplotlib, from the same rows, which are also its CSV and its table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

Row = dict[str, Any]
"""Column -> text or number; every row of a chart has the same columns."""


@dataclass(frozen=True)
class Axis:
    """What is measured along it, with its unit."""

    label: str
    scale: str = "linear"
    """"linear", "log2", "category", or "hidden" for places that mean nothing."""
    order: tuple[str, ...] = ()
    """The values of a category axis, from the left or from the top."""
    limits: tuple[float, float] | None = None
    ticks: tuple[float, ...] = ()
    """Where its numbers stand; empty for the usual."""

    def positions(self, rows: Sequence[Row], column: str) -> list[float]:
        """Where values lie; those of a category by their number, so that no name is ever read as markup or as a date."""
        if self.scale != "category":
            return [row[column] for row in rows]
        place = {name: i for i, name in enumerate(self.order)}
        return [place[row[column]] for row in rows]

    @property
    def num_lines(self) -> int:
        """Of a y axis that counts lines; 0 for one that measures."""
        return round(max(self.limits)) if self.scale == "hidden" and self.limits else len(self.order)


@dataclass(frozen=True)
class Scale:
    """Of colours: `low` to `high`; a signed one goes as far below 0 as above."""

    low: float
    high: float
    signed: bool
    unit: str

    @classmethod
    def of(cls, values: Sequence[float], *, signed: bool, unit: str) -> "Scale":
        """Of these values: around 0 if signed, else from 0 or the lowest below it."""
        reach = max(max(map(abs, values)), 1e-9)
        return cls(-reach if signed else min(*values, 0.0), reach, signed, unit)

    def share(self, value: float) -> float:
        """Where on the scale a value lies, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)

    def opacity(self, value: float, strongest: float) -> float:
        """Of what shows a value over a picture: `strongest` for the value farthest from 0, less the nearer it lies; where `strongest` is 1, all 1."""
        return strongest ** (3 - 2 * abs(value) / max(abs(self.low), abs(self.high)))


PERCENT = Scale(0.0, 100.0, signed=False, unit="%")


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
    scale: Scale
    outlined: str = ""
    """A column of truth values: cells to outline."""


@dataclass(frozen=True)
class Boxes:
    """A coloured rectangle a row, from its columns `left` and `top` to `right` and `bottom`, over what lies beneath."""

    rows: Sequence[Row]
    value: str
    hover: str
    scale: Scale
    text: str = ""
    """A column of text within the box."""
    opacity: float = 1.0
    """Of the strongest."""

    def opacities(self) -> list[float]:
        """Of each box."""
        return [self.scale.opacity(row[self.value], self.opacity) for row in self.rows]


@dataclass(frozen=True, eq=False)
class Picture:
    """An image beneath everything else, its top left at 0, 0; the axes keep its shape.  `size` is its (width, height) in units of the axes."""

    image: Image.Image
    size: tuple[float, float]


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


Mark = Bars | Lines | Points | Heat | Boxes | Picture | Rule | Reference


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
    """A column of which each value has a panel of its own, on the same axes; a picture lies in all of them."""
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
        marks: list[Mark] = []
        for mark in self.marks:
            assert not isinstance(mark, Rule | Reference), f"{mark} lies in no panel of {self.title!r}"
            if isinstance(mark, Picture):
                marks.append(mark)
            elif rows := [row for row in mark.rows if row[self.panels] == name]:
                marks.append(replace(mark, rows=rows))
        return replace(self, rows=[row for row in self.rows if row[self.panels] == name], marks=tuple(marks), panels="")

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Of its colours, each once."""
        return tuple(dict.fromkeys(mark.scale for mark in self.marks if isinstance(mark, Heat | Boxes)))

    @property
    def picture(self) -> Picture | None:
        return next((mark for mark in self.marks if isinstance(mark, Picture)), None)

    @property
    def legend(self) -> list[str]:
        """The series and references that a legend names; one alone needs none."""
        named = [name for mark in self.marks if isinstance(mark, Bars | Lines | Points) for name, _ in self.groups(mark) if name]
        named = list(dict.fromkeys(named + [mark.name for mark in self.marks if isinstance(mark, Reference)]))
        return named if len(named) > 1 else []
