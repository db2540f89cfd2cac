"""The values that flow between stages; each checks itself on creation.

Dimension letters, the same everywhere in this package:

B videos, M texts, N clips per video, T frames per clip, H W pixels,
h w grid cells, L text tokens, S = L + h*w fused sequence, D hidden size,
J head outputs, K candidate answers.  (The paper's L, the input image side,
is called `image_size`.)
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


def _require(value: Tensor, name: str, dtype: torch.dtype | None, shape: str, sizes: dict[str, int]) -> None:
    """Raise ValueError unless `value` has the dtype and a shape that fits `shape`, e.g. "T 3 H W"."""
    if dtype is not None and value.dtype != dtype:
        raise ValueError(f"{name} must be {dtype}, got {value.dtype}; convert it with .to({dtype}).")
    letters = shape.split()
    if value.ndim != len(letters):
        raise ValueError(f"{name} must have shape [{', '.join(letters)}], got {tuple(value.shape)}.")
    for letter, size in zip(letters, value.shape, strict=True):
        expected = int(letter) if letter.isdigit() else sizes.setdefault(letter, size)
        if size != expected:
            raise ValueError(f"{name} has {letter}={size} where {expected} is needed; its shape is {tuple(value.shape)}.")


class _ShapeRepr:
    """`repr` prints shapes, not pixels."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{f.name}={_brief(getattr(self, f.name))}' for f in fields(self))})"  # type: ignore[arg-type]


def _brief(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, list | tuple) and len(value) > 6:
        return f"{type(value).__name__} of {len(value)}"
    return repr(value)


@dataclass(frozen=True, repr=False)
class Timeline(_ShapeRepr):
    """When each frame of a video is shown: all that a sampling policy may look at.

    `times` are seconds from the first frame's presentation time, ascending.
    `duration` ends when the last frame stops being shown.  `fps` is the
    container's average rate.  The last three are the container's own words,
    which only the `official` policies use: presentation ticks of each frame,
    its frame count (0 if unsaid) and its duration in ticks (None if unsaid).
    """

    times: Tensor  # float64[F]
    duration: float
    fps: float
    pts: Tensor  # int64[F]
    stream_frames: int
    stream_duration: int | None

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _require(self.times, "times", torch.float64, "F", sizes)
        _require(self.pts, "pts", torch.int64, "F", sizes)
        if len(self.times) == 0:
            raise ValueError("times must hold at least one frame, got none.")
        if bool((self.times.diff() < 0).any()):
            raise ValueError("times must ascend; sort frames by presentation time first.")
        if not self.fps > 0:
            raise ValueError(f"fps must be positive, got {self.fps}.")
        if not self.duration >= float(self.times[-1]):
            raise ValueError(f"duration {self.duration} ends before the last frame at {float(self.times[-1])} s.")

    @property
    def num_frames(self) -> int:
        return len(self.times)

    @classmethod
    def regular(cls, num_frames: int, fps: float) -> "Timeline":
        """A constant-rate timeline, as of a well-formed container with one tick per frame."""
        index = torch.arange(num_frames)
        return cls(index.double() / fps, num_frames / fps, fps, index, num_frames, num_frames)


@dataclass(frozen=True, repr=False)
class Clip(_ShapeRepr):
    """T frames with the seconds at which they are shown."""

    frames: Tensor  # uint8[T, 3, H, W], RGB, upright
    times: Tensor  # float64[T], seconds from the first frame of the video

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _require(self.frames, "frames", torch.uint8, "T 3 H W", sizes)
        _require(self.times, "times", torch.float64, "T", sizes)


@dataclass(frozen=True, repr=False)
class ClipBatch(_ShapeRepr):
    """B videos and M texts, ready for the model.

    `pixel_values` is a list of B `uint8[N, T, 3, H_b, W_b]` at source size (or
    `float16[N, T, C, h, w]`, a frozen CNN's grids of them), or, after
    preprocessing on the device, one `float[B, N, T, 3, H, W]`.
    `video_index[m]` says which video text m belongs to.
    """

    pixel_values: Tensor | list[Tensor]
    times: Tensor  # float64[B, N, T]
    input_ids: Tensor  # int64[M, L]
    attention_mask: Tensor  # bool[M, L]
    video_index: Tensor  # int64[M]
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _require(self.times, "times", torch.float64, "B N T", sizes)
        if isinstance(self.pixel_values, Tensor):
            if not self.pixel_values.is_floating_point():
                raise ValueError(f"pixel_values as one tensor must be normalised floats, got {self.pixel_values.dtype}; pass uint8 as a list.")
            _require(self.pixel_values, "pixel_values", None, "B N T 3 H W", sizes)
        else:
            if len(self.pixel_values) != sizes["B"]:
                raise ValueError(f"pixel_values must hold B={sizes['B']} videos, got {len(self.pixel_values)}.")
            for b, video in enumerate(self.pixel_values):
                kind, shape = (torch.float16, "N T C h w") if video.dtype == torch.float16 else (torch.uint8, "N T 3 H_b W_b")
                _require(video, f"pixel_values[{b}]", kind, shape, {"N": sizes["N"], "T": sizes["T"]})
        _require(self.input_ids, "input_ids", torch.int64, "M L", sizes)
        _require(self.attention_mask, "attention_mask", torch.bool, "M L", sizes)
        _require(self.video_index, "video_index", torch.int64, "M", sizes)
        if len(self.video_index) and not (int(self.video_index.min()) >= 0 and int(self.video_index.max()) < sizes["B"]):
            raise ValueError(f"video_index must lie in [0, {sizes['B']}), got {self.video_index.tolist()}.")


@dataclass(frozen=True, repr=False)
class EncodedVideo(_ShapeRepr):
    """A video after decode and CNN; ask it as often as you like.

    `key` is the content hash of everything the features depend on, and
    `clip_keys` those of each clip alone; caches use them.  `shortened[n]` marks clips that reached past the video's end.
    `partial` says that the file or some clips could not be read in full, and
    `notices` says so in sentences for the user.
    """

    features: Tensor  # float[N, T, h, w, D]
    times: Tensor  # float64[N, T]
    spans: Tensor  # float64[N, 2]: start and end of each clip in seconds
    duration: float
    key: str = ""
    policy: str = ""
    partial: bool = False
    shortened: tuple[bool, ...] = ()
    notices: tuple[str, ...] = ()
    clip_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _require(self.features, "features", None, "N T h w D", sizes)
        _require(self.times, "times", torch.float64, "N T", sizes)
        _require(self.spans, "spans", torch.float64, "N 2", sizes)
        if len(self.clip_keys) not in (0, len(self.times)):
            raise ValueError(f"clip_keys must be one for each of {len(self.times)} clips, or none; got {len(self.clip_keys)}.")

    @property
    def num_clips(self) -> int:
        return len(self.times)


@dataclass(frozen=True, repr=False)
class Prediction(_ShapeRepr):
    """An answer and each clip's part in it.

    `scores` are probabilities over the candidates in the order of
    `candidates`.  `clip_logits[n]` is clip n's own vote.  `contribution[n]` is
    clip n's Shapley value, in nats, for v(S) = log p(answer | clips in S) with
    v(empty) = -log K; the values sum to v(all) - v(empty).
    """

    answer: str
    candidates: tuple[str, ...]  # K
    scores: Tensor  # float[K]
    clip_logits: Tensor  # float[N, K]
    contribution: Tensor  # float[N]
    times: Tensor  # float64[N, T]
    aggregation: str
    sure: bool = True
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        sizes = {"K": len(self.candidates)}
        _require(self.scores, "scores", None, "K", sizes)
        _require(self.clip_logits, "clip_logits", None, "N K", sizes)
        _require(self.contribution, "contribution", None, "N", sizes)
        _require(self.times, "times", torch.float64, "N T", sizes)
        if self.answer not in self.candidates:
            raise ValueError(f"answer {self.answer!r} is not among the {len(self.candidates)} candidates.")


@dataclass(frozen=True, repr=False)
class Attribution(_ShapeRepr):
    """Which inputs moved the score of `target`; levels a method does not compute are None."""

    target: str
    method: str
    value_function: str
    clips: Tensor | None = None  # float[N]
    frames: Tensor | None = None  # float[N, T]
    cells: Tensor | None = None  # float[N, h, w] or float[N, T, h, w]
    tokens: Tensor | None = None  # float[N, L]
    gap: float | None = None  # completeness error

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        shapes = {"clips": "N", "frames": "N T", "tokens": "N L", "cells": "N h w" if self.cells is not None and self.cells.ndim == 3 else "N T h w"}
        for name, shape in shapes.items():
            if (value := getattr(self, name)) is not None:
                _require(value, name, None, shape, sizes)
