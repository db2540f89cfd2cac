"""Where frames come from: a video file, or an image as a one-frame video, known by its content.

A timeline and a frame size that were read once are remembered by content, so that checking a
file, sampling it and sampling it again read its packets once.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from clipbert.types import Timeline
from clipbert.video import Video, backend_of

_KNOWN: "OrderedDict[str, _Known]" = OrderedDict()
SOURCES_KNOWN = 64


@dataclass(frozen=True)
class _Known:
    timeline: Timeline
    notices: tuple[str, ...]
    size: tuple[int, int]
    codec: str
    pixel_format: str


@dataclass(frozen=True)
class Source:
    """Something frames come from, with the hash of its content."""

    name: str
    key: str
    open: Callable[[], Any]

    def timeline(self) -> tuple[Timeline, tuple[str, ...]]:
        """When its frames are shown, and sentences about what of it could not be read.

        Raises VideoError.
        """
        known = self._known()
        return known.timeline, known.notices

    def frame_size(self) -> tuple[int, int]:
        """Height and width of its upright frames.  Raises VideoError."""
        return self._known().size

    def encoding(self) -> tuple[str, str]:
        """FFmpeg's names of its codec and its pixel format.  Raises VideoError."""
        known = self._known()
        return known.codec, known.pixel_format

    def _known(self) -> "_Known":
        known = _KNOWN.get(self.key)
        if known is None:
            with self.open() as opened:
                known = _Known(opened.timeline, tuple(opened.notices), opened.size, opened.codec, opened.pixel_format)
            _KNOWN[self.key] = known
            while len(_KNOWN) > SOURCES_KNOWN:
                _KNOWN.popitem(last=False)
        return known


class _OneFrame:
    """An image as a one-frame video."""

    notices: tuple[str, ...] = ()
    key_frames: tuple[int, ...] = (0,)
    codec = pixel_format = ""
    frames_decoded = 0

    def __init__(self, image: Image.Image) -> None:
        self.frame = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
        self.timeline, self.size = Timeline.regular(1, 1.0), (self.frame.shape[1], self.frame.shape[2])

    def __enter__(self) -> "_OneFrame":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def decode(self, indices: Sequence[int]) -> tuple[dict[int, Tensor], tuple[int, ...]]:
        return dict.fromkeys(indices, self.frame), ()


def source_of(video: str | Path | Image.Image, backend: str | None) -> Source:
    """The source behind a path or an image; an unreadable file shows when its timeline is asked for."""
    image = video if isinstance(video, Image.Image) else _still(Path(video))
    if image is not None:
        one = _OneFrame(image)
        name = "the image" if isinstance(video, Image.Image) else Path(video).name
        return Source(name, digest(repr(one.frame.shape), one.frame.numpy().tobytes()), lambda: one)
    path = Path(video)  # pyright: ignore[reportArgumentType]
    key = content_hash(path) if path.is_file() else str(path)
    pixels = "decord" if backend_of(backend) == "decord" else ""  # PyAV's are the same in whatever process
    return Source(path.name, digest(key, pixels), lambda: Video.open(path, backend=backend))


def _still(path: Path) -> Image.Image | None:
    """The file as an image, turned upright, if it is a still one."""
    if not path.is_file():
        return None
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1 or image.format in ("GIF", "MPEG"):
                return None
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError, SyntaxError):
        return None


def content_hash(path: Path) -> str:
    """Hash of a file's content: all of it up to 64 MB; of larger files the size, time of change and 64 spread blocks of 64 kB."""
    size, digest = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        if size <= 64 << 20:
            digest.update(file.read())
        else:
            digest.update(f"{size} {path.stat().st_mtime_ns}".encode())
            for k in range(64):
                file.seek(k * (size - (1 << 16)) // 63)
                digest.update(file.read(1 << 16))
    return digest.hexdigest()


def digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]
