"""One question at every N_test under every aggregation, from logits the model has already given."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from clipbert.aggregation import AGGREGATIONS, aggregate


@dataclass(frozen=True)
class SweepRow:
    """The answer at one N_test under one aggregation."""

    num_clips: int
    aggregation: str
    answer: str
    score: float
    margin: float = 0.0
    """Of the answer's probability over that of the next."""


@dataclass(frozen=True)
class Spent:
    """What one N_test of a sweep took beyond those before it."""

    seconds: float
    num_reused: int
    """Clips that a smaller N_test had encoded."""


def sweep_rows(logits: Mapping[int, Float[Tensor, "N K"]], candidates: tuple[str, ...]) -> list[SweepRow]:
    """A row for each N_test, the keys of `logits`, and each aggregation."""
    rows = []
    for size, of_clips in logits.items():
        for how in AGGREGATIONS:
            scores = aggregate(of_clips[None], how)[0].softmax(dim=-1)
            best, *others = scores.topk(min(2, len(scores))).values.tolist()
            rows.append(SweepRow(size, how, candidates[int(scores.argmax())], best, best - sum(others)))
    return rows
