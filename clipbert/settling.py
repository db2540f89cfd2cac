"""When an answer is settled, so that no more clips are needed: its pooled logit leads the second best by a margin.

The margin is calibrated on validation data.  A lead on the clips read promises
nothing of those not read: how often the answer of all clips is another one is
measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Float64
from torch import Tensor

from clipbert.aggregation import pool_prefixes
from clipbert.metrics import binomial_interval

ORDER = "nested"
"""The policy in whose order clips are read: those read so far are spread over the whole video, and 16 of them are the 16 of "official"."""
MARGIN_STEP = 0.05  # nats, of the margins tried


def leads(clip_logits: Float[Tensor, "N K"], how: str) -> Float64[Tensor, " N"]:
    """By how much, in nats, the best answer leads the second best after each clip."""
    best = pool_prefixes(clip_logits.double(), how).topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def clips_read(clip_logits: Float[Tensor, "N K"], how: str, margin: float) -> int:
    """After how many clips the lead is `margin`; all of them where it never is."""
    reached = (leads(clip_logits, how) >= margin).nonzero()
    return int(reached[0]) + 1 if len(reached) else len(clip_logits)


def last_change(clip_logits: Float[Tensor, "N K"], how: str) -> int:
    """After how many clips the pooled answer is that of all clips, and stays it: what a rule would read that knew the other clips."""
    answers = pool_prefixes(clip_logits.double(), how).argmax(dim=1)
    others = (answers != answers[-1]).nonzero()
    return int(others[-1]) + 2 if len(others) else 1


@dataclass(frozen=True)
class Settling:
    """What a margin does to questions: clips read on average, and how often the answer is not that of all clips."""

    margin: float
    num_questions: int
    num_clips: int
    mean_clips: float
    num_disagreeing: int

    @property
    def disagreement(self) -> float:
        return self.num_disagreeing / self.num_questions

    @property
    def disagreement_at_most(self) -> float:
        """Upper end of the 95 % interval of Clopper and Pearson, as if questions were independent."""
        return binomial_interval(self.num_disagreeing, self.num_questions)[1]


def settling(asked: Sequence[Float[Tensor, "N K"]], how: str, margin: float) -> Settling:
    """Of the clip logits of questions, clips in the order of `nested`.  Raises ValueError for no questions."""
    if not asked:
        raise ValueError("asked must hold the clip logits of at least one question, got none.")
    read, others = 0, 0
    for logits in asked:
        n, answers = clips_read(logits, how, margin), pool_prefixes(logits.double(), how).argmax(dim=1)
        read += n
        others += int(answers[n - 1] != answers[-1])
    return Settling(margin, len(asked), max(len(logits) for logits in asked), read / len(asked), others)


def calibrated_margin(asked: Sequence[Float[Tensor, "N K"]], how: str, *, disagreement: float = 0.005) -> float:
    """The least margin, in steps of MARGIN_STEP, from which on at most this share of answers differs from that of all clips."""
    margin = max(float(leads(logits, how).max()) for logits in asked) + MARGIN_STEP
    while margin > MARGIN_STEP and settling(asked, how, margin - MARGIN_STEP).disagreement <= disagreement:
        margin -= MARGIN_STEP
    return round(margin, 2)
