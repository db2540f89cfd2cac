"""One table of tasks: how each forms its texts, its loss from clip logits, and its answer.

The official code has a script and a class per task; they differ only in what
stands in a row of `TASKS` (OFFICIAL sections 1.5, 2 and 4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipbert.aggregation import aggregate
from clipbert.checks import require_text


def check_choices(choices: Sequence[str]) -> list[str]:
    found = [require_text(choice, "choice") for choice in choices]
    if len(found) < 2 or len(set(found)) < len(found):
        raise ValueError(f"choices must be at least two different texts, got {found}.")
    return found


def question_alone(question: str, choices: Sequence[str]) -> list[str]:
    """Open-ended questions: the candidates live in the head, not in the text."""
    return [question]


def question_and_option(question: str, choices: Sequence[str]) -> list[str]:
    """One text per option, in one segment without [SEP] between, as the original writes them."""
    return [f"{question} {choice}".strip() for choice in choices]


def answer_loss(clip_logits: Float[Tensor, "M N J"], labels: Int[Tensor, " M"], how: str) -> Float[Tensor, ""]:
    """Cross-entropy of the pooled logits; with "lse" this is the paper's Eq. 5 and the original's loss."""
    return F.cross_entropy(aggregate(clip_logits, how), labels)


def choice_loss(clip_logits: Float[Tensor, "M N 1"], labels: Int[Tensor, " B"], how: str) -> Float[Tensor, ""]:
    """Cross-entropy over the options of each question; texts come question by question, M = B * K."""
    return answer_loss(choices_as_answers(clip_logits, len(clip_logits) // len(labels)), labels, how)


def choices_as_answers(clip_logits: Float[Tensor, "M N 1"], num_choices: int) -> Float[Tensor, "B N K"]:
    """One row per question: option logits side by side, so that they pool and normalise like a classifier's."""
    return rearrange(clip_logits, "(b k) n 1 -> b n k", k=num_choices)


def rank_loss(clip_logits: Float[Tensor, "M N 1"], num_negatives: int, how: str, margin: float = 0.2) -> Float[Tensor, ""]:
    """Hinge between the match probability of each positive text and its negatives, which follow it.

    Raises ValueError for "lse": the original pools this loss by mean or max only.
    """
    if how == "lse":
        raise ValueError('the rank loss pools logits by "mean" or "max"; "lse" needs a retrieval head with two outputs.')
    probability = rearrange(aggregate(clip_logits, how).sigmoid(), "(b p) 1 -> b p", p=1 + num_negatives)
    return (margin + probability[:, 1:] - probability[:, :1]).clamp(min=0).mean()


def soft_answer_loss(clip_logits: Float[Tensor, "M N J"], labels: Float[Tensor, "M J"], how: str) -> Float[Tensor, ""]:
    """Binary cross-entropy with soft labels: summed over answers, averaged over questions (VQA)."""
    return F.binary_cross_entropy_with_logits(aggregate(clip_logits, how), labels, reduction="none").sum(dim=1).mean()


def count_loss(clip_logits: Float[Tensor, "M N 1"], labels: Float[Tensor, " M"], how: str) -> Float[Tensor, ""]:
    """Squared error of the pooled count (TGIF-QA)."""
    return F.mse_loss(aggregate(clip_logits, how)[:, 0], labels)


def pretraining_loss(
    mlm_logits: Float[Tensor, "M L V"],
    itm_logits: Float[Tensor, "M 2"],
    mlm_labels: Int[Tensor, "M L"],
    itm_labels: Int[Tensor, " M"],
    mlm_average: str = "masked",
) -> Float[Tensor, ""]:
    """MLM + ITM, weighted 1:1; positions labelled -100 are not predicted.

    `mlm_average`: "masked" averages over masked words; "all" over every
    position, ignored ones counting 0, as the original does in training.
    """
    per_position = F.cross_entropy(mlm_logits.flatten(0, 1), mlm_labels.flatten(), ignore_index=-100, reduction="none")
    counted = per_position.numel() if mlm_average == "all" else (mlm_labels != -100).sum().clamp(min=1)
    return per_position.sum() / counted + F.cross_entropy(itm_logits, itm_labels)


def count_of(pooled: Float[Tensor, "M 1"]) -> Int[Tensor, " M"]:
    """The count a regression head means: rounded, between 1 and 10 as in TGIF-QA."""
    return pooled[:, 0].round().clamp(1, 10).long()


def match_log_odds(clip_logits: Float[Tensor, "M N J"], how: str) -> Float[Tensor, " M"]:
    """Pooled log-odds that text and video match, from a retrieval (J = 2 or 1) or contrastive (J = 1) head.

    One logit g is read as the pair (0, g), so that pooling means the same for
    both kinds: "lse" of N equal clips is that clip's own log-odds.
    """
    pair = clip_logits if clip_logits.shape[-1] == 2 else torch.cat([torch.zeros_like(clip_logits), clip_logits], dim=-1)
    pooled = aggregate(pair, how)
    return pooled[:, 1] - pooled[:, 0]


@dataclass(frozen=True)
class Task:
    """How one task of the paper uses the model."""

    head: str
    """Kind of head, as in HeadConfig."""
    texts: Callable[[str, Sequence[str]], list[str]]
    """Question (or caption) and choices -> the texts the model reads."""
    loss: Callable[..., Tensor]
    """Clip logits, labels, aggregation -> scalar."""
    metrics: tuple[str, ...]
    """Names in clipbert.metrics."""


TASKS = {
    "qa": Task("classifier", question_alone, answer_loss, ("accuracy", "accuracy_by_type")),
    "vqa": Task("classifier", question_alone, soft_answer_loss, ("vqa_score",)),
    "multiple_choice": Task("multiple_choice", question_and_option, choice_loss, ("accuracy",)),
    "retrieval": Task("retrieval", question_alone, answer_loss, ("recall_at", "median_rank", "mean_rank")),
    "retrieval_rank": Task("retrieval", question_alone, rank_loss, ("recall_at", "median_rank", "mean_rank")),
    "count": Task("regression", question_alone, count_loss, ("mean_squared_error", "accuracy")),
}
