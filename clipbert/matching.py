"""The match score of a video and texts: what each head says of it, and each clip's share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from clipbert.aggregation import match_shapley
from clipbert.tasks import match_log_odds


@dataclass(frozen=True, eq=False)
class MatchPart:
    """One head's part in a match score, which is the sum over heads of weight times pooled log-odds."""

    head: str
    weight: float
    logits: Float[Tensor, "M N J"]
    """(no match, match) of each text and clip, or the log-odds alone (J = 1)."""

    def log_odds(self, how: str) -> Float[Tensor, " M"]:
        """Pooled over clips."""
        return self.weight * match_log_odds(self.logits, how)

    def clip_log_odds(self) -> Float[Tensor, "M N"]:
        """Each clip's own."""
        return self.weight * (self.logits[..., 1] - self.logits[..., 0] if self.logits.shape[-1] == 2 else self.logits[..., 0])


def match_shares(parts: Sequence[MatchPart], text_index: int, how: str, seed: int = 0) -> Float64[Tensor, " N"]:
    """Each clip's Shapley value for the match score of one text, which is 0 for no clips.

    Shapley values are linear in what they share, so a head's weight is theirs.
    `seed` is of the random orders that more than 16 clips need.
    """
    shares = [part.weight * match_shapley(part.logits[text_index], how, generator=torch.Generator().manual_seed(seed)).values for part in parts]
    return torch.stack(shares).sum(dim=0)
