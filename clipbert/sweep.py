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


def sweep_rows(logits: Mapping[int, Float[Tensor, "N K"]], candidates: tuple[str, ...]) -> list[SweepRow]:
    """A row for each N_test, the keys of `logits`, and each aggregation."""
    rows = []
    for size, of_clips in logits.items():
        for how in AGGREGATIONS:
            scores = aggregate(of_clips[None], how)[0].softmax(dim=-1)
            rows.append(SweepRow(size, how, candidates[int(scores.argmax())], float(scores.max())))
    return rows
