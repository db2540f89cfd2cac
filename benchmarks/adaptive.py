"""Adaptive N_test: clips read and answers changed, of questions about videos that the margin was not calibrated on (I7).

Videos are halved; the margin comes from one half and is tested on the other.  Of the model `synthetic`, on videos drawn with another seed than its
training's, and of `real` where its data is prepared (train/README.md).  Writes benchmarks/results/adaptive-DATE.json.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # for the package train, which is not installed

from rows import Row, table, write
from targets import TARGETS

from clipbert.allocator import keep_freed_memory
from clipbert.data.examples import read_examples
from clipbert.data.rows import Example
from clipbert.data.synthetic import make_dataset
from clipbert.data.video_store import open_store
from clipbert.predict import Predictor
from clipbert.settling import calibrated_margin, last_change, settling
from train.settle import ask, halves, told

ALLOWED = (0.005, 0.05)  # shares of validation answers that may differ
NUM_CLIPS = 16
ROOT = Path(__file__).parents[1]


def questions_about_videos(annotations: Iterable[Path]) -> tuple[list[Example], list[Example]]:
    """Of both halves of the videos; a photo, whose clips are all the same, is no test."""
    return halves([example for path in annotations for example in read_examples(path) if not example.is_image])


def measured(model: str, videos: Path, annotations: Iterable[Path], how: str) -> list[Row]:
    predictor, store = Predictor.from_pretrained(model), open_store(videos)
    calibration, test = (ask(predictor, half, store, NUM_CLIPS) for half in questions_about_videos(annotations))
    foreseen = sum(last_change(logits, how) for logits, _ in test) / len(test)
    rows = [
        Row("", f"clips until the answer last changes: {model}, {how}", "clips", foreseen, note="what a rule that knew the other clips would read")
    ]
    for allowed in ALLOWED:
        margin = calibrated_margin([logits for logits, _ in calibration], how, disagreement=allowed)
        found: dict[str, Any] = told(test, settling([logits for logits, _ in test], how, margin), how)
        right = f"{100 * found['accuracy']:.1f} % right, of all clips {100 * found['accuracy_of_all_clips']:.1f} %"
        about = f"{model}, {how}, {100 * allowed:g} % of calibration answers may change"
        bound = f"of {len(test)} questions, 95 %: at most {100 * found['disagreement_at_most']:.2g} %"
        rows += [
            Row("I7", f"clips read: {about}", "clips", found["mean_clips"], NUM_CLIPS, found["mean_clips"], note=f"{right}; margin {margin:g}"),
            Row("I7 changed", f"answers changed: {about}", "%", 100 * found["disagreement"], ratio=found["disagreement"], note=bound),
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-videos", type=int, default=100, help="drawn for the model synthetic")
    parser.add_argument("--aggregation", default="lse")
    parser.add_argument("--seed", type=int, default=5, help="of the drawn videos; the model was trained on those of 1")
    parser.add_argument("--real", type=Path, default=ROOT / "data" / "real", help="what train/real_data.py wrote, left out where there is none")
    parser.add_argument("--real-videos", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--quick", action="store_true", help="6 videos, no real ones")
    args = parser.parse_args()
    keep_freed_memory()
    num_videos = 6 if args.quick else args.num_videos
    with TemporaryDirectory(prefix="clipbert-adaptive-") as scratch:
        folder = Path(scratch) / "synthetic"
        make_dataset(folder, num_videos=num_videos, seed=args.seed)
        rows = measured("synthetic", folder, sorted((*folder.glob("openqa_*.jsonl"), *folder.glob("frameqa_*.jsonl"))), args.aggregation)
    if not args.quick and (args.real / "qa_val.jsonl").is_file():
        rows += measured("real", args.real_videos, [args.real / "qa_val.jsonl"], args.aggregation)
    print(table(rows, TARGETS))
    settings = f"order nested, at most {NUM_CLIPS} clips, {num_videos} drawn videos and the real ones of validation, each halved by name"
    print(write("adaptive-quick" if args.quick else "adaptive", rows, seed=args.seed, settings=settings))


if __name__ == "__main__":
    main()
