"""N clip opinions -> one: mean, max or lse; and each clip's share in the outcome.

The model returns every clip's logits, so pooling is compared, and clips are
credited, without another forward pass (OFFICIAL section 2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

AGGREGATIONS = ("mean", "max", "lse")
MAX_EXACT_CLIPS = 16
"""Beyond this many clips Shapley values are sampled: 2^N coalitions are too many."""


def aggregate(logits: Float[Tensor, "M N J"], how: str) -> Float[Tensor, "M J"]:
    """Video logits from the logits of N clips.

    "lse" is log sum exp over clips, as Eq. 5 and the original code have it (the
    paper's text says mean: a shift by log N that no softmax sees).  Its
    cross-entropy is the original's training loss.  Raises ValueError for an
    unknown `how` or no clip.
    """
    _check(how, logits.shape[1])
    if how == "mean":
        return logits.mean(dim=1)
    if how == "max":
        return logits.amax(dim=1)
    return logits.logsumexp(dim=1)


@dataclass(frozen=True, eq=False)
class Contribution:
    """Shapley value of each clip, in nats; the standard error is 0 where the value is exact."""

    values: Float64[Tensor, " N"]
    standard_error: Float64[Tensor, " N"]


def shapley(clip_logits: Float[Tensor, "N K"], answer_index: int, how: str, *, generator: torch.Generator | None = None) -> Contribution:
    """Each clip's share in the log-probability of an answer.

    The value of clips S is v(S) = log softmax(aggregate(S))[answer], of none
    -log K (a guess).  Shares sum to v(all) - v(none).  Exact for up to
    16 clips; more are sampled with `generator` (by default seeded with 0).
    """
    num_clips, num_answers = clip_logits.shape
    if not 0 <= answer_index < num_answers:
        raise ValueError(f"answer_index must lie in [0, {num_answers}), got {answer_index}.")
    logits = clip_logits.detach().cpu().double()
    if how == "lse":
        # both sums of exponentials add up over clips, so K reduces to two columns: all answers, this answer
        logits = torch.stack([logits.logsumexp(dim=1), logits[:, answer_index]], dim=1)
        return _shapley(logits, how, _log_odds, -math.log(num_answers), generator)
    return _shapley(logits, how, lambda pooled: pooled[..., answer_index] - pooled.logsumexp(dim=-1), -math.log(num_answers), generator)


def match_shapley(clip_logits: Float[Tensor, "N J"], how: str, *, generator: torch.Generator | None = None) -> Contribution:
    """Each clip's share in the log-odds that text and video match; no clips have log-odds 0.

    J = 2 is (no match, match); one logit g is read as the pair (0, g), as in
    `tasks.match_log_odds`.  Otherwise as `shapley`.
    """
    logits = clip_logits.detach().cpu().double()
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    if logits.shape[1] != 2:
        raise ValueError(f"a match has 1 or 2 logits per clip, got {logits.shape[1]}; for answers use shapley.")
    return _shapley(logits, how, _log_odds, 0.0, generator)


Value = Callable[[Float64[Tensor, "... K"]], Float64[Tensor, "..."]]


def _log_odds(pooled: Float64[Tensor, "... 2"]) -> Float64[Tensor, "..."]:
    return pooled[..., 1] - pooled[..., 0]


def _shapley(logits: Float64[Tensor, "N K"], how: str, value: Value, value_of_none: float, generator: torch.Generator | None) -> Contribution:
    _check(how, len(logits))
    if not bool(logits.isfinite().all()):
        raise ValueError("clip_logits must be finite; leave candidates that cannot be chosen out of them.")
    if len(logits) <= MAX_EXACT_CLIPS:
        return _exact(coalition_values(logits, how, value, value_of_none))
    return _sampled(logits, how, value, value_of_none, generator or torch.Generator().manual_seed(0))


def coalition_values(logits: Float64[Tensor, "N K"], how: str, value: Value, value_of_none: float) -> Float64[Tensor, " subsets"]:
    """v(S) for every set S of clips; bit i of the position says whether clip i is in S.

    Every S joins a subset of the first clips with one of the others, so memory
    holds 2 * 2^(N/2) pooled rows, not 2^N.
    """
    half = (len(logits) + 1) // 2
    first, others = _subsets(logits[:half], how), _subsets(logits[half:], how)
    size = torch.arange(len(first)).apply_(int.bit_count) ...
