"""Videos encoded once, in memory or in a file that grows: what a `VideoIndex` searches."""

import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from clipbert.bundled import BUNDLED
from clipbert.checks import check_known
from clipbert.encoding import Progress
from clipbert.hf.files import PREFIX, is_hf
from clipbert.index_entry import Entry, IndexReport, videos_below
from clipbert.index_file import IndexFile, check_index_file, create_index, read_index
from clipbert.index_segment import STORES, Entries
from clipbert.predict import Predictor
from clipbert.source import content_hash
from clipbert.video import VideoError

Index = TypeVar("Index", bound="IndexedVideos")
COMMIT_SECONDS, COMMIT_BYTES = 30.0, 64 << 20  # of features not yet on disk, in a growing index: what a crash may cost


class IndexedVideos:
    """The encoded videos of an index, by path, and the model that made them."""

    def __init__(self, predictor: Predictor | None, model: dict[str, str], settings: dict[str, Any]) -> None:
        self._predictor, self.model, self.settings = predictor, model, settings
        self.entries, self.report = Entries(), IndexReport()
        self._file: IndexFile | None = None

    @classmethod
    def build(
        cls: type[Index], videos: str | Path | Iterable[str | Path], predictor: Predictor, *, num_clips: int = 4, progress: Progress | None = None,
        file: str | Path | None = None, store: str = "float16", **sampling: Any,
    ) -> Index:  # fmt: skip
        """Of all videos below a folder, or of the files given; `sampling` is that of `Predictor.encode`.

        With `file` it grows there instead of in memory, as `store`; a file made
        with the same model and settings is brought up to date, of another one
        only the finished new index takes the place.  Either way, after a crash,
        call it again: what was committed is not encoded again.

        Files that cannot be read stand in `report.unreadable`.  Raises
        ValueError for a folder without videos, if no video can be read, or for a
        model without a match score.
        """
        index, not_videos, gone = cls.empty(predictor, num_clips=num_clips, **sampling), [], set()
        if isinstance(videos, str | Path) and Path(videos).is_dir():
            videos, not_videos = videos_below(Path(videos))
        paths = [videos] if isinstance(videos, str | Path) else list(videos)
        if file is not None:
            index = index._growing(Path(file), store)
            gone = set(index.entries) - {str(Path(path).resolve()) for path in paths}
            index.remove(gone)
        index.report = IndexReport(not_videos=not_videos, removed=len(gone))
        index.add(paths, progress=progress)
        if not index.entries:
            if file is not None:
                _unfinished(Path(file)).unlink(missing_ok=True)
            path, why = next(iter(index.report.unreadable.items()))
            raise ValueError(f"none of the {len(index.report.unreadable)} videos can be read; the first, {Path(path).name}: {why}")
        if file is not None:
            index._finish(Path(file))
        return index

    def _growing(self: Index, path: Path, store: str) -> Index:
        """The index in this file, if it is of this model, settings and store; else the unfinished one beside it, perhaps still empty."""
        check_known("store", store, STORES)
        wanted = self.model["fingerprint"], self.settings, store
        for place in (check_index_file(path), _unfinished(path)):
            found = self.load(place) if place.is_file() else None
            if found and found._file and (found.model["fingerprint"], found.settings, found._file.store) == wanted:
                found._predictor = self._predictor
                return found
        create_index(_unfinished(path), Entries(), self._about(), store)
        self._file = read_index(_unfinished(path))[2]
        return self

    def _finish(self, path: Path) -> None:
        """Commit what is left, and put the new file in its place."""
        assert self._file is not None
        self._commit()
        if self._file.path != path.resolve():
            os.replace(self._file.path, path)
            self._file.path = path.resolve()

    @classmethod
    def empty(cls: type[Index], predictor: Predictor, *, num_clips: int = 4, **sampling: Any) -> Index:
        """Of no video yet; `add` fills it.  Raises ValueError for a model without a match score."""
        predictor.match_heads()
        model = {"name": _portable_name(predictor.model.name), "fingerprint": predictor.model.fingerprint, "dtype": _dtype_name(predictor)}
        return cls(predictor, model, {"num_clips": num_clips, **sampling})

    def add(self, videos: Iterable[str | Path], *, progress: Progress | None = None) -> None:
        """Encode these files too; one that is indexed and unchanged costs nothing.  Unreadable ones go to `report`."""
        paths, start = [str(Path(video).resolve()) for video in videos], time.perf_counter()
        committed, num_bytes = start, 0
        for done, path in enumerate(paths, 1):
            if path not in self.entries or self.entries.file(path).state() is not None:
                num_bytes += self._add(path)
            if self._file is not None and (num_bytes > COMMIT_BYTES or time.perf_counter() - committed > COMMIT_SECONDS):
                self._commit()
                committed, num_bytes = time.perf_counter(), 0
            if progress is not None:
                progress("videos", done, len(paths))
        self.report.seconds += time.perf_counter() - start

    def _add(self, path: str) -> int:
        """Bytes that its features take in memory."""
        self.entries.pop(path, None)
        self.report.unreadable.pop(path, None)
        try:
            video = self.predictor.encode(path, **self.settings)
            status, content = os.stat(path), content_hash(Path(path))
        except OSError as error:
            self.report.unreadable[path] = f"cannot be read ({error.strerror})"
        except VideoError as error:
            self.report.unreadable[path] = str(error)
        else:
            head = self.predictor.vector_head()
            vectors = None if head is None else self.predictor.model.clip_vectors(video.features, head)
            self.report.added += 1
            self.entries[path] = Entry(path, content, status.st_size, status.st_mtime_ns, video, vectors)
            return video.features.nbytes
        return 0

    def remove(self, videos: Iterable[str | Path]) -> None:
        """Forget these files; raises ValueError for one that is not indexed."""
        for path in (str(Path(video).resolve()) for video in videos):
            if path not in self.entries:
                raise ValueError(f"{path} is not in the index; it holds {len(self.entries)} videos.")
            del self.entries[path]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def num_bytes(self) -> int:
        """Of the features and vectors, as `save` writes them."""
        new = (2 * (entry.video.features.numel() + (0 if entry.vectors is None else entry.vectors.numel())) for entry in self.entries.new())
        return sum(new) + sum(segment.num_bytes for segment, _ in self.entries.stored().values())

    @property
    def predictor(self) -> Predictor:
        """The model that made the index, loaded when it is first needed.

        Raises ValueError if it is not found, or is another than the one indexed with.
        """
        if self._predictor is None:
            try:
                found = Predictor.from_pretrained(self.model["name"], dtype=self.model["dtype"])
            except ValueError as error:
                raise ValueError(f"cannot load the model of this index: {error} Or load the index with predictor=.") from error
            self._predictor = self._checked(found)
        return self._predictor

    def _checked(self, predictor: Predictor) -> Predictor:
        if predictor.model.fingerprint != self.model["fingerprint"]:
            then, now = self.model, predictor.model
            raise ValueError(
                f"the index was made with model {then['name']} ({then['fingerprint']}, {then['dtype']}), and this is {now.name} "
                f"({now.fingerprint}, {_dtype_name(predictor)}): features of different models do not mix; index again."
            )
        return predictor

    def save(self, path: str | Path, *, store: str | None = None) -> None:
        """One file with the features and all the rest, written whole or not at all; into the file it was loaded from, only what changed.

        `store`: "float16" or "int8" (default: as loaded, else float16).  Raises ValueError where it cannot be written, or would
        overwrite a file that is no index.
        """
        known = self._file.store if self._file is not None else "float16"
        if self._file is not None and Path(path).resolve() == self._file.path and store in (None, known):
            self._commit()
        else:
            check_known("store", store or known, STORES)
            create_index(path, self.entries, self._about(), store or known)

    def _commit(self) -> None:
        assert self._file is not None
        self._file.append(self.entries, self._about())
        if self._file.is_wasteful:
            create_index(self._file.path, self.entries, self._about(), self._file.store)
            self.entries, _, self._file = read_index(self._file.path)

    def _about(self) -> dict[str, Any]:
        return {"model": self.model, "settings": self.settings, "report": asdict(self.report)}

    def part(self: Index, rank: int, num_parts: int) -> Index:
        """Every `num_parts`-th video from `rank` on, as an index of its own: a shard; `save` it under a name of its own.

        Raises ValueError unless 0 <= rank < num_parts.
        """
        if not 0 <= rank < num_parts:
            raise ValueError(f"rank must be between 0 and {num_parts - 1}, got {rank}.")
        shard = type(self)(self._predictor, self.model, self.settings)
        shard.entries = self.entries.only(list(self.entries)[rank::num_parts])
        return shard

    @classmethod
    def load(cls: type[Index], path: str | Path, *, predictor: Predictor | None = None) -> Index:
        """A saved index; without `predictor` its model is loaded when a search first needs it.

        Raises ValueError for a file that is no index, and for a predictor that is not of the model indexed with.
        """
        entries, about, file = read_index(path)
        index = cls(None, about["model"], about["settings"])
        index.entries, index._file = entries, file
        index.report = IndexReport(**about["report"])
        index._predictor = index._checked(predictor) if predictor is not None else None
        return index


def _unfinished(path: Path) -> Path:
    """Where an index grows that is to replace another, or nothing yet."""
    return path.with_name(f".{path.name}.part")


def _portable_name(name: str) -> str:
    """The model's name, good from any working directory."""
    prefix, path = (PREFIX, name.removeprefix(PREFIX)) if is_hf(name) else ("", name)
    return f"{prefix}{Path(path).resolve()}" if name not in BUNDLED and Path(path).is_dir() else name


def _dtype_name(predictor: Predictor) -> str:
    return str(predictor.model.dtype).removeprefix("torch.")
