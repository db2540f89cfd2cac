"""Which frames of a video to look at: arithmetic on its timeline, no decoding.

A clip lasts T / fps seconds, and its T frames are spread over it with both
ends included: T=1 is the clip's first frame, T=2 its first and last.  A policy
only decides where the N clips start, so policies compare like with like.

The official policies reproduce the original decoder's frame indices, from what
the container says of itself (OFFICIAL section 3; `datasets/decoder.py`).  The
others trust presentation times alone; on a constant-rate video, clips that
start at the same second show the same frames under both rules.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from clipbert.types import Timeline

MAX_CLIPS = 256
MAX_FRAMES = 256
MICROSECOND = 1e-6
"""Presentation times closer than this are equal."""


@dataclass(frozen=True, eq=False)
class ClipTimes:
    """Where a clip lies and which frames of it are shown.

    `start` and `end` are seconds from the first frame.  `shortened` marks a
    clip that would have reached past the end of the video.
    """

    start: float
    end: float
    times: Float64[Tensor, " T"]
    frame_index: Int64[Tensor, " T"]
    shortened: bool

    def __post_init__(self) -> None:
        assert 0 <= self.start <= self.end
        assert bool((self.times.diff() >= 0).all()) and bool((self.frame_index.diff() >= 0).all())


def sample_clips(
    timeline: Timeline,
    *,
    num_clips: int,
    num_frames: int,
    fps: float | int,
    policy: str,
    generator: torch.Generator | None = None,
) -> tuple[ClipTimes, ...]:
    """`num_clips` clips of `num_frames` frames each, placed as `policy` says.

    Only those of RANDOM_POLICIES draw from `generator` (by default torch's
    own).  Clips come in time order, except from "random" and "official-random"
    (as drawn) and "nested" (coarse to fine).  Raises ValueError for an unknown policy or a
    number out of range.
    """
    if not 1 <= num_clips <= MAX_CLIPS:
        raise ValueError(f'num_clips must be between 1 and {MAX_CLIPS}, got {num_clips}; for the whole video use policy="dense" with num_clips=16.')
    if not 1 <= num_frames <= MAX_FRAMES:
        raise ValueError(f"num_frames must be between 1 and {MAX_FRAMES}, got {num_frames}; for a longer look raise num_clips.")
    if not 0.001 <= fps <= 1000:
        raise ValueError(f"fps must be between 0.001 and 1000, got {fps}; a clip lasts num_frames / fps seconds.")
    if policy not in POLICIES:
        nearest = difflib.get_close_matches(policy, POLICIES, n=1, cutoff=0)[0]
        raise ValueError(f'policy must be one of {", ".join(POLICIES)}, got "{policy}"; did you mean "{nearest}"?')
    return tuple(POLICIES[policy](timeline, num_clips, num_frames, float(fps), generator))


def official(timeline: Timeline, num_clips: int, num_frames: int, fps: float, generator: torch.Generator | None) -> list[ClipTimes]:
    """Clip k of N at k/N of the room: left-aligned, so N=1 is the video's start and its end is never seen.

    The original's evaluation with several clips; for question answering also with one.
    """
    return [official_clip(timeline, k, num_clips, num_frames=num_frames, fps=fps) for k in range(num_clips)]


def official_middle(timeline: Timeline, num_clips: int, num_frames: int, fps: float, generator: torch.Generator | None) -> list[ClipTimes]:
    """The original's retrieval evaluation: one clip is its "middle", clip 1 of 3, which starts at a third; more are `official`."""
    if num_clips == 1:
        return [official_clip(timeline, 1, 3, num_frames=num_frames, fps=fps)]
    return official(timeline, num_clips, num_frames, fps, generator)


def paper(timeline: Timeline, num_clips: int, num_frames: int, fps: float, generator: torch.Generator | None) -> list[ClipTimes]:
    """One clip is the centre one, as the paper says and the original does not; more are `official`."""
    if num_clips == 1:
        return [official_clip(timeline, 1, 2, num_frames=num_frames, fps=fps)]
    return official(timeline, num_clips, num_frames, fps, generator)


def nested(timeline: Timeline, num_clips: int, num_frames: int, fps: float, generator: torch.Generator | None) -> list[ClipTimes]:
    """The grid of `official` in bit-reversed order: any prefix is a near-uniform sample.

    Clip k starts at the k-th van der Corput fraction of the room (0, 1/2, 1/4,
    3/4, 1/8, ...), so prefixes of 1, 2, 4, 8, 16 clips are `official` as sets.
    """
    fractions = [int(f"{k:b}"[::-1], 2) / 2 ** len(f"{k:b}") for k in range(num_clips)]
    return [official_clip(timeline, fraction, 1, num_frames=num_frames, fps=fps) for fraction in fractions]


def random(timeline: Timeline, num_clips: int, num_frames: int, fps: float, generator: torch.Generator | None) -> list[ClipTimes]:
    """Independent uniform starts, so clips may overlap: the paper's sparse sampling for training (section 3)."""
    room = max(timeline.duration - num_frames / fps, 0.0)
    return [clip_at(timeline, room * u, num_frames=num_frames, fps=fps) for u in _uniform(num_clips, generator)]


def official_random(timeline: Timeline, num_clips: int, num_frames: int, fps: float, generator: torch.Generator | None) -> list[ClipTimes]:
    """The original's training clips: independent uniform starts in its count of source frames."""
    return [official_clip(timeline, u, 1, num_frames=num_frames, fps=fps) for u in _uniform(num_clips, generator)]


def centered(timeline: Timeline, num_clips: int, num_frames: int, fps: float, generator: torch.Generator | None) -> list[ClipTimes]:
    """The middle of each of N equal segments."""
    return [_segment_clip(timeline, k, num_clips, 0.5, num_frames, fps) for k in range(num_clips)]


def stratified(timeline: Timeline, num_clips: int, num_frames: int, fps: float, generator: torch.Generator | None) -> list[ClipTimes]:
    """One clip at random in each of N equal segments."""
    return [_segment_clip(timeline, k, num_clips, u, num_frames, fps) for k, u in enumerate(_uniform(num_clips, generator))]


POLICIES: dict[str, Callable[[Timeline, int, int, float, torch.Generator | None], list[ClipTimes]]] = {
    "official": official,
    "official-middle": official_middle,
    "official-random": official_random,
    "paper": paper,
    "centered": centered,
    "random": random,
    "stratified": stratified,
    "dense": official,
    "nested": nested,
}
"""What `--policy` may be; "dense" is `official` at every training step, where N=16 is the baseline of the paper's Table 4."""


def official_clip(timeline: Timeline, clip_index: float | int, num_clips: int, *, num_frames: int, fps: float | int) -> ClipTimes:
    """Clip `clip_index` of `num_clips`: the original's `get_start_end_idx`.

    A clip is S = T / fps * source_fps source frames, a fraction allowed, and
    starts at clip_index / num_clips of the room n - S left by n frames.
    The original's "start", "middle", "end" are clips 0, 1, 2 of 3; its random
    training clip is clip u of 1 with u uniform in [0, 1].
    """
    size = num_frames / fps * timeline.fps
    start = max(_num_source_frames(timeline) - size, 0.0) * clip_index / num_clips
    return _official_window(timeline, start, size, num_frames)


def official_uniform(timeline: Timeline, *, num_frames: int) -> ClipTimes:
    """The whole video as one clip: the original's "uniform"."""
    return _official_window(timeline, 0.0, float(_num_source_frames(timeline)), num_frames)


def clip_at(timeline: Timeline, start: float, *, num_frames: int, fps: float | int) -> ClipTimes:
    """The clip from `start` seconds, which is shortened to the video if longer.

    Its first frame is the first that begins inside the clip (if none does, the
    one on display); the others are those on display at equal steps from there.
    """
    length = min(num_frames / fps, timeline.duration)
    end = min(start + length, timeline.duration)
    first, stop = torch.searchsorted(timeline.times, torch.tensor([start, end]).double() - MICROSECOND).tolist()
    if first == stop:
        first, stop = max(first - 1, 0), max(first, 1)
    steps = torch.linspace(0, max(length - 1 / timeline.fps, 0), num_frames, dtype=torch.float64)
    on_display = torch.searchsorted(timeline.times, timeline.times[first] + steps + MICROSECOND, right=True) - 1
    frame_index = on_display.clamp(max=stop - 1)
    return ClipTimes(start, end, timeline.times[frame_index], frame_index, _outlasts(timeline, num_frames / fps))


@dataclass(frozen=True)
class Coverage:
    """How much of a video some clips let the model see."""

    fraction: float
    """Part of the duration inside at least one clip, in [0, 1]."""
    largest_gap_seconds: float
    """Longest stretch that no clip touches."""


def coverage(clips: Sequence[ClipTimes], timeline: Timeline) -> Coverage:
    """What the union of `clips` covers; overlaps count once."""
    seen_until, gaps = 0.0, []
    for clip in sorted(clips, key=lambda clip: clip.start):
        gaps.append(max(clip.start - seen_until, 0.0))
        seen_until = max(seen_until, clip.end)
    gaps.append(max(timeline.duration - seen_until, 0.0))
    return Coverage(1 - sum(gaps) / timeline.duration if timeline.duration > 0 else 1.0, max(gaps))


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """The clips to encode once for every N of a sweep; `index[N]` lists those of each N."""

    clips: tuple[ClipTimes, ...]
    index: dict[int, tuple[int, ...]]

    @property
    def reruns(self) -> bool:
        """No clip serves two sizes, so the sweep costs as much as running each N alone."""
        return len(self.index) > 1 and len(self.clips) == sum(len(index) for index in self.index.values())


def sweep_plan(
    timeline: Timeline,
    sizes: Sequence[int],
    *,
    num_frames: int,
    fps: float | int,
    policy: str,
    generator: torch.Generator | None = None,
) -> SweepPlan:
    """One set of clips that holds every `sample_clips(num_clips=N)`, N in `sizes`.

    For sizes 1, 2, 4, 8, 16 that is 16 clips under "official", "nested" and
    "paper" (the centre clip is clip 8 of 16), and 17 under "official-middle".
    Under policies that do not nest the sizes share nothing, and `reruns` says so.
    """
    clips: dict[tuple[float, ...], ClipTimes] = {}
    places: dict[int, list[tuple[float, ...]]] = {}
    for size in sizes:
        chosen = sample_clips(timeline, num_clips=size, num_frames=num_frames, fps=fps, policy=policy, generator=generator)
        places[size] = [(round(clip.start, 6), *clip.frame_index.tolist()) for clip in chosen]
        clips |= dict(zip(places[size], chosen, strict=True))
    position = {place: i for i, place in enumerate(clips)}
    return SweepPlan(tuple(clips.values()), {size: tuple(position[place] for place in places[size]) for size in places})


def _segment_clip(timeline: Timeline, k: int, num_clips: int, u: float, num_frames: int, fps: float) -> ClipTimes:
    """The clip at fraction `u` of segment k: inside it if it fits, else with its centre there, within the video."""
    length, segment = min(num_frames / fps, timeline.duration), timeline.duration / num_clips
    margin = length / 2 if length <= segment else 0.0
    centre = k * segment + margin + u * (segment - 2 * margin)
    return clip_at(timeline, min(max(centre - length / 2, 0.0), timeline.duration - length), num_frames=num_frames, fps=fps)


def _uniform(num_clips: int, generator: torch.Generator | None) -> list[float]:
    return torch.rand(num_clips, generator=generator, dtype=torch.float64).tolist()


def _outlasts(timeline: Timeline, length: float) -> bool:
    """A clip of `length` seconds is longer than the video, by more than containers round."""
    return length > timeline.duration + 0.5 / timeline.fps


def _container_is_silent(timeline: Timeline) -> bool:
    """No duration (mkv) or no frame count; the original reads the first as below and fails on the second."""
    return not timeline.stream_frames or not timeline.stream_duration


def _num_source_frames(timeline: Timeline) -> int:
    return timeline.num_frames if _container_is_silent(timeline) else timeline.stream_frames


def _official_window(timeline: Timeline, start: float, size: float, num_frames: int) -> ClipTimes:
    """The original's frames for the clip of `size` source frames from `start`: decode a window of ticks, index into it.

    The window holds the frames from `start` to `start + size - 1`, in average
    frames of D / n ticks, and the one after.  D is the last frame's tick where
    that is below 0.8 D, as in its multi-clip loading; its one-clip loading
    lacks this and fails.  If the container is silent, the window is the whole
    video.  Where the window is short, its last frame repeats.  (A clip shorter
    than a frame repeats it; of a silent container the original then goes back.)
    """
    last = max(size - 1, 0.0)
    if _container_is_silent(timeline):
        first, stop = 0, timeline.num_frames
        positions = torch.linspace(start, start + last, num_frames)
    else:
        assert timeline.stream_duration is not None
        last_tick = int(timeline.pts[-1])
        duration = last_tick if last_tick < 0.8 * timeline.stream_duration else timeline.stream_duration
        ticks = duration / timeline.stream_frames
        first = int(torch.searchsorted(timeline.pts, int(start * ticks)))
        after = int(torch.searchsorted(timeline.pts, int((start + last) * ticks), right=True))
        stop = min(max(after, first) + 1, timeline.num_frames)
        positions = torch.linspace(0, last, num_frames)
    wanted = first + positions.long()
    frame_index = wanted.clamp(first, stop - 1)
    times = timeline.times[frame_index]
    begin = min(start / timeline.fps, float(times[0]))
    end = min(max(begin + size / timeline.fps, float(times[-1])), timeline.duration)
    return ClipTimes(begin, end, times, frame_index, _outlasts(timeline, size / timeline.fps) or bool((wanted >= stop).any()))
