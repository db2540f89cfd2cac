"""The clip timeline as HTML: a lane for each policy, a button for each clip; one script and one style for app and notebook."""

import html
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from clipbert.sampling_config import RANDOM_POLICIES

if TYPE_CHECKING:
    from clipbert.sampling import ClipTimes
    from clipbert.types import Timeline

Lanes = Mapping[str, Sequence["ClipTimes"]]
SHOWN = ("paper", "official", "centered", "stratified", "random", "dense", "nested")
NUM_SEEDS = 3
MAX_STEPS = 8  # labels on the time axis
LOST = "; cannot be decoded: the file is damaged there"
HINT = "Point at a clip, or move with the arrow keys; Enter plays it."
STYLE = Path(__file__).with_name("timeline.css")


def script() -> str:
    """Its behaviour, for an `element` that holds the HTML, a `watch` for changes of it and a `trigger` for what is chosen."""
    return Path(__file__).with_name("timeline.js").read_text(encoding="utf-8")


def lane_name(policy: str, seed: int) -> str:
    """What a lane is called; the random policies have one for each seed."""
    return f"{policy}, seed {seed}" if policy in RANDOM_POLICIES else policy


def policy_lanes(timeline: "Timeline", *, num_clips: int, num_frames: int, fps: float, policy: str, seed: int) -> "dict[str, tuple[ClipTimes, ...]]":
    """The clips of the chosen policy, first, and of SHOWN; random ones for NUM_SEEDS seeds, "dense" with its 16 clips."""
    lanes: dict[str, tuple[ClipTimes, ...]] = {}
    for name in (policy, *(other for other in SHOWN if other != policy)):
        for drawn in range(seed, seed + NUM_SEEDS) if name in RANDOM_POLICIES else (seed,):
            size = max(16, num_clips) if name == "dense" and policy != "dense" else num_clips
            lanes[lane_name(name, drawn)] = _sample(timeline, size, num_frames, fps, name, drawn)
    return lanes


def _sample(timeline: "Timeline", num_clips: int, num_frames: int, fps: float, policy: str, seed: int) -> "tuple[ClipTimes, ...]":
    import torch

    from clipbert.sampling import sample_clips

    generator = torch.Generator().manual_seed(seed)
    return sample_clips(timeline, num_clips=num_clips, num_frames=num_frames, fps=fps, policy=policy, generator=generator)


def timeline_html(lanes: Lanes, timeline: "Timeline", *, chosen: str, damaged: Set[int] = frozenset(), hint: str = HINT) -> str:
    """The lanes over the seconds of the video; the lane `chosen` is marked, clips with a frame in `damaged` are hatched."""
    step = _step(timeline.duration)
    marks = [k * step for k in range(int(timeline.duration / step) + 1)]
    axis = "".join(f'<span style="left:{100 * mark / timeline.duration:.3f}%">{mark:g}</span>' for mark in marks)
    rows = "".join(_lane(name, clips, timeline, damaged, is_chosen=name == chosen) for name, clips in lanes.items())
    lost = '<span><i class="k-lost"></i>cannot be decoded</span> ' if damaged else ""
    return (
        f'<div class="timeline" data-seconds="{timeline.duration}"><p class="tl-detail" aria-live="polite" data-hint="{hint}">{hint}</p>'
        f'<div class="tl-scroll" role="group" aria-label="Where each policy looks: one lane a policy, {timeline.duration:.1f} seconds of video">'
        f'<div class="tl-lanes">{rows}<div class="tl-lane tl-axis" aria-hidden="true"><span class="tl-name">seconds</span>'
        f'<div class="tl-track">{axis}</div></div></div></div>'
        '<p class="tl-key soft" aria-hidden="true"><span><i class="k-clip"></i>clip</span> <span><i class="k-tick"></i>frame the model is fed</span> '
        f'<span><i class="k-gap"></i>never seen</span> {lost}<span><i class="k-now"></i>where the player is</span></p></div>'
    )


def _lane(name: str, clips: "Sequence[ClipTimes]", timeline: "Timeline", damaged: Set[int], *, is_chosen: bool) -> str:
    from clipbert.sampling import coverage

    seen, duration = coverage(clips, timeline), timeline.duration
    about = f"{name}{' (chosen)' if is_chosen else ''}: {len(clips)} clips cover {100 * seen.fraction:.0f} % of the video"
    about += f", largest gap {seen.largest_gap_seconds:.1f} seconds"
    buttons = "".join(
        _clip(name, n, clip, len(clips), duration, is_lost=not damaged.isdisjoint(clip.frame_index.tolist())) for n, clip in enumerate(clips)
    )
    ticks = "".join(f"M{1000 * float(time) / duration:.2f} 0V10" for clip in clips for time in clip.times)
    return (
        f'<div class="tl-lane{" chosen" * is_chosen}" role="group" aria-label="{html.escape(about)}">'
        f'<span class="tl-name" aria-hidden="true">{html.escape(name)}</span><div class="tl-track">{buttons}'
        f'<svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true"><path d="{ticks}"/></svg></div></div>'
    )


def _clip(lane: str, n: int, clip: "ClipTimes", num_clips: int, duration: float, *, is_lost: bool) -> str:
    left, width = 100 * clip.start / duration, 100 * (clip.end - clip.start) / duration
    return (
        f'<button type="button" class="clip{" lost" * is_lost}" tabindex="-1" data-lane="{html.escape(lane)}" data-clip="{n}" '
        f'style="left:{left:.3f}%;width:{width:.3f}%" aria-label="{html.escape(describe(lane, n, clip, num_clips))}{LOST * is_lost}"></button>'
    )


def describe(lane: str, n: int, clip: "ClipTimes", num_clips: int) -> str:
    """One sentence on a clip: where it lies and which source frames the model is fed."""
    frames = ", ".join(f"{index} at {float(time):.2f} s" for index, time in zip(clip.frame_index.tolist(), clip.times, strict=True))
    shortened = "; shortened: it would reach past the end" * clip.shortened
    return f"{lane}: clip {n + 1} of {num_clips}, {clip.start:.2f} to {clip.end:.2f} s; source frames {frames}{shortened}"


def _step(duration: float) -> float:
    """The round distance of labels: at most MAX_STEPS of them."""
    return next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600) if duration / s <= MAX_STEPS), duration)
