"""Counterfactual edits: what the model is shown of a video, changed one thing at a time, to see whether its answer changes.

before = footage(predictor, "a.mp4")
after = mirrored(without_clip(before, 2))
predictor.answer(after.encode(predictor), "what colour is the car?")

An edit takes `Footage` and returns another; it decodes nothing.  Edits of
clips, order and time leave frames their places in the caches, so the model
computes only what it has not seen before: without_clip and reversed_clips
answer without it, shuffled_frames with the transformer alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from clipbert.config import SamplingConfig
from clipbert.predict import Predictor
from clipbert.sampling import ClipTimes, sample_clips
from clipbert.source import Source, digest, source_of
from clipbert.streaming import Step, stream_clips
from clipbert.types import EncodedVideo, Prediction, Timeline

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, of R, G, B
NO_CHANGE = 1e-4
"""Probabilities that differ by less count as the same: sums of floats in another order differ by some 1e-7."""


@dataclass(frozen=True, eq=False)
class Footage:
    """Clips of a video as the model is to be shown them.

    `edits` names what was changed, in order.  `is_sampled` says that the clips
    lie where the policy puts them, so that sampling anew loses no edit.  With a
    `shuffle_seed` the frames within each clip come in a random order.
    """

    source: Source
    clips: tuple[ClipTimes, ...]
    sampling: SamplingConfig
    edits: tuple[str, ...] = ()
    is_sampled: bool = True
    shuffle_seed: int | None = None

    def encode(self, predictor: Predictor) -> EncodedVideo:
        """Decoded and through the CNN, as far as the predictor's caches lack it.  Raises VideoError."""
        return self._in_order(predictor.encode_clips(self.source, self.clips, self.sampling.policy))

    def stream(self, predictor: Predictor) -> Iterator[Step]:
        """`encode` clip by clip; closing the iterator ends the work.  Raises VideoError."""
        for step in stream_clips(predictor, self.source, self.clips, self.sampling.policy):
            frames = step.frames[self._orders(step.video)[-1]] if step.frames is not None else None
            yield replace(step, video=self._in_order(step.video), frames=frames)

    def _orders(self, video: EncodedVideo) -> list[list[int]]:
        """The order of frames in each clip, which depends on nothing but the clip and the seed."""
        usual = list(range(video.times.shape[1]))
        if self.shuffle_seed is None:
            return [usual] * video.num_clips
        return [_another_order(usual, int(digest(key, f"{self.shuffle_seed}")[:15], 16)) for key in video.clip_keys]

    def _in_order(self, video: EncodedVideo) -> EncodedVideo:
        if self.shuffle_seed is None:
            return video
        orders = self._orders(video)
        keys = tuple(digest(key, f"frames {order}") for key, order in zip(video.clip_keys, orders, strict=True))
        features = torch.stack([clip[order] for clip, order in zip(video.features, orders, strict=True)])
        return replace(video, features=features, clip_keys=keys, key=digest(*keys))


def footage(predictor: Predictor, video: str | Path | Image.Image, **settings: Any) -> Footage:
    """The clips that `Predictor.encode` looks at; settings (num_clips, num_frames, ...) not given are the model's own.  Raises VideoError."""
    return _sampled(source_of(video, None), replace(predictor.sampling, **settings))


def swapped(before: Footage, video: str | Path | Image.Image) -> Footage:
    """Another video, sampled in the same way.  Raises ValueError after other edits, which are of the video before."""
    source = source_of(video, None)
    if before.edits:
        raise ValueError(f"another video would lose the edits made so far ({', '.join(before.edits)}); undo them first.")
    return replace(_sampled(source, before.sampling), edits=(f"the video {source.name}",))


def trimmed(before: Footage, start: float | int, end: float | int) -> Footage:
    """The video cut to [start, end) seconds and sampled anew.

    Raises ValueError for a range without a frame, or after an edit of clips,
    which sampling would lose.
    """
    timeline, _ = before.source.timeline()
    if not 0 <= start < end:
        raise ValueError(f"a range must start at 0 s or later and end after it starts, got {start:g} to {end:g} s.")
    if not before.is_sampled:
        raise ValueError(f"trimming samples the clips anew and would lose edits made so far ({', '.join(before.edits)}); undo them, trim first.")
    first, stop = torch.searchsorted(timeline.times, torch.tensor([start, end], dtype=torch.float64)).tolist()
    if first == stop:
        raise ValueError(f"no frame of {before.source.name}, which lasts {timeline.duration:.1f} s, is in {start:g} to {end:g} s; widen the range.")
    within, offset = _sample(_part(timeline, first, stop), before.sampling), float(timeline.times[first])
    clips = tuple(_at(timeline, clip, clip.frame_index + first, offset) for clip in within)
    return replace(before, clips=clips, edits=(*before.edits, f"trimmed to {start:.1f}–{min(end, timeline.duration):.1f} s"))


def without_clip(before: Footage, index: int) -> Footage:
    """All clips but one, counted from 0.  Raises ValueError for one that is not there, or the only one."""
    if not 0 <= index < len(before.clips):
        raise ValueError(f"the clip to leave out must be between 0 and {len(before.clips) - 1}, got {index}.")
    if len(before.clips) == 1:
        raise ValueError("the only clip cannot be left out; ask with more clips (num_clips).")
    clip = before.clips[index]
    name = f"without the clip {clip.start:.1f}–{clip.end:.1f} s"
    return _of_clips(before, before.clips[:index] + before.clips[index + 1 :], name)


def reversed_clips(before: Footage) -> Footage:
    """The last clip first.  No answer changes: pooling does not look at the order of clips."""
    return _of_clips(before, before.clips[::-1], "clips in reverse order")


def frozen(before: Footage, seconds: float | int) -> Footage:
    """The frame on display at `seconds`, everywhere: a still, without motion and without other moments.

    Raises ValueError for a time outside the video.
    """
    timeline, _ = before.source.timeline()
    if not 0 <= seconds <= timeline.duration:
        raise ValueError(f"{before.source.name} lasts {timeline.duration:.1f} s, so no frame is on display at {seconds:g} s.")
    index = max(int(torch.searchsorted(timeline.times, seconds, right=True)) - 1, 0)
    still = torch.full_like(before.clips[0].frame_index, index)
    return _of_clips(before, tuple(_at(timeline, clip, still) for clip in before.clips), f"frozen at {seconds:.1f} s")


def shuffled_frames(before: Footage, seed: int = 0) -> Footage:
    """The frames within each clip in another order.

    No answer changes where the model averages frames (temporal_fusion "mean").
    Raises ValueError for clips of one frame.
    """
    if len(before.clips[0].frame_index) == 1:
        raise ValueError("clips of one frame have no order to shuffle; ask with more frames a clip (num_frames).")
    return replace(before, shuffle_seed=seed, edits=(*before.edits, "frames shuffled within clips"), is_sampled=False)


def mirrored(before: Footage) -> Footage:
    """Left and right swapped in every frame."""
    return _of_frames(before, "mirrored", mirrored_frame)


def grey(before: Footage) -> Footage:
    """Every frame without its colours."""
    return _of_frames(before, "grey", grey_frame)


def mirrored_frame(frame: UInt8[Tensor, "3 H W"]) -> UInt8[Tensor, "3 H W"]:
    return frame.flip(-1)


def grey_frame(frame: UInt8[Tensor, "3 H W"]) -> UInt8[Tensor, "3 H W"]:
    luma = torch.tensordot(torch.tensor(LUMA), frame.float(), dims=1).round().to(torch.uint8)
    return torch.stack([luma] * 3)


@dataclass(frozen=True)
class Change:
    """A candidate's probability before an edit and after it."""

    candidate: str
    before: float
    after: float


def changes(before: Prediction, after: Prediction) -> list[Change]:
    """Of all candidates that both predictions have, in the order of their probabilities before; empty where they share none."""
    order = before.scores.argsort(descending=True).tolist()
    place = {name: j for j, name in enumerate(after.candidates)}
    return [
        Change(before.candidates[j], float(before.scores[j]), float(after.scores[place[before.candidates[j]]]))
        for j in order if before.candidates[j] in place
    ]  # fmt: skip


def _sampled(source: Source, sampling: SamplingConfig) -> Footage:
    timeline, _ = source.timeline()
    return Footage(source, _sample(timeline, sampling), sampling)


def _sample(timeline: Timeline, sampling: SamplingConfig) -> tuple[ClipTimes, ...]:
    return sample_clips(
        timeline, num_clips=sampling.num_clips, num_frames=sampling.num_frames, fps=sampling.fps, policy=sampling.policy,
        generator=torch.Generator().manual_seed(sampling.seed),
    )  # fmt: skip


def _part(timeline: Timeline, first: int, stop: int) -> Timeline:
    """The frames `first` to `stop` as a video of their own; what the container says is shared out evenly."""
    num_frames = stop - first
    ends = float(timeline.times[stop]) if stop < timeline.num_frames else timeline.duration
    share = num_frames / timeline.num_frames
    return Timeline(
        times=timeline.times[first:stop] - timeline.times[first], duration=ends - float(timeline.times[first]), fps=timeline.fps,
        pts=timeline.pts[first:stop] - timeline.pts[first], stream_frames=num_frames if timeline.stream_frames else 0,
        stream_duration=max(round(timeline.stream_duration * share), 1) if timeline.stream_duration else timeline.stream_duration,
    )  # fmt: skip


def _at(timeline: Timeline, clip: ClipTimes, frame_index: Tensor, offset: float = 0.0) -> ClipTimes:
    """The clip `offset` seconds later, showing these frames."""
    return replace(clip, start=clip.start + offset, end=clip.end + offset, times=timeline.times[frame_index], frame_index=frame_index)


def _of_clips(before: Footage, clips: tuple[ClipTimes, ...], name: str) -> Footage:
    return replace(before, clips=clips, edits=(*before.edits, name), is_sampled=False)


def _of_frames(before: Footage, name: str, edit: Callable[[Tensor], Tensor]) -> Footage:
    inner = before.source
    source = Source(inner.name, digest(inner.key, name), lambda: _Edited(inner, edit))
    return replace(before, source=source, edits=(*before.edits, name))


class _Edited:
    """An open video, each of whose frames is edited when it is decoded."""

    def __init__(self, source: Source, edit: Callable[[Tensor], Tensor]) -> None:
        self.timeline, self.notices = source.timeline()
        self.size, (self.codec, self.pixel_format) = source.frame_size(), source.encoding()
        self._opened, self._edit = source.open(), edit

    def __enter__(self) -> "_Edited":
        self._video = self._opened.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._opened.__exit__(*exc)

    @property
    def frames_decoded(self) -> int:
        return self._video.frames_decoded

    def decode(self, indices: Any) -> tuple[dict[int, Tensor], tuple[int, ...]]:
        pictures, missing = self._video.decode(indices)
        return {i: self._edit(frame) for i, frame in pictures.items()}, missing


def _another_order(usual: list[int], seed: int) -> list[int]:
    """A random order, other than the usual one."""
    order = torch.randperm(len(usual), generator=torch.Generator().manual_seed(seed)).tolist()
    return order if order != usual else [*usual[1:], usual[0]]
