"""Scores of answers and rankings, from arrays; all are fractions in [0, 1] except ranks, which count from 1.

The original rounds retrieval scores to 4 decimals and breaks ties by sort
order, keeps only the last caption of a video, and scores a video once per
caption (OFFICIAL section 7).  Here nothing is rounded, equal scores count as
drawn in random order, and every caption and video counts once.  Without ties,
and with one caption a video, the two agree.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import mean, median

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Array = Tensor | np.ndarray
Labels = Sequence[Hashable] | Tensor | np.ndarray


def accuracy(predictions: Labels, labels: Labels) -> float:
    """Part of the predictions that equal their label; a label the model has no output for simply counts wrong."""
    return mean(_correct(predictions, labels))


def bootstrap_interval(right: Sequence[float], asked: Sequence[int], *, num_draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of sum(right) / sum(asked), over draws of whole videos with replacement.

    Questions of one video stand or fall together, so videos are drawn, not
    questions.  One video gives an interval of no width: nothing to draw from.
    """
    num_videos = len(right)
    drawn = np.random.default_rng(seed).integers(num_videos, size=(num_draws, num_videos))
    shares = np.asarray(right, dtype=float)[drawn].sum(axis=1) / np.asarray(asked, dtype=float)[drawn].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5]).tolist()
    return low, high


def accuracy_by_type(predictions: Labels, labels: Labels, types: Sequence[str]) -> dict[str, float]:
    """`accuracy` of each question type that occurs (the original reports absent ones as 0)."""
    return _mean_by_type(_correct(predictions, labels), types)


def mean_squared_error(predictions: Sequence[float | int], labels: Sequence[float | int]) -> float:
    """Mean squared difference (TGIF-QA count, of rounded counts)."""
    if len(predictions) != len(labels) or not labels:
        raise ValueError(f"mean_squared_error needs one prediction per label and at least one, got {len(predictions)} for {len(labels)} labels.")
    return mean((p - label) ** 2 for p, label in zip(predictions, labels, strict=True))


def vqa_score(predictions: Int[Array, " M"], labels: Float[Array, "M J"]) -> float:
    """Mean soft label of the predicted answers (VQA: min(humans who gave it / 3, 1))."""
    return mean(_soft_labels(predictions, labels))


def vqa_score_by_type(predictions: Int[Array, " M"], labels: Float[Array, "M J"], types: Sequence[str]) -> dict[str, float]:
    """`vqa_score` of each question type that occurs."""
    return _mean_by_type(_soft_labels(predictions, labels), types)


def recall_at(scores: Float[Array, "Q G"], relevant: Bool[Array, "Q G"], k: int) -> float:
    """Part of the Q queries with a relevant item among the k best of the gallery, in expectation over ties.

    Captions as queries have one relevant video; a video as a query has several
    captions, and its best-ranked one counts.  Raises ValueError for nan, or a
    query without a relevant item.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    return mean(_hit_probability(*row, k=k) for row in _ties(scores, relevant))


def ranks(scores: Float[Array, "Q G"], relevant: Bool[Array, "Q G"]) -> list[float]:
    """Rank of each query's best relevant item, which is its expected rank where scores tie."""
    return [_expected_rank(*row) for row in _ties(scores, relevant)]


def median_rank(scores: Float[Array, "Q G"], relevant: Bool[Array, "Q G"]) -> float:
    """Median of `ranks`."""
    return median(ranks(scores, relevant))


def mean_rank(scores: Float[Array, "Q G"], relevant: Bool[Array, "Q G"]) -> float:
    """Mean of `ranks`."""
    return mean(ranks(scores, relevant))


def retrieval_metrics(scores: Float[Array, "M B"], video_index: Int[Array, " M"]) -> dict[str, float]:
    """Recall at 1, 5, 10, median and mean rank, text to video and video to text.

    Text m describes video `video_index[m]`; a video without a text is only a
    distractor.
    """
    table = torch.as_tensor(scores)
    relevant = torch.as_tensor(video_index)[:, None] == torch.arange(table.shape[1])
    described = relevant.any(dim=0)
    directions = {"text_to_video": (table, relevant), "video_to_text": (table.T[described], relevant.T[described])}
    metrics = {}
    for direction, ranking in directions.items():
        metrics |= {f"{direction}/recall_at_{k}": recall_at(*ranking, k) for k in (1, 5, 10)}
        metrics |= {f"{direction}/median_rank": median_rank(*ranking), f"{direction}/mean_rank": mean_rank(*ranking)}
    return metrics


def _listed(values: Labels) -> list[Hashable]:
    return values.tolist() if isinstance(values, Tensor | np.ndarray) else list(values)


def _correct(predictions: Labels, labels: Labels) -> list[float]:
    predicted, expected = _listed(predictions), _listed(labels)
    if len(predicted) != len(expected) or not predicted:
        raise ValueError(f"accuracy needs one prediction per label and at least one, got {len(predicted)} for {len(expected)} labels.")
    return [float(p == e) for p, e in zip(predicted, expected, strict=True)]


def _soft_labels(predictions: Int[Array, " M"], labels: Float[Array, "M J"]) -> list[float]:
    if not len(labels):
        raise ValueError("vqa_score needs at least one question, got 0.")
    return torch.as_tensor(labels).gather(1, torch.as_tensor(predictions)[:, None])[:, 0].tolist()


def _mean_by_type(scores: list[float], types: Sequence[str]) -> dict[str, float]:
    if len(types) != len(scores):
        raise ValueError(f"types must name each of {len(scores)} questions, got {len(types)}.")
    return {kind: mean(score for score, other in zip(scores, types, strict=True) if other == kind) for kind in dict.fromkeys(types)}


def _ties(scores: Float[Array, "Q G"], relevant: Bool[Array, "Q G"]) -> list[list[int]]:
    """Per query: items above the best relevant one, items that tie with it (itself included), relevant ones of these."""
    table, wanted = torch.as_tensor(scores), torch.as_tensor(relevant)
    if bool(table.isnan().any()):
        raise ValueError(f"scores must not be nan, got {int(table.isnan().sum())} of {table.numel()}; look for examples that failed.")
    if not len(table) or not bool(wanted.any(dim=1).all()):
        raise ValueError(f"every query needs a relevant item, {int((~wanted.any(dim=1)).sum())} of {len(table)} have none.")
    best = table.masked_fill(~wanted, -torch.inf).amax(dim=1, keepdim=True)
    tied = table == best
    return torch.stack([(table > best).sum(dim=1), tied.sum(dim=1), (tied & wanted).sum(dim=1)], dim=1).tolist()


def _expected_rank(above: int, tied: int, tied_relevant: int) -> float:
    """Of `tied` items in random order the first of r relevant ones stands at (tied + 1) / (r + 1) on average."""
    return above + (tied + 1) / (tied_relevant + 1)


def _hit_probability(above: int, tied: int, tied_relevant: int, *, k: int) -> float:
    """1 minus the chance that all relevant ones of `tied` items in random order fall after place k."""
    after = tied - min(max(k - above, 0), tied)
    return 1 - math.comb(after, tied_relevant) / math.comb(tied, tied_relevant)


def binomial_interval(successes: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval for the share behind `successes` of `total`: it covers the truth at least that often.

    R@1 of 15.7 % on 1,000 queries could be anything from 13.5 to 18.1 %.
    """
    if not 0 <= successes <= total or total < 1:
        raise ValueError(f"successes must lie between 0 and total, and total be at least 1; got {successes} of {total}.")
    tail, k = (1 - confidence) / 2, torch.arange(total + 1, dtype=torch.float64)
    ways = math.lgamma(total + 1) - torch.lgamma(k + 1) - torch.lgamma(total - k + 1)

    def at_least(share: float) -> float:
        """Probability of `successes` or more."""
        return float((ways + k * math.log(share) + (total - k) * math.log1p(-share))[successes:].exp().sum())

    def at_most(share: float) -> float:
        return float((ways + k * math.log(share) + (total - k) * math.log1p(-share))[: successes + 1].exp().sum())

    low = 0.0 if successes == 0 else _where(lambda share: at_least(share) >= tail)
    high = 1.0 if successes == total else _where(lambda share: at_most(share) <= tail)
    return low, high


def _where(reached: Callable[[float], bool]) -> float:
    """The least share in (0, 1) from which `reached` holds, by halving."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
