"""Adaptive N_test: clips are added, coarse to fine, until the pooled answer is settled.

Clips come in the order of the policy `nested`, so those read so far are spread
over the whole video, and 16 of them are the 16 of `official`.  An answer is
settled where its pooled logit leads the second best by a margin that was
calibrated on validation data.  A lead on the clips read promises nothing of
those not read: how often the answer of all clips is another one is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float, Float64
from PIL import Image
from torch import Tensor

from clipbert.aggregation import pool_prefixes
from clipbert.metrics import binomial_interval
from clipbert.predict import Predictor
from clipbert.streaming import encode_stream
from clipbert.types import EncodedVideo, Prediction

ORDER = "nested"
MARGIN_STEP = 0.05  # nats, of the margins tried


def leads(clip_logits: Float[Tensor, "N K"], how: str) -> Float64[Tensor, " N"]:
    """By how much, in nats, the best answer leads the second best after each clip."""
    best = pool_prefixes(clip_logits.double(), how).topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def clips_read(clip_logits: Float[Tensor, "N K"], how: str, margin: float) -> int:
    """After how many clips the lead is `margin`; all of them where it never is."""
    reached = (leads(clip_logits, how) >= margin).nonzero()
    return int(reached[0]) + 1 if len(reached) else len(clip_logits)


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


@dataclass(frozen=True, eq=False)
class AdaptiveAnswer:
    """An answer after `num_read` of `num_planned` clips: `settled`, unless all were read without a lead of `margin`."""

    prediction: Prediction
    video: EncodedVideo
    num_read: int
    num_planned: int
    margin: float
    settled: bool


def answer_adaptive(
    predictor: Predictor, video: str | Path | Image.Image, question: str, *, margin: float | None = None, choices: Sequence[str] | None = None,
    aggregation: str | None = None, **sampling: Any,
) -> AdaptiveAnswer:  # fmt: skip
    """`Predictor.answer` of as many clips as it takes, at most `num_clips`, in the order of `nested`.

    Clips that are not needed are neither decoded nor seen by the CNN.  `margin`
    is the model's calibrated one by default; `sampling` is that of
    `Predictor.encode`.  Raises ValueError like `answer`, for another policy, and
    where neither the model nor the caller has a margin.
    """
    how = predictor.pooling(aggregation)
    wanted = predictor.settle_margin(how) if margin is None else margin
    if sampling.setdefault("policy", ORDER) != ORDER:
        raise ValueError(f'clips are added in the order of policy "{ORDER}", got "{sampling["policy"]}"; leave the policy out.')
    predictor.readings(question, choices)  # a question that cannot be asked costs no decoding
    step, settled = None, False
    for step in encode_stream(predictor, video, **sampling):
        settled = float(leads(predictor.candidate_logits(step.video, question, choices)[1], how)[-1]) >= wanted
        if settled:
            break
    assert step is not None
    found = predictor.answer(step.video, question, choices=choices, aggregation=how)
    return AdaptiveAnswer(found, step.video, step.num_done, step.num_planned, wanted, settled)
