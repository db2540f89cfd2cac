"""Which attribution method finds planted evidence, and which is faithful: every method over questions of held-out synthetic videos answered right.

Videos are drawn by `--seed` (a seed that no training used), or read from `--data`, a folder of `clipbert data synthetic`, split test.  Of each video
`--per-video` of the open-ended questions that the model answers right are drawn.  Clip methods compare all clips; the others explain one clip, the
same for all of them: of the clips that show a planted box the one with the highest Shapley value.  Faithfulness is tested on the first question of
each of the first `--tested` videos.  Intervals are of bootstraps over videos.

Each video's rows are a file of the work folder, so that a run that was stopped goes on, and several processes (the same command again) share the
videos; the last to end writes OUT.json and OUT.md.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TASKS = ("frameqa", "openqa", "direction")
PERTURBATIONS = {"clips": ("mask",), "frames": ("mask",), "cells": ("mask", "mean", "blur"), "tokens": ("mask",)}
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="synthetic")
    parser.add_argument("--questions", type=int, default=210)
    parser.add_argument("--per-video", type=int, default=5)
    parser.add_argument("--tested", type=int, default=16, help="videos of which one question is tested for faithfulness")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--num-clips", type=int, help="default: the model's own")
    parser.add_argument("--num-frames", type=int)
    parser.add_argument("--fps", type=float)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "leaderboard")
    parser.add_argument("--hardware", default=f"one core of {platform.machine()}, {os.cpu_count()} cores, CPU")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / f"attribution-leaderboard-{date.today()}")
    args = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    import torch
    from leaderboard_tables import leaderboard, markdown

    from clipbert.predict import Predictor

    torch.set_num_threads(1)
    predictor = Predictor.from_pretrained(args.model)
    sampling = vars(predictor.sampling) | {name: getattr(args, name) for name in ("num_clips", "num_frames", "fps") if getattr(args, name)}
    settings = {"sampling": sampling, "seed": args.seed, "data": str(args.data or ""), "per_video": args.per_video, "tested": args.tested}
    folder = args.work / hashlib.sha256(repr((predictor.model.fingerprint, settings, _code())).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for index in _videos(args.data):
        if sum(len(video["questions"]) for video in _done(folder)) >= args.questions:
            break
        with _claimed(folder / f"{index:05}.lock") as mine:
            if mine and not _file(folder, index).exists():
                _write(_file(folder, index), _explain_video(predictor, args, sampling, folder, index))
    finished = _done(folder)
    if sum(len(video["questions"]) for video in finished) < args.questions and any(_held(path) for path in folder.glob("*.lock")):
        print("another process is at work on the videos that are left; it will write the tables.", file=sys.stderr)
        return
    command = f"benchmarks/attribution_leaderboard.py {' '.join(sys.argv[1:])}".strip()
    about = {"command": command, "hardware": args.hardware, "date": str(date.today()), "model": args.model, **settings}
    found = leaderboard(finished, args.questions) | {"about": about | {"fingerprint": predictor.model.fingerprint}}
    for suffix, text in ((".json", json.dumps(found, indent=1) + "\n"), (".md", markdown(found))):
        args.out.with_name(args.out.name + suffix).write_text(text, encoding="utf-8")
    print(markdown(found))


def _videos(data: Path | None) -> Iterator[int]:
    """The numbers of the videos there are."""
    return iter(range(10**5 if data is None else len(_lines(data / "stories_test.jsonl"))))


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _code() -> str:
    """So that rows of another version are not taken up again."""
    files = [Path(__file__), *sorted((ROOT / "clipbert").glob("attribution*.py")), *sorted((ROOT / "clipbert").glob("faithfulness*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in [*files, ROOT / "clipbert" / "evidence.py"])).hexdigest()


def _file(folder: Path, index: int) -> Path:
    return folder / f"{index:05}.json"


def _done(folder: Path) -> list[Row]:
    """The videos finished, up to the first that is not."""
    rows = []
    while _file(folder, len(rows)).exists():
        rows.append(json.loads(_file(folder, len(rows)).read_text()))
    return rows


def _write(path: Path, row: Row) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(row))
    unfinished.replace(path)


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether this process alone has the file; the system takes it back when the process ends, however it does."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _held(path: Path) -> bool:
    with _claimed(path) as mine:
        return not mine


def _explain_video(predictor: Any, args: argparse.Namespace, sampling: Row, folder: Path, index: int) -> Row:
    started = time.process_time()
    path, asked = _questions(args, folder, index)
    video = predictor.encode(path, **{name: sampling[name] for name in ("num_clips", "num_frames", "fps")})
    answers = [predictor.answer(video, row["question"]) for row in asked]
    right = [row | {"probability": float(said.scores.max())} for row, said in zip(asked, answers, strict=True) if said.answer == row["answer"]]
    kinds = {kind: sum(row["answer_type"] == kind for row in asked) for kind in dict.fromkeys(row["answer_type"] for row in asked)}
    drawn = random.Random(f"{args.seed}/{index}").sample(right, min(args.per_video, len(right)))
    found = [_explain(predictor, path, video, row, test=n == 0 and index < args.tested) for n, row in enumerate(drawn)]
    print(f"video {index}: {len(right)} of {len(asked)} answered right, {len(found)} explained", file=sys.stderr, flush=True)
    return {
        "index": index, "asked": kinds, "right": {kind: sum(row["answer_type"] == kind for row in right) for kind in kinds}, "questions": found,
        "cpu_seconds": round(time.process_time() - started, 2),
    }  # fmt: skip


def _questions(args: argparse.Namespace, folder: Path, index: int) -> tuple[Path, list[Row]]:
    """The file of a video, written if it has to be, and all that is asked about it."""
    from clipbert.data.stories import make_story
    from clipbert.data.story_video import write_video
    from clipbert.data.synthetic import rows

    if args.data is not None:
        asked = [row for task in TASKS for row in _lines(args.data / f"{task}_test.jsonl") if Path(row["video"]).stem == f"test-{index:05}"]
        return args.data / asked[0]["video"], asked
    story = make_story(args.seed, "test", index)
    path = folder / Path(story.path).name
    if not path.exists():
        write_video(story, path)
    return path, [row for task in TASKS for row in rows(story)[task]]


def _explain(predictor: Any, path: Path, video: Any, row: Row, *, test: bool) -> Row:
    from clipbert.attribution import METHODS, attribute
    from clipbert.evidence import Evidence, evidence_scores, planted_clips

    evidence, question = Evidence.read(row["evidence"]), row["question"]
    shares = attribute(predictor, video, question)
    boxed = planted_clips(video.times, evidence, boxed=True)
    clip = int(shares.values.masked_fill(~boxed, float("-inf")).argmax()) if bool(boxed.any()) else None
    found: Row = {
        "question": question, "answer": row["answer"], "type": row["answer_type"], "needs": row["needs"], "clip": clip,
        "probability": round(row["probability"], 4),
        "planted_clips": int(planted_clips(video.times, evidence).sum()), "scores": {}, "seconds": {}, "on_padding": {}, "faithfulness": [],
    }  # fmt: skip
    if clip is None:  # the clips miss the evidence, and the answer was right by luck or by other means
        return found
    maps = {}
    for name, method in METHODS.items():
        started = time.process_time()
        maps[name] = attribute(predictor, video, question, method=name, clips=None if method.level == "clips" else [clip])
        found["seconds"][name] = round(time.process_time() - started, 3)
        scores = evidence_scores(maps[name], evidence)
        found["scores"][name] = {score: [value.value, value.random, value.best] for score, value in scores.items()}
        if method.level == "cells":
            found["on_padding"][name] = maps[name].on_padding()
    if test:
        found["faithfulness"] = list(_tested(predictor, path, video, question, maps))
    return found


def _tested(predictor: Any, path: Path, video: Any, question: str, maps: dict[str, Any]) -> Iterator[Row]:
    """Methods of a level and a perturbation share random orders, so each set of units is asked once for all of them."""
    from clipbert.faithfulness_curves import measure
    from clipbert.faithfulness_units import find_units, row_of, values_of

    for level, perturbations in PERTURBATIONS.items():
        of_level = {name: found for name, found in maps.items() if found.level == level}
        for how in perturbations:
            first = next(iter(of_level.values()))
            units = find_units(predictor, video, question, first, perturbation=how, file=path if how == "blur" else None)
            value = _remembered(units.probabilities)
            for name, found in of_level.items():
                if len(units.values) < 2:
                    continue
                curves = measure(value, values_of(found, row_of(found, None)), steps=8, batch_size=units.batch_size)
                yield {"method": name, "perturbation": how, "beats_random": curves.beats_random, **curves.summary()}


def _remembered(value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import torch

    known: dict[bytes, Any] = {}

    def ask(kept: Any) -> Any:
        keys = [row.numpy().tobytes() for row in kept]
        new = [n for n, key in enumerate(keys) if key not in known]
        if new:
            known.update(zip([keys[n] for n in new], value(kept[new]), strict=True))
        return torch.stack([known[key] for key in keys])

    return ask


if __name__ == "__main__":
    main()
