"""Which clips moved the score of an answer, from logits the model has already given.

attribute(predictor, "a.mp4", "what colour is the car?")                      # why this answer
attribute(predictor, "a.mp4", "what colour is the car?", versus="blue")       # why this answer and not blue
attribute(predictor, "a.mp4", "a car drives by", task="match")                # why this text

An attribution says which inputs move this model's score, not whether the
model is right.
"""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from clipbert.aggregation import AGGREGATIONS, aggregate, shapley
from clipbert.config import check_known
from clipbert.matching import MatchPart, match_shares
from clipbert.predict import Predictor
from clipbert.tasks import require_text
from clipbert.types import Attribution, EncodedVideo


@dataclass(frozen=True)
class Method:
    """What a method tells, in which unit, at what cost, and whether its values sum to the whole (completeness)."""

    level: str
    unit: str
    cost: str
    complete: bool
    about: str


@dataclass(frozen=True, eq=False)
class _LogProbability:
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

    def shares(self, how: str, seed: int) -> Float64[Tensor, " N"]:
        return shapley(self.logits, self.index, how, generator=torch.Generator().manual_seed(seed)).values


@dataclass(frozen=True, eq=False)
class _LogOdds:
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

    def shares(self, how: str, seed: int) -> Float64[Tensor, " N"]:
        return match_shares(self.parts, 0, how, seed)


@dataclass(frozen=True)
class _Target:
    """The score to explain."""

    name: str
    value_function: str
    score: _LogProbability | _LogOdds
    aggregation: str

    @property
    def num_clips(self) -> int:
        return self.score.num_clips

    def value(self, clips: Tensor) -> float:
        return self.score.value(clips, self.aggregation)


def attribute(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, *, method: str = "clip_shapley", task: str = "answer",
    target: str | None = None, versus: str | None = None, choices: Sequence[str] | None = None, aggregation: str | None = None, seed: int = 0,
) -> Attribution:  # fmt: skip
    """What each clip did for a score; a path is encoded as the model samples it.

    With task "answer" `text` is a question, and the score is the
    log-probability of `target` (default: the answer the model gives), or its
    log-odds over another answer, `versus`.  With task "match" `text` is a
    caption, and the score is its match log-odds.  `METHODS` has the methods.
    `seed` is of the random orders that "clip_shapley" draws above 16 clips.
    Raises ValueError for a method, task or answer that does not exist, and as
    `Predictor.answer` and `Predictor.match` do.
    """
    check_known("method", method, tuple(METHODS))
    check_known("task", task, ("answer", "match"))
    encoded = video if isinstance(video, EncodedVideo) else predictor.encode(video)
    if task == "match":
        if target is not None or versus is not None or choices is not None:
            raise ValueError('the task "match" explains the match score of one text: leave out target, versus and choices.')
        wanted = _match_target(predictor, encoded, require_text(text, "text"), aggregation)
    else:
        wanted = _answer_target(predictor, encoded, require_text(text, "question"), target, versus, choices, aggregation)
    values = _CLIP_METHODS[method](wanted, seed)
    everything = torch.ones(wanted.num_clips, dtype=torch.bool)
    gap = float(values.sum()) - wanted.value(everything) + wanted.value(~everything) if METHODS[method].complete else None
    return Attribution(target=wanted.name, method=method, value_function=wanted.value_function, clips=values.float(), gap=gap)


def _answer_target(
    predictor: Predictor, video: EncodedVideo, question: str, target: str | None, versus: str | None, choices: Sequence[str] | None,
    aggregation: str | None,
) -> _Target:  # fmt: skip
    prediction = predictor.answer(video, question, choices=choices, aggregation=aggregation)
    candidates, logits, how = prediction.candidates, prediction.clip_logits, prediction.aggregation
    answer = prediction.answer if target is None else target
    for name, value in (("target", answer), ("versus", versus)):
        if value is not None and value not in candidates:
            near = difflib.get_close_matches(value, candidates, n=3, cutoff=0)
            raise ValueError(f"{name} {value!r} is none of the {len(candidates)} possible answers; the nearest are {', '.join(near)}.")
    index = candidates.index(answer)
    if versus is None:
        return _Target(answer, f"log p({answer} | clips), guess -log {len(candidates)}, {how}", _LogProbability(logits, index), how)
    if versus == answer:
        raise ValueError(f"versus must be another answer than the target, got {versus!r} for both.")
    pair = MatchPart("", 1.0, logits[None][..., [candidates.index(versus), index]])
    return _Target(f"{answer} rather than {versus}", f"log p({answer}) - log p({versus}), guess 0, {how}", _LogOdds((pair,)), how)


def _match_target(predictor: Predictor, video: EncodedVideo, text: str, aggregation: str | None) -> _Target:
    how = aggregation or predictor.sampling.aggregation
    check_known("aggregation", how, AGGREGATIONS)
    return _Target(text, f"match log-odds, guess 0, {how}", _LogOdds(tuple(predictor.match_logits(video, [text]))), how)


def _shapley(target: _Target, seed: int) -> Float64[Tensor, " N"]:
    return target.score.shares(target.aggregation, seed)


def _leave_one_out(target: _Target, seed: int) -> Float64[Tensor, " N"]:
    everything = torch.ones(target.num_clips, dtype=torch.bool)
    rest = ~torch.eye(target.num_clips, dtype=torch.bool)
    return target.value(everything) - torch.tensor([target.value(clips) for clips in rest], dtype=torch.float64)


METHODS = {
    "clip_shapley": Method(
        "clips", "nats", "no model run", True, "mean gain of a clip over all orders in which clips could come: exact up to 16 clips, else sampled"
    ),
    "clip_leave_one_out": Method("clips", "nats", "no model run", False, "loss of the score when only this clip is left out"),
}
_CLIP_METHODS: dict[str, Callable[[_Target, int], Tensor]] = {"clip_shapley": _shapley, "clip_leave_one_out": _leave_one_out}
