"""Pictures of what a training step costs: the four panels of Figure 5, measured here, with what the paper's text tells."""

from collections.abc import Sequence
from typing import Any

from clipbert.cost import CostPoint
from clipbert.cost_panels import BATCHES, Panel
from clipbert.cost_parts import part_costs
from clipbert.cost_settings import CostSettings
from clipbert.viz.chart import Axis, Bars, Chart, Lines, Points, Reference, Row

UNITS = {
    "max_batch": ("Largest batch", "videos", 1.0),
    "predicted_batch": ("Largest batch, predicted", "videos", 1.0),
    "bytes_per_video": ("Memory a video", "MB", 1e6),
    "milliseconds": ("Time of a step", "ms", 1.0),
}
AGAINST = {"num_clips": ("N_train", "clips"), "num_frames": ("T", "frames a clip")}
PAPER = "the paper, V100 of 32 GB"
PARTS = {"decode": "decode", "cnn": "CNN", "transformer": "transformer", "head": "head and loss", "backward": "backward"}
FIT_STEPS = 24
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
    here = "predicted from the bytes a step holds" if panel.y == "predicted_batch" else f"measured here, {known[0].device_name}"
    y = f"{panel.y}_{unit}" if unit != "videos" else panel.y
    columns = (panel.x, y, "spread_ms", "repeats", "clips_per_second", "batch_size", "peak_mb", "reserved_mb", "dtype", "source")
    rows: list[Row] = [
        dict(zip(columns, (
            getattr(point.settings, panel.x), getattr(point, panel.y) / scale, point.spread, point.settings.repeats, point.clips_per_second,
            point.settings.batch_size, (point.peak_bytes or 0) / 1e6, (point.reserved_bytes or 0) / 1e6, point.settings.dtype, here,
        ), strict=True))
        for point in known
    ]  # fmt: skip
    drawn = panel.paper if panel.y in BATCHES else {}
    paper: list[Row] = [dict(zip(columns, (x, value, *[None] * 7, PAPER), strict=True)) for x, value in drawn.items()]
    at = f"{name} = {{{panel.x}}}\n{{{y}:.4g}} {unit}"
    hover = at + "\nbetween quartiles {spread_ms:.3g} ms, of {repeats} passes\n{clips_per_second:.3g} clips/s, batch {batch_size}, {dtype}, "
    hover += known[0].settings.technique + "\npeak {peak_mb:.0f} MB" + ", {reserved_mb:.0f} MB reserved" * (known[0].reserved_bytes is not None)
    lines, hollow = Lines(rows, panel.x, y, "source", hover), Points(paper, panel.x, y, "{source}\n" + at, "source", "hollow")
    recall = _recall(panel)
    references = tuple(mark for mark in (_fit(panel, y, scale), recall) if mark is not None)
    ticks = tuple(sorted({float(row[panel.x]) for mark in (lines, hollow, *filter(None, [recall])) for row in mark.rows}))
    scaled: dict[str, Any] = {"scale": "log2", "ticks": _powers(rows + paper, y)} if panel.y in BATCHES else {}
    return Chart(
        f"({panel.letter}) {what} by {name}", model, _caption(panel, known[0]), rows + paper,
        Axis(f"{name} ({counted})", "log2", ticks=ticks), Axis(f"{what.lower()} ({unit})", **scaled),
        (lines, hollow, *references) if paper else (lines, *references),
        (here, PAPER) if paper else (here,), right=Axis("the paper's R@1 (%)") if recall else None,
    )  # fmt: skip


def _fit(panel: Panel, y: str, scale: float) -> Reference | None:
    """The straight line of the panel's fit, which a logarithmic axis bends."""
    if panel.fit is None:
        return None
    sizes = [getattr(point.settings, panel.x) for point in panel.points]
    steps = (min(sizes) * (max(sizes) / min(sizes)) ** (n / FIT_STEPS) for n in range(FIT_STEPS + 1))
    rows: list[Row] = [{panel.x: x, y: (panel.fit.intercept + panel.fit.slope * x) / scale} for x in steps]
    return Reference(rows, panel.x, y, f"straight line, R² {panel.fit.r_squared:.3f}", f"straight line\n{{{y}:.4g}}")


def _recall(panel: Panel) -> Reference | None:
    """What the paper gained by more clips (Tables 3 and 4) or frames (Table 2), beside the time that it costs."""
    if panel.y != "milliseconds" or not panel.paper:
        return None
    rows: list[Row] = [{panel.x: x, "recall_at_1_percent": value} for x, value in panel.paper.items()]
    name = "the paper's R@1, " + ("Tables 3 and 4" if panel.x == "num_clips" else "Table 2")
    return Reference(rows, panel.x, "recall_at_1_percent", name, f"{name}\n{{recall_at_1_percent:.1f}} %", on_right=True)


def cost_breakdown(settings: CostSettings, points: Sequence[CostPoint], *, model: str) -> Chart:
    """Where a step's time goes at each measured point, its parts one after the other; parameters and multiply-accumulates in the table.

    Raises ValueError if no point knows its parts.
    """
    known = [point for point in points if set(PARTS) <= set(point.parts)]
    if not known:
        raise ValueError("no point was measured in parts; measure at least one.")
    rows: list[Row] = []
    for point in known:
        at, end = f"N_train = {point.settings.num_clips}, T = {point.settings.num_frames}", 0.0
        for found in part_costs(point.settings, point.parts):
            assert found.milliseconds is not None
            start = end
            end += found.milliseconds
            rows.append({
                "point": at, "part": PARTS[found.part], "start_ms": start, "milliseconds": found.milliseconds, "parameters": found.parameters,
                "gmacs": None if found.macs is None else found.macs / 1e9,
            })  # fmt: skip
    hover = "{point}\n{part}: {milliseconds:.4g} ms"
    bars = Bars(rows, "point", "milliseconds", hover, horizontal=True, base="start_ms", series="part")
    about = f"{known[0].device_name}; batch {settings.batch_size}; decode: generated 320 x 240 H.264, done beside the step by data workers"
    return Chart(
        "Where the time goes", model, about, rows, Axis("time (ms)"), Axis("", "category", tuple(dict.fromkeys(row["point"] for row in rows))),
        (bars,), tuple(PARTS.values()),
    )  # fmt: skip


def _caption(panel: Panel, point: CostPoint) -> str:
    _, unit, scale = UNITS[panel.y]
    name, _ = AGAINST[panel.x]
    threads = "1 thread" if point.num_threads == 1 else f"{point.num_threads} threads"
    parts = [f"{point.device_name}, {threads}", f"{'T' if panel.x == 'num_clips' else 'N_train'} = 1"]
    parts += [f"batch {point.settings.batch_size}"] if panel.y not in BATCHES else []
    if panel.y == "predicted_batch":
        parts.append(f"under a cap of {point.settings.memory_cap / 2**30:g} GiB for weights, gradients, inputs and activations")
    parts.append(point.settings.technique)
    if panel.fit is not None:
        parts.append(f"line {panel.fit.intercept / scale:.3g} + {panel.fit.slope / scale:.3g} {name} {unit}, R² {panel.fit.r_squared:.3f}")
    if panel.y == "bytes_per_video":
        parts.append(NO_BATCH)
    if panel.letter == "a":
        (few, most), (many, least) = min(panel.paper.items()), max(panel.paper.items())
        parts.append(f"in the paper {many / few:g} times the clips leave a batch {most / least:.1f} times smaller: more than in inverse proportion")
    if panel.paper and panel.y not in BATCHES:
        told = ", ".join(f"{value:g}{' %' if panel.y == 'milliseconds' else ''} at {x}" for x, value in panel.paper.items())
        parts.append(f"the paper's {'R@1' if panel.y == 'milliseconds' else 'largest batch on a V100 of 32 GB'}: {told}")
    return "; ".join(parts)


def _powers(rows: list[Row], column: str) -> tuple[float, ...]:
    highest = max(row[column] for row in rows)
    return tuple(float(2**n) for n in range(14) if 2**n <= 2 * highest)
