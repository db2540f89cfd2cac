"""Pictures and rows of the paper's tables: its numbers with what its test sets leave open, and, always apart, runs of ours."""

from collections.abc import Mapping, Sequence
from statistics import mean

from clipbert.comparison import Measured, SmallerRuns, compare, interval
from clipbert.conclusions import Finding
from clipbert.paper import Cell, FigurePoint, PaperTable
from clipbert.trends import CurveTrend, TableTrend
from clipbert.viz.chart import Axis, Bars, Chart, Lines, Points, Row

JOIN = ", "


def comparison_rows(part: PaperTable, results: Sequence[Measured] = ()) -> list[Row]:
    """A line for each row of a table: the paper's numbers, R@1 and accuracies with their interval, and ours of full size, or "not run"."""
    found: dict[tuple[str, ...], Row] = {}
    for one in compare(part, results):
        row = found.setdefault(one.cell.row, dict(zip(part.row_names, one.cell.row, strict=True)))
        row[one.cell.column] = _number(one.cell)
        if one.status not in ("cited", "setting"):
            row[f"{one.cell.column}, ours"] = one.status if one.ours is None else f"{one.ours:.1f} ({one.difference:+.1f}, {one.num_runs} runs)"
    columns = list(dict.fromkeys(column for row in found.values() for column in row))
    return [{column: row.get(column, "cited") for column in columns} for row in found.values()]


def _number(cell: Cell) -> str:
    if cell.value is None:
        return "–"
    known = interval(cell) if cell.column not in ("R5", "R10") else None
    text = f"{cell.value:g}" + (f" [{known[0]:.1f}, {known[1]:.1f}]" if known else "")
    return f"({text})" if cell.grey else text


def paper_lines(part: PaperTable, column: str) -> Chart:
    """One column of the paper over the last of its row names, a line for each of the others, with 95 % intervals where it tells the split's size."""
    values = {cell: (cell.value, *_ends(cell), 1) for cell in part.cells if cell.column == column and cell.value is not None}
    size = next(iter(values)).num_examples
    about = f"95 % interval of {size:,} queries" if size else "the paper does not tell the split's size, so no interval"
    return _lines(part, column, values, "the paper's own numbers", about)


def _ends(cell: Cell) -> tuple[float | None, float | None]:
    return interval(cell) or (None, None)


def measured_lines(part: PaperTable, column: str, runs: Sequence[SmallerRuns]) -> Chart:
    """The same column as our runs of one scale filled it: the mean over seeds, from the lowest to the highest.  Raises ValueError for none."""
    found = [run for run in runs if run.cell.column == column]
    if not found:
        raise ValueError(f"no run measured {column} of Table {part.name}.")
    spread = {run.cell: (run.mean, min(run.values), max(run.values), len(run.values)) for run in found}
    return _lines(part, column, spread, found[0].scale, "not the paper's data or size; mean, lowest and highest seed")


def smaller_rows(part: PaperTable, runs: Sequence[SmallerRuns]) -> list[Row]:
    """A line for each row of a table that runs of ours filled: the mean over seeds with the interval that the number of examples leaves."""
    found: dict[tuple[str, ...], Row] = {}
    for run in runs:
        row = found.setdefault(run.cell.row, dict(zip(part.row_names, run.cell.row, strict=True)))
        row[run.cell.column] = f"{run.mean:.1f}" + (f" [{run.interval[0]:.1f}, {run.interval[1]:.1f}]" if run.interval else "")
        row["seeds"], row["examples"] = len(run.values), run.num_examples
    return list(found.values())


def trend_rows(trends: Sequence[TableTrend]) -> list[Row]:
    """A line for each column that smaller runs of ours filled: whether its rows come in the paper's order."""
    return [
        {
            "of": trend.column, "in": trend.scale, "pairs in the paper's order": f"{trend.agreeing} of {trend.pairs}",
            "Kendall's tau": round(trend.kendall_tau, 2), "of each seed": JOIN.join(f"{tau:+.2f}" for tau in trend.tau_by_seed),
            "p by chance": round(trend.p_value, 3), "the paper's order": trend.verdict,
        }
        for trend in trends
    ]  # fmt: skip


def curve_rows(trends: Sequence[CurveTrend]) -> list[Row]:
    """A line for each statement of section 4.2 on Figure 4: by how much each seed is for it."""
    return [
        {
            "the paper says": trend.says, "of": trend.column, "in": f"{trend.series} ({trend.scale})",
            "each seed": JOIN.join(f"{difference:+.1f}" for difference in trend.differences),
            "seeds that agree": f"{trend.agreeing} of {len(trend.differences)}", "sign test p": round(trend.p_value, 3), "verdict": trend.verdict,
        }
        for trend in trends
    ]  # fmt: skip


def _lines(part: PaperTable, column: str, values: Mapping[Cell, tuple[float | None, float | None, float | None, int]], who: str, about: str) -> Chart:
    unit = next(iter(values)).unit
    name = f"{column}_{'percent' if unit == '%' else unit}"
    rows: list[Row] = [
        {"x": cell.row[-1], "series": JOIN.join(cell.row[:-1]) or who, name: value, "low": low, "high": high, "runs": runs}
        for cell, (value, low, high, runs) in values.items()
    ]
    numeric = all(row["x"].isdigit() for row in rows)
    order = sorted({row["x"] for row in rows}, key=int) if numeric else list(dict.fromkeys(row["x"] for row in rows))
    series = tuple(dict.fromkeys(row["series"] for row in rows))
    hover = f"{{series}}, {part.row_names[-1]} = {{x}}\n{{{name}:.2f}}"
    with_interval = all(row["low"] is not None for row in rows)
    lines = [sorted((row for row in rows if row["series"] == one), key=lambda row: order.index(row["x"])) for one in series]
    ordered = [row for line in lines for row in line]
    mark = Lines(ordered, "x", name, "series", hover, "low" if with_interval else "", "high" if with_interval else "")
    return Chart(
        f"Table {part.name}: {column} by {part.row_names[-1]}", "", f"{who}; {about}", ordered,
        Axis(part.row_names[-1], "category", tuple(order)), Axis(f"{column} ({unit})"), (mark,), series,
    )  # fmt: skip


def paper_bars(part: PaperTable, column: str) -> Chart:
    """One column of a table with names for rows, a bar each; "-" rows are left out."""
    rows: list[Row] = [
        {"row": JOIN.join(cell.row), "value": cell.value, "label": _number(cell), "whose": "ClipBERT" if cell.is_clipbert else "cited"}
        for cell in part.cells
        if cell.column == column and cell.value is not None
    ]
    unit = next(cell.unit for cell in part.cells if cell.column == column)
    bars = Bars(rows, "row", "value", "{row}\n{label}", horizontal=True, label="label", series="whose")
    return Chart(
        f"Table {part.name}: {column}", "", "the paper's own numbers; [95 % interval] where it tells the split's size; (grey in the paper)", rows,
        Axis(f"{column} ({unit})", limits=(0, 1.45 * max(row["value"] for row in rows))),
        Axis("", "category", tuple(row["row"] for row in rows)), (bars,), ("ClipBERT", "cited"),
    )  # fmt: skip


def figure_chart(points: Sequence[FigurePoint], title: str, x: str, y: str) -> Chart:
    """The points of a figure that exist as text, hollow; their places are names or numbers."""
    rows: list[Row] = [
        {"x": point.x if isinstance(point.x, str) else f"{point.x:g}", "y": point.y, "y_text": f"{point.y:g}", "series": point.series,
         "source": point.source} for point in points
    ]  # fmt: skip
    order = tuple(dict.fromkeys(row["x"] for row in rows))
    mark = Points(rows, "x", "y", "{series}\n{y:g}: {source}", series="series", shape="hollow", label="y_text")
    return Chart(
        title, "", "only the points that the paper's text or tables tell; nothing read off a picture", rows, Axis(x, "category", order), Axis(y),
        (mark,), tuple(dict.fromkeys(row["series"] for row in rows)),
    )  # fmt: skip


def finding_rows(findings: Sequence[Finding]) -> list[Row]:
    """A line for each expectation of a conclusion and each scale that measured it."""
    return [
        {
            "expected": found.expectation.says, "of": found.expectation.column, "in": found.scale, "difference": round(mean(found.differences), 2),
            "± (95 %)": None if found.margin is None else round(found.margin, 1), "seeds that agree": f"{found.agreeing} of {len(found.differences)}",
            "sign test p": None if len(found.differences) < 2 else round(found.sign_test_p, 3), "verdict": found.verdict,
        }
        for found in findings
    ]  # fmt: skip
