"""Index a folder of videos once; rank them for a text, or texts for one of them.

The CNN runs once per video (at indexing), the rest of the match score once per
query and clip: for a cross-encoder, which reads the whole text with the whole
clip, that is videos x N_test passes of the transformer; a contrastive head
compares two vectors.  The score is `Predictor.match`, exactly; a cascade finds
candidates for it by something cheaper.
"""

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from clipbert.checks import check_known
from clipbert.gallery_scores import best, match_entries, vector_scores, with_clips
from clipbert.hits import Hit, Ranking, hit_of, order, ranked, with_state
from clipbert.index_build import IndexedVideos
from clipbert.index_entry import Entry
from clipbert.per_clip import ROWS_AT_ONCE
from clipbert.tasks import require_text
from clipbert.types import EncodedVideo

__all__ = ["CASCADES", "Hit", "Ranking", "VideoIndex"]

CASCADE_CLIPS = {"one-clip": 1, "two-clips": 2, "four-clips": 4}
CASCADES = ("vectors", *CASCADE_CLIPS)
"""How candidates may be found: by the contrastive head's vectors of all clips, or by few clips of each video, spread evenly."""
SHORTLIST = 64
STREAM_CLIPS = 16  # between two moments at which a search can be stopped


class VideoIndex(IndexedVideos):
    """Encoded videos, searchable by text; made by `build` or `load`.

    In memory a new index holds float32 features, so `search` equals
    `Predictor.match`.  `save` rounds them: to float16, a relative error of at
    most 2^-11 per feature, which moved the bundled model's log-odds by at most
    0.0001 (27 clips of the wild x 5 queries, CPU), or to int8, at most 1/254 of
    a cell's largest value.  A loaded index leaves features on disk, and reads
    those that a search asks for.
    """

    def search(
        self, text: str, *, top_k: int = 10, aggregation: str | None = None, cascade: str | None = None, shortlist: int = SHORTLIST,
        first: "VideoIndex | None" = None,
    ) -> list[Hit]:  # fmt: skip
        """The `top_k` videos that match best, best first, each read with all of its clips.

        With a `cascade`, only the `shortlist` best by something cheaper are
        (`CASCADES`), found in `first`, another model's index of the same videos,
        if one is given: a dual encoder's, by its vectors (the default there).
        Raises ValueError for an empty text, a cascade that the model cannot do,
        or a candidate that is not indexed here.
        """
        text, how = _checked_query(text, top_k), self.predictor.pooling(aggregation)
        paths: Iterable[str] = self.entries
        if cascade is not None or first is not None:
            if shortlist < top_k:
                raise ValueError(f"shortlist must be at least top_k, {top_k} videos, got {shortlist}.")
            paths = [path for path, _ in (first or self).candidates(text, cascade or "vectors", shortlist, aggregation=aggregation)]
            if lacking := [path for path in paths if path not in self.entries]:
                raise ValueError(f"{lacking[0]} is in the first index alone; build both of the same videos.")
        elif self.predictor.match_heads() == [self.predictor.vector_head()]:  # the vectors are the score
            paths = [path for path, _ in self.candidates(text, "vectors", top_k, aggregation=how)]
        return self.search_among(paths, text, top_k=top_k, aggregation=how)

    def search_among(self, paths: Iterable[str], text: str, *, top_k: int = 10, aggregation: str | None = None) -> list[Hit]:
        """`search` of these indexed videos alone."""
        hits = ranked(self.hits(paths, text, aggregation=aggregation))[:top_k]
        return [with_state(hit, self.entries.file(hit.path)) for hit in hits]

    def candidates(self, text: str, cascade: str, count: int, *, aggregation: str | None = None) -> list[tuple[str, float]]:
        """The `count` best videos by a cheap stage: (path, its score there), best first.  Raises ValueError like `search`."""
        check_known("cascade", cascade, CASCADES)
        how = self.predictor.pooling(aggregation)
        if cascade == "vectors":
            if self.predictor.vector_head() is None:
                raise ValueError(f'model {self.model["name"]} has no contrastive head, so no vectors; use cascade "one-clip".')
            return best(*vector_scores(self.predictor, self.entries, text, how), count)
        found = match_entries(self.predictor, self._few_clips(cascade), text, clips_at_once=ROWS_AT_ONCE)
        scored = [(hit.path, hit.score) for hit in (hit_of(entry, parts, how) for entry, parts in found)]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:count]

    def _few_clips(self, cascade: str) -> Iterator[Entry]:
        return (with_clips(entry, CASCADE_CLIPS[cascade]) for entry in self.entries.values())

    def hits(self, paths: Iterable[str], text: str, *, aggregation: str | None = None) -> Iterator[Hit]:
        """These indexed videos as hits, in their order, read with all of their clips, many in one batch."""
        how = self.predictor.pooling(aggregation)
        entries = (self.entries[path] for path in paths)
        for entry, parts in match_entries(self.predictor, entries, text, clips_at_once=ROWS_AT_ONCE):
            yield hit_of(entry, parts, how)

    def search_stream(
        self, text: str, *, top_k: int = 10, refine: int | None = None, aggregation: str | None = None, cascade: str = "one-clip"
    ) -> Iterator[Ranking]:
        """A ranking after every video; stop taking them and the work stops.

        First every video is read as the cascade says, with few of its clips
        or, all at once, by its vectors; then, best first, with all clips:
        the first `refine` videos, or all, after which the ranking is `search`'s.
        Refined videos rank above the rest.
        """
        text, how = _checked_query(text, top_k), self.predictor.pooling(aggregation)
        if refine is not None and refine < 1:
            raise ValueError(f"refine must be at least 1 video, got {refine}.")
        total, coarse = len(self.entries), []
        wanted = min(total, refine or total)
        if cascade == "vectors":
            paths = [path for path, _ in self.candidates(text, cascade, max(wanted, top_k), aggregation=how)]
            entries, head = (self.entries[path] for path in paths), str(self.predictor.vector_head())
            coarse += [
                hit_of(*read, how, exact=False) for read in match_entries(self.predictor, entries, text, heads=[head], clips_at_once=ROWS_AT_ONCE)
            ]
            yield self._ranking(coarse, top_k, "vectors", total, total)
        else:
            check_known("cascade", cascade, CASCADES)
            found = match_entries(self.predictor, self._few_clips(cascade), text, clips_at_once=STREAM_CLIPS)
            for done, (entry, parts) in enumerate(found, 1):
                bisect.insort(coarse, hit_of(entry, parts, how, exact=False), key=order)
                yield self._ranking(coarse, top_k, cascade.replace("-", " "), done, total)
        refined: list[Hit] = []
        entries = (self.entries[hit.path] for hit in coarse[:wanted])
        for done, (entry, parts) in enumerate(match_entries(self.predictor, entries, text, clips_at_once=STREAM_CLIPS), 1):
            bisect.insort(refined, hit_of(entry, parts, how), key=order)
            yield self._ranking([*refined, *coarse[done : done + top_k]], top_k, "all clips", done, wanted, partial=done < total)

    def _ranking(self, hits: Sequence[Hit], top_k: int, stage: str, done: int, total: int, *, partial: bool = True) -> Ranking:
        return Ranking(tuple(with_state(hit, self.entries.file(hit.path)) for hit in hits[:top_k]), stage, done, total, partial)

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
        path = str(Path(video).resolve())
        if path not in self.entries:
            raise ValueError(f"{video} is not in the index; it holds {len(self.entries)} videos.")
        return with_state(next(self.hits([path], require_text(text, "query"), aggregation=aggregation)), self.entries.file(path))


def _checked_query(text: str, top_k: int) -> str:
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}.")
    return require_text(text, "query")


def _in_float32(video: EncodedVideo) -> EncodedVideo:
    return replace(video, features=video.features.float())
