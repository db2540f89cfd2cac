"""Charts drawn by Plotly, for pages: transparent, in a light or a dark theme, every text of a user escaped."""

import html
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import get_colorscale
from plotly.subplots import make_subplots

from clipbert.viz.chart import Axis, Bars, Chart, Heat, Lines, Points, Reference, Row, Rule
from clipbert.viz.style import OUTLINE, SIGNED, UNSIGNED, Theme, look, plain, text_on, theme_of

CONFIG: dict[str, Any] = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"format": "svg"}}
"""Plotly's settings for the page: the camera button saves SVG."""
LONGEST_NAME = 28
LINE = 76
ROW_PIXELS = 30
BARE_TOP = 24  # pixels above the axes, where a label may stand
PANELS_IN_A_ROW, PANEL_PIXELS = 3, 190


def screen_figure(chart: Chart, *, theme: str = "light") -> go.Figure:
    """The chart as a Plotly figure; show it with `config=CONFIG`."""
    colors = theme_of(theme)
    if chart.panels:
        return _panels(chart, colors)
    figure = go.Figure(layout=_layout(chart, colors))
    for mark in chart.marks:
        if isinstance(mark, Rule):
            _draw_rule(figure, mark, colors)
        elif isinstance(mark, Heat):
            _draw_heat(figure, chart, mark, colors)
        elif isinstance(mark, Reference):
            figure.add_trace(_reference(mark, colors))
        else:
            for series, rows in chart.groups(mark):
                if isinstance(mark, Bars):
                    figure.add_trace(_bars(chart, mark, series, rows, colors))
                elif isinstance(mark, Lines):
                    figure.add_traces(_line(chart, mark, series, rows, colors))
                else:
                    figure.add_trace(_points(chart, mark, series, rows, colors))
    return figure


def untitled_figure(chart: Chart, *, theme: str = "light") -> go.Figure:
    """The figure for a page that writes title and subtitle above it: text of the page wraps at any width, Plotly's is cut off."""
    figure = screen_figure(chart, theme=theme)
    layout = figure.to_dict()["layout"]
    return figure.update_layout(title=None, margin={"t": BARE_TOP}, height=layout["height"] - layout["margin"]["t"] + BARE_TOP)


def screen_html(chart: Chart, *, theme: str = "light") -> str:
    """A page of its own that needs no network."""
    return screen_figure(chart, theme=theme).to_html(config=CONFIG, include_plotlyjs=True)


def _panels(chart: Chart, colors: Theme) -> go.Figure:
    names = chart.panel_names()
    columns, layout = min(len(names), PANELS_IN_A_ROW), _layout(chart, colors)
    lines, above, x, y = math.ceil(len(names) / columns), layout["margin"]["t"], layout.pop("xaxis"), layout.pop("yaxis")
    figure = make_subplots(
        lines, columns, subplot_titles=[_safe(name, LONGEST_NAME) for name in names], horizontal_spacing=0.04, vertical_spacing=0.16 / lines
    )
    layout |= {"height": above + 80 + PANEL_PIXELS * lines, "margin": layout["margin"] | {"t": above + 20, "b": 48}}
    figure.update_layout(layout)
    one = {"title": {}, "showticklabels": False}
    figure.update_xaxes(x | one | {"matches": "x"}).update_yaxes(y | one | {"matches": "y"})
    figure.update_xaxes(title=x["title"], row=lines, showticklabels=True).update_yaxes(title=y["title"], col=1, showticklabels=True)
    for n, name in enumerate(names):
        part = chart.panel(name)
        for mark in part.marks:
            assert isinstance(mark, Lines)
            for series, rows in part.groups(mark):
                traces = _line(part, mark, series, rows, colors)
                traces[-1].update(legendgroup=_safe(series), showlegend=n == 0)
                figure.add_traces(traces, rows=n // columns + 1, cols=n % columns + 1)
    return figure


def _layout(chart: Chart, colors: Theme) -> dict[str, Any]:
    num_rows, subtitle = len(chart.y.order), textwrap.wrap(plain(chart.subtitle), LINE)
    return {
        "title": {
            "text": _safe(chart.title, LINE), "x": 0, "yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 6},
            "subtitle": {"text": "<br>".join(map(_safe, subtitle)), "font": {"size": 11, "color": colors.faint}},
        },
        "font": {"color": colors.text, "size": 12, "family": "system-ui, -apple-system, 'Segoe UI', sans-serif"},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "template": "none", "separators": ".,",
        "margin": {"l": 8, "r": 16, "t": 40 + 16 * len(subtitle), "b": 8}, "height": 120 + 16 * len(subtitle) + (ROW_PIXELS * num_rows or 220),
        "xaxis": _axis(chart.x, colors), "yaxis": _axis(chart.y, colors) | ({"autorange": "reversed"} if num_rows else {}),
        **({"yaxis2": _axis(chart.right, colors) | {"overlaying": "y", "side": "right", "showgrid": False}} if chart.right else {}),
        "barmode": "overlay", "bargap": 0.25, "hovermode": "closest", "showlegend": chart.has_legend,
        "legend": {"orientation": "h", "x": 0, "yref": "container", "y": 0, "yanchor": "bottom"},
        "hoverlabel": {"align": "left"},
    }  # fmt: skip


def _axis(axis: Axis, colors: Theme) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "title": {"text": _safe(axis.label)}, "automargin": True, "gridcolor": colors.grid, "zerolinecolor": colors.faint, "linecolor": colors.faint,
        "tickcolor": colors.faint,
    }  # fmt: skip
    if axis.scale == "category":
        names = [_safe(name, LONGEST_NAME) for name in axis.order]
        return shown | {"tickvals": list(range(len(names))), "ticktext": names, "showgrid": False, "zeroline": False}
    if axis.scale == "log2":
        shown |= {"type": "log", "tickvals": list(axis.ticks), "ticktext": [f"{tick:g}" for tick in axis.ticks]}
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
        fillcolor=color, opacity=0.25, line={"width": 0}, showlegend=False, legendgroup=_safe(series), **_hover(mark.hover, [*rows, *reversed(rows)]),
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


def _draw_heat(figure: go.Figure, chart: Chart, mark: Heat, colors: Theme) -> None:
    xs, ys = chart.x.positions(mark.rows, mark.x), chart.y.positions(mark.rows, mark.y)
    cells = {(x, y): row for x, y, row in zip(xs, ys, mark.rows, strict=True)}
    columns, lines = range(len(chart.x.order)), range(len(chart.y.order))
    low, high = mark.limits
    figure.add_trace(go.Heatmap(
        x=list(columns), y=list(lines), z=[[cells[x, y][mark.value] for x in columns] for y in lines], zmin=low, zmax=high,
        colorscale=get_colorscale((SIGNED if mark.signed else UNSIGNED)[0]), xgap=2, ygap=2,
        colorbar={"title": {"text": _safe(mark.unit)}, "outlinewidth": 0, "thickness": 12},
        customdata=[[_hover_text(mark.hover, cells[x, y]) for x in columns] for y in lines], hovertemplate="%{customdata}<extra></extra>",
    ))  # fmt: skip
    for (x, y), row in cells.items():
        color = text_on((row[mark.value] - low) / (high - low), signed=mark.signed)
        figure.add_annotation(x=x, y=y, text=_safe(row[mark.text]), showarrow=False, font={"size": 11, "color": color})
        if mark.outlined and row[mark.outlined]:
            figure.add_shape(type="rect", x0=x - 0.46, x1=x + 0.46, y0=y - 0.44, y1=y + 0.44, line={"color": OUTLINE, "width": 4, "dash": "dot"})


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
