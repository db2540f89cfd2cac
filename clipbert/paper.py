"""Every number of the paper's tables, what its figures' text tells, and the arithmetic that its text does with them.

`paper.json` was transcribed from the text of the paper; nothing in it was read
off a picture.  Table 10 and 11 are training settings.  Tables 1 to 6 are on
MSRVTT retrieval's local validation set and MSRVTT-QA's, the rest on the splits
their cells name.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SETTINGS = "training settings"  # the benchmark of Tables 10 and 11


@dataclass(frozen=True)
class Cell:
    """One number of the paper; `value` is None where the paper prints a dash.

    `unit` is "%", "rank" (less is better) or that of a setting.  `num_examples`
    is the size of the split where the paper tells it.  `grey` rows use features
    that the comparison leaves out.
    """

    table: str  # "3", or "7a" where a table has parts
    row: tuple[str, ...]
    column: str
    value: float | None
    unit: str
    benchmark: str
    split: str
    num_examples: int | None
    grey: bool
    page: int | None
    section: str

    @property
    def is_clipbert(self) -> bool:
        """Whether the paper's own model made the number, rather than a cited method or a choice of settings."""
        return self.benchmark != SETTINGS and (self.table[0] in "123456" or self.row[0].startswith("ClipBERT"))


@dataclass(frozen=True)
class PaperTable:
    """One table, or one part of it ("7a")."""

    name: str
    title: str
    page: int | None
    section: str
    row_names: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]  # row by row
    note: str = ""

    def cell(self, column: str, *row: str) -> Cell:
        """Raises ValueError where there is none."""
        for cell in self.cells:
            if cell.column == column and cell.row == row:
                return cell
        rows = "; ".join(", ".join(r) for r in dict.fromkeys(cell.row for cell in self.cells))
        raise ValueError(f"Table {self.name} has no cell {column} of {', '.join(row)}; its columns: {', '.join(self.columns)}; its rows: {rows}.")


@dataclass(frozen=True)
class FigurePoint:
    """A point of Figures 3 to 5 that stands in the paper's text, or follows from it (`derived`)."""

    series: str
    x: float | str
    y: float
    unit: str
    source: str
    derived: bool


@dataclass(frozen=True)
class Claim:
    """A number that the paper's text computes from its tables, computed again."""

    claim: str
    section: str
    source: str
    stated: float
    computed: float

    @property
    def holds(self) -> bool:
        return math.isclose(self.stated, self.computed, abs_tol=1e-9)


def paper_table(number: int) -> tuple[PaperTable, ...]:
    """The parts of Table `number`, 1 to 11: three for Tables 7 and 8, else one.

    Raises ValueError for another number.
    """
    found = tuple(_table(row) for row in _document()["tables"] if row["number"] == number)
    if not found:
        raise ValueError(f"the paper has Tables 1 to 11, got {number}.")
    return found


def table_part(name: str) -> PaperTable:
    """One part by its name: "3", "7a"; raises ValueError for another."""
    for row in _document()["tables"]:
        if f"{row['number']}{row['part']}" == name:
            return _table(row)
    known = ", ".join(f"{row['number']}{row['part']}" for row in _document()["tables"])
    raise ValueError(f"the paper has no Table {name!r}; it has {known}.")


def figure_points(figure: int) -> tuple[FigurePoint, ...]:
    """The points of a figure that exist as text; raises ValueError for figures other than 3, 4 and 5."""
    for row in _document()["figures"]:
        if row["figure"] == figure:
            return tuple(_point(point) for point in row["points"])
    raise ValueError(f"the paper plots numbers in Figures 3, 4 and 5, got {figure}.")


def _point(row: dict[str, Any]) -> FigurePoint:
    x = row["x"] if isinstance(row["x"], str) else float(row["x"])
    return FigurePoint(row["series"], x, float(row["y"]), row["unit"], row["from"], row.get("derived", False))


def claims() -> tuple[Claim, ...]:
    """The text's 16 differences and products of numbers, each computed again from the cells it speaks of."""
    return tuple(_claim(row) for row in _document()["claims"])


def _claim(row: dict[str, Any]) -> Claim:
    if "product" in row:
        a, b = row["product"]
        return Claim(row["claim"], row["section"], f"{a} x {b} ({row['from']})", float(row["stated"]), float(a * b))
    cells = [table_part(of["table"]).cell(of["column"], *of["row"]) for of in row["minus"]]
    source = " - ".join(f"{cell.value} (Table {cell.table}, {', '.join(cell.row)}, {cell.column})" for cell in cells)
    high, low = (cell.value for cell in cells)
    assert high is not None and low is not None
    return Claim(row["claim"], row["section"], source, float(row["stated"]), round(high - low, 6))


def conclusion_rows() -> list[dict[str, Any]]:
    """The six Main Conclusions of section 4.3 in the paper's words, with what each expects of which rows; `clipbert.conclusions` reads them."""
    return _document()["conclusions"]


@cache
def _document() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "paper.json").read_text(encoding="utf-8"))


def _table(row: dict[str, Any]) -> PaperTable:
    name, about = f"{row['number']}{row['part']}", {"page": row["page"], "section": row["section"]}
    cells = []
    for line in row["rows"]:
        for (column, key, unit), value in zip(row["columns"], line["values"], strict=True):
            benchmark = _document()["benchmarks"][key]
            size, grey = benchmark["num_examples"], line.get("grey", False)
            value = None if value is None else float(value)
            cells.append(Cell(name, tuple(line["row"]), column, value, unit, benchmark["name"], benchmark["split"], size, grey, **about))
    columns = tuple(column for column, _, _ in row["columns"])
    return PaperTable(name, row["title"], row["page"], row["section"], tuple(row["row_names"]), columns, tuple(cells), row.get("note", ""))
