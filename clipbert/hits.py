"""What a search returns: a video, how well it matches, and which of its clips best."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from clipbert.index_entry import Entry, IndexedFile
from clipbert.matching import MatchPart


@dataclass(frozen=True)
class Hit:
    """A video and how well it matches the text.

    `score` is the match log-odds pooled over clips, `clip_scores` each clip's
    own; `start` and `end` bound the clip that matches best, in seconds.
    `exact` is False where not all of its clips have been read with the text so far.
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
    stage: str  # "vectors", "one clip" or "all clips"
    done: int
    total: int
    partial: bool


def hit_of(entry: Entry, parts: Sequence[MatchPart], how: str, *, exact: bool = True) -> Hit:
    """Of what each head says of the entry and one text."""
    own = torch.stack([part.clip_log_odds()[0] for part in parts]).sum(dim=0)
    score = float(torch.stack([part.log_odds(how)[0] for part in parts]).sum())
    spans = tuple((start, end) for start, end in entry.video.spans.tolist())
    start, end = spans[int(own.argmax())]
    return Hit(entry.path, score, start, end, tuple(own.tolist()), spans, entry.video.duration, exact, entry.video.notices)


def order(hit: Hit) -> tuple[float, str]:
    """Sorts hits best first, equal scores by path."""
    return -hit.score, hit.path


def with_state(hit: Hit, file: IndexedFile) -> Hit:
    """The hit, with what has become of its file."""
    state = file.state()
    return replace(hit, notices=(state, *hit.notices)) if state else hit


def ranked(hits: Iterable[Hit]) -> list[Hit]:
    return sorted(hits, key=order)
