"""A trained model made ready for use: calibrated on validation data, in float16, with the sampling it answers with.

    python train/calibrate.py --model runs/NAME/step_00000500 --out FOLDER --videos VIDEOS --questions val.jsonl --captions val.jsonl

Per head that answers: the temperature that minimises negative log-likelihood.
Of the classifier: the confidence from which `--precision` of its answers are
right.  Of the match score: the retrieval head's weight beside the contrastive
head, 0 unless it surely ranks better, then weight and offset that make the sum
the log-odds of a fair pair.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, `train` must be the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipbert.aggregation import aggregate
from clipbert.bundled import model_folder
from clipbert.config import SamplingConfig
from clipbert.data.dataset import group_by_video
from clipbert.data.examples import read_examples
from clipbert.data.rows import Example
from clipbert.data.video_store import VideoStore, open_store
from clipbert.model import ClipBertForSequenceClassification
from clipbert.predict import Predictor
from clipbert.processing import VOCABULARY, ClipBertProcessor
from train.bootstrap import interval_of_gain, reciprocal_ranks
from train.command import exit_code

TEMPERATURES = torch.linspace(0.5, 4.0, 71)
RETRIEVAL_WEIGHTS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Tried beside a contrastive weight of 1."""


@dataclass(frozen=True)
class Answered:
    """Clip logits of questions with as many candidates, and the right candidate, -1 where the model has none."""

    logits: list[Tensor]  # float[N, K] each
    labels: Int[Tensor, " M"]

    def pooled(self, temperature: float, how: str) -> Float[Tensor, "M K"]:
        return torch.stack([aggregate(one[None] / temperature, how)[0] for one in self.logits])


def ask(predictor: Predictor, examples: Sequence[Example], store: VideoStore) -> Answered:
    """Every question's clip logits."""
    logits, labels = [], []
    for group in group_by_video(examples):
        with store.file(group[0].video) as path:
            video = predictor.encode(path, num_clips=1 if group[0].is_image else None)
        for example in group:
            candidates, own = predictor.candidate_logits(video, example.question, example.choices or None)
            logits.append(own)
            truth = example.choices[int(example.answer or 0)] if example.choices else example.answer
            labels.append(candidates.index(str(truth)) if truth in candidates else -1)
    return Answered(logits, torch.tensor(labels))


def best_temperature(answered: Answered, how: str) -> float:
    """Of TEMPERATURES the one with the least negative log-likelihood of the answers that the model has."""
    known = answered.labels >= 0
    losses = [F.cross_entropy(answered.pooled(float(t), how)[known], answered.labels[known]) for t in TEMPERATURES]
    return round(float(TEMPERATURES[torch.stack(losses).argmin()]), 3)


def confidence_floor(confidence: Float[Tensor, " M"], right: Float[Tensor, " M"], precision: float) -> float:
    """The lowest probability, in steps of 0.05, from which at least `precision` of the answers are right; 1 if none is."""
    floors = (step / 20 for step in range(20))
    return next((f for f in floors if (confidence >= f).any() and float(right[confidence >= f].mean()) >= precision), 1.0)


def match_scores(predictor: Predictor, examples: Sequence[Example], store: VideoStore) -> tuple[dict[str, Float[Tensor, "M B"]], Int[Tensor, " M"]]:
    """Every head's log-odds of each video's first caption with every video, and each caption's own video."""
    groups = [group[:1] for group in group_by_video(examples)]
    captions = [group[0].caption for group in groups]
    columns: dict[str, list[Tensor]] = {}
    for group in groups:
        with store.file(group[0].video) as path:
            video = predictor.encode(path, num_clips=1 if group[0].is_image else None)
        for head, part in predictor.match_parts(video, captions).items():
            columns.setdefault(head, []).append(part)
    return {head: torch.stack(parts, dim=1) for head, parts in columns.items()}, torch.arange(len(groups))


def retrieval_weight(contrastive: Float[Tensor, "M B"], retrieval: Float[Tensor, "M B"], own: Int[Tensor, " M"], seed: int) -> float:
    """The weight of RETRIEVAL_WEIGHTS whose sum ranks best; 0 unless a paired bootstrap over videos is sure of the gain."""
    alone = reciprocal_ranks(contrastive, own)
    gains = {weight: reciprocal_ranks(contrastive + weight * retrieval, own) - alone for weight in RETRIEVAL_WEIGHTS}
    best = max(gains, key=lambda weight: float(gains[weight].mean()))
    low, _ = interval_of_gain(gains[best], own, seed=seed)
    return best if low > 0 else 0.0


def log_odds_of(scores: Float[Tensor, "M B"], own: Int[Tensor, " M"]) -> tuple[float, float]:
    """Scale and offset that make `scores` the log-odds of a fair pair: matching and other pairs weigh the same."""
    positive = F.one_hot(own, scores.shape[1]).bool()
    weight = torch.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()).double()
    fitted = torch.tensor([0.0, 0.0], dtype=torch.float64, requires_grad=True)  # log scale, offset
    centre, deviation = scores.double().mean(), scores.double().std()
    standard = (scores.double() - centre) / deviation
    optimizer = torch.optim.LBFGS([fitted], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(fitted[0].exp() * standard + fitted[1], positive.double(), weight=weight, reduction="sum")
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    log_scale, offset = fitted.detach().tolist()
    scale = math.exp(log_scale) / float(deviation)
    return scale, offset - scale * float(centre)


def calibrate(
    model: ClipBertForSequenceClassification, processor: ClipBertProcessor, store: VideoStore, *, questions: Sequence[Example],
    choices: Sequence[Example], captions: Sequence[Example], precision: float, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Set the model's calibration in place; what was found."""
    heads, how = model.config.heads or {}, processor.sampling.aggregation
    kinds = {settings["kind"]: name for name, settings in heads.items()}
    for settings in heads.values():
        settings.update(temperature=1.0, abstain_below=0.0, match_weight=1.0)
    predictor, found = Predictor(model, processor, dtype="auto"), {}
    for kind, examples in (("classifier", questions), ("multiple_choice", choices)):
        if kind in kinds and examples:
            found[kinds[kind]] = calibrate_answers(heads[kinds[kind]], ask(predictor, examples, store), how, precision)
    if "contrastive" in kinds and captions:
        found["match"] = _match(model, kinds, *match_scores(predictor, captions, store), seed)
    return found


def calibrate_answers(settings: dict[str, Any], answered: Answered, how: str, precision: float) -> dict[str, float]:
    """Set a head's temperature and floor; what was found, without "right where sure" if it never is."""
    temperature = best_temperature(answered, how)
    confidence, best = answered.pooled(temperature, how).softmax(dim=1).max(dim=1)
    right = (best == answered.labels).float()
    settings["temperature"] = temperature
    found = {"questions": len(right), "accuracy": float(right.mean()), "temperature": temperature}
    if settings["kind"] == "classifier":
        floor = settings["abstain_below"] = confidence_floor(confidence, right, precision)
        sure = confidence >= floor
        found |= {"abstain_below": floor, "sure": float(sure.float().mean())}
        if sure.any():
            found["right where sure"] = float(right[sure].mean())
    return found


def _match(model: ClipBertForSequenceClassification, kinds: dict[str, str], parts: dict[str, Tensor], own: Tensor, seed: int) -> dict[str, float]:
    contrast, heads = kinds["contrastive"], model.config.heads or {}
    total, weight = parts[contrast], 0.0
    if "retrieval" in kinds:
        weight = retrieval_weight(total, parts[kinds["retrieval"]], own, seed)
        total = total + weight * parts[kinds["retrieval"]]
    scale, offset = log_odds_of(total, own)
    heads[contrast]["match_weight"] = scale
    with torch.no_grad():
        head: Any = model.heads[contrast]
        head.offset += offset / scale
    if "retrieval" in kinds:
        heads[kinds["retrieval"]]["match_weight"] = scale * weight
    first = {name: float((reciprocal_ranks(scores, own) == 1).float().mean()) for name, scores in (parts | {"match": total}).items()}
    return {"retrieval weight beside contrastive": weight, "scale": scale, "offset": offset} | {f"R@1 {name}": value for name, value in first.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a checkpoint of train/train.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of the calibrated model")
    parser.add_argument("--videos", type=Path, required=True)
    for name in ("questions", "choices", "captions"):
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], metavar="FILE", help="annotations of validation data")
    parser.add_argument("--drop-heads", nargs="*", default=[], metavar="HEAD", help="heads to leave out of the saved model")
    parser.add_argument("--precision", type=float, default=0.75, help="part of its sure answers that shall be right")
    parser.add_argument("--num-clips", type=int, default=8, metavar="N")
    parser.add_argument("--num-frames", type=int, default=2, metavar="T")
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--policy", default="paper")
    parser.add_argument("--aggregation", default="lse")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    return exit_code("calibrate", lambda: run(args))


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Calibrate and save; what was found."""
    folder = model_folder(args.model)
    model = ClipBertForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    for name in args.drop_heads:
        model.config.head_name(name)
        del model.heads[name], model.config.heads[name]
    processor = ClipBertProcessor.from_pretrained(folder)
    processor.sampling = replace(SamplingConfig(args.num_clips, args.num_frames, args.fps, args.policy, args.aggregation))
    read = {name: [example for path in getattr(args, name) for example in read_examples(path)] for name in ("questions", "choices", "captions")}
    read["choices"] = [example for example in read["choices"] if example.question]
    found = calibrate(model, processor, open_store(args.videos), **read, precision=args.precision, seed=args.seed)
    model.half().save_pretrained(args.out)
    processor.save_pretrained(args.out)
    if processor.vocabulary == VOCABULARY.read_text(encoding="utf-8").splitlines():
        (args.out / "vocab.txt").unlink()  # the package has it once for all models
    (args.out / "calibration.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    sys.exit(main())
