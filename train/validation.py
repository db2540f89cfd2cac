"""What a run measures at each checkpoint: the loss of its validation sources, and the metrics of the model that was just saved."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from clipbert.evaluate import Share, evaluate
from clipbert.predict import Predictor
from train.engine import mean_over_processes
from train.objectives import Learner
from train.sources import Source, load

MEASURED = {
    "qa": ("qa", "accuracy"),
    "vqa": ("vqa", "vqa_score"),
    "multiple_choice": ("multiple_choice", "accuracy"),
    "retrieval": ("retrieval", "text_to_video/recall_at_1"),
    "retrieval_rank": ("retrieval", "text_to_video/recall_at_1"),
    "contrastive": ("retrieval", "text_to_video/recall_at_1"),
    "count": ("count", "mean_squared_error"),
}
"""Task of a source -> task of `evaluate`, and the metric that chooses the best checkpoint.  Pre-training has its loss alone."""
LOWER_IS_BETTER = ("mean_squared_error", "loss")


def validation_loss(learner: Learner, sources: Sequence[Source], *, batch_size: int, num_workers: int) -> float:
    """Mean loss of all items of the sources, each counted once."""
    engine = learner.engine
    sums = torch.zeros(2, dtype=torch.float64, device=engine.device)
    all_batches = [
        [(number, index) for index in range(first, min(first + batch_size, len(source.dataset)))]
        for number, source in enumerate(sources)
        for first in range(0, len(source.dataset), batch_size)
    ]
    rounds = math.ceil(len(all_batches) / engine.num_processes)  # every process as many, since some engines compute together
    mine = [number * engine.num_processes + engine.rank for number in range(rounds)]
    engine.model.eval()
    read = load(sources, [all_batches[min(number, len(all_batches) - 1)] for number in mine], num_workers=num_workers)
    with torch.no_grad():
        for number, (source, batch) in zip(mine, read, strict=True):
            weight = len(batch.clips.pixel_values) * (number < len(all_batches))
            loss = learner.loss(sources[source].settings, batch)
            sums += torch.tensor([weight * float(loss), weight], dtype=torch.float64, device=engine.device)
    engine.model.train()
    total, count = (mean_over_processes(sums, engine) * engine.num_processes).tolist()
    return total / count


def measure(model: Path, sources: Sequence[Source], *, dtype: str, share: Share) -> list[dict[str, float]]:
    """The metrics of each source by the saved `model`, looking at a video as it was saved to; none of a source for pre-training."""
    if all(source.settings.task == "pretrain" for source in sources):
        return [{} for _ in sources]
    predictor = Predictor.from_pretrained(model, dtype=dtype)
    found = []
    for source in sources:
        task, head = MEASURED[source.settings.task][0], source.settings.head_name
        rows = evaluate(predictor, source.examples, source.dataset.videos, task, head=head, share=share)
        found.append(next(row.metrics for row in rows if row.aggregation == predictor.sampling.aggregation))
    return found


def score_of(source: Source, metrics: Mapping[str, float], loss: float) -> tuple[str, float]:
    """Name of what chooses the best checkpoint, and its value turned so that higher is better."""
    name = MEASURED.get(source.settings.task, ("", "loss"))[1]
    value: Any = {"loss": loss, **metrics}[name]
    return name, -value if name in LOWER_IS_BETTER else value
