"""The file of a video index: one safetensors file, features as float16, the rest as JSON in its header; and what goes into one."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clipbert.source import content_hash, digest
from clipbert.types import EncodedVideo

SUFFIXES = tuple(".mp4 .m4v .mov .mkv .webm .avi .gif .flv .mpg .mpeg .ts .wmv .3gp .ogv".split())
FORMAT = "clipbert-index-1"


@dataclass(frozen=True)
class Entry:
    """An indexed file as it was then, with its encoded clips."""

    path: str
    content: str  # hash
    size: int
    modified: int  # nanoseconds
    video: EncodedVideo

    def state(self) -> str | None:
        """What became of the file since it was indexed; None if it is the same."""
        try:
            now = os.stat(self.path)
            if (now.st_size, now.st_mtime_ns) == (self.size, self.modified) or content_hash(Path(self.path)) == self.content:
                return None
        except OSError:
            return "the file is no longer where it was indexed"
        return "the file has changed since it was indexed; index it again"


@dataclass
class IndexReport:
    """What indexing did: nothing is left out without a line here."""

    unreadable: dict[str, str] = field(default_factory=dict)  # path -> why
    not_videos: list[str] = field(default_factory=list)  # files of the folder whose names are no video's
    seconds: float = 0.0


def write_index(path: str | Path, entries: Sequence[Entry], about: dict[str, Any]) -> None:
    """Write it whole or not at all; `about` is JSON that `read_index` gives back.

    Raises ValueError where it cannot be written, or would overwrite a file that is no index.
    """
    path = check_index_file(path)
    tensors, rows = {}, []
    for entry in entries:
        tensors[entry.video.key] = _rounded(entry.video.features)
        video = {name: value for name, value in vars(entry.video).items() if name not in ("features", "times", "spans")}
        video |= {"times": entry.video.times.tolist(), "spans": entry.video.spans.tolist()}
        rows.append({name: value for name, value in vars(entry).items() if name != "video"} | {"video": video})
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, unfinished, metadata={"format": FORMAT, "about": json.dumps(about), "entries": json.dumps(rows)})
        os.replace(unfinished, path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot write {path} ({error}).") from error
    finally:
        unfinished.unlink(missing_ok=True)


def read_index(path: str | Path) -> tuple[list[Entry], dict[str, Any]]:
    """The entries and `about` of `write_index`; raises ValueError for a file that is no index."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no index {path}; make one with clipbert index FOLDER -o {path.name}.")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"{path} is no index of clipbert; make one with clipbert index FOLDER -o FILE.")
            entries = []
            for row in json.loads(header["entries"]):
                video = row.pop("video")
                entries.append(Entry(video=_read_video(file.get_tensor(video["key"]), video), **row))
            return entries, json.loads(header["about"])
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no index of clipbert, or is damaged; make one with clipbert index FOLDER -o FILE.") from error


def _rounded(features: Tensor) -> Tensor:
    """As float16, unless a value is too large for it."""
    half = features.half()
    return half.contiguous() if bool(half.isfinite().all()) else features.contiguous()


def _read_video(features: Tensor, about: dict[str, Any]) -> EncodedVideo:
    about = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}
    times, spans = (torch.tensor(about.pop(name), dtype=torch.float64) for name in ("times", "spans"))
    key = digest(about.pop("key"), str(features.dtype))  # rounded features have clip logits of their own in the predictor's cache
    return EncodedVideo(features=features, times=times, spans=spans, key=key, **about)


def check_index_file(path: str | Path) -> Path:
    """The path, if an index can be written there; raises ValueError before hours of work are lost."""
    path = Path(path)
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"cannot write {path}: {path.parent} is no folder that can be written to.")
    if path.exists() and not is_index(path):
        raise ValueError(f"{path} exists and is no index; name a new file, so that nothing of yours is overwritten.")
    return path


def is_index(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def videos_below(folder: Path) -> tuple[list[Path], list[str]]:
    """The videos in a folder and below by their names, and the other files; hidden ones are left alone.

    Raises ValueError if there is no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name one that holds videos.")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts))
    videos = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not videos:
        raise ValueError(
            f"no videos in {folder} or below ({len(files)} files of other kinds); videos are known by their names: {' '.join(SUFFIXES)}."
        )
    return videos, [str(path) for path in files if path.suffix.lower() not in SUFFIXES]
