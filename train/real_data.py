"""Annotation files of the bundled model `real`: captions, questions, choices of photos and clips, in our own jsonl.

    python train/real_data.py --data ../shared/data --out data/real

Questions are derived from captions (`clipbert.data.caption_qa`), asked about
UCF101's actions, or DAQUAR's own.  Splits are the data's; of DAQUAR, which has
none here, a tenth of the rooms is held out.  The files `clip_*` are about real
clips alone, for `train/configs/ablate_real.yaml`, with a split of their own.
"""

import argparse
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, `train` must be the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clipbert.data.caption_qa import derive, yes_no

Row = dict[str, Any]
ACTIONS = {
    "Archery": "archery",
    "BasketballDunk": "basketball dunk",
    "HorseRace": "horse race",
    "PlayingPiano": "playing piano",
    "PlayingViolin": "playing violin",
    "Surfing": "surfing",
}
ASK_ACTION = ("what is the person doing?", "what is happening?", "what is the man doing?", "what are they doing?", "which activity is shown?")
PANDA = "panda70m/"
NUM_CHOICES = 4
RARE = 5
"""An answer given less often in training is none of the model's."""
HOLDOUT_SEED = 0
"""Of DAQUAR's held-out rooms: the same whatever the seed of the rest."""


def captioned(data: Path) -> list[Row]:
    """Photos and clips with their captions and split."""
    found = []
    for name, kind, folder in (("flickr8k", "image", "images"), ("coco", "image", "images"), ("panda70m", "video", "videos")):
        for row in read_rows(data / name / "captions.jsonl"):
            found.append({kind: f"{name}/{folder}/{row[kind]}", "captions": row["captions"], "split": row["split"]})
    return found


def caption_questions(pictures: Sequence[Row], seed: int) -> list[Row]:
    """Questions whose answers the captions of a picture give; yes/no asks for one thing they name and one they do not."""
    rows = []
    for picture, answers in zip(pictures, yes_no([row["captions"] for row in pictures], seed), strict=True):
        for pair in [*derive(picture["captions"]), *answers]:
            rows.append(looked_at(picture) | {"question": pair.question, "answer": pair.answer, "answer_type": pair.kind})
    return rows


def action_questions(data: Path) -> list[Row]:
    """Each UCF101 clip asked in every wording for training, in the first for validation."""
    rows = []
    for clip in read_rows(data / "ucf101/labels.jsonl"):
        for question in ASK_ACTION if clip["split"] == "train" else ASK_ACTION[:1]:
            about = {"question": question, "answer": ACTIONS[clip["label"]], "answer_type": "action"}
            rows.append({"video": f"ucf101/{clip['video']}", "split": clip["split"]} | about)
    return rows


def room_questions(data: Path) -> list[Row]:
    """DAQUAR's questions; a tenth of its photos is for validation."""
    asked = read_rows(data / "daquar/qa_train.jsonl")
    rooms = sorted({row["image"] for row in asked})
    held_out = set(random.Random(HOLDOUT_SEED).sample(rooms, len(rooms) // 10))
    return [
        {
            "image": f"daquar/images/{row['image']}", "question": row["question"], "answer": row["answer"], "answer_type": "daquar",
            "split": "val" if row["image"] in held_out else "train",
        }
        for row in asked
    ]  # fmt: skip


def choice_questions(questions: Sequence[Row], seed: int) -> list[Row]:
    """Questions with one right and NUM_CHOICES - 1 wrong answers of the same type, none of which any row of that picture gives."""
    rng, pools, known = random.Random(seed), defaultdict(set), defaultdict(set)
    for row in questions:
        pools[row["answer_type"]].add(row["answer"])
        known[place(row)].add(row["answer"])
    rows = []
    for row in questions:
        others = sorted(pools[row["answer_type"]] - known[place(row)])
        if row["answer_type"] == "yes/no" or len(others) < NUM_CHOICES - 1:
            continue
        choices = [row["answer"], *rng.sample(others, NUM_CHOICES - 1)]
        rng.shuffle(choices)
        rows.append(row | {"choices": choices, "answer": choices.index(row["answer"])})
    return rows


def choice_captions(pictures: Sequence[Row], seed: int) -> list[Row]:
    """For each picture a caption among captions of other pictures of its split: MSRVTT's multiple choice."""
    rng, rows = random.Random(seed), []
    for picture in pictures:
        others = [other for other in pictures if other is not picture and other["split"] == picture["split"]]
        caption = rng.choice(picture["captions"])
        choices = [caption, *(rng.choice(other["captions"]) for other in rng.sample(others, NUM_CHOICES - 1))]
        if len(set(choices)) < NUM_CHOICES:
            continue
        rng.shuffle(choices)
        rows.append(looked_at(picture) | {"choices": choices, "answer": choices.index(caption), "answer_type": "caption"})
    return rows


def of_clips(rows: Iterable[Row]) -> list[Row]:
    """Rows about clips: of UCF101's for training each third; of Panda-70M's, whose own split leaves 12 for validation, each second is for that."""
    clips = [row for row in rows if "video" in row]
    panda = sorted({row["video"] for row in clips if row["video"].startswith(PANDA)})
    others = sorted({row["video"] for row in clips if not row["video"].startswith(PANDA) and row["split"] == "train"})
    split = {video: "val" if number % 2 else "train" for number, video in enumerate(panda)} | dict.fromkeys(others[::3], "train")
    return [row | {"split": split.get(row["video"], row["split"])} for row in clips if row["video"] in split or row["split"] == "val"]


def vocabulary(questions: Iterable[Row]) -> dict[str, int]:
    """Answer -> output, of the answers that are not RARE in training."""
    counts = Counter(row["answer"] for row in questions if row["split"] == "train")
    common = sorted((answer for answer, count in counts.items() if count >= RARE), key=lambda answer: (-counts[answer], answer))
    return {answer: output for output, answer in enumerate(common)}


def looked_at(row: Row) -> Row:
    return {key: row[key] for key in ("image", "video", "split") if key in row}


def place(row: Row) -> str:
    return row.get("image") or row["video"]


def read_rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(data: Path, out: Path, seed: int) -> dict[str, int]:
    """The files, by split; how many rows each has.

    Choices leave out DAQUAR, whose questions tell left from right: the others
    may be mirrored in training.
    """
    pictures, rooms = captioned(data), room_questions(data)
    answered = [*caption_questions(pictures, seed), *action_questions(data)]
    files = {
        "stills": [row for row in pictures if "image" in row],
        "captions": pictures,
        "qa": answered,
        "rooms": rooms,
        "choices": [*choice_questions(answered, seed), *choice_captions(pictures, seed)],
        "clip_captions": of_clips(pictures),
        "clip_qa": of_clips(row for row in answered if row["answer_type"] != "action" or row["question"] == ASK_ACTION[0]),
    }
    out.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, rows in files.items():
        for split in ("train", "val"):
            chosen = [row for row in rows if row["split"] == split]
            (out / f"{name}_{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
            counts[f"{name}_{split}"] = len(chosen)
    answers = vocabulary([*answered, *rooms])
    (out / "ans2label.json").write_text(json.dumps(answers, indent=0) + "\n")
    return counts | {"answers": len(answers)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with flickr8k, coco, panda70m, ucf101 and daquar")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    try:
        print(json.dumps(write(args.data, args.out, args.seed)))
    except OSError as error:
        print(f"real_data: cannot read the data or write {args.out}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
