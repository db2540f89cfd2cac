"""Which clips moved the score of an answer, from logits the model has already given.

attribute(predictor, "a.mp4", "what colour is the car?")                      # why this answer
attribute(predictor, "a.mp4", "what colour is the car?", versus="blue")       # why this answer and not blue

An attribution says which inputs move this model's score, not whether the
model is right.
"""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from clipbert.aggregation import Contribution, aggregate, match_shapley, shapley
from clipbert.config import check_known
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


@dataclass(frozen=True)
class _Target:
    """A score to explain: each clip's logits, and the column whose log-probability (or log-odds over the other) it is."""

    name: str
    value_function: str
    logits: Tensor  # float[N, K]; with `odds`, K = 2: (against, for)
    index: int
    odds: bool
    aggregation: str


def attribute(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, *, method: str = "clip_shapley", target: str | None = None,
    versus: str | None = None, choices: Sequence[str] | None = None, aggregation: str | None = None, seed: int = 0,
) -> Attribution:  # fmt: skip
    """What each clip did for an answer to `text`; a path is encoded as the model samples it.

    `target` is the answer to explain (default: the one the model gives);
    `versus` another answer: the score is then the log-odds of `target` over it.
    `METHODS` has the methods.  `seed` is of the random orders that
    "clip_shapley" draws above 16 clips.  Raises ValueError for a method, target or `versus` that does
    not exist, and as `Predictor.answer` does.
    """
    check_known("method", method, tuple(METHODS))
    encoded = video if isinstance(video, EncodedVideo) else predictor.encode(video)
    wanted = _target(predictor, encoded, require_text(text, "question"), target, versus, choices, aggregation)
    values = _CLIP_METHODS[method](wanted, seed)
    gap = float(values.sum() - _value(wanted, wanted.logits) + _value_of_none(wanted)) if METHODS[method].complete else None
    return Attribution(target=wanted.name, method=method, value_function=wanted.value_function, clips=values.float(), gap=gap)


def _target(
    predictor: Predictor, video: EncodedVideo, question: str, target: str | None, versus: str | None, choices: Sequence[str] | None,
    aggregation: str | None,
) -> _Target:  # fmt: skip
    prediction = predictor.answer(video, question, choices=choices, aggregation=aggregation)
    candidates, how = prediction.candidates, prediction.aggregation
    answer = prediction.answer if target is None else target
    for name, value in (("target", answer), ("versus", versus)):
        if value is not None and value not in candidates:
            near = difflib.get_close_matches(value, candidates, n=3, cutoff=0)
            raise ValueError(f"{name} {value!r} is none of the {len(candidates)} possible answers; the nearest are {', '.join(near)}.")
    index = candidates.index(answer)
    if versus is None:
        return _Target(answer, f"log p({answer} | clips), guess -log {len(candidates)}, {how}", prediction.clip_logits, index, False, how)
    if versus == answer:
        raise ValueError(f"versus must be another answer than the target, got {versus!r} for both.")
    pair = prediction.clip_logits[:, [candidates.index(versus), index]]
    return _Target(f"{answer} rather than {versus}", f"log p({answer}) - log p({versus}), guess 0, {how}", pair, 1, True, how)


def _value(target: _Target, logits: Tensor) -> float:
    pooled = aggregate(logits[None].double(), target.aggregation)[0]
    return float(pooled[1] - pooled[0] if target.odds else pooled.log_softmax(dim=0)[target.index])


def _value_of_none(target: _Target) -> float:
    return 0.0 if target.odds else -math.log(target.logits.shape[1])


def _shapley(target: _Target, seed: int) -> Float64[Tensor, " N"]:
    generator = torch.Generator().manual_seed(seed)
    share: Contribution = (
        match_shapley(target.logits, target.aggregation, generator=generator)
        if target.odds
        else shapley(target.logits, target.index, target.aggregation, generator=generator)
    )
    return share.values


def _leave_one_out(target: _Target, seed: int) -> Float64[Tensor, " N"]:
    whole, num_clips = _value(target, target.logits), len(target.logits)
    keep = ~torch.eye(num_clips, dtype=torch.bool)
    without = [_value(target, target.logits[rest]) if num_clips > 1 else _value_of_none(target) for rest in keep]
    return whole - torch.tensor(without, dtype=torch.float64)


METHODS = {
    "clip_shapley": Method(
        "clips", "nats", "no model run", True, "mean gain of a clip over all orders in which clips could come: exact up to 16 clips, else sampled"
    ),
    "clip_leave_one_out": Method("clips", "nats", "no model run", False, "loss of the score when only this clip is left out"),
}
_CLIP_METHODS: dict[str, Callable[[_Target, int], Tensor]] = {"clip_shapley": _shapley, "clip_leave_one_out": _leave_one_out}
