"""Decoded clips on disk: bounded, least recently used out first, bit for bit what decoding gives."""

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from clipbert.types import Clip


class ClipCache:
    """`Clip`s by key, at most `max_bytes` of them; processes may share the folder.

    Files are written whole or not at all; one that cannot be read is as if it
    were not there.  Its users must put all that a clip depends on into the key.
    """

    def __init__(self, folder: str | Path, *, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {max_bytes}.")
        self.folder, self.max_bytes = Path(folder), max_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hits = self.misses = 0

    def get(self, key: object) -> Clip | None:
        clip = _read(self._path(key))
        self.hits, self.misses = self.hits + (clip is not None), self.misses + (clip is None)
        return clip

    def put(self, key: object, clip: Clip) -> None:
        path = self._path(key)
        part = path.with_suffix(f".{os.getpid()}.part")
        save_file({"frames": clip.frames, "times": clip.times}, part)
        os.replace(part, path)
        self._keep_within_bounds()

    def _path(self, key: object) -> Path:
        return self.folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()}.clip"

    def _keep_within_bounds(self) -> None:
        files = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                try:
                    files.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
                except FileNotFoundError:
                    continue  # another process has just removed it
        excess = sum(size for _, size, _ in files) - self.max_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            Path(path).unlink(missing_ok=True)
            excess -= size


def _read(path: Path) -> Clip | None:
    try:
        with safe_open(path, framework="pt") as file:
            clip = Clip(file.get_tensor("frames").clone(memory_format=torch.contiguous_format), file.get_tensor("times").clone())
        os.utime(path)
    except (OSError, SafetensorError):
        return None
    return clip
