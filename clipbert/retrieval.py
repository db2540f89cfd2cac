"""Index a folder of videos once; rank them for a text, or texts for one of them.

The CNN runs once per video (at indexing), the rest of the match score once per
query and clip: for a cross-encoder, which reads the whole text with the whole
clip, that is videos x N_test passes of the transformer; a contrastive head
compares two vectors.  The score is `Predictor.match`, exactly.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clipbert.bundled import BUNDLED
from clipbert.encoding import Progress
from clipbert.hf.files import PREFIX, is_hf
from clipbert.index_file import Entry, IndexReport, read_index, videos_below, write_index
from clipbert.predict import Predictor
from clipbert.source import content_hash, digest
from clipbert.tasks import require_text
from clipbert.types import EncodedVideo
from clipbert.video import VideoError


@dataclass(frozen=True)
class Hit:
    """A video and how well it matches the text.

    `score` is the match log-odds pooled over clips, `clip_scores` each clip's
    own; `start` and `end` bound the clip that matches best, in seconds.
    `exact` is False where only the middle clip has been read so far.
    `notices` say what has become of the file since, and what of it was unreadable.
    """

    path: str
    score: float
    start: float
    end: float
    clip_scores: tuple[float, ...]
    spans: tuple[tuple[float, float], ...]
    duration: float
    exact: bool = True
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """The hits known after `done` of `total` videos of a stage; `partial` until every video was read with all of its clips."""

    hits: tuple[Hit, ...]
    stage: str  # "one clip" or "all clips"
    done: int
    total: int
    partial: bool


class VideoIndex:
    """Encoded videos, searchable by text; made by `build` or `load`.

    In memory a new index holds float32 features, so `search` equals
    `Predictor.match`.  `save` rounds them to float16: a relative error of at
    most 2^-11 per feature, which moved the bundled model's log-odds by at most
    0.0001 (27 clips of the wild x 5 queries, CPU).
    """

    def __init__(self, predictor: Predictor | None, model: dict[str, str], settings: dict[str, Any]) -> None:
        self._predictor, self.model, self.settings = predictor, model, settings
        self.entries: dict[str, Entry] = {}
        self.report = IndexReport()

    @classmethod
    def build(
        cls, videos: str | Path | Iterable[str | Path], predictor: Predictor, *, num_clips: int = 4, progress: Progress | None = None,
        **sampling: Any,
    ) -> "VideoIndex":  # fmt: skip
        """Of all videos below a folder, or of the files given; `sampling` is that of `Predictor.encode`.

        Files that cannot be read stand in `report.unreadable`.  Raises
        ValueError for a folder without videos, if no video can be read, or for a
        model without a match score.
        """
        index = cls.empty(predictor, num_clips=num_clips, **sampling)
        if isinstance(videos, str | Path) and Path(videos).is_dir():
            videos, index.report.not_videos = videos_below(Path(videos))
        elif isinstance(videos, str | Path):
            videos = [videos]
        index.add(videos, progress=progress)
        if not index.entries:
            path, why = next(iter(index.report.unreadable.items()))
            raise ValueError(f"none of the {len(index.report.unreadable)} videos can be read; the first, {Path(path).name}: {why}")
        return index

    @classmethod
    def empty(cls, predictor: Predictor, *, num_clips: int = 4, **sampling: Any) -> "VideoIndex":
        """Of no video yet; `add` fills it.  Raises ValueError for a model without a match score."""
        predictor.match_heads()
        model = {"name": _portable_name(predictor.model.name), "fingerprint": predictor.model.fingerprint, "dtype": _dtype_name(predictor)}
        return cls(predictor, model, {"num_clips": num_clips, **sampling})

    def add(self, videos: Iterable[str | Path], *, progress: Progress | None = None) -> None:
        """Encode these files too; one that is indexed and unchanged costs nothing.  Unreadable ones go to `report`."""
        paths, start = [str(Path(video).resolve()) for video in videos], time.perf_counter()
        for done, path in enumerate(paths, 1):
            if path not in self.entries or self.entries[path].state() is not None:
                self._add(path)
            if progress is not None:
                progress("videos", done, len(paths))
        self.report.seconds += time.perf_counter() - start

    def _add(self, path: str) -> None:
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
            self.entries[path] = Entry(path, content, status.st_size, status.st_mtime_ns, video)

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
        """Of the features, as `save` writes them."""
        return sum(2 * video.features.numel() for video in {entry.video.key: entry.video for entry in self.entries.values()}.values())

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

    def search(self, text: str, *, top_k: int = 10, aggregation: str | None = None) -> list[Hit]:
        """The `top_k` videos that match best, best first, each read with all of its clips.

        Raises ValueError for an empty text.
        """
        text = _checked_query(text, top_k)
        hits = _ranked(self._hit(entry, text, aggregation) for entry in self.entries.values())[:top_k]
        return [self._with_state(hit) for hit in hits]

    def search_stream(self, text: str, *, top_k: int = 10, refine: int | None = None, aggregation: str | None = None) -> Iterator[Ranking]:
        """A ranking after every video; stop taking them and the work stops.

        First every video is read with its middle clip alone; then, best first,
        with all clips: the first `refine` videos, or all, after which the ranking is `search`'s.
        Refined videos rank above the rest.
        """
        text = _checked_query(text, top_k)
        if refine is not None and refine < 1:
            raise ValueError(f"refine must be at least 1 video, got {refine}.")
        total, hits = len(self.entries), []
        for done, entry in enumerate(self.entries.values(), 1):
            hits.append(self._hit(_middle_clip(entry), text, aggregation, exact=entry.video.num_clips == 1))
            yield self._ranking(hits, top_k, "one clip", done, total)
        hits = _ranked(hits)
        refined: list[Hit] = []
        wanted = min(total, refine or total)
        for done, hit in enumerate(hits[:wanted], 1):
            refined.append(self._hit(self.entries[hit.path], text, aggregation))
            yield self._ranking([*_ranked(refined), *hits[done:]], top_k, "all clips", done, wanted, partial=done < total)

    def _ranking(self, hits: Sequence[Hit], top_k: int, stage: str, done: int, total: int, *, partial: bool = True) -> Ranking:
        shown = hits if stage == "all clips" else _ranked(hits)
        return Ranking(tuple(self._with_state(hit) for hit in shown[:top_k]), stage, done, total, partial)

    def rank_texts(self, video: str | Path, texts: Sequence[str], *, aggregation: str | None = None) -> list[tuple[str, float]]:
        """(text, match log-odds), best first, for one video, indexed or not: retrieval the other way round.

        Raises ValueError for no text or an empty one, VideoError for an unreadable video.
        """
        if not texts:
            raise ValueError("texts must hold at least one text, got none.")
        entry = self.entries.get(str(Path(video).resolve()))
        encoded = entry.video if entry and entry.state() is None else self.predictor.encode(video, **self.settings)
        scores = self.predictor.match(_in_float32(encoded), texts, aggregation=aggregation).tolist()
        return sorted(zip(texts, scores, strict=True), key=lambda pair: -pair[1])

    def hit(self, video: str | Path, text: str, *, aggregation: str | None = None) -> Hit:
        """How well one indexed video matches, read with all of its clips.  Raises ValueError for a video that is not indexed."""
        entry = self.entries.get(str(Path(video).resolve()))
        if entry is None:
            raise ValueError(f"{video} is not in the index; it holds {len(self.entries)} videos.")
        return self._with_state(self._hit(entry, require_text(text, "query"), aggregation))

    def _hit(self, entry: Entry, text: str, aggregation: str | None, *, exact: bool = True) -> Hit:
        video = _in_float32(entry.video)
        own = self.predictor.clip_match(video, [text])[0]
        score = float(self.predictor.match(video, [text], aggregation=aggregation)[0])
        spans = tuple((start, end) for start, end in video.spans.tolist())
        start, end = spans[int(own.argmax())]
        return Hit(entry.path, score, start, end, tuple(own.tolist()), spans, video.duration, exact, video.notices)

    def _with_state(self, hit: Hit) -> Hit:
        state = self.entries[hit.path].state()
        return replace(hit, notices=(state, *hit.notices)) if state else hit

    def save(self, path: str | Path) -> None:
        """One file with the features and all the rest, written whole or not at all.

        Raises ValueError where it cannot be written, or would overwrite a file that is no index.
        """
        write_index(path, list(self.entries.values()), {"model": self.model, "settings": self.settings, "report": asdict(self.report)})

    @classmethod
    def load(cls, path: str | Path, *, predictor: Predictor | None = None) -> "VideoIndex":
        """A saved index; without `predictor` its model is loaded when a search first needs it.

        Raises ValueError for a file that is no index, and for a predictor that is not of the model indexed with.
        """
        entries, about = read_index(path)
        index = cls(None, about["model"], about["settings"])
        index.entries = {entry.path: entry for entry in entries}
        index.report = IndexReport(**about["report"])
        index._predictor = index._checked(predictor) if predictor is not None else None
        return index


def _checked_query(text: str, top_k: int) -> str:
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}.")
    return require_text(text, "query")


def _ranked(hits: Iterable[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.path))


def _middle_clip(entry: Entry) -> Entry:
    video, middle = entry.video, slice(entry.video.num_clips // 2, entry.video.num_clips // 2 + 1)
    one = replace(
        video, features=video.features[middle], times=video.times[middle], spans=video.spans[middle], shortened=video.shortened[middle],
        key=digest(video.key, "middle clip"), clip_keys=video.clip_keys[middle],
    )  # fmt: skip
    return replace(entry, video=one)


def _in_float32(video: EncodedVideo) -> EncodedVideo:
    return replace(video, features=video.features.float())


def _portable_name(name: str) -> str:
    """The model's name, good from any working directory."""
    prefix, path = (PREFIX, name.removeprefix(PREFIX)) if is_hf(name) else ("", name)
    return f"{prefix}{Path(path).resolve()}" if name not in BUNDLED and Path(path).is_dir() else name


def _dtype_name(predictor: Predictor) -> str:
    return str(predictor.model.dtype).removeprefix("torch.")
