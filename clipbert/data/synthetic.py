"""A video-and-language benchmark drawn by code: every answer is known, and where in the video it is seen.

`make_dataset` draws the stories of `clipbert.data.stories`, writes what `clipbert.data.questions` asks about
them, and beside the videos what is easier to learn from first: stills, and shorts of one scene, where any clip sees the answer.
"""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import PIL

from clipbert.data.questions import ANSWERS, LESSONS, SHORT_LESSONS, STILL_LESSONS, TASKS, Row, rows
from clipbert.data.stories import LONG_SECONDS, VARIANTS, make_short, make_still, make_story
from clipbert.data.story_video import pictures, write_video

SPLITS = ("train", "val", "test")
STILLS_PER_VIDEO, SHORTS_PER_VIDEO = 8, 4


def make_dataset(
    folder: str | Path, *, num_videos: int, seed: int, stills_per_video: int = STILLS_PER_VIDEO, shorts_per_video: int = SHORTS_PER_VIDEO,
    num_workers: int = 1, progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, int]:  # fmt: skip
    """The number of rows in each file written to `folder`: videos, images, a jsonl per task and split.

    A tenth of the videos each is for val and test.  `progress` hears (split,
    done, total) after each video.  README.md comes last: without it a run was
    interrupted.  Raises ValueError if `folder` is not empty.
    """
    folder = Path(folder)
    if num_videos < len(SPLITS):
        raise ValueError(f"num_videos must be at least {len(SPLITS)}, one for each split, got {num_videos}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        state = "" if (folder / "README.md").is_file() else " and has no README.md, as after an interrupted run"
        raise ValueError(f"the folder to write must be new or empty; {folder} is not{state}. Name another, or delete it first.")
    if min(stills_per_video, shorts_per_video) < 1:
        raise ValueError(f"stills_per_video and shorts_per_video must be at least 1, got {stills_per_video} and {shorts_per_video}.")
    for name in ("videos", "images", "shorts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    held_out = max(num_videos // 10, 1)
    counts: dict[str, int] = {}
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(num_workers, get_context("spawn"))) if num_workers > 1 else None
        for split, total in zip(SPLITS, (num_videos - 2 * held_out, held_out, held_out), strict=True):
            files = {task: stack.enter_context(open(folder / f"{task}_{split}.jsonl", "w")) for task in (*TASKS, *LESSONS, "stories")}
            make = partial(_make_video, folder, seed, split, stills_per_video, shorts_per_video)
            for done, made in enumerate(pool.map(make, range(total), chunksize=4) if pool else map(make, range(total)), 1):
                for task, task_rows in made.items():
                    files[task].writelines(json.dumps(row) + "\n" for row in task_rows)
                    counts[f"{task}_{split}.jsonl"] = counts.get(f"{task}_{split}.jsonl", 0) + len(task_rows)
                if progress:
                    progress(split, done, total)
    (folder / "answers.json").write_text(json.dumps({answer: index for index, answer in enumerate(ANSWERS)}, indent=1) + "\n")
    (folder / "README.md").write_text(_readme(num_videos, seed, stills_per_video, shorts_per_video, counts))
    return counts


def _make_video(folder: Path, seed: int, split: str, num_stills: int, num_shorts: int, index: int) -> dict[str, list[Row]]:
    story = make_story(seed, split, index)
    write_video(story, folder / story.path)
    images = [make_still(seed, split, num_stills * index + i) for i in range(num_stills)]
    for still in images:
        next(pictures(still))[0].save(folder / still.path)
    brief = [make_short(seed, split, num_shorts * index + i) for i in range(num_shorts)]
    for short in brief:
        write_video(short, folder / short.path)
    lessons = [(images, STILL_LESSONS), (brief, SHORT_LESSONS)]
    taught = {name: [row for one in drawn for row in make(one)] for drawn, makes in lessons for name, make in makes.items()}
    return {**rows(story), **taught, "stories": [asdict(story)]}


def _readme(num_videos: int, seed: int, num_stills: int, num_shorts: int, counts: dict[str, int]) -> str:
    more_stills = f" --stills-per-video {num_stills}" * (num_stills != STILLS_PER_VIDEO)
    more_shorts = f" --shorts-per-video {num_shorts}" * (num_shorts != SHORTS_PER_VIDEO)
    said = {name: (make.__doc__ or "").splitlines()[0] for name, make in (TASKS | LESSONS).items()}
    said |= {"stories": "What each video shows; every row follows from it."}
    files = "\n".join(
        f"| {name}_SPLIT.jsonl | {text} | {' | '.join(str(counts[f'{name}_{s}.jsonl']) for s in SPLITS)} |" for name, text in said.items()
    )
    kinds = list(VARIANTS.values())
    variants = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    return f"""# Moving shapes: synthetic videos with known answers and known evidence

Made by `clipbert data synthetic OUT --num-videos {num_videos} --seed {seed}{more_stills}{more_shorts}` with PyAV {av.__version__}, \
Pillow {PIL.__version__} and numpy {np.__version__}; the same again on the same machine gives the same bytes. All videos are silent (no audio \
stream); of every 20 in a split {variants} ("rotated": by metadata, "long": {LONG_SECONDS} s, the others 8 to 12 s).

| file | rows | {" | ".join(SPLITS)} |
|---|---|---|---|---|
{files}

- `evidence` says where the answer is seen: `seconds` and `frames` [first, end), and for each frame `boxes` \
[left, top, right, bottom) in upright source pixels; `words` of the question or caption name it.
- `needs` says what a model must look at: one "frame"; "motion", several frames of a clip in any order; "order", those in \
their order; "length", more than one clip.
- `answers.json` numbers the {len(ANSWERS)} answers of frameqa, openqa and direction; counts are whole numbers from 1 to 10.
"""
