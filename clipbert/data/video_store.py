"""Where a data set's videos and images lie: files in a folder, or the original repository's LMDB (OFFICIAL section 5)."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from clipbert.video import VideoError

MEDIA = frozenset(".mp4 .m4v .mov .mkv .webm .avi .gif .mpg .mpeg .3gp .flv .wmv .ts .mts .ogv .jpg .jpeg .png .webp .bmp .tif .tiff .ppm".split())


class VideoFolder:
    """Videos and images of a folder and the folders in it, by path or by file name without extension."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(f"no folder of videos at {self.folder}.")
        self._paths: dict[str, list[Path]] = {}
        for root, _, names in os.walk(self.folder, followlinks=True):
            for name in sorted(names):
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in MEDIA:
                    self._paths.setdefault(stem, []).append(Path(root, name))

    def find(self, name: str) -> Path:
        """The file: `name` as a path from the folder, else the only file so called, whatever its extension.

        Raises VideoError if there is none, or more than one.
        """
        if (self.folder / name).is_file():
            return self.folder / name
        stem, suffix = os.path.splitext(name)
        found = self._paths.get(name) or (self._paths.get(stem, []) if suffix.lower() in MEDIA else [])
        if not found:
            raise VideoError(f"no video or image called {name} in {self.folder}.")
        if len(found) > 1:
            raise VideoError(f"{name} may be {found[0]} or {found[1]}; write its path, or keep one.")
        return found[0]

    def file(self, name: str) -> AbstractContextManager[Path]:
        """The file for as long as the context lasts."""
        return nullcontext(self.find(name))

    def identity(self, name: str) -> str:
        """Place, size and time of change: what a cache needs to know of the file."""
        return _identity(self.find(name))


class LmdbVideos:
    """The original's LMDB: file name without extension -> the bytes of the video file, or of a JPEG.

    Opened anew for each read, without a lock: that takes a fraction of a
    decode, and leaves nothing for worker processes to share.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "data.mdb").is_file() and not self.path.is_file():
            raise ValueError(f"no LMDB at {self.path}.")

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        import lmdb

        whole = {"readonly": True, "create": False, "lock": False, "readahead": False}
        with lmdb.open(str(self.path), subdir=self.path.is_dir(), **whole) as environment, environment.begin() as transaction:
            yield transaction

    def names(self) -> list[str]:
        with self._reading() as transaction:
            return [bytes(key).decode() for key in transaction.cursor().iternext(values=False)]

    def read(self, name: str) -> bytes:
        with self._reading() as transaction:
            value = transaction.get(name.encode())
        if value is None:
            raise VideoError(f"no video or image called {name} in {self.path}.")
        return bytes(value)

    def identity(self, name: str) -> str:
        return f"{_identity(self.path / 'data.mdb' if self.path.is_dir() else self.path)} {name}"

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="clipbert-") as folder:
            yield _write(Path(folder), name, self.read(name))

    def export(self, folder: str | Path) -> list[Path]:
        """Every value as a file again, its extension found from its content; existing files are not touched.

        Raises ValueError if a file would be overwritten.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        return [_write(Path(folder), name, self.read(name)) for name in self.names()]


VideoStore = VideoFolder | LmdbVideos


def open_store(path: str | Path) -> VideoStore:
    """The videos of a folder, or of an LMDB where the folder holds a data.mdb."""
    path = Path(path)
    return LmdbVideos(path) if (path / "data.mdb").is_file() else VideoFolder(path)


def _identity(path: Path) -> str:
    return f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}"


def _write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / f"{name}{_suffix(content)}"
    if path.resolve().parent != folder.resolve():
        raise ValueError(f"the LMDB key {name!r} is no file name.")
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise ValueError(f"{path} exists already; export into an empty folder.") from None
    return path


def _suffix(content: bytes) -> str:
    """The extension that goes with a file's first bytes; ".mp4" if none is known, which readers of content do not mind."""
    signs = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"\x1aE\xdf\xa3": ".webm", b"RIFF": ".avi", b"FLV": ".flv"}
    return next((suffix for sign, suffix in signs.items() if content.startswith(sign)), ".mp4")
