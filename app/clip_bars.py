"""Signed bars of clips that can be clicked: where clips lie in the video, or from the largest value to the smallest."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipbert.types import Attribution
    from clipbert.viz.figures import Chart

# a click on a bar becomes the component's click event, with the clip's number from 0
CLICK_CLIP = """element.addEventListener('click', (click) => {
  const bar = click.target.closest('[data-clip]');
  if (!bar) return;
  element.querySelectorAll('[data-clip]').forEach((other) => other.classList.toggle('selected', other === bar));
  trigger('click', {clip: Number(bar.dataset.clip)});
});"""


def bars_html(chart: "Chart", *, by_value: bool, notices: Sequence[str]) -> str:
    """The rows of a `clip_values` chart as buttons over the seconds of the video, or one under another."""
    largest = max(abs(row["value_nats"]) for row in chart.rows) or 1.0
    drawn = _listed(chart, largest) if by_value else _over_time(chart, largest)
    told = "".join(f"<li>{html.escape(notice)}</li>" for notice in notices)
    return (
        f'<p class="big">{html.escape(chart.title)}</p><p class="soft">{html.escape(chart.subtitle)}</p>{drawn}'
        '<p class="soft">Blue: raises the score; orange, striped: lowers it. Click a clip to play it and see its frames.</p>'
        f"{f'<ul class=notices>{told}</ul>' if told else ''}"
    )


def completeness_html(found: "Attribution") -> str:
    """Whether the values add up to the whole score, in numbers."""
    assert found.clips is not None
    if found.gap is None:
        return '<p class="completeness">These values need not add up to the score: clips that say the same stand in for each other.</p>'
    total = float(found.clips.sum())
    whole = total - found.gap
    percent = f"{100 * abs(found.gap) / abs(whole):.1f} %" if abs(whole) > 1e-9 else f"{abs(found.gap):.1e} nats"
    return f'<p class="completeness">The values add up: sum {total:.3f}, whole {whole:.3f} nats above the guess, gap {percent}.</p>'


def _over_time(chart: "Chart", largest: float) -> str:
    assert chart.x.limits is not None
    duration = chart.x.limits[1]
    bars = "".join(
        f'<button type="button" {_named(row)} style="left:{100 * row["start_seconds"] / duration:.3f}%;'
        f'width:{100 * (row["end_seconds"] - row["start_seconds"]) / duration:.3f}%">{_bar(row, largest, "bottom", "top", "height")}</button>'
        for row in chart.rows
    )
    return (
        f'<div class="clip-bars" role="group" aria-label="Clips over {duration:.1f} seconds">{bars}</div>'
        f'<p class="clip-axis soft" aria-hidden="true"><span>0 s</span><span>{duration / 2:.1f} s</span><span>{duration:.1f} s</span></p>'
    )


def _listed(chart: "Chart", largest: float) -> str:
    rows = "".join(
        f'<li><button type="button" {_named(row)}><span>clip {row["clip"]}, {row["when"]}</span><span class="signed">'
        f"{_bar(row, largest, 'left', 'right', 'width')}</span><span>{row['value_nats']:+.3f}</span></button></li>"
        for row in sorted(chart.rows, key=lambda row: -row["value_nats"])
    )
    return f'<ol class="clip-list">{rows}</ol>'


def _bar(row: dict[str, Any], largest: float, up: str, down: str, size: str) -> str:
    value = row["value_nats"]
    return f'<i class="{"for" if value >= 0 else "against"}" style="{up if value >= 0 else down}:50%;{size}:{50 * abs(value) / largest:.1f}%"></i>'


def _named(row: dict[str, Any]) -> str:
    said = f"clip {row['clip']}, {row['when']}: {row['value_nats']:+.3f} nats; without it the score falls by {row['loss_without_it_nats']:+.3f}"
    return f'data-clip="{row["clip"] - 1}" title="{said}" aria-label="{said}"'
