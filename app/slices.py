"""Slices of measured captions: chosen by what a caption says, where its video stands, and what kind of video it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from app.gallery import Gallery, poster
from app.ground_truth import Pairs, relevant_videos
from clipbert.metrics import median_rank, ranks, recall_at

LONGEST_NAME, MOST_SLICES = 60, 20


@dataclass(frozen=True)
class Choice:
    """A named choice of captions: those for which all of it holds."""

    name: str
    word: str = ""  # somewhere in the caption, in either case
    above_rank: float = 0
    below_seconds: float = math.inf  # of the caption's own video, as are the next two
    portrait: bool = False
    damaged: bool = False  # readable only in part

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > LONGEST_NAME:
            raise ValueError(f"a slice needs a name of at most {LONGEST_NAME} characters, got “{self.name[:LONGEST_NAME]}”; write one.")
        if self.above_rank < 0 or self.below_seconds <= 0:
            raise ValueError(f"a rank is at least 0 and a length above 0 s, got {self.above_rank:g} and {self.below_seconds:g}.")
        if not (self.word or self.above_rank or self.below_seconds < math.inf or self.portrait or self.damaged):
            raise ValueError(f"the slice {self.name} would hold every caption; choose a word, a rank, a length or portrait videos.")

    def holds(self, caption: "Measured") -> bool:
        return (
            self.word.casefold() in caption.text.casefold()
            and caption.rank > self.above_rank
            and caption.seconds < self.below_seconds
            and (caption.portrait or not self.portrait)
            and (caption.damaged or not self.damaged)
        )


ALWAYS = (
    Choice("rank above 10", above_rank=10),
    Choice("portrait", portrait=True),
    Choice("shorter than 3 s", below_seconds=3),
    Choice("readable only in part", damaged=True),
)


@dataclass(frozen=True)
class Measured:
    """A caption, where its video stands, and what that video is."""

    text: str
    rank: float
    seconds: float
    portrait: bool
    damaged: bool


@dataclass(frozen=True)
class Table:
    """Every measured caption; row m of `scores` and of `relevant` (float and bool[M, videos]) is caption m."""

    captions: tuple[Measured, ...]
    scores: Tensor
    relevant: Tensor


@dataclass(frozen=True)
class Slice:
    """Some of the captions, and how often their videos are found."""

    name: str
    num_captions: int
    recall_at_1: float
    recall_at_10: float
    median_rank: float


def measured_table(gallery: Gallery, pairs: Pairs, scores: Tensor) -> Table:
    """What slices are made of.  Raises ValueError where a caption's video was not scored."""
    assert gallery.index is not None
    relevant = relevant_videos(gallery, pairs, scores)
    videos = [gallery.index.entries[str(path)].video for _, path in pairs.captions]
    captions = (
        Measured(text, rank, video.duration, poster(path).is_portrait, video.partial)
        for (text, path), rank, video in zip(pairs.captions, ranks(scores, relevant), videos, strict=True)
    )
    return Table(tuple(captions), scores, relevant)


def sliced(table: Table, choices: Sequence[Choice] = ()) -> list[Slice]:
    """Of ALWAYS those that hold a caption, then each of `choices`; each caption is ranked among all videos."""
    found = []
    for choice in (*ALWAYS, *choices):
        inside = [choice.holds(caption) for caption in table.captions]
        if any(inside):
            part = table.scores[inside], table.relevant[inside]
            found.append(Slice(choice.name, sum(inside), recall_at(*part, 1), recall_at(*part, 10), median_rank(*part)))
        elif choice in choices:
            found.append(Slice(choice.name, 0, math.nan, math.nan, math.nan))
    return found


def with_choice(choices: Sequence[Choice], new: Choice) -> tuple[Choice, ...]:
    """A name that is taken is given to the new one.  Raises ValueError where there are too many, or the name is one of ALWAYS."""
    if new.name in [choice.name for choice in ALWAYS]:
        raise ValueError(f"{new.name} is the name of a slice that is always shown; choose another name.")
    kept = [choice for choice in choices if choice.name != new.name]
    if len(kept) >= MOST_SLICES:
        raise ValueError(f"{MOST_SLICES} slices are saved, which is the most this page keeps; give one of their names to the new one.")
    return (*kept, new)
