"""The values that flow between stages; each checks itself on creation.

Dimension letters, the same everywhere in this package:

B videos, M texts, N clips per video, T frames per clip, H W pixels,
h w grid cells, L text tokens, S = L + h*w fused sequence, D hidden size,
J head outputs, K candidate answers.  (The paper's L, the input image side,
is called `image_size`.)
"""

import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipbert.cell_grid import CellGrid


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
    frame_size: tuple[int, int] | None = None  # height and width of the upright source; None: not known

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
    """Which inputs moved the score of `target`; levels a method does not compute are None.

    `clips` has every clip of the video.  The rows of the other levels are the
    clips in `clip_index`, each explained by itself.  `gap` is the sum of the
    values less the whole that they promise to share, of the clip where it is
    largest; `gaps` has every clip's.  What drawing needs comes along: `spans`
    and `times` of all clips in seconds, the text's `pieces`, the `grid`.
    """

    target: str
    method: str
    value_function: str
    clips: Tensor | None = None  # float[N]
    frames: Tensor | None = None  # float[N, T]
    cells: Tensor | None = None  # float[N, h, w] or float[N, T, h, w]
    tokens: Tensor | None = None  # float[N, L]: word pieces, without [CLS] and [SEP]
    gap: float | None = None  # completeness error
    gaps: Tensor | None = None  # float[N]
    standard_error: Tensor | None = None  # of sampled values, as them; None: exact
    clip_index: tuple[int, ...] = ()
    pieces: tuple[str, ...] = ()  # L
    spans: Tensor | None = None  # float64[*, 2]
    times: Tensor | None = None  # float64[*, T]
    grid: CellGrid | None = None
    text: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {"L": len(self.pieces)} if self.pieces else {}
        shapes = {"clips": "N", "frames": "N T", "tokens": "N L", "cells": "N h w" if self.cells is not None and self.cells.ndim == 3 else "N T h w"}
        for name, shape in (shapes | {"gaps": "N"}).items():
            if (value := getattr(self, name)) is not None:
                _require(value, name, None, shape, sizes)

    @property
    def level(self) -> str:
        """The level that the method computes: clips, frames, cells or tokens."""
        return next(level for level in ("clips", "frames", "cells", "tokens") if getattr(self, level) is not None)

    @property
    def values(self) -> Tensor:
        """Of its level."""
        return getattr(self, self.level)

    def interval(self) -> tuple[Tensor, Tensor]:
        """Ends of the 95 % confidence interval of each value; the value itself where it is exact."""
        error = torch.zeros_like(self.values) if self.standard_error is None else self.standard_error
        return self.values - 1.96 * error, self.values + 1.96 * error

    def on_padding(self) -> float | None:
        """The share of |attribution| on cells that show padding alone; None without cells or without the frame's size."""
        if self.cells is None or self.grid is None:
            return None
        size = self.cells.abs().double()
        return float((size * self.grid.on_padding()).sum() / size.sum().clamp(min=torch.finfo(torch.float64).tiny))

    def save(self, path: str | Path) -> None:
        """Write a .npz file of arrays and one JSON text, without pickled objects.  Raises ValueError for another suffix.

        For readers without this package `boxes` says where each cell lies, float64[h, w, 4] as `CellGrid.box`, nan on padding alone.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise ValueError(f"an attribution is saved as .npz, got {path}; name it {path.with_suffix('.npz')}.")
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value.numpy() for name, value in values.items() if isinstance(value, Tensor)}
        rest = {name: value for name, value in values.items() if name not in arrays and name != "grid"}
        about = rest | {"grid": vars(self.grid) if self.grid is not None else None}
        boxes = {} if self.grid is None else {"boxes": self.grid.boxes().numpy()}
        np.savez_compressed(path, allow_pickle=False, about=np.array(json.dumps(about)), **arrays, **boxes)

    @classmethod
    def load(cls, path: str | Path) -> "Attribution":
        """What `save` wrote; raises ValueError for anything else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays: dict[str, Any] = {name: torch.from_numpy(file[name]) for name in file.files if name not in ("about", "boxes")}
                about = _tuples(json.loads(str(file["about"])))
            grid = about.pop("grid")
            return cls(**about, **arrays, grid=None if grid is None else CellGrid(**_tuples(grid)))
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is no attribution that was saved, or is damaged; save one with clipbert attribute --out FILE.npz.") from error


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
