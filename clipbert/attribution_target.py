"""What there is to explain: the score of an answer, of one answer against another, or of a match."""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clipbert.aggregation import AGGREGATIONS, Contribution, aggregate, responsibility, shapley
from clipbert.clip_score import ClipScore, Goal
from clipbert.config import check_known
from clipbert.covering import CoveredClip
from clipbert.matching import HeadReading, MatchPart, match_contribution
from clipbert.predict import Predictor
from clipbert.tasks import require_text
from clipbert.types import EncodedVideo


@dataclass(frozen=True)
class Method:
    """What a method tells, in which unit, at what cost, and whether its values sum to the whole (completeness).

    `baselines`: what absent inputs can be, for methods that need to be told;
    the first is the default.
    """

    level: str
    unit: str
    cost: str
    complete: bool
    about: str
    baselines: tuple[str, ...] = ()
    any_model: bool = False
    """Below the level of clips: whether it only leaves parts of a clip out, as can be done with other models than ClipBERT."""

    @property
    def signed(self) -> bool:
        """Whether values below 0 mean something: against the score."""
        return self.unit == "nats"


@dataclass(frozen=True, eq=False)
class Values:
    """What a method found: its values, their completeness errors by row, and standard errors where they are sampled."""

    values: Tensor
    gaps: Tensor | None = None
    standard_error: Tensor | None = None


@dataclass(frozen=True, eq=False)
class LogProbability:
    """Of one answer, from each clip's logits; of no clips that of a guess."""

    logits: Tensor  # float[N, K]
    index: int

    @property
    def num_clips(self) -> int:
        return len(self.logits)

    def value(self, clips: Tensor, how: str) -> float:
        """Of the clips where bool[N] `clips` is set."""
        if not clips.any():
            return -math.log(self.logits.shape[1])
        return float(aggregate(self.logits[clips][None].double(), how)[0].log_softmax(dim=0)[self.index])

    def contribution(self, how: str, seed: int) -> Contribution:
        return shapley(self.logits, self.index, how, generator=torch.Generator().manual_seed(seed))

    def responsibility(self, how: str) -> Tensor:
        return _responsibility(self.logits[:, self.index], how)


@dataclass(frozen=True, eq=False)
class LogOdds:
    """Of a match, or of one answer against another; of no clips 0."""

    parts: tuple[MatchPart, ...]

    @property
    def num_clips(self) -> int:
        return self.parts[0].logits.shape[1]

    def value(self, clips: Tensor, how: str) -> float:
        """Of the clips where bool[N] `clips` is set."""
        if not clips.any():
            return 0.0
        return sum(float(replace(part, logits=part.logits[:, clips].double()).log_odds(how)[0]) for part in self.parts)

    def contribution(self, how: str, seed: int) -> Contribution:
        return match_contribution(self.parts, 0, how, seed)

    def responsibility(self, how: str) -> Tensor:
        """The heads' mean, by their weights."""
        total = sum(part.weight for part in self.parts)
        return torch.stack([part.weight / total * _responsibility(part.logits[0, :, -1], how) for part in self.parts]).sum(dim=0)


def _responsibility(logits: Tensor, how: str) -> Tensor:
    """Derivative of the pooled logit by each clip's, which sums to 1; of equal maxima each has its part."""
    if how == "lse":
        return responsibility(logits[:, None].double(), 1.0)[:, 0]
    share = torch.ones_like(logits) if how == "mean" else (logits == logits.max())
    return share.double() / share.sum()


@dataclass(frozen=True)
class Target:
    """The score to explain: `pooled` over clips, and of each clip by itself (`goal` of what `readings` say)."""

    name: str
    value_function: str
    clip_value_function: str
    aggregation: str
    pooled: LogProbability | LogOdds
    readings: tuple[HeadReading, ...]
    goal: Goal

    def value(self, clips: Tensor) -> float:
        return self.pooled.value(clips, self.aggregation)


def _no_pixels(_row: int) -> Tensor:
    raise ValueError("this needs the pixels, and an encoded video holds none: pass file=, what it was encoded from.")


@dataclass(frozen=True, eq=False)
class Inside:
    """Some clips of a video to be explained one by one, and how."""

    score: ClipScore
    features: Tensor  # float[R, T, h, w, D]
    frame_size: tuple[int, int] | None
    baseline: str
    steps: int
    seed: int
    frames: Callable[[int], Tensor] = _no_pixels
    """Of the clip in a row, uint8[T, 3, H, W] at the source's size."""

    @property
    def cells(self) -> tuple[int, int] | None:
        """Rows and columns of those that the features have."""
        return self.score.per_clip.cells(self.features)

    def score_of_cells(self, row: int) -> Callable[[Bool[Tensor, "C rows columns"]], Float[Tensor, " C"]]:
        """The score of the clip in a row by its cells that are kept; others are masked, or if features have none, covered in the pixels."""
        if self.cells is not None:
            clip = self.features[row]
            return lambda kept: self.score.of_many(clip.expand(len(kept), *clip.shape), kept)
        covered = CoveredClip.plain(self.score.per_clip, self.frames(row))
        return lambda kept: self.score.of_many(covered.without_cells(kept).to(self.features.device))


ClipMethod = Callable[[Target, int], Values]
InsideMethod = Callable[[Inside], Values]


def find_target(
    predictor: Predictor, video: EncodedVideo, text: str, task: str, target: str | None, versus: str | None, choices: Sequence[str] | None,
    aggregation: str | None,
) -> Target:  # fmt: skip
    """Of a question with task "answer", of a caption with task "match"; raises ValueError for another task, and as the two do."""
    check_known("task", task, ("answer", "match"))
    if task == "answer":
        return answer_target(predictor, video, require_text(text, "question"), target, versus, choices, aggregation)
    if target is not None or versus is not None or choices is not None:
        raise ValueError('the task "match" explains the match score of one text: leave out target, versus and choices.')
    return match_target(predictor, video, require_text(text, "text"), aggregation)


def answer_target(
    predictor: Predictor, video: EncodedVideo, question: str, target: str | None, versus: str | None, choices: Sequence[str] | None,
    aggregation: str | None,
) -> Target:  # fmt: skip
    """Raises ValueError for an answer that is not possible, and as `Predictor.answer` does."""
    prediction = predictor.answer(video, question, choices=choices, aggregation=aggregation)
    candidates, logits, how = prediction.candidates, prediction.clip_logits, prediction.aggregation
    answer = prediction.answer if target is None else target
    for name, value in (("target", answer), ("versus", versus)):
        if value is not None and value not in candidates:
            near = difflib.get_close_matches(value, candidates, n=3, cutoff=0)
            raise ValueError(f"{name} {value!r} is none of the {len(candidates)} possible answers; the nearest are {', '.join(near)}.")
    index, (_, readings) = candidates.index(answer), predictor.readings(question, choices)
    if versus is None:
        whole = f"log p({answer} | clips), guess -log {len(candidates)}, {how}"
        return Target(answer, whole, f"log p({answer} | one clip)", how, LogProbability(logits, index), readings, Goal(index))
    if versus == answer:
        raise ValueError(f"versus must be another answer than the target, got {versus!r} for both.")
    other = candidates.index(versus)
    pair = MatchPart("", 1.0, logits[None][..., [other, index]])
    score = f"log p({answer}) - log p({versus})"
    name, goal = f"{answer} rather than {versus}", Goal(index, versus=other)
    return Target(name, f"{score}, guess 0, {how}", f"{score}, of one clip", how, LogOdds((pair,)), readings, goal)


def match_target(predictor: Predictor, video: EncodedVideo, text: str, aggregation: str | None) -> Target:
    """Raises ValueError as `Predictor.match` does."""
    how = aggregation or predictor.sampling.aggregation
    check_known("aggregation", how, AGGREGATIONS)
    parts, readings = tuple(predictor.match_logits(video, [text])), predictor.match_readings([text])
    score = "match log-odds"
    return Target(text, f"{score}, guess 0, {how}", f"{score}, of one clip", how, LogOdds(parts), readings, Goal(0, is_match=True))


def inside(
    predictor: Predictor, video: EncodedVideo, target: Target, clips: Sequence[int], *, baseline: str = "", steps: int = 1, seed: int = 0,
    file: EncodedVideo | str | Path | None = None,
) -> Inside:  # fmt: skip
    """`file` is what the video was encoded from, for what needs its pixels; another EncodedVideo has none."""
    score = ClipScore(predictor.model, target.readings, target.goal)
    features = video.features[list(clips)].float().to(predictor.model.device).clone()  # outside inference mode, so that gradients can flow
    frames = _no_pixels if file is None or isinstance(file, EncodedVideo) else lambda row: predictor.clip_frames(file, video, clips[row])
    return Inside(score, features, video.frame_size, baseline, steps, seed, frames)
