"""The clip timeline in the app, and the numbers and warnings beside it."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from clipbert.viz.clip_timeline import Lanes, script
from clipbert.viz.style import clock, time_range

if TYPE_CHECKING:
    from clipbert.sampling import ClipTimes
    from clipbert.types import Timeline


def timeline_component(elem_id: str) -> gr.HTML:
    """An empty timeline; its `select` event carries `event.index`, the lane's name and the clip's number from 0."""
    return gr.HTML(elem_id=elem_id, js_on_load=script(), apply_default_css=False)


@dataclass(frozen=True)
class Counts:
    """What some settings cost and leave out, known without running the model."""

    num_frames: int
    """Fed to the model, repeated ones counted each time."""
    num_distinct: int
    """Frames that pass the CNN: each source frame once."""
    covered_percent: float
    largest_gap_seconds: float
    clip_seconds: float
    num_cells: int
    """Visual tokens of a clip."""
    token_passes: int
    """Visual tokens through the transformer for one question: clips times cells."""


def count(clips: "Sequence[ClipTimes]", timeline: "Timeline", *, num_frames: int, fps: float, num_cells: int) -> Counts:
    """What `clips` cost and leave out."""
    from clipbert.sampling import coverage

    seen = coverage(clips, timeline)
    indices = [int(i) for clip in clips for i in clip.frame_index]
    percent, gap = 100 * seen.fraction, seen.largest_gap_seconds
    return Counts(len(indices), len(set(indices)), percent, gap, num_frames / fps, num_cells, len(clips) * num_cells)


def num_cells(image_size: int, grid_encoder: str = "conv-pool") -> int:
    """Visual tokens of a clip, padding included: the CNN's stride is 32, and "conv-pool" halves the grid again.

    Holds for the bundled kinds of backbone: 9, 49, 144 and 256 cells at 224, 448, 768 and 1000 for the paper's.
    """
    side = -(-image_size // 32)
    return (side // 2 if grid_encoder == "conv-pool" else side) ** 2


def counts_html(counts: Counts) -> str:
    """The counters as a row of numbers with their units."""
    gap = f"{counts.largest_gap_seconds:.1f} s" if counts.largest_gap_seconds < 60 else clock(counts.largest_gap_seconds)
    items = (
        (f"{counts.num_frames}", f"frames fed ({counts.num_distinct} different ones pass the CNN)"),
        (f"{counts.covered_percent:.1f} %", "of the video is inside a clip"),
        (gap, "largest gap that no clip touches"),
        (f"{counts.clip_seconds:.2f} s", "clip length, T / fps"),
        (f"{counts.num_cells}", "image cells (tokens) per clip"),
        (f"{counts.token_passes:,}", "visual tokens through the transformer, a question"),
    )
    return '<dl class="counts">' + "".join(f"<div><dd>{number}</dd><dt>{html.escape(what)}</dt></div>" for number, what in items) + "</dl>"


def warnings(clips: "Sequence[ClipTimes]", timeline: "Timeline", *, num_frames: int, fps: float, policy: str) -> list[str]:
    """Sentences on what of the settings does not suit the video."""
    from clipbert.sampling import coverage

    found, length = [], num_frames / fps
    if length > timeline.duration:
        rule = "the last frame is repeated" if policy.startswith(("official", "paper", "dense", "nested")) else "clips are shortened to the video"
        found.append(f"The video lasts {timeline.duration:.2f} s, a clip {length:.2f} s: {rule}.")
    elif len(clips) * length > timeline.duration:
        found.append(f"Clips overlap: {len(clips)} clips of {length:.2f} s are {len(clips) * length:.1f} s, the video has {timeline.duration:.1f} s.")
    indices = [int(i) for clip in clips for i in clip.frame_index]
    repeated = len(indices) - len(set(indices))
    if repeated:
        found.append(f"{repeated} of {len(indices)} frames are fed more than once.")
    seen = coverage(clips, timeline)
    if seen.fraction < 0.05:
        share = f"{seen.fraction * timeline.duration:,.2f} s of {timeline.duration:,.0f} s are seen, {100 * seen.fraction:.1f} %"
        found.append(f"Sparse: {share}. More clips see more of it; or trim the video to the part you ask about.")
    return found


def warnings_html(sentences: Sequence[str]) -> str:
    """The warnings as chips."""
    return "".join(f'<span class="chip">{html.escape(sentence)}</span>' for sentence in sentences)


def clip_rows(lanes: Lanes, timeline: "Timeline") -> list[dict[str, float | int | str]]:
    """A row for each frame fed, with its presentation tick: what the table and the CSV hold."""
    return [
        {
            "policy": lane, "clip": n, "start_seconds": clip.start, "end_seconds": clip.end, "frame_index": int(index),
            "frame_seconds": float(timeline.times[index]), "pts": int(timeline.pts[index]), "shortened": clip.shortened,
        }
        for lane, clips in lanes.items() for n, clip in enumerate(clips, 1) for index in clip.frame_index
    ]  # fmt: skip


def clip_title(lane: str, n: int, clip: "ClipTimes") -> str:
    """A clip's name for a person."""
    return f"{lane}, clip {n + 1} · {time_range(clip.start, clip.end)}"
