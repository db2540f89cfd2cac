"""How well the videos of an index match a text: exactly, with clips of many videos in one batch, or cheaply, to find candidates."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clipbert.index_entry import Entry
from clipbert.index_segment import Entries
from clipbert.matching import MatchPart
from clipbert.predict import Predictor
from clipbert.source import digest
from clipbert.types import EncodedVideo

VECTORS_AT_ONCE = 1 << 16


def match_entries(
    predictor: Predictor, entries: Iterable[Entry], text: str, *, clips_at_once: int, heads: Sequence[str] = ()
) -> Iterator[tuple[Entry, list[MatchPart]]]:
    """What each head says of each entry: `Predictor.match_logits`, in batches across videos; `heads` other than those of the match score weigh 1.

    A contrastive head is read from the entries' vectors, other heads read the features.
    """
    asked = {head: predictor.model.match_weight(head) or 1.0 for head in heads or predictor.match_heads()}
    for some in _batches(entries, clips_at_once):
        columns = [_clip_logits(predictor, some, text, head) for head in asked]
        for entry, *rows in zip(some, *columns, strict=True):
            yield entry, [MatchPart(head, weight, row[None]) for (head, weight), row in zip(asked.items(), rows, strict=True)]


def _batches(entries: Iterable[Entry], clips_at_once: int) -> Iterator[list[Entry]]:
    some: list[Entry] = []
    for entry in entries:
        if some and sum(one.video.num_clips for one in some) + entry.video.num_clips > clips_at_once:
            yield some
            some = []
        some.append(entry)
    if some:
        yield some


def _clip_logits(predictor: Predictor, entries: Sequence[Entry], text: str, head: str) -> tuple[Float[Tensor, "N J"], ...]:
    """Each entry's clips."""
    if head == predictor.vector_head():
        logits = VectorQuery.of(predictor, text).log_odds(torch.cat([vectors_of(predictor, entry) for entry in entries]))[:, None]
    else:
        logits = predictor.clip_logits(_joined([entry.video for entry in entries]), [text], head)[0]
    return logits.split([entry.video.num_clips for entry in entries])


def _joined(videos: Sequence[EncodedVideo]) -> EncodedVideo:
    """The clips of several videos as those of one, in float32."""
    if len(videos) == 1:
        return replace(videos[0], features=videos[0].features.float())
    return replace(
        videos[0], features=torch.cat([video.features for video in videos]).float(), times=torch.cat([video.times for video in videos]),
        spans=torch.cat([video.spans for video in videos]), key=digest(*(video.key for video in videos)) if all(v.key for v in videos) else "",
        clip_keys=tuple(key for video in videos for key in video.clip_keys),
    )  # fmt: skip


def vectors_of(predictor: Predictor, entry: Entry) -> Float[Tensor, "N V"]:
    """The entry's own, or made now for an index of the first format."""
    if entry.vectors is not None:
        return entry.vectors.float()
    head = predictor.vector_head()
    assert head is not None
    return predictor.model.clip_vectors(entry.video.features.float(), head)


@dataclass(frozen=True, eq=False)
class VectorQuery:
    """A text as the contrastive head compares it."""

    vector: Tensor  # float[V]
    scale: float
    offset: float

    @classmethod
    def of(cls, predictor: Predictor, text: str) -> "VectorQuery":
        head = predictor.vector_head()
        assert head is not None
        return cls(predictor.model.text_vectors([text], head)[0], *predictor.model.vector_scale(head))

    def log_odds(self, vectors: Float[Tensor, "C V"]) -> Float[Tensor, " C"]:
        """Of each clip; stored vectors are widened a part at a time."""
        return self.scale * torch.cat([part.float() @ self.vector for part in vectors.split(VECTORS_AT_ONCE)]) + self.offset


def vector_scores(predictor: Predictor, entries: Entries, text: str, how: str) -> tuple[list[str], Float[Tensor, " B"]]:
    """Every path, and its clips' contrastive log-odds pooled: one matrix product, however many videos there are."""
    query, paths, scores = VectorQuery.of(predictor, text), [], []
    for segment, alive in entries.stored().values():
        log_odds = query.log_odds(torch.from_numpy(segment.blocks["vectors"]))
        scores.append(pooled_log_odds(log_odds, segment.blocks["clip_ends"], how)[alive])
        paths += [segment.paths[i] for i in alive]
    if new := entries.new():
        vectors = [vectors_of(predictor, entry) for entry in new]
        scores.append(pooled_log_odds(query.log_odds(torch.cat(vectors)), np.cumsum([len(one) for one in vectors]), how))
        paths += [entry.path for entry in new]
    return paths, torch.cat(scores) if scores else torch.empty(0)


def pooled_log_odds(log_odds: Float[Tensor, " C"], clip_ends: np.ndarray, how: str) -> Float[Tensor, " B"]:
    """`tasks.match_log_odds` of many videos, where video b's clips end before `clip_ends[b]`."""
    starts = np.concatenate([[0], clip_ends[:-1]])
    if how == "max":
        return torch.from_numpy(np.maximum.reduceat(log_odds.numpy(), starts))
    counts = torch.from_numpy(clip_ends - starts)
    if how == "mean":
        return torch.from_numpy(np.add.reduceat(log_odds.numpy(), starts)) / counts
    return torch.from_numpy(np.logaddexp.reduceat(log_odds.numpy(), starts)) - counts.log()


def best(paths: list[str], scores: Float[Tensor, " B"], count: int) -> list[tuple[str, float]]:
    """The `count` best (path, score), best first; equal scores by path, so that the order never depends on storage."""
    lowest = scores.topk(count).values[-1] if len(paths) > count else -torch.inf
    candidates = (scores >= lowest).nonzero().flatten().tolist()
    return sorted(((paths[i], float(scores[i])) for i in candidates), key=lambda pair: (-pair[1], pair[0]))[:count]


def with_clips(entry: Entry, count: int) -> Entry:
    """The entry as if it had no other clips than those in the middle of `count` equal parts of them; all where it has no more."""
    video = entry.video
    kept = sorted({(2 * k + 1) * video.num_clips // (2 * count) for k in range(count)})
    few = replace(
        video, features=video.features[kept], times=video.times[kept], spans=video.spans[kept], shortened=tuple(video.shortened[n] for n in kept),
        key=digest(video.key, f"clips {kept}"), clip_keys=tuple(video.clip_keys[n] for n in kept),
    )  # fmt: skip
    return replace(entry, video=few, vectors=None if entry.vectors is None else entry.vectors[kept])
