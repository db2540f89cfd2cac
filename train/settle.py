"""At which lead an answer is settled: margins for adaptive N_test, from validation questions, checked on test questions of other videos.

    python train/settle.py --model synthetic --videos VIDEOS --questions val.jsonl --test test.jsonl

Per aggregation: the least margin that leaves all but `--disagreement` of the answers
as those of all clips, then what it does on the test questions.  With `--save` the margins go
into the model's processor.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, `train` must be the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from torch import Tensor

from clipbert.aggregation import aggregate
from clipbert.bundled import model_folder
from clipbert.data.dataset import group_by_video
from clipbert.data.examples import read_examples
from clipbert.data.rows import Example
from clipbert.data.video_store import VideoStore, open_store
from clipbert.predict import Predictor
from clipbert.settling import ORDER, Settling, calibrated_margin, clips_read, settling
from train.command import exit_code

Asked = list[tuple[Tensor, int]]  # clip logits float[N, K] in the order of `nested`, and the right candidate, -1 where the model has none


def ask(predictor: Predictor, examples: Sequence[Example], store: VideoStore, num_clips: int) -> Asked:
    """Every question, of all clips of its video."""
    asked: Asked = []
    for group in group_by_video(examples):
        with store.file(group[0].video) as path:
            video = predictor.encode(path, num_clips=num_clips, policy=ORDER)
        for example in group:
            candidates, logits = predictor.candidate_logits(video, example.question, example.choices or None)
            truth = example.choices[int(example.answer or 0)] if example.choices else str(example.answer)
            asked.append((logits, candidates.index(truth) if truth in candidates else -1))
    return asked


def halves(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Of the videos in the order of their names, the first, third, ... and the others, with their questions.  Raises ValueError for one video."""
    videos = sorted({example.video for example in examples})
    if len(videos) < 2:
        raise ValueError(f"questions must be about at least two videos to be halved, got {len(videos)}; give --test.")
    first = set(videos[::2])
    return [example for example in examples if example.video in first], [example for example in examples if example.video not in first]


def accuracies(asked: Asked, how: str, margin: float) -> dict[str, float]:
    """Of the answers after as many clips as it takes, and of those after all."""
    right = {"accuracy": 0, "accuracy_of_all_clips": 0}
    for logits, label in asked:
        for name, n in (("accuracy", clips_read(logits, how, margin)), ("accuracy_of_all_clips", len(logits))):
            right[name] += int(aggregate(logits[None, :n], how)[0].argmax()) == label
    return {name: count / len(asked) for name, count in right.items()}


def told(asked: Asked, found: Settling, how: str) -> dict[str, Any]:
    values = {"disagreement": found.disagreement, "disagreement_at_most": found.disagreement_at_most}
    return asdict(found) | values | accuracies(asked, how, found.margin)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="a bundled model or a folder")
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--questions", type=Path, nargs="+", required=True, metavar="FILE", help="annotations of validation data")
    parser.add_argument(
        "--test", type=Path, nargs="*", default=[], metavar="FILE", help="of other videos (default: every other video of --questions)"
    )
    parser.add_argument("--disagreement", type=float, default=0.005, help="share of validation answers that may differ from those of all clips")
    parser.add_argument("--num-clips", type=int, default=16, metavar="N")
    parser.add_argument("--aggregation", nargs="+", default=["lse"])
    parser.add_argument("--save", action="store_true", help="write the margins into the model's processor.json")
    args = parser.parse_args(arguments)
    return exit_code("settle", lambda: run(args))


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Calibrate, test, perhaps save; what was found."""
    predictor, store = Predictor.from_pretrained(args.model), open_store(args.videos)
    validation, test = ([example for path in paths for example in read_examples(path)] for paths in (args.questions, args.test))
    if not test:
        validation, test = halves(validation)
    if shared := {example.video for example in validation} & {example.video for example in test}:
        raise ValueError(f"{len(shared)} videos are in both validation and test data, the first {min(shared)}; a margin is tested on other videos.")
    asked = {name: ask(predictor, some, store, args.num_clips) for name, some in (("validation", validation), ("test", test))}
    result: dict[str, Any] = {"model": args.model, "num_clips": args.num_clips, "aggregations": {}}
    for how in args.aggregation:
        margin = calibrated_margin([logits for logits, _ in asked["validation"]], how, disagreement=args.disagreement)
        result["aggregations"][how] = {name: told(some, settling([x for x, _ in some], how, margin), how) for name, some in asked.items()}
        predictor.settle_margins[how] = margin
    if args.save:
        path = model_folder(args.model) / "processor.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"settle_margins": predictor.settle_margins}, indent=2) + "\n")
    return result


if __name__ == "__main__":
    sys.exit(main())
