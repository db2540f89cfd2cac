"""Answers that grow clip by clip: a first opinion at once, and work that can be stopped between two clips.

for step in encode_stream(predictor, "a.mp4", num_clips=16):
    print(step.num_done, "of", step.num_planned, predictor.answer(step.video, "what colour is the car?").answer)
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from clipbert.encoding import DamagedClips, damaged, left_out
from clipbert.predict import Predictor
from clipbert.sampling import ClipTimes
from clipbert.source import Source, digest
from clipbert.types import EncodedVideo
from clipbert.video import VideoError


@dataclass(frozen=True)
class Step:
    """The video so far.  `num_done` counts clips tried, `num_reused` those that needed neither decoding nor the CNN."""

    video: EncodedVideo
    frames: Tensor | None
    """uint8[T, 3, H, W] of the newest clip; None where it could not be decoded."""
    num_done: int
    num_planned: int
    num_reused: int


def encode_stream(predictor: Predictor, video: str | Path | Image.Image, **settings: Any) -> Iterator[Step]:
    """The video after each of its clips; the last is what `Predictor.encode`, which takes the same `settings`, returns.

    Otherwise as `stream_clips`.
    """
    yield from stream_clips(predictor, *predictor.plan_clips(video, **settings))


def stream_clips(predictor: Predictor, source: Source, clips: Sequence[ClipTimes], policy: str) -> Iterator[Step]:
    """The video after each of these clips.  Closing the iterator ends the work.

    Clips that cannot be decoded are left out and named in the notices, with
    what went wrong first if it was not damage.  Raises VideoError if none can.
    """
    parts: list[EncodedVideo] = []
    lost: list[int] = []
    reason: list[str] = []
    reused = 0
    with source.open() as opened:
        held = replace(source, open=lambda: nullcontext(opened))  # one reader, which goes on where the clip before ended
        for n, clip in enumerate(clips):
            reused += predictor.has_features(source, clip)
            try:
                parts.append(predictor.encode_clips(held, [clip], policy))
            except VideoError as error:
                lost.append(n + 1)
                if not reason and not isinstance(error, DamagedClips):
                    reason = [str(error)]
            if parts:
                frames = predictor.pictures(held, clip) if n + 1 not in lost else None
                yield Step(_joined(parts, source, (left_out(lost, len(clips)), *reason) if lost else ()), frames, n + 1, len(clips), reused)
    if not parts:
        raise VideoError(*reason) if reason else damaged(len(clips), source.name)


def _joined(parts: Sequence[EncodedVideo], source: Source, more: Sequence[str]) -> EncodedVideo:
    """One video of these one-clip videos, with `more` notices."""
    notices = (*source.timeline()[1], *more)
    keys = tuple(part.clip_keys[0] for part in parts)
    return replace(
        parts[0], features=torch.cat([part.features for part in parts]), times=torch.cat([part.times for part in parts]),
        spans=torch.cat([part.spans for part in parts]), key=digest(*keys), clip_keys=keys, partial=bool(notices), notices=notices,
        shortened=tuple(part.shortened[0] for part in parts),
    )  # fmt: skip
