"""Model x data set x task -> metrics, at every N_test and aggregation from one pass over each video.

Questions are grouped by video, so each video is decoded and encoded once.  No
example is dropped or replaced: an unreadable video stops the evaluation.
Several processes share the videos, each read by one of them, and all of them
return the numbers of the whole.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from clipbert.aggregation import AGGREGATIONS, aggregate
from clipbert.config import check_known
from clipbert.data.dataset import group_by_video
from clipbert.data.rows import Example
from clipbert.data.video_store import VideoStore
from clipbert.metrics import accuracy, accuracy_by_type, binomial_interval, mean_squared_error, retrieval_metrics
from clipbert.predict import Predictor
from clipbert.settling import ORDER, clips_read
from clipbert.tasks import count_of, match_log_odds
from clipbert.types import EncodedVideo

EVALUATED = ("qa", "vqa", "multiple_choice", "retrieval", "count")
Progress = Callable[[int, int], None]
Outcomes = dict[tuple[int, str], list[Any]]
"""By N_test and aggregation: what came of each example of a video, or of the video in retrieval."""


@dataclass(frozen=True)
class Share:
    """Of the videos, those that process `rank` of `num_processes` reads; torch.distributed must be up if there are several."""

    rank: int = 0
    num_processes: int = 1


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one N_test and aggregation; shares are fractions in [0, 1], ranks count from 1."""

    num_clips: int
    aggregation: str
    metrics: dict[str, float]


def evaluate(
    predictor: Predictor, examples: Sequence[Example], store: VideoStore, task: str, *, sizes: Sequence[int] | None = None,
    head: str | None = None, share: Share = Share(), progress: Progress | None = None, margins: Mapping[str, float] | None = None, **sampling: Any,
) -> list[Evaluation]:  # fmt: skip
    """One row per N_test in `sizes` (the model's own by default) and aggregation; `sampling` is that of `Predictor.encode_sweep`.

    `head` asks only the head of that name, where the model has several.  With
    `margins` (nats, of the aggregations that get a row) N_test is the most: each
    question reads clips in the order of `nested` until its answer leads by the
    margin (`clipbert.settling`), and a row also has the mean number of clips
    read and the share of answers that all clips would change.  Raises
    ValueError for no examples or one that does not fit the task, and VideoError
    for an unreadable video.
    """
    check_known("task", task, EVALUATED)
    if margins is not None:
        sampling = {"policy": ORDER} | sampling
        _check_adaptive(task, examples, margins, sampling["policy"])
    if not examples:
        raise ValueError("there are no examples to evaluate; check the split and the annotation file.")
    sizes = tuple(sizes or (predictor.sampling.num_clips,))
    asked = predictor if head is None else only_head(predictor, head)
    score = {"retrieval": _score_captions, "count": _score_counts}.get(task, partial(_score_answers, margins=margins))
    groups = group_by_video(examples)
    captions = [example.text for group in groups for example in group] if task == "retrieval" else []
    mine: dict[int, Outcomes] = {}
    for b in range(share.rank, len(groups), share.num_processes):
        with store.file(groups[b][0].video) as path:
            parts, _ = asked.encode_sweep(path, sizes=sizes, **sampling)
        mine[b] = {(size, how): found for size, part in parts.items() for how, found in score(asked, part, groups[b], captions).items()}
        if progress is not None:
            progress(min(b + share.num_processes, len(groups)), len(groups))
    by_video = _gathered(mine, share)
    summarise = {"retrieval": _retrieval, "vqa": _vqa, "count": _counts}.get(task, _answers)
    if margins is not None:
        summarise = partial(_settled, summarise)
    ordered = [example for group in groups for example in group]
    index = torch.tensor([b for b, group in enumerate(groups) for _ in group])
    rows = [(size, how) for size in sizes for how in (AGGREGATIONS if margins is None else margins)]
    return [Evaluation(*row, summarise([one for b in range(len(groups)) for one in by_video[b][row]], ordered, index)) for row in rows]


def only_head(predictor: Predictor, head: str) -> Predictor:
    """The same predictor as if its model had no other head."""
    check_known("head", head, tuple(predictor.model.heads))
    view = copy.copy(predictor)
    view.model = copy.copy(predictor.model)
    view.model.heads = {head: predictor.model.heads[head]}
    return view


def _gathered(mine: dict[int, Outcomes], share: Share) -> dict[int, Outcomes]:
    if share.num_processes == 1:
        return mine
    shares: list[Any] = [None] * share.num_processes
    torch.distributed.all_gather_object(shares, mine)
    return {b: outcomes for one in shares for b, outcomes in one.items()}


@dataclass(frozen=True)
class _Settled:
    """An answer after `clips_read` clips, and whether all of them would change it."""

    answer: str
    clips_read: int
    changes: bool


def _check_adaptive(task: str, examples: Sequence[Example], margins: Mapping[str, float], policy: str) -> None:
    if task not in ("qa", "vqa", "multiple_choice") or any(not example.question for example in examples):
        raise ValueError(f"adaptive N_test is of questions; task {task} has examples without one. Leave it out.")
    if policy != ORDER:
        raise ValueError(f'clips are added in the order of policy "{ORDER}", got "{policy}"; leave the policy out.')
    for how in margins:
        check_known("aggregation", how, AGGREGATIONS)


def _score_answers(
    predictor: Predictor, video: EncodedVideo, group: Sequence[Example], captions: Sequence[str], *, margins: Mapping[str, float] | None = None
) -> dict[str, list[Any]]:
    """The answer to each question of one video, under each aggregation: a word, or with `margins` a `_Settled`.

    Choices without a question are captions: the best match wins (MSRVTT multiple choice).
    """
    answers: dict[str, list[Any]] = {how: [] for how in (AGGREGATIONS if margins is None else margins)}
    for example in group:
        if not example.question:
            for how in answers:
                answers[how].append(example.choices[int(predictor.match(video, example.choices, aggregation=how).argmax())])
            continue
        candidates, logits = predictor.candidate_logits(video, example.question, example.choices or None)
        for how in answers:
            found = candidates[int(aggregate(logits[None], how)[0].argmax())]
            if margins is None:
                answers[how].append(found)
                continue
            n = clips_read(logits, how, margins[how])
            early = candidates[int(aggregate(logits[None, :n], how)[0].argmax())]
            answers[how].append(_Settled(early, n, early != found))
    return answers


def _score_captions(predictor: Predictor, video: EncodedVideo, group: Sequence[Example], captions: Sequence[str]) -> dict[str, list[Tensor]]:
    """Match log-odds of one video with every caption of the set, under each aggregation."""
    heads = [(predictor.model.match_weight(head), predictor.pair_logits(video.features, captions, head)) for head in predictor.match_heads()]
    return {how: [torch.stack([weight * match_log_odds(logits, how) for weight, logits in heads]).sum(dim=0)] for how in AGGREGATIONS}


def _score_counts(predictor: Predictor, video: EncodedVideo, group: Sequence[Example], captions: Sequence[str]) -> dict[str, list[int]]:
    """The whole number that the regression head means for each question of one video, under each aggregation."""
    head = next((name for name, kind in predictor.model.heads.items() if kind == "regression"), None)
    if head is None:
        raise ValueError(f"model {predictor.model.name} cannot count (its heads: {', '.join(predictor.model.heads.values())}).")
    logits = predictor.clip_logits(video, [example.question for example in group], head)
    return {how: count_of(aggregate(logits, how)).tolist() for how in AGGREGATIONS}


def _answers(answers: list[str], examples: Sequence[Example], index: Tensor) -> dict[str, float]:
    truth = [_truth(example) for example in examples]
    found = {"accuracy": accuracy(answers, truth)}
    types = [example.answer_type for example in examples]
    if any(types):
        found |= {f"accuracy/{kind or 'untyped'}": value for kind, value in accuracy_by_type(answers, truth, types).items()}
    return found


def _settled(summarise: Callable[..., dict[str, float]], found: list[_Settled], examples: Sequence[Example], index: Tensor) -> dict[str, float]:
    """The metrics of the answers given, the clips read on average, and the share of answers that all clips would change."""
    changed, count = sum(one.changes for one in found), len(found)
    about = {"mean_clips": sum(one.clips_read for one in found) / count, "disagreement": changed / count}
    about["disagreement_at_most"] = binomial_interval(changed, count)[1]
    return summarise([one.answer for one in found], examples, index) | about


def _truth(example: Example) -> str:
    if example.answer is None:
        raise ValueError(f"example {example.id} has no answer to compare with; evaluate a split whose answers are public.")
    return example.choices[int(example.answer)] if example.choices else str(example.answer)


def _number(example: Example) -> int:
    truth = _truth(example)
    if not truth.isdecimal():
        raise ValueError(f"example {example.id}: a count must be a number, got {truth!r}.")
    return int(truth)


def _vqa(answers: list[str], examples: Sequence[Example], index: Tensor) -> dict[str, float]:
    """The answer's soft label, averaged: an answer outside the vocabulary of the model still counts in the mean."""
    labels = [dict(example.answer_scores or ((_truth(example), 1.0),)) for example in examples]
    scores = [label.get(answer, 0.0) for answer, label in zip(answers, labels, strict=True)]
    return {"vqa_score": sum(scores) / len(scores)}


def _counts(counts: list[int], examples: Sequence[Example], index: Tensor) -> dict[str, float]:
    truth = [_number(example) for example in examples]
    return {"mean_squared_error": mean_squared_error(counts, truth), "accuracy": accuracy(counts, truth)}


def _retrieval(columns: list[Tensor], examples: Sequence[Example], index: Tensor) -> dict[str, float]:
    return retrieval_metrics(torch.stack(columns, dim=1), index)  # [captions, videos]
