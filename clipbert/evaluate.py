"""Model x data set x task -> metrics, at every N_test and aggregation from one pass over each video.

Questions are grouped by video, so each video is decoded and encoded once.  No
example is dropped or replaced: an unreadable video stops the evaluation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clipbert.aggregation import AGGREGATIONS, aggregate
from clipbert.config import check_known
from clipbert.data.dataset import group_by_video
from clipbert.data.rows import Example
from clipbert.data.video_store import VideoStore
from clipbert.metrics import accuracy, accuracy_by_type, retrieval_metrics
from clipbert.predict import Predictor
from clipbert.types import EncodedVideo

EVALUATED = ("qa", "vqa", "multiple_choice", "retrieval")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one N_test and aggregation; shares are fractions in [0, 1], ranks count from 1."""

    num_clips: int
    aggregation: str
    metrics: dict[str, float]


def evaluate(
    predictor: Predictor, examples: Sequence[Example], store: VideoStore, task: str, *, sizes: Sequence[int] | None = None,
    progress: Progress | None = None, **sampling: Any,
) -> list[Evaluation]:  # fmt: skip
    """One row per N_test in `sizes` (the model's own by default) and aggregation; `sampling` is that of `Predictor.encode_sweep`.

    Raises ValueError for no examples or one that does not fit the task, and
    VideoError for an unreadable video.
    """
    check_known("task", task, EVALUATED)
    if not examples:
        raise ValueError("there are no examples to evaluate; check the split and the annotation file.")
    sizes = tuple(sizes or (predictor.sampling.num_clips,))
    score = _score_captions if task == "retrieval" else _score_answers
    groups = group_by_video(examples)
    outcomes: dict[tuple[int, str], list[Any]] = {(size, how): [] for size in sizes for how in AGGREGATIONS}
    captions = [example.text for group in groups for example in group] if task == "retrieval" else []
    for done, group in enumerate(groups, 1):
        with store.file(group[0].video) as path:
            parts, _ = predictor.encode_sweep(path, sizes=sizes, **sampling)
        for size, part in parts.items():
            for how, outcome in score(predictor, part, group, captions).items():
                outcomes[size, how] += outcome
        if progress is not None:
            progress(done, len(groups))
    summarise = _retrieval if task == "retrieval" else _vqa if task == "vqa" else _answers
    ordered = [example for group in groups for example in group]
    index = torch.tensor([b for b, group in enumerate(groups) for _ in group])
    return [Evaluation(size, how, summarise(outcome, ordered, index)) for (size, how), outcome in outcomes.items()]


def _score_answers(predictor: Predictor, video: EncodedVideo, group: Sequence[Example], captions: Sequence[str]) -> dict[str, list[str]]:
    """The answer to each question of one video, under each aggregation.

    Choices without a question are captions: the best match wins (MSRVTT multiple choice).
    """
    answers: dict[str, list[str]] = {how: [] for how in AGGREGATIONS}
    for example in group:
        if not example.question:
            for how in AGGREGATIONS:
                answers[how].append(example.choices[int(predictor.match(video, example.choices, aggregation=how).argmax())])
            continue
        candidates, logits = predictor.candidate_logits(video, example.question, example.choices or None)
        for how in AGGREGATIONS:
            answers[how].append(candidates[int(aggregate(logits[None], how)[0].argmax())])
    return answers


def _score_captions(predictor: Predictor, video: EncodedVideo, group: Sequence[Example], captions: Sequence[str]) -> dict[str, list[Tensor]]:
    """Match log-odds of one video with every caption of the set, under each aggregation."""
    return {how: [predictor.match(video, captions, aggregation=how)] for how in AGGREGATIONS}


def _answers(answers: list[str], examples: Sequence[Example], index: Tensor) -> dict[str, float]:
    truth = [_truth(example) for example in examples]
    found = {"accuracy": accuracy(answers, truth)}
    types = [example.answer_type for example in examples]
    if any(types):
        found |= {f"accuracy/{kind or 'untyped'}": value for kind, value in accuracy_by_type(answers, truth, types).items()}
    return found


def _truth(example: Example) -> str:
    if example.answer is None:
        raise ValueError(f"example {example.id} has no answer to compare with; evaluate a split whose answers are public.")
    return example.choices[int(example.answer)] if example.choices else str(example.answer)


def _vqa(answers: list[str], examples: Sequence[Example], index: Tensor) -> dict[str, float]:
    """The answer's soft label, averaged: an answer outside the vocabulary of the model still counts in the mean."""
    scores = [dict(example.answer_scores).get(answer, 0.0) for answer, example in zip(answers, examples, strict=True)]
    return {"vqa_score": sum(scores) / len(scores)}


def _retrieval(columns: list[Tensor], examples: Sequence[Example], index: Tensor) -> dict[str, float]:
    return retrieval_metrics(torch.stack(columns, dim=1), index)  # [captions, videos]
