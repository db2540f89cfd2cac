"""What is asked of which heads, and the match score: what each head says of it, and each clip's share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from clipbert.aggregation import Contribution, match_shapley
from clipbert.tasks import match_log_odds


@dataclass(frozen=True)
class HeadReading:
    """One head's part in the logits of K candidates, which are the sum over such parts."""

    head: str
    texts: tuple[str, ...]
    """What the model reads: one text for all candidates where `columns` name them, else one for each."""
    weight: float = 1.0
    columns: tuple[int, ...] | None = None
    """The head's outputs that are the candidates."""

    def candidate_logits(self, logits: Float[Tensor, "M N J"]) -> Float[Tensor, "N K"]:
        if self.columns is not None:
            return self.weight * logits[0][:, list(self.columns)]
        return self.weight * log_odds_of_clips(logits).T


def log_odds_of_clips(logits: Float[Tensor, "M N J"]) -> Float[Tensor, "M N"]:
    """From the pair (no match, match), or the log-odds alone (J = 1)."""
    return logits[..., 1] - logits[..., 0] if logits.shape[-1] == 2 else logits[..., 0]


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
        return self.weight * log_odds_of_clips(self.logits)


def match_shares(parts: Sequence[MatchPart], text_index: int, how: str, seed: int = 0) -> Float64[Tensor, " N"]:
    """Each clip's Shapley value for the match score of one text, which is 0 for no clips.

    Shapley values are linear in what they share, so a head's weight is theirs.
    `seed` is of the random orders that more than 16 clips need.
    """
    return match_contribution(parts, text_index, how, seed).values


def match_contribution(parts: Sequence[MatchPart], text_index: int, how: str, seed: int = 0) -> Contribution:
    """`match_shares` with standard errors: their sum over heads, an upper bound, since all heads see the same orders."""
    found = [(part.weight, match_shapley(part.logits[text_index], how, generator=torch.Generator().manual_seed(seed))) for part in parts]
    return Contribution(
        torch.stack([weight * share.values for weight, share in found]).sum(dim=0),
        torch.stack([abs(weight) * share.standard_error for weight, share in found]).sum(dim=0),
    )
