"""The file of a video index, which grows: segments of videos are appended, and a crash at any moment leaves the last commit whole.

    MAGIC | two slots | blocks of a segment | root | blocks of a segment | root | ...

A commit appends blocks and a new root (JSON: where blocks lie, which videos
were removed), forces them to disk, and only then writes the older of the two
slots, which point to roots.  A reader takes the newer slot of those whose
checksums hold.  Nothing that a slot points to is ever overwritten.
"""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from clipbert.index_entry import Entry
from clipbert.index_file_v1 import is_first_format, read_first_format
from clipbert.index_segment import Entries, Segment, segment_of

try:
    import fcntl
except ImportError:  # not a POSIX system: two programs must not write one index at a time
    fcntl = None

MAGIC = b"clipbert-index-2\n"
SLOTS = (512, 1024)
START, ALIGNMENT = 4096, 64
SLOT = struct.Struct("<QQQII")  # number of the commit, offset, length and checksum of its root, checksum of these
SEGMENT_BYTES = 128 << 20
MOST_SEGMENTS = 4096
BROKEN = "is no index of clipbert, or is damaged; make one with clipbert index FOLDER -o FILE."


@dataclass
class IndexFile:
    """A file as it was when it was read; a later commit must find it so."""

    path: Path
    commit: int
    end: int
    inode: int
    store: str
    segments: list[tuple[dict[str, Any], Segment]]
    """As the root lists it (where its blocks lie), and mapped."""

    def append(self, entries: Entries, about: dict[str, Any]) -> None:
        """Commit what is new among `entries`, and what is not among them any more; new ones then stay on disk alone.

        Raises ValueError if another program has changed the file since, or it cannot be written.
        """
        alive = {key: places for key, (_, places) in entries.stored().items()}
        with self.path.open("rb+") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_ino != self.inode or _newest_root(file)[0] != self.commit:
                raise ValueError(f"{self.path} was changed by another program since it was read; load it again.")
            file.seek(self.end)
            records = [record | {"dead": sorted(set(range(len(part))) - set(alive.get(id(part), ())))} for record, part in self.segments]
            records += _write_segments(file, entries.new(), self.store)
            self.commit, self.end = self.commit + 1, _commit(file, self.commit + 1, {"about": about, "store": self.store, "segments": records})
            with self.path.open("rb") as other:  # a map keeps its handle open, and with it the lock
                added = _mapped(other, records[len(self.segments) :])
        self.segments = [(record, part) for record, (_, part) in zip(records, self.segments, strict=False)] + added
        for _, segment in added:
            entries.put_stored(segment, range(len(segment)))

    @property
    def is_wasteful(self) -> bool:
        """Most of what it holds was removed, or it has grown in very many steps: better written anew."""
        stored, dead = sum(len(segment) for _, segment in self.segments), sum(len(record["dead"]) for record, _ in self.segments)
        return dead > stored / 2 or len(self.segments) > MOST_SEGMENTS


def create_index(path: str | Path, entries: Entries, about: dict[str, Any], store: str) -> None:
    """Write a file whole or not at all; `about` is JSON that `read_index` gives back.

    Raises ValueError where it cannot be written, or would overwrite a file that is no index.
    """
    path = check_index_file(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(MAGIC.ljust(START, b"\0"))
            _commit(file, 1, {"about": about, "store": store, "segments": _write_segments(file, entries.values(), store)})
        os.replace(unfinished, path)
    except OSError as error:
        raise ValueError(f"cannot write {path} ({error.strerror or error}).") from error
    finally:
        unfinished.unlink(missing_ok=True)


def read_index(path: str | Path) -> tuple[Entries, dict[str, Any], IndexFile | None]:
    """The entries, `about`, and the file to append to, which is None for one of the first format.

    Raises ValueError for a file that is no index.
    """
    path, entries = Path(path), Entries()
    if not path.is_file():
        raise ValueError(f"there is no index {path}; make one with clipbert index FOLDER -o {path.name}.")
    if is_first_format(path):
        found, about = read_first_format(path)
        for entry in found:
            entries[entry.path] = entry
        return entries, about, None
    try:
        with path.open("rb") as file:
            commit, root, end = _newest_root(file)
            segments = _mapped(file, root["segments"])
            opened = IndexFile(path.resolve(), commit, end, os.fstat(file.fileno()).st_ino, root["store"], segments)
        for record, segment in segments:
            entries.put_stored(segment, _alive(record, segment))
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} {BROKEN}") from error
    return entries, root["about"], opened


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
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC or is_first_format(path)
    except OSError:
        return False


def _newest_root(file: BinaryIO) -> tuple[int, dict[str, Any], int]:
    """The number of the last commit that is whole, its root, and where it ends.  Raises ValueError if there is none."""
    found: list[tuple[int, bytes, int]] = []
    for slot in SLOTS if _read(file, 0, len(MAGIC)) == MAGIC else ():
        packed = _read(file, slot, SLOT.size)
        if len(packed) == SLOT.size and zlib.crc32(packed[:-4]) == SLOT.unpack(packed)[4]:
            commit, offset, length, checksum, _ = SLOT.unpack(packed)
            root = _read(file, offset, length)
            if zlib.crc32(root) == checksum and len(root) == length:
                found.append((commit, root, offset + length))
    if not found:
        raise ValueError(f"{file.name} {BROKEN}")
    commit, root, end = max(found)
    return commit, json.loads(root), end


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _commit(file: BinaryIO, commit: int, root: dict[str, Any]) -> int:
    """Write a root at the file's position, then its slot; returns where it ends."""
    offset, packed = file.tell(), json.dumps(root).encode()
    file.write(packed)
    file.truncate()
    _force(file)
    slot = SLOT.pack(commit, offset, len(packed), zlib.crc32(packed), 0)[:-4]
    file.seek(SLOTS[commit % 2])
    file.write(slot + struct.pack("<I", zlib.crc32(slot)))
    _force(file)
    return offset + len(packed)


def _force(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _write_segments(file: BinaryIO, entries: Iterable[Entry], store: str) -> list[dict[str, Any]]:
    """Append the entries; where their blocks lie."""
    return [{"blocks": _write_blocks(file, segment_of(some, store).blocks), "dead": []} for some in _parts(entries)]


def _parts(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    some, num_bytes = [], 0
    for entry in entries:
        some.append(entry)
        num_bytes += entry.video.features.nbytes
        if num_bytes >= SEGMENT_BYTES:
            yield some
            some, num_bytes = [], 0
    if some:
        yield some


def _write_blocks(file: BinaryIO, blocks: dict[str, np.ndarray]) -> dict[str, Any]:
    places: dict[str, Any] = {}
    for name, block in blocks.items():
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
        places[name] = [file.tell(), block.dtype.str, block.shape]
        file.write(np.ascontiguousarray(block).data.cast("B"))
    return places


def _mapped(file: BinaryIO, records: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Segment]]:
    """The records with their segments, whose pages are read when they are looked at."""
    whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return [(record, Segment.of_blocks({name: _block(whole, *place) for name, place in record["blocks"].items()})) for record in records]


def _block(whole: mmap.mmap, offset: int, dtype: str, shape: Sequence[int]) -> np.ndarray:
    return np.frombuffer(whole, dtype, int(np.prod(shape)), offset).reshape(shape)


def _alive(record: dict[str, Any], segment: Segment) -> list[int]:
    dead = set(record["dead"])
    return [i for i in range(len(segment)) if i not in dead]
