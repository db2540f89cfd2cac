"""Which of many candidate clips to look at: rules beyond the paper's, as arithmetic on what a cheap scan saw of each.

All take a `Scan` of K candidates in time order and a budget of N, and return N
places in it, ascending (all K where the budget is larger).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Float64
from torch import Tensor

ENOUGH = 0.8
"""AKS's first threshold: a stretch whose best candidates exceed its mean by so much is not divided (arXiv 2502.21271)."""
MAX_DEPTH = 5


@dataclass(frozen=True, eq=False)
class Scan:
    """What is known of each candidate; a rule reads only what it needs, and the rest may be None."""

    starts: Float64[Tensor, " K"]
    """Seconds, ascending."""
    colors: Float[Tensor, "K C"] | None = None
    """Histogram of the first frame."""
    features: Float[Tensor, "K D"] | None = None
    """Mean grid cell of the first frame."""
    relevance: Float[Tensor, " K"] | None = None
    """Match log-odds of the first frame and the question."""


def shots(scan: Scan, budget: int) -> list[int]:
    """One candidate of each shot, longest first, then more of the longest; within a shot evenly spaced.

    A cut is a change of colors that exceeds the mean change by its standard deviation.
    """
    assert scan.colors is not None
    change = (scan.colors[1:] - scan.colors[:-1]).abs().sum(dim=1)
    cuts = (change > change.mean() + change.std(correction=0)).nonzero()[:, 0] + 1 if len(change) else torch.tensor([], dtype=torch.int64)
    bounds = [0, *cuts.tolist(), len(scan.starts)]
    lengths = [end - start for start, end in pairwise(bounds)]
    counts = [0] * len(lengths)
    for _ in range(min(budget, sum(lengths))):
        open_shots = [i for i, length in enumerate(lengths) if counts[i] < length]
        neediest = max(open_shots, key=lambda i: (counts[i] == 0, lengths[i] / (counts[i] + 1)))
        counts[neediest] += 1
    return [
        start + int((j + 0.5) * length / count)
        for start, length, count in zip(bounds, lengths, counts, strict=False) for j in range(count)
    ]  # fmt: skip


def diverse(scan: Scan, budget: int) -> list[int]:
    """Greedy k-centre on features: the most typical candidate, then each time the one farthest from all that were taken."""
    assert scan.features is not None
    points = torch.nn.functional.normalize(scan.features, dim=1)
    taken = [int((points - points.mean(dim=0)).norm(dim=1).argmin())]
    distance = (points - points[taken[0]]).norm(dim=1)
    while len(taken) < min(budget, len(points)):
        distance[taken] = -1.0
        taken.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[taken[-1]]).norm(dim=1))
    return sorted(taken)


def relevant(scan: Scan, budget: int) -> list[int]:
    """The candidates that match the question best, wherever they lie."""
    assert scan.relevance is not None
    return _best(scan.relevance, range(len(scan.relevance)), budget)


def covering(scan: Scan, budget: int) -> list[int]:
    """Relevance and coverage: a stretch whose best candidates do not stand out is halved, and so is its budget (AKS, CVPR 2025).

    Where a budget is odd, the half with the better candidate gets the rest;
    AKS rounds down and so looks at less than it may.
    """
    assert scan.relevance is not None
    low, high = scan.relevance.min(), scan.relevance.max()
    normal = (scan.relevance - low) / (high - low).clamp(min=1e-9)
    return sorted(_covering(normal, range(len(normal)), min(budget, len(normal)), 0))


def _covering(relevance: Tensor, places: range, budget: int, depth: int) -> list[int]:
    if budget in (0, len(places)):
        return list(places)[:budget]
    best = _best(relevance, places, budget)
    stands_out = float(relevance[best].mean() - relevance[list(places)].mean()) > ENOUGH
    if stands_out or budget == 1 or depth == MAX_DEPTH:
        return best
    half = len(places) // 2
    left, right = places[:half], places[half:]
    to_left = (budget + bool(relevance[list(left)].max() >= relevance[list(right)].max())) // 2
    to_left = max(min(to_left, len(left)), budget - len(right))
    return _covering(relevance, left, to_left, depth + 1) + _covering(relevance, right, budget - to_left, depth + 1)


def _best(relevance: Tensor, places: range, budget: int) -> list[int]:
    """The most relevant of `places`, the earlier of equals, ascending."""
    return sorted(sorted(places, key=lambda k: -float(relevance[k]))[:budget])


SELECTORS: dict[str, Callable[[Scan, int], list[int]]] = {"shots": shots, "diverse": diverse, "relevant": relevant, "covering": covering}
NEEDS = {"shots": "colors", "diverse": "features", "relevant": "relevance", "covering": "relevance"}
"""The field of `Scan` that each rule reads."""
