"""Ranks of captions' own videos, and how sure a difference between two models on the same questions is."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

RESAMPLES = 10_000


def interval_of_gain(gains: Float[Tensor, " M"], group: Int[Tensor, " M"], *, seed: int) -> tuple[float, float]:
    """95 % interval of the mean gain, by resampling whole groups: texts of one video succeed and fail together."""
    groups = int(group.max()) + 1
    sums = torch.zeros(groups, dtype=torch.float64).index_add(0, group, gains.double())
    counts = torch.bincount(group, minlength=groups).double()
    drawn = torch.randint(groups, (RESAMPLES, groups), generator=torch.Generator().manual_seed(seed))
    means = sums[drawn].sum(dim=1) / counts[drawn].sum(dim=1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def reciprocal_ranks(scores: Float[Tensor, "M B"], own: Int[Tensor, " M"]) -> Float[Tensor, " M"]:
    """1 / rank of each text's own video among all; ties go to the text."""
    mine = scores.gather(1, own[:, None])
    return 1 / (1 + (scores > mine).sum(dim=1)).float()
