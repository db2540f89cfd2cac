"""Charts drawn by matplotlib, for paper: 3.3 or 6.9 inches wide, 8 points, fonts embedded; from the same rows as on screen."""

import io
import math
import textwrap
import warnings
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from clipbert.config import check_known
from clipbert.viz.chart import Axis, Bars, Chart, Heat, Lines, Points, Reference, Row, Rule
from clipbert.viz.style import OUTLINE, POINTS, SIGNED, THEMES, UNSIGNED, WIDTHS, look, plain, text_on

COLORS = THEMES["light"]
SETTINGS: Any = {
    "font.size": POINTS, "axes.titlesize": POINTS, "axes.labelsize": POINTS, "xtick.labelsize": POINTS - 1, "ytick.labelsize": POINTS - 1,
    "legend.fontsize": POINTS - 1, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "clipbert", "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": COLORS.faint, "axes.linewidth": 0.6, "text.color": COLORS.text, "axes.labelcolor": COLORS.text,
    "xtick.color": COLORS.text, "ytick.color": COLORS.text, "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "text.parse_math": False,
}  # fmt: skip
SMALL = {"fontsize": POINTS - 2, "color": COLORS.text}
LONGEST_NAME = 24
ROW_INCHES = 0.2
PANELS_IN_A_ROW, PANEL_INCHES = 3, 1.6


def print_figure(chart: Chart, *, width: str = "page") -> Figure:
    """The chart as a matplotlib figure of the width of a "column" (3.3 inches) or a "page" (6.9)."""
    check_known("width", width, tuple(WIDTHS))
    if chart.panels:
        return _print_panels(chart, WIDTHS[width])
    num_rows = len(chart.y.order)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure((WIDTHS[width], 1.0 + ROW_INCHES * num_rows if num_rows else 2.4), layout="constrained")
        axes = figure.add_subplot()
        right = axes.twinx() if chart.right else axes
        for mark in chart.marks:
            if isinstance(mark, Rule):
                axes.axvline(mark.at, color=COLORS.faint, linestyle="dashed", linewidth=0.8)
                axes.annotate(mark.label, (mark.at, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", **SMALL)
            elif isinstance(mark, Heat):
                _draw_heat(figure, axes, chart, mark)
            elif isinstance(mark, Reference):
                _draw_reference(right if mark.on_right else axes, mark)
            else:
                for series, rows in chart.groups(mark):
                    _draw(axes, chart, mark, series, rows)
        _set_axis(axes, "x", chart.x)
        _set_axis(axes, "y", chart.y)
        if chart.right:
            _set_axis(right, "y", chart.right)
            right.spines["right"].set_visible(True)
        _set_title(figure, axes, chart, WIDTHS[width])
    return figure


def _print_panels(chart: Chart, inches: float) -> Figure:
    names = chart.panel_names()
    columns = min(len(names), PANELS_IN_A_ROW)
    lines = math.ceil(len(names) / columns)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure((inches, 0.8 + PANEL_INCHES * lines), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for n, axes in enumerate(grid.flat):
            if n >= len(names):
                axes.set_visible(False)
                continue
            part = chart.panel(names[n])
            for mark in part.marks:
                assert isinstance(mark, Lines)
                for series, rows in part.groups(mark):
                    _draw_line(axes, part, mark, series, rows)
            axes.set_title(plain(names[n], LONGEST_NAME), fontsize=POINTS - 0.5)
            _set_axis(axes, "x", chart.x)
            _set_axis(axes, "y", chart.y)
            axes.label_outer()
        _set_title(figure, grid[0, 0], chart, inches)
    return figure


def print_bytes(chart: Chart, file_format: str, *, width: str = "page") -> bytes:
    """The printed chart as a PNG at 300 dpi, a PDF with embedded fonts or an SVG, the same bytes for the same chart."""
    out = io.BytesIO()
    date = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[file_format]
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a script without a font here prints as boxes
        print_figure(chart, width=width).savefig(out, format=file_format, dpi=300, metadata=date)
    return out.getvalue()


def _draw(axes: Axes, chart: Chart, mark: Bars | Lines | Points, series: str, rows: list[Row]) -> None:
    if isinstance(mark, Bars):
        _draw_bars(axes, chart, mark, series, rows)
    elif isinstance(mark, Lines):
        _draw_line(axes, chart, mark, series, rows)
    else:
        _draw_points(axes, chart, mark, series, rows)


def _draw_bars(axes: Axes, chart: Chart, mark: Bars, series: str, rows: list[Row]) -> None:
    at = (chart.y if mark.horizontal else chart.x).positions(rows, mark.at)
    lengths = [row[mark.length] for row in rows]
    thickness = [row[mark.thickness] for row in rows] if mark.thickness else 0.72
    base = [row[mark.base] for row in rows] if mark.base else [0.0] * len(rows)
    color = COLORS.unseen if mark.unseen else COLORS.color(chart.number(series))
    if mark.horizontal:
        bars = axes.barh(at, lengths, thickness, base, color=color, alpha=0.85, label=series or None)
    else:
        bars = axes.bar(at, lengths, thickness, base, color=color, alpha=0.85, label=series or None)
    if mark.label:
        axes.bar_label(bars, [plain(row[mark.label]) for row in rows], padding=2, rotation=0 if mark.horizontal else 90, **SMALL)


def _draw_line(axes: Axes, chart: Chart, mark: Lines, series: str, rows: list[Row]) -> None:
    style, color = look(chart.number(series)), COLORS.color(chart.number(series))
    xs, ys = chart.x.positions(rows, mark.x), [row[mark.y] for row in rows]
    axes.plot(xs, ys, color=color, linestyle=style.dash[1], marker=style.marker[1], markersize=3.5, linewidth=1.2, label=plain(series, LONGEST_NAME))
    if mark.low and mark.interval == "band":
        axes.fill_between(xs, [row[mark.low] for row in rows], [row[mark.high] for row in rows], color=color, alpha=0.25, linewidth=0)
    elif mark.low:
        below, above = [y - row[mark.low] for y, row in zip(ys, rows, strict=True)], [row[mark.high] - y for y, row in zip(ys, rows, strict=True)]
        axes.errorbar(xs, ys, [below, above], fmt="none", ecolor=color, elinewidth=0.8, capsize=1.5)
    _label_points(axes, mark.label, rows, xs, ys)


def _draw_points(axes: Axes, chart: Chart, mark: Points, series: str, rows: list[Row]) -> None:
    style, color = look(chart.number(series)), COLORS.color(chart.number(series))
    xs, ys = chart.x.positions(rows, mark.x), chart.y.positions(rows, mark.y)
    if mark.shape == "tick":
        axes.plot(xs, ys, linestyle="none", marker="|", markersize=9, markeredgewidth=0.9, color=COLORS.text)
        return
    inside = "none" if mark.shape == "hollow" else color
    axes.plot(
        xs, ys, linestyle="none", marker=style.marker[1], markersize=4.5, color=color, markerfacecolor=inside, alpha=0.85,
        label=plain(series, LONGEST_NAME) or None,
    )  # fmt: skip
    _label_points(axes, mark.label, rows, xs, ys)


def _draw_reference(axes: Axes, mark: Reference) -> None:
    xs, ys = [row[mark.x] for row in mark.rows], [row[mark.y] for row in mark.rows]
    axes.plot(
        xs, ys, color=COLORS.faint, linewidth=0.8, linestyle="dotted" if mark.on_right else "dashed", marker="o" if mark.on_right else "",
        markersize=3.5, markerfacecolor="none", label=plain(mark.name),
    )  # fmt: skip


def _label_points(axes: Axes, column: str, rows: list[Row], xs: list[float], ys: list[float]) -> None:
    for row, x, y in zip(rows if column else [], xs, ys, strict=False):
        axes.annotate(plain(row[column]), (x, y), (0, 4), textcoords="offset points", ha="center", **SMALL)


def _draw_heat(figure: Figure, axes: Axes, chart: Chart, mark: Heat) -> None:
    xs, ys = (axis.positions(mark.rows, column) for axis, column in ((chart.x, mark.x), (chart.y, mark.y)))
    low, high = mark.limits
    colors = matplotlib.colormaps[(SIGNED if mark.signed else UNSIGNED)[1]]
    for x, y, row in zip(xs, ys, mark.rows, strict=True):
        share = (row[mark.value] - low) / (high - low)
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colors(share), linewidth=0))
        axes.text(x, y, row[mark.text], ha="center", va="center", fontsize=POINTS - 2, color=text_on(share, signed=mark.signed))
        if mark.outlined and row[mark.outlined]:
            axes.add_patch(Rectangle((x - 0.45, y - 0.42), 0.9, 0.84, fill=False, edgecolor=OUTLINE, linewidth=2, linestyle="dotted"))
    axes.set(xlim=(-0.5, len(chart.x.order) - 0.5), ylim=(-0.5, len(chart.y.order) - 0.5))
    axes.spines[:].set_visible(False)
    figure.colorbar(ScalarMappable(Normalize(low, high), colors), ax=axes, label=mark.unit, aspect=30).outline.set_visible(False)


def _set_axis(axes: Axes, which: str, axis: Axis) -> None:
    line, set_limits = (axes.xaxis, axes.set_xlim) if which == "x" else (axes.yaxis, axes.set_ylim)
    line.set_label_text(axis.label)
    if axis.scale == "category":
        line.set_ticks(range(len(axis.order)), [plain(name, LONGEST_NAME) for name in axis.order])
        line.set_tick_params(length=0)
        if which == "y":
            axes.set_ylim(len(axis.order) - 0.5, -0.5)
        return
    if axis.scale == "log2":
        axes.set_xscale("log", base=2)
        line.set_major_locator(FixedLocator(axis.ticks))
        line.set_minor_locator(NullLocator())
        line.set_major_formatter("{x:g}")
    if axis.limits is not None:
        set_limits(*axis.limits)


def _set_title(figure: Figure, axes: Axes, chart: Chart, inches: float) -> None:
    """The title, the model and the caption above; a legend below where there is more than one series."""
    characters = int(inches * 18)
    lines = textwrap.wrap(plain(chart.title), characters) + textwrap.wrap(plain(chart.subtitle), characters)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=POINTS - 0.5)
    if chart.has_legend:
        named = {name: handle for part in figure.axes for handle, name in zip(*part.get_legend_handles_labels(), strict=True)}
        figure.legend(named.values(), named.keys(), loc="outside lower left", ncols=3, frameon=False)
