"""Signed bars of clips that can be clicked: where clips lie in the video, or from the largest value to the smallest."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipbert.viz.figures import Chart

# a click on a bar becomes the component's click event, with the clip's number from 0
CLICK_CLIP = """element.addEventListener('click', (click) => {
  const bar = click.target.closest('[data-clip]');
  if (!bar) return;
  element.querySelectorAll('[data-clip]').forEach((other) => other.classList.toggle('selected', other === bar));
  trigger('click', {clip: Number(bar.dataset.clip)});
});"""


def bars_html(chart: "Chart", *, by_value: bool, notices: Sequence[str], selected: int | None = None) -> str:
    """The rows of a `clip_values` chart as buttons over the seconds of the video, or one under another; `selected` counts clips from 0."""
    unit = next(column for column in chart.rows[0] if column.startswith("value_")).removeprefix("value_")
    bars = [_Bar(row, float(row[f"value_{unit}"]), unit, row["clip"] - 1 == selected) for row in chart.rows]
    largest = max(abs(bar.value) for bar in bars) or 1.0
    drawn = _listed(bars, largest) if by_value else _over_time(chart, bars, largest)
    told = "".join(f"<li>{html.escape(notice)}</li>" for notice in notices)
    return (
        f'<p class="soft">{html.escape(chart.subtitle)}</p>{drawn}'
        '<p class="soft">Blue: raises the score; orange, striped: lowers it. Click a clip to play it and to look inside.</p>'
        f"{f'<ul class=notices>{told}</ul>' if told else ''}"
    )


@dataclass(frozen=True)
class _Bar:
    """A clip's bar and what it is called."""

    row: dict[str, Any]
    value: float
    unit: str
    selected: bool

    def drawn(self, largest: float, up: str, down: str, size: str) -> str:
        kind, side = ("for", up) if self.value >= 0 else ("against", down)
        return f'<i class="{kind}" style="{side}:50%;{size}:{50 * abs(self.value) / largest:.1f}%"></i>'

    def attributes(self) -> str:
        row = self.row
        loss = f"without it the score falls by {row['loss_without_it_nats']:+.3f} nats"
        said = f"clip {row['clip']}, {row['when']}: {self.value:+.3f} {self.unit}; {loss}"
        shown = ' class="selected"' if self.selected else ""
        return f'data-clip="{row["clip"] - 1}" title="{said}" aria-label="{said}"{shown}'


def _over_time(chart: "Chart", bars: Sequence[_Bar], largest: float) -> str:
    assert chart.x.limits is not None
    duration = chart.x.limits[1]
    drawn = "".join(
        f'<button type="button" {bar.attributes()} style="left:{100 * bar.row["start_seconds"] / duration:.3f}%;'
        f'width:{100 * (bar.row["end_seconds"] - bar.row["start_seconds"]) / duration:.3f}%">{bar.drawn(largest, "bottom", "top", "height")}</button>'
        for bar in bars
    )
    return (
        f'<div class="clip-bars" role="group" aria-label="Clips over {duration:.1f} seconds">{drawn}</div>'
        f'<p class="clip-axis soft" aria-hidden="true"><span>0 s</span><span>{duration / 2:.1f} s</span><span>{duration:.1f} s</span></p>'
    )


def _listed(bars: Sequence[_Bar], largest: float) -> str:
    rows = "".join(
        f'<li><button type="button" {bar.attributes()}><span>clip {bar.row["clip"]}, {bar.row["when"]}</span><span class="signed">'
        f"{bar.drawn(largest, 'left', 'right', 'width')}</span><span>{bar.value:+.3f}</span></button></li>"
        for bar in sorted(bars, key=lambda bar: -bar.value)
    )
    return f'<ol class="clip-list">{rows}</ol>'
