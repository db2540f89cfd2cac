"""Adaptive N_test: clips are added, coarse to fine, until the pooled answer is settled (`clipbert.settling`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from clipbert.predict import Predictor
from clipbert.settling import ORDER, leads
from clipbert.streaming import encode_stream
from clipbert.types import EncodedVideo, Prediction


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
