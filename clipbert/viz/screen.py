"""Charts drawn by Plotly, for pages: transparent, in a light or a dark theme, every text of a user escaped."""

import html
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
from plotly.colors import get_colorscale
from plotly.subplots import make_subplots

from clipbert.viz.chart import Axis, Bars, Boxes, Chart, Heat, Lines, Picture, Points, Reference, Row, Rule, Scale
from clipbert.viz.strip import data_url
from clipbert.viz.style import BOX_EDGE, OUTLINE, SIGNED, UNSIGNED, Theme, look, panel_columns, plain, text_on, theme_of

CONFIG: dict[str, Any] = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"format": "svg"}}
"""Plotly's settings for the page: the camera button saves SVG."""
LONGEST_NAME = 28
LINE = 76
ROW_PIXELS = 30
LYING_BAR_PIXELS = 48
BARE_TOP = 24  # pixels above the axes, where a label may stand
AXES_PIXELS, PANEL_PIXELS, PICTURE_PIXELS = 220, 190, 480
PHONE, LEGEND_LINE, LEGEND_KEY, LEGEND_LETTER = 210, 19, 45, 7  # pixels: the axes on a narrow page, and about a legend


def screen_figure(chart: Chart, *, theme: str = "light") -> go.Figure:
    """The chart as a Plotly figure; show it with `config=CONFIG`."""
    colors = theme_of(theme)
    if chart.panels:
        return _panels(chart, colors)
    figure = go.Figure(layout=_layout(chart, colors))
    _draw(_Place(figure, colors, _color_axes(chart, figure)), chart)
    return figure


def untitled_figure(chart: Chart, *, theme: str = "light") -> go.Figure:
    """The figure for a page that writes title and subtitle above it: text of the page wraps at any width, Plotly's is cut off."""
    figure = screen_figure(chart, theme=theme)
    layout = figure.to_dict()["layout"]
    return figure.update_layout(title=None, margin={"t": BARE_TOP}, height=layout["height"] - layout["margin"]["t"] + BARE_TOP)


def screen_html(chart: Chart, *, theme: str = "light") -> str:
    """A page of its own that needs no network."""
    return screen_figure(chart, theme=theme).to_html(config=CONFIG, include_plotlyjs=True)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where to draw, and in which colours."""

    figure: go.Figure
    colors: Theme
    color_axes: dict[Scale, str]
    panel: dict[str, Any] = field(default_factory=dict)
    """"row" and "col" of one panel of several."""


def _draw(place: _Place, chart: Chart) -> None:
    figure, colors = place.figure, place.colors
    for mark in chart.marks:
        if isinstance(mark, Rule):
            _draw_rule(figure, mark, colors)
        elif isinstance(mark, Picture):
            _draw_picture(place, mark)
        elif isinstance(mark, Heat):
            _draw_heat(place, chart, mark)
        elif isinstance(mark, Boxes):
            figure.add_trace(_boxes(mark, place.color_axes[mark.scale]), **place.panel)
        elif isinstance(mark, Reference):
            figure.add_trace(_reference(mark, colors))
        else:
            for series, rows in chart.groups(mark):
                for trace in _traces(chart, mark, series, rows, colors):
                    figure.add_trace(trace, **place.panel)


def _traces(chart: Chart, mark: Bars | Lines | Points, series: str, rows: Sequence[Row], colors: Theme) -> Sequence[go.Bar | go.Scatter]:
    if isinstance(mark, Lines):
        return _line(chart, mark, series, rows, colors)
    return [_bars(chart, mark, series, rows, colors) if isinstance(mark, Bars) else _points(chart, mark, series, rows, colors)]


def _panels(chart: Chart, colors: Theme) -> go.Figure:
    names = chart.panel_names()
    columns, layout = panel_columns(len(names)), _layout(chart, colors)
    lines, above, x, y = math.ceil(len(names) / columns), layout["margin"]["t"], layout.pop("xaxis"), layout.pop("yaxis")
    figure = make_subplots(
        lines, columns, subplot_titles=[_safe(name, LONGEST_NAME) for name in names], vertical_spacing=0.16 / lines,
        horizontal_spacing=0.04 if len(chart.scales) < 2 else 0.15,
    )  # fmt: skip
    inner = PICTURE_PIXELS // 2 if chart.picture else ROW_PIXELS * chart.y.num_lines or PANEL_PIXELS
    layout |= {"height": above + 80 + inner * lines, "margin": layout["margin"] | {"t": above + 20, "b": 48}}
    figure.update_layout(layout)
    one = {"title": {}, "showticklabels": False}
    figure.update_xaxes(x | one | {"matches": "x"}).update_yaxes(y | one | {"matches": "y"})
    figure.update_xaxes(title=x["title"], row=lines, showticklabels=True).update_yaxes(title=y["title"], col=1, showticklabels=True)
    color_axes = _color_axes(chart, figure)
    for n, name in enumerate(names):
        _draw(_Place(figure, colors, color_axes, {"row": n // columns + 1, "col": n % columns + 1}), chart.panel(name))
    _name_once(figure)
    return figure


def _name_once(figure: go.Figure) -> None:
    """In the legend, a series of several panels."""
    met: set[str] = set()
    traces: Any = figure.data
    for trace in traces:
        trace.update(legendgroup=trace.name, showlegend=bool(trace.name) and trace.name not in met)
        met |= {trace.name} if trace.name else set()


def _color_axes(chart: Chart, figure: go.Figure) -> dict[Scale, str]:
    """Each scale's colours by the name that traces know, with its bar right of the last panel that it colours."""
    names, found = chart.panel_names() if chart.panels else [], {}
    for n, scale in enumerate(chart.scales, 1):
        found[scale] = name = f"coloraxis{n if n > 1 else ''}"
        bar: dict[str, Any] = {"title": {"text": _safe(scale.unit), "side": "right"}, "outlinewidth": 0, "thickness": 12}
        if chart.y.scale == "hidden":
            bar |= {"orientation": "h", "y": 0, "yanchor": "top", "title": {"text": _safe(scale.unit), "side": "bottom"}}
        if names:
            has = [panel for panel, name in enumerate(names) if scale in chart.panel(name).scales]
            last = max(panel % panel_columns(len(names)) for panel in has)
            bar |= {"x": figure.layout[f"xaxis{last + 1 if last else ''}"].domain[1] + 0.005, "xanchor": "left"}
        colors = get_colorscale((SIGNED if scale.signed else UNSIGNED)[0])
        figure.update_layout({name: {"cmin": scale.low, "cmax": scale.high, "colorscale": colors, "colorbar": bar}})
    return found


def _layout(chart: Chart, colors: Theme) -> dict[str, Any]:
    subtitle = textwrap.wrap(plain(chart.subtitle), LINE)
    inner = PICTURE_PIXELS if chart.picture else ROW_PIXELS * chart.y.num_lines + LYING_BAR_PIXELS * (chart.y.scale == "hidden") or AXES_PIXELS
    bare = {"showgrid": False, "zeroline": False} if chart.picture else {}
    upright = ({"autorange": "reversed"} if chart.y.order else {}) | ({"scaleanchor": "x"} if chart.picture else {})
    return {
        "title": {
            "text": _safe(chart.title, LINE), "x": 0, "yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 6},
            "subtitle": {"text": "<br>".join(map(_safe, subtitle)), "font": {"size": 11, "color": colors.faint}},
        },
        "font": {"color": colors.text, "size": 12, "family": "system-ui, -apple-system, 'Segoe UI', sans-serif"},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "template": "none", "separators": ".,",
        "margin": {"l": 8, "r": 16, "t": 40 + 16 * len(subtitle), "b": 8}, "height": 120 + 16 * len(subtitle) + inner + _legend_on_a_phone(chart),
        "xaxis": _axis(chart.x, colors) | bare, "yaxis": _axis(chart.y, colors) | upright | bare,
        **({"yaxis2": _axis(chart.right, colors) | {"overlaying": "y", "side": "right", "showgrid": False}} if chart.right else {}),
        "barmode": "overlay", "bargap": 0.25, "hovermode": "closest", "showlegend": bool(chart.legend),
        "legend": {"orientation": "h", "x": 0, "yref": "container", "y": 0, "yanchor": "bottom"},
        "hoverlabel": {"align": "left"},
    }  # fmt: skip


def _legend_on_a_phone(chart: Chart) -> int:
    """Pixels of a legend's lines after its first on a narrow page, where they would leave rows of bars no height: Plotly then draws nothing."""
    widest = max((LEGEND_KEY + LEGEND_LETTER * min(len(name), LONGEST_NAME) for name in chart.legend), default=PHONE)
    return LEGEND_LINE * (math.ceil(len(chart.legend) / max(PHONE // widest, 1)) - 1) if chart.legend else 0


def _axis(axis: Axis, colors: Theme) -> dict[str, Any]:
    if axis.scale == "hidden":
        return {"visible": False, "range": axis.limits}
    shown: dict[str, Any] = {
        "title": {"text": _safe(axis.label)}, "automargin": True, "gridcolor": colors.grid, "zerolinecolor": colors.faint, "linecolor": colors.faint,
        "tickcolor": colors.faint, "constrain": "domain",
    }  # fmt: skip
    if axis.scale == "category":
        names = [_safe(name, LONGEST_NAME) for name in axis.order]
        return shown | {"tickvals": list(range(len(names))), "ticktext": names, "showgrid": False, "zeroline": False}
    if axis.scale == "log2":
        shown["type"] = "log"
    if axis.ticks:
        shown |= {"tickvals": list(axis.ticks), "ticktext": [f"{tick:g}" for tick in axis.ticks]}
    if axis.limits is not None:
        shown["range"] = [_coordinate(limit, axis) for limit in axis.limits]
    return shown


def _bars(chart: Chart, mark: Bars, series: str, rows: Sequence[Row], colors: Theme) -> go.Bar:
    across, along = ("y", "x") if mark.horizontal else ("x", "y")
    names = chart.y if mark.horizontal else chart.x
    return go.Bar(
        {across: names.positions(rows, mark.at), along: [row[mark.length] for row in rows]},
        base=[row[mark.base] for row in rows] if mark.base else None,
        width=[row[mark.thickness] for row in rows] if mark.thickness else None,
        orientation="h" if mark.horizontal else "v", name=_safe(series), showlegend=bool(series),
        marker={"color": colors.unseen if mark.unseen else colors.color(chart.number(series)), "line": {"width": 0}, "opacity": 0.85},
        text=[_safe(row[mark.label]) for row in rows] if mark.label else None, textposition="outside", cliponaxis=False,
        textangle=0 if mark.horizontal else -90, textfont={"color": colors.text, "size": 11}, **_hover(mark.hover, rows),
    )  # fmt: skip


def _line(chart: Chart, mark: Lines, series: str, rows: Sequence[Row], colors: Theme) -> list[go.Scatter]:
    """The line, after the band around it if it has one."""
    style, color = look(chart.number(series)), colors.color(chart.number(series))
    xs, bars = chart.x.positions(rows, mark.x), mark.low and mark.interval == "bars"
    line = go.Scatter(
        x=xs, y=chart.y.positions(rows, mark.y), mode="lines+markers+text" if mark.label else "lines+markers",
        name=_safe(series, LONGEST_NAME), line={"color": color, "dash": style.dash[0], "width": 2}, marker={"symbol": style.marker[0], "size": 8},
        text=[_safe(row[mark.label]) for row in rows] if mark.label else None, textposition="top center", textfont={"size": 11, "color": colors.text},
        error_y={
            "array": [row[mark.high] - row[mark.y] for row in rows], "arrayminus": [row[mark.y] - row[mark.low] for row in rows], "thickness": 1,
        } if bars else None, **_hover(mark.hover, rows),
    )  # fmt: skip
    if not mark.low or bars:
        return [line]
    around = go.Scatter(
        x=[*xs, *reversed(xs)], y=[*(row[mark.high] for row in rows), *(row[mark.low] for row in reversed(rows))], mode="lines", fill="toself",
        fillcolor=color, opacity=0.25, line={"width": 0}, showlegend=False, **_hover(mark.hover, [*rows, *reversed(rows)]),
    )  # fmt: skip
    return [around, line]


def _points(chart: Chart, mark: Points, series: str, rows: Sequence[Row], colors: Theme) -> go.Scatter:
    style, color = look(chart.number(series)), colors.color(chart.number(series))
    marker: dict[str, Any] = {"symbol": style.marker[0], "size": 9, "color": color, "opacity": 0.8}
    if mark.shape == "hollow":
        marker |= {"symbol": f"{style.marker[0]}-open", "line": {"width": 2}, "opacity": 1, "size": 11}
    if mark.shape == "tick":
        marker = {"symbol": "line-ns", "size": 16, "line": {"width": 1.5, "color": colors.text}}
    return go.Scatter(
        x=chart.x.positions(rows, mark.x), y=chart.y.positions(rows, mark.y), mode="markers+text" if mark.label else "markers",
        name=_safe(series, LONGEST_NAME), showlegend=bool(series), marker=marker,
        text=[_safe(row[mark.label]) for row in rows] if mark.label else None, textposition="top center", textfont={"size": 11, "color": colors.text},
        **_hover(mark.hover, rows),
    )  # fmt: skip


def _reference(mark: Reference, colors: Theme) -> go.Scatter:
    return go.Scatter(
        x=[row[mark.x] for row in mark.rows], y=[row[mark.y] for row in mark.rows], mode="lines+markers" if mark.on_right else "lines",
        name=_safe(mark.name), line={"color": colors.faint, "dash": "dot" if mark.on_right else "dash", "width": 1},
        marker={"symbol": "circle-open", "size": 7, "color": colors.faint}, yaxis="y2" if mark.on_right else "y", **_hover(mark.hover, mark.rows),
    )  # fmt: skip


def _draw_rule(figure: go.Figure, mark: Rule, colors: Theme) -> None:
    figure.add_vline(x=mark.at, line={"dash": "dash", "color": colors.faint, "width": 1})
    figure.add_annotation(
        x=mark.at, y=1, yref="paper", xanchor="left", yanchor="top", text=_safe(mark.label), showarrow=False, font={"size": 11, "color": colors.faint}
    )


def _draw_heat(place: _Place, chart: Chart, mark: Heat) -> None:
    xs, ys = chart.x.positions(mark.rows, mark.x), chart.y.positions(mark.rows, mark.y)
    cells = {(x, y): row for x, y, row in zip(xs, ys, mark.rows, strict=True)}
    columns, lines = range(len(chart.x.order)), range(len(chart.y.order))
    place.figure.add_trace(go.Heatmap(
        x=list(columns), y=list(lines), z=[[cells[x, y][mark.value] for x in columns] for y in lines], coloraxis=place.color_axes[mark.scale],
        xgap=2, ygap=2,
        customdata=[[_hover_text(mark.hover, cells[x, y]) for x in columns] for y in lines], hovertemplate="%{customdata}<extra></extra>",
    ), **place.panel)  # fmt: skip
    for (x, y), row in cells.items():
        if mark.text:
            color = text_on(mark.scale.share(row[mark.value]), signed=mark.scale.signed)
            place.figure.add_annotation(x=x, y=y, text=_safe(row[mark.text]), showarrow=False, font={"size": 11, "color": color}, **place.panel)
        if mark.outlined and row[mark.outlined]:
            place.figure.add_shape(
                type="rect", x0=x - 0.46, x1=x + 0.46, y0=y - 0.44, y1=y + 0.44, line={"color": OUTLINE, "width": 4, "dash": "dot"}, **place.panel
            )


def _boxes(mark: Boxes, color_axis: str) -> go.Bar:
    """Bars, since they have a place, a size, a colour and a text each, and are pointed at anywhere within."""
    rows = mark.rows
    inks = [text_on(mark.scale.share(row[mark.value]), signed=mark.scale.signed) for row in rows]
    return go.Bar(
        x=[(row["left"] + row["right"]) / 2 for row in rows], width=[row["right"] - row["left"] for row in rows],
        base=[row["top"] for row in rows], y=[row["bottom"] - row["top"] for row in rows], showlegend=False,
        marker={
            "color": [row[mark.value] for row in rows], "coloraxis": color_axis, "opacity": mark.opacities(), "line": {"width": 1, "color": BOX_EDGE},
        },
        text=[_safe(row[mark.text]) for row in rows] if mark.text else None, textposition="inside", insidetextanchor="middle", textangle=0,
        constraintext="none", textfont={"size": 12, "color": inks}, **_hover(mark.hover, rows),
    )  # fmt: skip


def _draw_picture(place: _Place, mark: Picture) -> None:
    place.figure.add_layout_image(
        source=data_url(mark.image, 88), x=0, y=0, sizex=mark.size[0], sizey=mark.size[1], xref="x", yref="y", sizing="stretch", layer="below",
        **place.panel,
    )  # fmt: skip


def _coordinate(value: float, axis: Axis) -> float:
    """What Plotly wants for ranges and annotations: on a log axis the exponent of 10."""
    return math.log10(value) if axis.scale == "log2" else value


def _hover(template: str, rows: Sequence[Row]) -> dict[str, Any]:
    return {"customdata": [_hover_text(template, row) for row in rows], "hovertemplate": "%{customdata}<extra></extra>"}


def _hover_text(template: str, row: Row) -> str:
    return "<br>".join(_safe(line) for line in template.format(**{k: plain(v) if isinstance(v, str) else v for k, v in row.items()}).split("\n"))


def _safe(text: str, limit: int = 0) -> str:
    """Plotly reads its texts as a kind of HTML."""
    return html.escape(plain(text, limit), quote=False)
