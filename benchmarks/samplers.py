"""Accuracy against total cost of choosing clips: the paper's policy, random ones and the rules of `clipbert.selection`, on videos with known answers.

Localised questions (one scene tells) are openqa, frameqa and direction; the global question is which of five paragraphs, one of each of five videos,
tells all scenes.  Cost is of one question with empty caches: frames decoded, and FLOPs of looking, encoding and answering.  Controls: the text alone
(a grey picture), and an oracle that knows the answer and takes the clips most sure of it.  Writes benchmarks/results/samplers-DATE.json.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from rows import Row, table, write
from targets import TARGETS

from clipbert.allocator import keep_freed_memory
from clipbert.data.synthetic import make_dataset
from clipbert.guided import NUM_CANDIDATES, spent
from clipbert.predict import Predictor
from clipbert.sampling_config import SAMPLERS
from clipbert.types import EncodedVideo

LOCALISED, POLICIES = ("openqa", "frameqa", "direction"), ("paper", "random")


@dataclass(frozen=True)
class Question:
    video: Path
    text: str
    answer: str
    kind: str
    choices: tuple[str, ...] | None = None


def questions(folder: Path, split: str, num_videos: int) -> dict[Path, list[Question]]:
    """Of the first videos of a split, by video."""
    found: dict[Path, list[Question]] = defaultdict(list)
    for task in LOCALISED:
        for row in _rows(folder / f"{task}_{split}.jsonl"):
            found[folder / row["video"]].append(Question(folder / row["video"], row["question"], row["answer"], "localised"))
    paragraphs = _rows(folder / f"paragraphs_{split}.jsonl")
    for k, row in enumerate(paragraphs):
        choices = [paragraphs[(k + step) % len(paragraphs)]["caption"] for step in range(5)]
        random.Random(k).shuffle(choices)
        text = "what happens?"
        found[folder / row["video"]].append(Question(folder / row["video"], text, row["caption"], "global", tuple(choices)))
    return dict(list(found.items())[:num_videos])


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def emptied(model: Predictor) -> Predictor:
    """The same model with empty caches."""
    return Predictor(model.model.model, model.model.processor, name=model.model.name)  # pyright: ignore[reportAttributeAccessIssue]


def ways(num_clips: int) -> dict[str, Callable[[Predictor, Question], EncodedVideo]]:
    def by_policy(policy: str) -> Callable[[Predictor, Question], EncodedVideo]:
        return lambda model, asked: model.encode(asked.video, num_clips=num_clips, policy=policy)

    def by_sampler(sampler: str) -> Callable[[Predictor, Question], EncodedVideo]:
        return lambda model, asked: model.encode_for(asked.video, asked.text, sampler=sampler, choices=asked.choices, num_clips=num_clips).video

    return {name: by_policy(name) for name in POLICIES} | {name: by_sampler(name) for name in SAMPLERS} | {"oracle": _oracle(num_clips)}


def _oracle(num_clips: int) -> Callable[[Predictor, Question], EncodedVideo]:
    def encode(model: Predictor, asked: Question) -> EncodedVideo:
        video = model.encode(asked.video, num_clips=NUM_CANDIDATES, policy="official")
        candidates, logits = model.candidate_logits(video, asked.text, asked.choices)
        best = logits.log_softmax(dim=1)[:, candidates.index(asked.answer)].topk(num_clips).indices.sort().values
        return _clips(video, best.tolist())

    return encode


def _clips(video: EncodedVideo, chosen: list[int]) -> EncodedVideo:
    return replace(
        video, features=video.features[chosen], times=video.times[chosen], spans=video.spans[chosen], key="",
        shortened=tuple(video.shortened[k] for k in chosen), clip_keys=tuple(video.clip_keys[k] for k in chosen),
    )  # fmt: skip


def measured(loaded: Predictor, asked: dict[Path, list[Question]], num_clips: int) -> list[dict[str, Any]]:
    """A row of each way: right answers and questions by kind, and cost a question."""
    found = []
    for name, encode in ways(num_clips).items():
        right, cost = defaultdict(list), []
        for about in asked.values():
            model = emptied(loaded)
            for k, question in enumerate(about):
                with spent(model) as used:
                    prediction = model.answer(encode(model, question), question.text, choices=question.choices)
                right[question.kind].append(prediction.answer == question.answer)
                cost += [used] if k == 0 else []
        found.append({
            "way": name, "num_clips": num_clips, **{kind: [sum(answers), len(answers)] for kind, answers in right.items()},
            "frames_decoded": sum(c.frames_decoded for c in cost) / len(cost), "gflop": sum(c.flops for c in cost) / len(cost) / 1e9,
        })  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
    return found


def text_alone(loaded: Predictor, asked: dict[Path, list[Question]]) -> dict[str, Any]:
    right, grey = defaultdict(list), loaded.encode(Image.new("RGB", (160, 120), (127, 127, 127)))
    for question in (question for about in asked.values() for question in about):
        right[question.kind].append(loaded.answer(grey, question.text, choices=question.choices).answer == question.answer)
    answers = {kind: [sum(found), len(found)] for kind, found in right.items()}
    return {"way": "text alone", "num_clips": 0, **answers, "frames_decoded": 0, "gflop": 0.0}


def rows_of(found: list[dict[str, Any]]) -> list[Row]:
    base = {(row["num_clips"], kind): row[kind] for row in found if row["way"] == "paper" for kind in ("localised", "global")}
    rows = []
    for row in found:
        for kind in ("localised", "global"):
            right, total = row[kind]
            uniform = base.get((row["num_clips"], kind))
            cost = f"{row['frames_decoded']:.0f} frames, {row['gflop']:.2f} GFLOP"
            rows.append(Row(
                "", f"{row['way']}, N={row['num_clips']}, {kind}", "%", 100 * right / total, uniform and 100 * uniform[0] / uniform[1],
                note=f"{right} of {total}; {cost} a question",
            ))  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="made by clipbert data synthetic with a seed other than 1; without it, some is made")
    parser.add_argument("--split", default="train", help="the model saw none of them: it was trained on other videos")
    parser.add_argument("--num-videos", type=int, default=40)
    parser.add_argument("--num-clips", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one video, N=2")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    sizes, num_videos = ([2], 1) if args.quick else (args.num_clips, args.num_videos)
    loaded = Predictor.from_pretrained("synthetic")
    with TemporaryDirectory(prefix="clipbert-samplers-") as scratch:
        folder = args.data or Path(scratch) / "synthetic"
        if not args.data:
            make_dataset(folder, num_videos=10 if args.quick else 50, seed=args.seed)
        asked = questions(folder, args.split, num_videos)
        found = [text_alone(loaded, asked), *(row for size in sizes for row in measured(loaded, asked, size))]
    rows = rows_of(found)
    print(table(rows, TARGETS))
    settings = f"model synthetic, {len(asked)} videos of split {args.split} that it never saw, {NUM_CANDIDATES} candidates"
    print(write("samplers-quick" if args.quick else "samplers", rows, seed=args.seed, settings=settings, points=found))


if __name__ == "__main__":
    main()
