"""N clip opinions -> one: mean, max or lse; and each clip's share in the outcome.

The model returns every clip's logits, so pooling is compared, and clips are
credited, without another forward pass (OFFICIAL section 2).
"""

import difflib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from clipbert.sampling_config import AGGREGATIONS

MAX_EXACT_CLIPS = 16
NUM_PERMUTATIONS = 200
UNDERFLOW = 1e-280  # of a sum of exponentials, below which it is taken apart


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


def soft_aggregate(clip_logits: Float[Tensor, "N K"], sharpness: float) -> Float[Tensor, " K"]:
    """(1/beta) log mean exp(beta g) over clips: the mean as beta -> 0, the maximum as beta -> infinity.

    At beta = 1 it is "lse" less log N, which no softmax sees.  Raises
    ValueError for a `sharpness` that is not positive.
    """
    if not sharpness > 0:
        raise ValueError(f'sharpness must be positive, got {sharpness}; for 0 use aggregate(logits, "mean").')
    logits = _checked(clip_logits, "lse")
    return ((sharpness * logits).logsumexp(dim=0) - math.log(len(logits))).div(sharpness).to(clip_logits.dtype)


def responsibility(clip_logits: Float[Tensor, "N K"], sharpness: float) -> Float[Tensor, "N K"]:
    """Each clip's part in each pooled logit, softmax(beta g) over clips: the derivative of `soft_aggregate`; sums to 1."""
    return (sharpness * _checked(clip_logits, "lse")).softmax(dim=0).to(clip_logits.dtype)


@dataclass(frozen=True, eq=False)
class Contribution:
    """Shapley value of each clip, in nats; `standard_error` is 0 where the value is exact."""

    values: Float64[Tensor, " N"]
    standard_error: Float64[Tensor, " N"]


def shapley(clip_logits: Float[Tensor, "N K"], answer_index: int, how: str, *, generator: torch.Generator | None = None) -> Contribution:
    """Each clip's share in the log-probability of an answer.

    The value of a coalition S of clips is v(S) = log softmax(aggregate(S))[answer]
    and that of none is -log K, a guess.  Shares sum to v(all) - v(none).  Exact
    over all 2^N coalitions for up to 16 clips; beyond, the mean over random
    orders drawn from `generator` (by default one seeded with 0).
    """
    logits, num_answers = _checked(clip_logits, how), clip_logits.shape[1]
    if not 0 <= answer_index < num_answers:
        raise ValueError(f"answer_index must lie in [0, {num_answers}), got {answer_index}.")
    guess = -math.log(num_answers)
    answer = logits[:, answer_index]
    if how == "lse":  # both sums of exponentials add up over clips, so all K answers act as one column
        return _log_odds_shapley(torch.stack([logits.logsumexp(dim=1), answer], dim=1), how, guess, generator)
    if len(logits) > MAX_EXACT_CLIPS:
        return _sampled(logits, how, lambda pooled: pooled[..., answer_index] - pooled.logsumexp(dim=-1), guess, generator)
    return exact_shapley(_pool_subsets(answer[:, None], how)[:, 0] - _log_normalizers(logits, how), guess)


def match_shapley(clip_logits: Float[Tensor, "N J"], how: str, *, generator: torch.Generator | None = None) -> Contribution:
    """Each clip's share in the log-odds that text and video match, which are 0 for no clips.

    J = 2 is (no match, match); one logit g is read as the pair (0, g), as
    `tasks.match_log_odds` does.  Otherwise as `shapley`.
    """
    logits = _checked(clip_logits, how)
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    if logits.shape[1] != 2:
        raise ValueError(f"a match has 1 or 2 logits per clip, got {logits.shape[1]}; for answers use shapley.")
    return _log_odds_shapley(logits, how, 0.0, generator)


def _check(how: str, num_clips: int) -> None:
    if how not in AGGREGATIONS:
        nearest = difflib.get_close_matches(how, AGGREGATIONS, n=1, cutoff=0)[0]
        raise ValueError(f'aggregation must be one of {", ".join(AGGREGATIONS)}, got "{how}"; did you mean "{nearest}"?')
    if num_clips < 1:
        raise ValueError("aggregation needs at least 1 clip, got 0; sample with num_clips >= 1.")


def _checked(clip_logits: Tensor, how: str) -> Tensor:
    _check(how, len(clip_logits))
    if not bool(clip_logits.isfinite().all()):
        raise ValueError("clip_logits must be finite, got nan or inf; leave out candidates that cannot be chosen.")
    return clip_logits.detach().cpu().double()


def _log_odds_shapley(logits: Float64[Tensor, "N 2"], how: str, value_of_none: float, generator: torch.Generator | None) -> Contribution:
    def log_odds(pooled: Tensor) -> Tensor:
        return pooled[..., 1] - pooled[..., 0]

    if len(logits) > MAX_EXACT_CLIPS:
        return _sampled(logits, how, log_odds, value_of_none, generator)
    return exact_shapley(log_odds(_pool_subsets(logits, how)), value_of_none)


def exact_shapley(value: Float64[Tensor, " subsets"], value_of_none: float) -> Contribution:
    """Shapley values from v of every coalition but none: player i is in coalition c where bit i of c is set."""
    value = torch.cat([torch.tensor([value_of_none], dtype=torch.float64), value[1:]])
    num_clips = len(value).bit_length() - 1
    weight = torch.tensor([1 / (num_clips * math.comb(num_clips - 1, size)) for size in range(num_clips)], dtype=torch.float64)
    weight = weight[_sizes(num_clips - 1)]
    pairs = [value.reshape(-1, 2, 2**i) for i in range(num_clips)]  # (others above, without and with i, others below)
    values = torch.stack([weight @ (pair[:, 1] - pair[:, 0]).flatten() for pair in pairs])
    return Contribution(values, torch.zeros_like(values))


def _sampled(
    logits: Float64[Tensor, "N K"], how: str, value: Callable[[Tensor], Tensor], value_of_none: float, generator: torch.Generator | None
) -> Contribution:
    """Mean over random orders of what each clip adds to those before it; every order sums to v(all) - v(none)."""
    generator = generator or torch.Generator().manual_seed(0)
    num_clips = len(logits)
    gains = torch.empty(NUM_PERMUTATIONS, num_clips, dtype=torch.float64)
    for gain in gains:
        order = torch.randperm(num_clips, generator=generator)
        prefixes = pool_prefixes(logits[order], how)
        gain[order] = value(prefixes).diff(prepend=torch.tensor([value_of_none], dtype=torch.float64))
    return Contribution(gains.mean(dim=0), gains.std(dim=0) / math.sqrt(NUM_PERMUTATIONS))


def pool_prefixes(logits: Float64[Tensor, "N K"], how: str) -> Float64[Tensor, "N K"]:
    """Row n pools the first n + 1 clips."""
    if how == "mean":
        return logits.cumsum(dim=0) / torch.arange(1, len(logits) + 1)[:, None]
    return logits.cummax(dim=0).values if how == "max" else logits.logcumsumexp(dim=0)


def _sizes(num_clips: int) -> Tensor:
    """Number of clips in each of the 2^N coalitions."""
    sizes = torch.zeros(1, dtype=torch.int64)
    for _ in range(num_clips):
        sizes = torch.cat([sizes, sizes + 1])
    return sizes


def _pool_subsets(logits: Float64[Tensor, "N K"], how: str) -> Float64[Tensor, "subsets K"]:
    """The pooled logits of every coalition; the row of none is 0 for mean, else -inf."""
    join = {"mean": torch.add, "max": torch.maximum, "lse": torch.logaddexp}[how]
    pooled = torch.full((1, logits.shape[1]), 0.0 if how == "mean" else -torch.inf, dtype=torch.float64)
    for clip in logits:
        pooled = torch.cat([pooled, join(pooled, clip)])
    return pooled / _sizes(len(logits)).clamp(min=1)[:, None] if how == "mean" else pooled


def _log_normalizers(logits: Float64[Tensor, "N K"], how: str) -> Float64[Tensor, " subsets"]:
    """logsumexp over K of every coalition's pooled logits, for mean or max.

    A coalition is one subset of the first half of the clips and one of the
    second, so memory holds 2 * 2^(N/2) rows of K, not 2^N.
    """
    half = (len(logits) + 1) // 2
    low, high = _pool_subsets(logits[:half], how), _pool_subsets(logits[half:], how)
    return _log_normalizers_of_max(low, high) if how == "max" else _log_normalizers_of_mean(low, high)


def _log_normalizers_of_max(low: Float64[Tensor, "subsets K"], high: Float64[Tensor, "others K"]) -> Float64[Tensor, " coalitions"]:
    top = torch.maximum(low[-1], high[-1]).max()
    small, large = (low - top).exp(), (high - top).exp()  # the exponential of a maximum is the maximum of exponentials
    totals = torch.cat([torch.maximum(small, row).sum(dim=1) for row in large])
    normalizers = totals.log() + top
    for c in (totals < UNDERFLOW).nonzero().flatten().tolist():  # clips hundreds of nats below the top
        normalizers[c] = torch.maximum(low[c % len(low)], high[c // len(low)]).logsumexp(dim=0)
    return normalizers


def _log_normalizers_of_mean(low: Float64[Tensor, "subsets K"], high: Float64[Tensor, "others K"]) -> Float64[Tensor, " coalitions"]:
    low_size, high_size = _sizes(len(low).bit_length() - 1), _sizes(len(high).bit_length() - 1)
    normalizers = torch.empty(len(high), len(low), dtype=torch.float64)
    for a, b in itertools.product(range(int(low_size[-1]) + 1), range(int(high_size[-1]) + 1)):
        # a mean over a + b clips is (a * low + b * high) / (a + b), so the sum over K of its exponential is a matrix product
        rows, columns = (high_size == b).nonzero().flatten(), (low_size == a).nonzero().flatten()
        left, right = low[columns] * (a / max(a + b, 1)), high[rows] * (b / max(a + b, 1))
        top_left, top_right = left.amax(dim=1), right.amax(dim=1)
        total = (right - top_right[:, None]).exp() @ (left - top_left[:, None]).exp().T
        found = total.log() + top_right[:, None] + top_left
        for i, j in (total < UNDERFLOW).nonzero().tolist():  # halves hundreds of nats apart
            found[i, j] = (right[i] + left[j]).logsumexp(dim=0)
        normalizers[rows[:, None], columns] = found
    return normalizers.flatten()
