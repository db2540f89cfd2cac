"""Pictures of what a training step costs: the four panels of Figure 5, measured here, with what the paper's text tells."""

from typing import Any

from clipbert.cost import CostPoint, Panel
from clipbert.viz.chart import Axis, Chart, Lines, Points, Row

UNITS = {
    "max_batch": ("Largest batch", "videos", 1.0),
    "bytes_per_video": ("Memory a video", "MB", 1e6),
    "milliseconds": ("Time of a step", "ms", 1.0),
}
AGAINST = {"num_clips": ("N_train", "clips"), "num_frames": ("T", "frames a clip")}
PAPER = "the paper, V100 of 32 GB"
NO_BATCH = "a CPU has no fixed memory to fill: resident memory that a step adds, over the batch, stands for the paper's largest batch"


def cost_panel(panel: Panel, *, model: str) -> Chart:
    """One panel; the paper's own points are hollow, and drawn only where they are of the same quantity.

    Raises ValueError for a panel without a measured point.
    """
    known = [point for point in panel.points if getattr(point, panel.y)]  # a largest batch of 0 has no place on a logarithmic axis
    if not known:
        raise ValueError(f"panel {panel.letter} has no measured point; measure at least one.")
    what, unit, scale = UNITS[panel.y]
    name, counted = AGAINST[panel.x]
    here = f"measured here, {known[0].device_name}"
    columns = (panel.x, f"{panel.y}_{unit}" if unit != "videos" else panel.y, "spread_ms", "batch_size", "peak_mb", "dtype", "source")
    rows: list[Row] = [
        dict(zip(columns, (
            getattr(point.settings, panel.x), getattr(point, panel.y) / scale, point.spread, point.settings.batch_size, (point.peak_bytes or 0) / 1e6,
            point.settings.dtype, here,
        ), strict=True))
        for point in known
    ]  # fmt: skip
    drawn = panel.paper if panel.y == "max_batch" else {}
    paper: list[Row] = [dict(zip(columns, (x, value, None, None, None, None, PAPER), strict=True)) for x, value in drawn.items()]
    at = f"{name} = {{{panel.x}}}\n{{{columns[1]}:.4g}} {unit}"
    hover = at + ", spread of the time {spread_ms:.3g} ms\nbatch {batch_size}, {dtype}\npeak {peak_mb:.0f} MB"
    marks = (Lines(rows, panel.x, columns[1], "source", hover), Points(paper, panel.x, columns[1], "{source}\n" + at, "source", "hollow"))
    ticks = tuple(sorted({float(row[panel.x]) for row in rows + paper}))
    scaled: dict[str, Any] = {"scale": "log2", "ticks": _powers(rows + paper, columns[1])} if panel.y == "max_batch" else {}
    series = (here, PAPER) if paper else (here,)
    return Chart(
        f"({panel.letter}) {what} by {name}", model, _caption(panel, known[0]), rows + paper,
        Axis(f"{name} ({counted})", "log2", ticks=ticks), Axis(f"{what.lower()} ({unit})", **scaled), marks if paper else marks[:1], series,
    )  # fmt: skip


def _caption(panel: Panel, point: CostPoint) -> str:
    _, unit, scale = UNITS[panel.y]
    name, _ = AGAINST[panel.x]
    threads = "1 thread" if point.num_threads == 1 else f"{point.num_threads} threads"
    parts = [f"{point.device_name}, {threads}", f"{'T' if panel.x == 'num_clips' else 'N_train'} = 1"]
    parts += [f"batch {point.settings.batch_size}"] if panel.y != "max_batch" else []
    if panel.fit is not None:
        parts.append(f"line {panel.fit.intercept / scale:.3g} + {panel.fit.slope / scale:.3g} {name} {unit}, R² {panel.fit.r_squared:.3f}")
    if panel.y == "bytes_per_video":
        parts.append(NO_BATCH)
    if panel.paper and panel.y != "max_batch":
        told = ", ".join(f"{value:g}{' %' if panel.y == 'milliseconds' else ''} at {x}" for x, value in panel.paper.items())
        parts.append(f"the paper's {'R@1' if panel.y == 'milliseconds' else 'largest batch on a V100 of 32 GB'}: {told}")
    return "; ".join(parts)


def _powers(rows: list[Row], column: str) -> tuple[float, ...]:
    highest = max(row[column] for row in rows)
    return tuple(float(2**n) for n in range(14) if 2**n <= 2 * highest)
