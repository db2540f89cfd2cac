"""A session zip: the session, its result and the frames used, to reopen anywhere, offline, with or without the video.

It holds `session.json` and `result.json` to read, `arrays.safetensors` (exact
numbers), and the frames that the model saw as JPEG.  Reading trusts nothing:
only these names, sizes bounded before anything is unpacked, nothing written to
disk, no pickle.
"""

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from clipbert.session import ExplorerSession, SessionResult
from clipbert.viz.strip import SeenFrames, frame_image, jpeg

FRAME = "frames/clip-{:03d}-frame-{:03d}.jpg"
VIDEO = "video/"
KNOWN = re.compile(r"frames/clip-\d{3}-frame-\d{3}\.jpg|video/[\w-][\w.-]{0,99}", re.ASCII)
LARGEST = {"session.json": 1 << 20, "result.json": 8 << 20, "arrays.safetensors": 64 << 20}
LARGEST_FRAME, LARGEST_VIDEO = 4 << 20, 4 << 30
UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError)
"""Of a part that is damaged, encrypted or packed by another method."""
MOST_FILES = 5000
MOST_PIXELS = 1 << 28
MOMENT = (1980, 1, 1, 0, 0, 0)  # the same bytes for the same result
ARRAYS = ("scores", "clip_logits", "contribution", "times", "spans")


def save_session(result: SessionResult, path: str | Path, *, video: str | Path | None = None) -> None:
    """Write the zip, whole or not at all; with `video` also that file.

    Raises ValueError where it cannot be written.
    """
    path, frames = Path(path), result.seen.frames
    if frames[:, :, 0].numel() > MOST_PIXELS:
        raise ValueError(
            f"a session zip holds at most {MOST_PIXELS >> 20} million pixels of frames, and this one has {frames[:, :, 0].numel() >> 20}."
        )
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(unfinished, "w") as archive:
            for name, content in _parts(result):
                archive.writestr(zipfile.ZipInfo(name, MOMENT), content, zipfile.ZIP_STORED if name.endswith(".jpg") else zipfile.ZIP_DEFLATED)
            if video is not None:
                archive.write(video, VIDEO + _safe_name(result.session.video))
        unfinished.replace(path)
    except OSError as error:
        raise ValueError(f"cannot write the session to {path}: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def load_session(path: str | Path) -> SessionResult:
    """The result in a session zip.  Raises ValueError for any file that `save_session` did not write, saying what is wrong."""
    with _opened(path) as archive:
        session = ExplorerSession.from_json(_text(archive, "session.json"))
        about = _about(_text(archive, "result.json"))
        arrays = _arrays(_read(archive, "arrays.safetensors", LARGEST["arrays.safetensors"]))
        num_clips, num_frames = arrays["times"].shape
        frames = _frames(archive, num_clips, num_frames, about["side"])
    height, width = about.pop("size")
    side = about.pop("side")
    if not (1 <= height <= side and 1 <= width <= side):
        raise ValueError(f"the session zip says its frames of {side} pixels show a picture of {height} x {width}.")
    return SessionResult(session=session, seen=SeenFrames(frames, (height, width)), **about, **arrays)


def extract_video(path: str | Path, folder: str | Path, *, largest_bytes: int | float = LARGEST_VIDEO) -> Path | None:
    """The video in a session zip, written to `folder`; None if the zip holds none.

    Raises ValueError, also for one that unpacks to more than `largest_bytes`.
    """
    with _opened(path) as archive:
        session = ExplorerSession.from_json(_text(archive, "session.json"))
        name = next((name for name in archive.namelist() if name.startswith(VIDEO)), None)
        if name is None:
            return None
        out = Path(folder) / _safe_name(session.video)
        if out.exists():
            raise ValueError(f"there is a {out.name} already in {out.parent}; move it, or choose another folder.")
        try:
            with archive.open(name) as source, out.open("xb") as target:
                while chunk := source.read(1 << 20):
                    if target.tell() + len(chunk) > largest_bytes:
                        raise ValueError(f"the video in the session zip is larger than {largest_bytes / 2**20:,.0f} MB; open the video by itself.")
                    target.write(chunk)
        except UNREADABLE as error:
            out.unlink(missing_ok=True)
            raise ValueError(f"the video in the session zip cannot be read: {error}.") from error
        except ValueError:
            out.unlink(missing_ok=True)
            raise
    return out


def _parts(result: SessionResult) -> list[tuple[str, bytes]]:
    about = {
        "answer": result.answer, "candidates": result.candidates, "sure": result.sure, "notices": result.notices, "duration": result.duration,
        "side": result.seen.frames.shape[-1], "size": result.seen.size,
    }  # fmt: skip
    arrays = {name: getattr(result, name).contiguous() for name in ARRAYS}
    parts = [
        ("session.json", result.session.to_json().encode()),
        ("result.json", (json.dumps(about, ensure_ascii=False, indent=2) + "\n").encode()),
        ("arrays.safetensors", save(arrays)),
    ]
    for n, clip in enumerate(result.seen.frames):
        for t, frame in enumerate(clip):
            parts.append((FRAME.format(n + 1, t + 1), jpeg(frame_image(frame), 92)))
    return parts


def _safe_name(name: str) -> str:
    """A file name that is one everywhere, without folders."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", Path(name.replace("\\", "/")).name)[-99:].lstrip(".") or "video"


@contextmanager
def _opened(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """The zip, after its list of files has been checked."""
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise ValueError(f"cannot read {Path(path).name}: {error.strerror or error}.") from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"{Path(path).name} is no session zip: {error}.") from error
    with archive:
        names = archive.namelist()
        if len(names) > MOST_FILES or len(set(names)) < len(names):
            raise ValueError(f"the session zip lists {len(names)} files, some of them twice or more than {MOST_FILES}.")
        for name in names:
            if name not in LARGEST and not KNOWN.fullmatch(name):
                raise ValueError(f"the session zip holds {name!r:.80}, which no session has.")
        yield archive


def _read(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    try:
        with archive.open(name) as file:
            content = file.read(largest + 1)
    except KeyError as error:
        raise ValueError(f"the session zip lacks {name}.") from error
    except UNREADABLE as error:
        raise ValueError(f"{name} in the session zip cannot be read: {error}.") from error
    if len(content) > largest:
        raise ValueError(f"{name} in the session zip is larger than {largest >> 20} MB.")
    return content


def _text(archive: zipfile.ZipFile, name: str) -> str:
    try:
        return _read(archive, name, LARGEST[name]).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} in the session zip is no UTF-8 text.") from error


def _about(text: str) -> dict[str, Any]:
    try:
        about = json.loads(text)
        shown = {
            "answer": str(about["answer"]), "candidates": tuple(map(str, about["candidates"])), "sure": bool(about["sure"]),
            "notices": tuple(map(str, about["notices"])), "duration": float(about["duration"]), "side": int(about["side"]),
            "size": tuple(map(int, about["size"])),
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"result.json in the session zip is not what a session has: {error!r:.120}.") from error
    if len(shown["size"]) != 2 or not 1 <= shown["side"] <= 4096 or not 0 <= shown["duration"] < math.inf:
        raise ValueError(f"result.json in the session zip has frames of {shown['side']} pixels, showing {shown['size']}, of {shown['duration']} s.")
    return shown


def _arrays(content: bytes) -> dict[str, Any]:
    try:
        arrays = load(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"arrays.safetensors in the session zip cannot be read: {error}.") from error
    if set(arrays) != set(ARRAYS) or arrays["times"].ndim != 2 or not all(value.is_floating_point() for value in arrays.values()):
        raise ValueError(f"arrays.safetensors in the session zip must hold {', '.join(ARRAYS)}, got {', '.join(sorted(arrays))}.")
    if not all(bool(value.isfinite().all()) for value in arrays.values()):
        raise ValueError("arrays.safetensors in the session zip holds nan or inf.")
    return arrays


def _frames(archive: zipfile.ZipFile, num_clips: int, num_frames: int, side: int) -> Tensor:
    if num_clips * num_frames * side * side > MOST_PIXELS:
        raise ValueError(f"the session zip claims {num_clips} x {num_frames} frames of {side} pixels, more than any session has.")
    names = [FRAME.format(n + 1, t + 1) for n in range(num_clips) for t in range(num_frames)]
    frames = torch.stack([_frame(_read(archive, name, LARGEST_FRAME), name, side) for name in names])
    return frames.reshape(num_clips, num_frames, 3, side, side)


def _frame(content: bytes, name: str, side: int) -> Tensor:
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.size != (side, side) or image.mode != "RGB":
                raise ValueError(f"it is {image.size} {image.mode} where ({side}, {side}) RGB is needed")
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{name} in the session zip is no such picture: {error}.") from error
