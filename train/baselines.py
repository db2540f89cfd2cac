"""What the bundled model must beat, trained on the same looks at the same pictures, and how sure each difference is.

    python train/baselines.py --config train/configs/real_finetune.yaml --model real --questions data/real/qa_val.jsonl data/real/rooms_val.jsonl \
        --captions data/real/captions_val.jsonl --videos ../shared/data --hardware "..." --out result.json

Questions: an MLP on the mean grid of the frozen CNN and the mean word of the
question, and one on the question alone.  Retrieval, of a model with a
contrastive head: the ridge map that the head started from.  Model and
baselines see the same clips; intervals resample videos.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, `train` must be the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from clipbert.aggregation import aggregate
from clipbert.config import SamplingConfig
from clipbert.data.dataset import VideoTextDataset, group_by_video
from clipbert.data.examples import read_examples
from clipbert.data.rows import Example
from clipbert.data.video_store import VideoStore, open_store
from clipbert.predict import Predictor
from train.bootstrap import interval_of_gain, reciprocal_ranks
from train.command import exit_code
from train.grids import FrozenCnn, GridDataset, means
from train.record import commit, versions
from train.ridge import mean_word, ridge, word_weights
from train.settings import Settings, read_settings
from train.train import Run

EPOCHS, BATCH, LABEL_SMOOTHING = 8, 64, 0.05


class PooledBaseline(nn.Module):
    """An MLP on [mean word of the question, mean grid], or without the grid."""

    def __init__(self, word_size: int, grid_size: int, num_answers: int) -> None:
        super().__init__()
        size = word_size + grid_size
        self.mlp = nn.Sequential(nn.LayerNorm(size), nn.Dropout(0.2), nn.Linear(size, 768), nn.ReLU(), nn.Dropout(0.3), nn.Linear(768, num_answers))

    def forward(self, words: Float[Tensor, "M D"], grid: Float[Tensor, "M C"]) -> Float[Tensor, "M J"]:
        return self.mlp(torch.cat([words, grid], dim=1))


class Pooled:
    """Questions and pictures as the baselines see them: mean words, and the mean grid of every look."""

    def __init__(self, run: Run) -> None:
        model = run.engine.model
        self.processor, self.labels = run.processor, model.config.heads["qa"]["labels"]
        words = model.clipbert.fusion.text.word_embeddings.weight.detach().cpu()
        self.words = words / words.std()
        self.looks: dict[str, list[Tensor]] = {}
        for source in run.train:
            assert isinstance(source.dataset, GridDataset)
            if not {group[0].video for group in source.dataset.groups} <= self.looks.keys():
                for example, mean in means([source.dataset]):
                    self.looks.setdefault(example.video, []).append(mean)

    def question(self, texts: Sequence[str]) -> Float[Tensor, "M D"]:
        input_ids, mask = self.processor.texts(texts)
        return (self.words[input_ids] * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def train_baseline(pooled: Pooled, examples: Sequence[Example], *, looks: bool, seed: int) -> PooledBaseline:
    """EPOCHS over the questions, each time at one look of the picture."""
    torch.manual_seed(seed)
    grid_size = len(next(iter(pooled.looks.values()))[0]) if looks else 0
    net = PooledBaseline(pooled.words.shape[1], grid_size, len(pooled.labels)).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    words, labels = pooled.question([e.question for e in examples]), torch.tensor([pooled.labels.index(e.answer) for e in examples])
    for _ in range(EPOCHS):
        for part in torch.randperm(len(examples)).split(BATCH):
            grids = [pooled.looks[examples[i].video] for i in part.tolist()]
            grid = torch.stack([own[int(torch.randint(len(own), ()))] for own in grids])[:, :grid_size]
            loss = F.cross_entropy(net(words[part], grid), labels[part], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def mean_grids(examples: Sequence[Example], store: VideoStore, cnn: FrozenCnn, sampling: SamplingConfig) -> dict[str, Float[Tensor, " C"]]:
    """Of each video the mean over all clips that the model sees."""
    dataset = VideoTextDataset(group_by_video(examples), store, sampling=sampling)
    return {group[0].video: cnn(dataset.look(group[0], sampling.seed)[0]).float().mean(dim=(0, 1, 3, 4)) for group in dataset.groups}


def answers_of_model(predictor: Predictor, examples: Sequence[Example], store: VideoStore) -> list[str]:
    found: dict[str, str] = {}
    for group in group_by_video(examples):
        with store.file(group[0].video) as path:
            video = predictor.encode(path, num_clips=1 if group[0].is_image else None)
        for example in group:
            candidates, logits = predictor.candidate_logits(video, example.question)
            found[example.id] = candidates[int(aggregate(logits[None], predictor.sampling.aggregation)[0].argmax())]
    return [found[example.id] for example in examples]


def compare(right: dict[str, Tensor], examples: Sequence[Example], seed: int) -> dict[str, Any]:
    """Accuracy of each by type of question, and the model's gain over each baseline with its interval, in percent."""
    index = {video: number for number, video in enumerate(dict.fromkeys(example.video for example in examples))}
    group = torch.tensor([index[example.video] for example in examples])
    kinds = [example.answer_type for example in examples]
    chosen = {kind: torch.tensor([kind == other for other in kinds]) for kind in sorted(set(kinds))}
    chosen |= {"all": torch.ones(len(kinds), dtype=torch.bool)}
    if "yes/no" in chosen:
        chosen |= {"captions without yes/no": torch.tensor([kind not in ("action", "daquar", "yes/no") for kind in kinds])}
    table: dict[str, Any] = {}
    for kind, rows in chosen.items():
        table[kind] = {"questions": int(rows.sum())} | {name: _percent(values[rows].mean()) for name, values in right.items()}
        for name in right.keys() - {"model"}:
            gain = (right["model"] - right[name])[rows]
            _, own = group[rows].unique(return_inverse=True)
            table[kind][f"gain over {name}"] = [_percent(gain.mean()), *map(_percent, interval_of_gain(gain, own, seed=seed))]
    return table


def _percent(value: Any) -> float:
    return round(100 * float(value), 1)


def questions(settings: Settings, run: Run, predictor: Predictor, cnn: FrozenCnn, examples: Sequence[Example], store: VideoStore) -> dict[str, Any]:
    """The table of open-ended answers."""
    pooled, seed = Pooled(run), settings.run.seed
    taught = [e for source in run.train if source.settings.task == "qa" for group in source.dataset.groups for e in group]
    seen = mean_grids(examples, store, cnn, predictor.sampling)
    truth, words = [example.answer for example in examples], pooled.question([example.question for example in examples])
    answers = {"model": answers_of_model(predictor, examples, store)}
    for name, looks in (("pooled picture and question", True), ("question only", False)):
        net = train_baseline(pooled, taught, looks=looks, seed=seed)
        grid = torch.stack([seen[example.video] for example in examples])
        with torch.no_grad():
            best = net(words, grid if looks else grid[:, :0]).argmax(dim=1).tolist()
        answers[name] = [pooled.labels[j] for j in best]
    right = {name: torch.tensor([float(a == t) for a, t in zip(own, truth, strict=True)]) for name, own in answers.items()}
    return compare(right, examples, seed)


def retrieval(settings: Settings, run: Run, predictor: Predictor, cnn: FrozenCnn, examples: Sequence[Example], store: VideoStore) -> dict[str, Any]:
    """Recall of each data set's own gallery, by the model, by its contrastive part, by the ridge map."""
    datasets = [s.dataset for s in run.train if s.settings.task == "contrastive" and isinstance(s.dataset, GridDataset)]
    if not datasets:
        raise ValueError("--captions compares with the ridge map of a contrastive head, and the config has no contrastive source; leave it out.")
    captions: dict[str, list[str]] = {}
    for dataset in datasets:
        for group in dataset.groups:
            captions.setdefault(group[0].video, []).extend(example.caption for example in group)
    weights = word_weights(run.processor, [c for own in captions.values() for c in own])
    words = run.engine.model.clipbert.fusion.text.word_embeddings.weight.detach().cpu()
    targets = {video: mean_word(words, weights, run.processor, own) for video, own in captions.items()}
    looks = [(mean, targets[example.video]) for example, mean in means(datasets)]
    x, y = (torch.stack(part) for part in zip(*looks, strict=True))
    weight, bias = ridge(x, y, settings.model.ridge_penalty)
    centre, table = y.mean(dim=0), {}
    for name in sorted({example.video.split("/")[0] for example in examples}):
        groups = group_by_video([example for example in examples if example.video.split("/")[0] == name])
        seen = mean_grids([group[0] for group in groups], store, cnn, predictor.sampling)
        asked = [(b, example) for b, group in enumerate(groups) for example in group]
        own = torch.tensor([b for b, _ in asked])
        pictures = F.normalize(torch.stack([seen[group[0].video] for group in groups]) @ weight.T + bias - centre, dim=1)
        texts = F.normalize(torch.stack([mean_word(words, weights, run.processor, [e.caption]) - centre for _, e in asked]), dim=1)
        scores = {"ridge": texts @ pictures.T, **_scores(predictor, groups, [e.caption for _, e in asked], store)}
        first = torch.tensor([m == 0 or own[m] != own[m - 1] for m in range(len(own))])
        table[name] = {"videos": len(groups), "captions": len(own)}
        for rows, label in ((first, "first captions"), (torch.ones_like(first), "all captions")):
            table[name][label] = _recalls({k: v[rows] for k, v in scores.items()}, own[rows], settings.run.seed)
    return table


def _scores(predictor: Predictor, groups: Sequence[Sequence[Example]], captions: list[str], store: VideoStore) -> dict[str, Float[Tensor, "M B"]]:
    columns: dict[str, list[Tensor]] = {}
    for group in groups:
        with store.file(group[0].video) as path:
            video = predictor.encode(path, num_clips=1 if group[0].is_image else None)
        parts = predictor.match_parts(video, captions)
        for head, part in (parts | {"model": torch.stack(list(parts.values())).sum(dim=0)}).items():
            columns.setdefault(head, []).append(part)
    return {head: torch.stack(parts, dim=1) for head, parts in columns.items()}


def _recalls(scores: dict[str, Tensor], own: Tensor, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    ranks = {name: 1 / reciprocal_ranks(table, own) for name, table in scores.items()}
    for name, rank in ranks.items():
        found[name] = {f"R@{k}": _percent((rank <= k + 0.5).float().mean()) for k in (1, 5, 10)} | {"MdR": round(float(rank.median()))}
    for k in (1, 5):
        gain = (ranks["model"] <= k + 0.5).float() - (ranks["ridge"] <= k + 0.5).float()
        found[f"gain in R@{k} over ridge"] = [_percent(gain.mean()), *map(_percent, interval_of_gain(gain, own, seed=seed))]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="settings that trained the model")
    parser.add_argument("--model", default="real")
    parser.add_argument("--questions", type=Path, nargs="+", required=True, metavar="JSONL", help="held out, with open-ended answers")
    parser.add_argument("--captions", type=Path, metavar="JSONL", help="held out; recall within each folder of videos")
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--hardware", required=True, help="in words, for the result")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("overrides", nargs="*", metavar="key.key=value")
    args = parser.parse_intermixed_args(arguments)
    return exit_code("baselines", lambda: run(args))


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and save; what was found."""
    result = measure(args)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Both tables, with what made them."""
    began = time.time()
    settings = read_settings(args.config, [*args.overrides, "run.resume=false", f"run.output={args.out}.run"])
    run, store = Run(settings), open_store(args.videos)
    predictor = Predictor.from_pretrained(args.model, dtype="auto")
    cnn = FrozenCnn(run.engine.model.clipbert.backbone, run.processor)
    asked = [example for file in args.questions for example in read_examples(file)]
    unique = [replace(example, id=str(number)) for number, example in enumerate(asked)]
    captions = {"retrieval": retrieval(settings, run, predictor, cnn, read_examples(args.captions), store)} if args.captions else {}
    return {
        "command": " ".join(["python", "train/baselines.py", *sys.argv[1:]]), "model": str(args.model), "sampling": asdict(predictor.sampling),
        "questions": questions(settings, run, predictor, cnn, unique, store), **captions,
        "seed": settings.run.seed, "versions": versions(), "commit": commit(), "hardware": args.hardware, "seconds": round(time.time() - began),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
