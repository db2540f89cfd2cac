"""Charts drawn by matplotlib, for paper: 3.3 or 6.9 inches wide, 8 points, fonts embedded; from the same rows as on screen."""

import io
import math
import textwrap
import warnings
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from clipbert.checks import check_known
from clipbert.viz.chart import Axis, Bars, Boxes, Chart, Heat, Lines, Picture, Points, Reference, Row, Rule, Scale
from clipbert.viz.style import BOX_EDGE, OUTLINE, POINTS, SIGNED, THEMES, UNSIGNED, WIDTHS, look, panel_columns, plain, text_on

COLORS = THEMES["light"]
SETTINGS: Any = {
    "font.size": POINTS, "axes.titlesize": POINTS, "axes.labelsize": POINTS, "xtick.labelsize": POINTS - 1, "ytick.labelsize": POINTS - 1,
    "legend.fontsize": POINTS - 1, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "clipbert", "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": COLORS.faint, "axes.linewidth": 0.6, "text.color": COLORS.text, "axes.labelcolor": COLORS.text,
    "xtick.color": COLORS.text, "ytick.color": COLORS.text, "figure.facecolor": "white", "axes.facecolor": "none", "savefig.facecolor": "white",
    "text.parse_math": False,
}  # fmt: skip
SMALL = {"fontsize": POINTS - 2, "color": COLORS.text}
LONGEST_NAME = 24
ROW_INCHES = 0.2
PANEL_INCHES, TALLEST_PICTURE, LYING_BAR_INCHES = 1.6, 4.0, 0.3


def print_figure(chart: Chart, *, width: str = "page") -> Figure:
    """The chart as a matplotlib figure of the width of a "column" (3.3 inches) or a "page" (6.9)."""
    check_known("width", width, tuple(WIDTHS))
    if chart.panels:
        return _print_panels(chart, WIDTHS[width])
    num_lines = chart.y.num_lines
    with matplotlib.rc_context(SETTINGS):
        height = _picture_inches(chart, WIDTHS[width] - 1.2) or ROW_INCHES * num_lines + LYING_BAR_INCHES * (chart.y.scale == "hidden") or 1.4
        figure = Figure((WIDTHS[width], 1.0 + height), layout="constrained")
        axes = figure.add_subplot()
        right = axes.twinx() if chart.right else axes
        for mark in chart.marks:
            if isinstance(mark, Rule):
                axes.axvline(mark.at, color=COLORS.faint, linestyle="dashed", linewidth=0.8)
                axes.annotate(mark.label, (mark.at, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", **SMALL)
            elif isinstance(mark, Reference):
                _draw_reference(right if mark.on_right else axes, mark)
            else:
                _draw(axes, chart, mark)
        _set_axes(axes, chart)
        if chart.right:
            _set_axis(right, "y", chart.right)
            right.spines["right"].set_visible(True)
        for scale in chart.scales:
            _draw_scale(figure, [axes], scale, "bottom" if chart.y.scale == "hidden" else "right")
        _set_title(figure, axes, chart, WIDTHS[width])
    return figure


def _print_panels(chart: Chart, inches: float) -> Figure:
    names = chart.panel_names()
    columns = panel_columns(len(names))
    lines = math.ceil(len(names) / columns)
    with matplotlib.rc_context(SETTINGS):
        inner = _picture_inches(chart, inches / columns - 0.5) or ROW_INCHES * chart.y.num_lines or PANEL_INCHES - 0.2
        figure = Figure((inches, 0.8 + (inner + 0.2) * lines), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        colored: dict[Scale, list[Axes]] = {scale: [] for scale in chart.scales}
        for n, axes in enumerate(grid.flat):
            if n >= len(names):
                axes.set_visible(False)
                continue
            part = chart.panel(names[n])
            for mark in part.marks:
                assert not isinstance(mark, Rule | Reference)
                _draw(axes, part, mark)
            axes.set_title(plain(names[n], LONGEST_NAME), fontsize=POINTS - 0.5)
            _set_axes(axes, chart)
            axes.label_outer()
            for scale in part.scales:
                colored[scale].append(axes)
        for scale, beside in colored.items():
            _draw_scale(figure, beside, scale, "right")
        _set_title(figure, grid[0, 0], chart, inches)
    return figure


def _picture_inches(chart: Chart, width: float) -> float:
    """Height of the picture, if there is one, of that width or, if tall, less."""
    return min(width * chart.picture.size[1] / chart.picture.size[0], TALLEST_PICTURE) if chart.picture else 0.0


def print_bytes(chart: Chart, file_format: str, *, width: str = "page", dpi: int = 300) -> bytes:
    """The printed chart as a PNG, a PDF with embedded fonts or an SVG, the same bytes for the same chart."""
    out = io.BytesIO()
    date = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[file_format]
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a script without a font here prints as boxes
        print_figure(chart, width=width).savefig(out, format=file_format, dpi=dpi, metadata=date)
    return out.getvalue()


def _draw(axes: Axes, chart: Chart, mark: Bars | Lines | Points | Heat | Boxes | Picture) -> None:
    if isinstance(mark, Heat):
        _draw_heat(axes, chart, mark)
    elif isinstance(mark, Boxes):
        _draw_boxes(axes, mark)
    elif isinstance(mark, Picture):
        width, height = mark.size
        axes.imshow(np.asarray(mark.image), extent=(0, width, height, 0), interpolation="bilinear")
    else:
        draw: Any = _draw_bars if isinstance(mark, Bars) else _draw_line if isinstance(mark, Lines) else _draw_points
        for series, rows in chart.groups(mark):
            draw(axes, chart, mark, series, rows)


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


def _draw_heat(axes: Axes, chart: Chart, mark: Heat) -> None:
    xs, ys = (axis.positions(mark.rows, column) for axis, column in ((chart.x, mark.x), (chart.y, mark.y)))
    colors = colors_of(mark.scale)
    for x, y, row in zip(xs, ys, mark.rows, strict=True):
        share = mark.scale.share(row[mark.value])
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colors(share), linewidth=0))
        if mark.text:
            axes.text(x, y, row[mark.text], ha="center", va="center", fontsize=POINTS - 2, color=text_on(share, signed=mark.scale.signed))
        if mark.outlined and row[mark.outlined]:
            axes.add_patch(Rectangle((x - 0.45, y - 0.42), 0.9, 0.84, fill=False, edgecolor=OUTLINE, linewidth=2, linestyle="dotted"))
    axes.set(xlim=(-0.5, len(chart.x.order) - 0.5), ylim=(-0.5, len(chart.y.order) - 0.5))
    axes.spines[:].set_visible(False)


def _draw_boxes(axes: Axes, mark: Boxes) -> None:
    colors = colors_of(mark.scale)
    for row, opacity in zip(mark.rows, mark.opacities(), strict=True):
        share, (left, top, right, bottom) = mark.scale.share(row[mark.value]), (row[side] for side in ("left", "top", "right", "bottom"))
        face = (*colors(share)[:3], opacity)
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, facecolor=face, edgecolor=BOX_EDGE, linewidth=0.3))
        if mark.text:
            ink = text_on(share, signed=mark.scale.signed)
            axes.text((left + right) / 2, (top + bottom) / 2, plain(row[mark.text]), ha="center", va="center", fontsize=POINTS - 2, color=ink)
    axes.spines[:].set_visible(False)


def _draw_scale(figure: Figure, beside: list[Axes], scale: Scale, where: Literal["right", "bottom"]) -> None:
    colors = ScalarMappable(Normalize(scale.low, scale.high), colors_of(scale))
    bar = figure.colorbar(colors, ax=beside, label=plain(scale.unit), aspect=30, location=where)
    bar.outline.set_visible(False)


def colors_of(scale: Scale) -> Colormap:
    """From the lowest at 0 to the highest at 1."""
    return matplotlib.colormaps[(SIGNED if scale.signed else UNSIGNED)[1]]


def _set_axes(axes: Axes, chart: Chart) -> None:
    _set_axis(axes, "x", chart.x)
    _set_axis(axes, "y", chart.y)


def _set_axis(axes: Axes, which: str, axis: Axis) -> None:
    line, set_limits = (axes.xaxis, axes.set_xlim) if which == "x" else (axes.yaxis, axes.set_ylim)
    line.set_label_text(axis.label)
    if axis.scale == "hidden":
        line.set_visible(False)
    if axis.scale == "category":
        line.set_ticks(range(len(axis.order)), [plain(name, LONGEST_NAME) for name in axis.order])
        line.set_tick_params(length=0)
        if which == "y":
            axes.set_ylim(len(axis.order) - 0.5, -0.5)
        return
    if axis.scale == "log2":
        axes.set_xscale("log", base=2)
        line.set_minor_locator(NullLocator())
    if axis.ticks:
        line.set_major_locator(FixedLocator(axis.ticks))
        line.set_major_formatter("{x:g}")
    if axis.limits is not None:
        set_limits(*axis.limits)


def _set_title(figure: Figure, axes: Axes, chart: Chart, inches: float) -> None:
    """The title, the model and the caption above; a legend below where there is more than one series."""
    characters = int(inches * 18)
    lines = textwrap.wrap(plain(chart.title), characters) + textwrap.wrap(plain(chart.subtitle), characters)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=POINTS - 0.5)
    if chart.legend:
        named = {name: handle for part in figure.axes for handle, name in zip(*part.get_legend_handles_labels(), strict=True)}
        figure.legend(named.values(), named.keys(), loc="outside lower left", ncols=3, frameon=False)
