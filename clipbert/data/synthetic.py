"""A video-and-language benchmark drawn by code: every answer is known, and where in the video it is seen.

A `Story` is a list of short scenes, each at its own place and time of day, in
which one figure does something while others stand about:

    repeat      acts 2 or 3 times             slide   moves left, right, up or down
    count       acts 1 to 10 times            group   1 to 5 alike stand still
    transition  does one thing, then another  still   stands still, often small

Verbs differ between repeat, count and transition; the figures that scenes are
about differ in colour and in shape; no colour and shape come in two scenes.
Bystanders may share a colour or a shape, so a question that names only one of
them is asked only where the story holds it once.  Everything follows from the
story's key, "seed/split/index".

Beside the videos are what is easier to learn from first: stills, and shorts of
one scene, where any clip sees the answer.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import PIL

from clipbert.data.shapes import ACTIONS, COLORS, DIRECTIONS, GROUND, SHAPES, SKY, Act, Figure, Scene, Story, box, fits, pictures, place, write_video

SPLITS = ("train", "val", "test")
LANDSCAPE, PORTRAIT = (160, 120), (120, 160)  # width, height
VARIANTS = {1: "portrait", 3: "gif", 5: "rotated", 9: "long", 11: "portrait", 13: "gif"}  # by index modulo 20; the others are "landscape"
LONG_SECONDS = 60
CLOSE_UP = 36  # the largest radius of a still
ACTING = ("repeat", "count", "transition", "slide")
STILLS_PER_VIDEO, SHORTS_PER_VIDEO = 8, 4
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SETTINGS = {"day": "by day", "evening": "in the evening", "night": "at night"}
ANSWERS = (*COLORS, *SHAPES, *GROUND, *SKY, *NUMBERS[:5], *ACTIONS, "slide", *DIRECTIONS)
"""Every answer to an open-ended question; counts (1 to 10) and choices are apart."""
Row = dict[str, object]
Plan = tuple[str, list[str], float]
"""Kind of a scene, its acts, seconds of each act or of the whole."""


def make_story(seed: int, split: str, index: int) -> Story:
    """The story of video `index` of `split`."""
    key = f"{seed}/{split}/{index}"
    rng = random.Random(key)
    variant = VARIANTS.get(index % 20, "landscape")
    fps = 10 if variant in ("gif", "long") else rng.choice((10, 12, 15))
    plans = _plans(rng)
    leads = list(zip(rng.sample(sorted(COLORS), len(plans)), rng.sample(sorted(SHAPES), len(plans)), strict=True))
    others = [pair for pair in product(COLORS, SHAPES) if pair not in leads]
    rng.shuffle(others)
    rng.shuffle(plans)
    if variant == "long":  # bystanders alone pass the time before, between and after
        spare = LONG_SECONDS - sum(0.2 + len(acts) * seconds if acts else seconds for _, acts, seconds in plans)
        filler = ("filler", [], spare / (len(plans) + 1))
        plans = [filler, *(plan for real in plans for plan in (real, filler))]
    scenes: list[Scene] = []
    size = PORTRAIT if variant in ("portrait", "rotated") else LANDSCAPE
    for kind, verbs, seconds in plans:
        bystanders = [others.pop() for _ in range(rng.randint(kind == "filler", 2))]
        pairs = bystanders if kind == "filler" else [leads.pop(), *bystanders]
        first_frame = scenes[-1].end_frame if scenes else 0
        scenes.append(_make_scene(rng, kind, first_frame, pairs, verbs, round(seconds * fps), round(0.2 * fps), size))
    return Story(key, variant, size, fps, tuple(scenes))


def _plans(rng: random.Random) -> list[Plan]:
    once, then = rng.sample([*ACTIONS, "slide"], 2)
    repeated, counted = rng.sample([verb for verb in ACTIONS if verb not in (once, then)], 2)
    return [
        ("repeat", [repeated] * rng.randint(2, 3), 0.6),
        ("count", [counted] * rng.randint(1, 10), 0.4),
        ("transition", [once, then], 0.9),
        ("slide", ["slide"], 1.6),
        ("group", [], 1.0),
        ("still", [], 1.0),
    ]


def make_still(seed: int, split: str, index: int) -> Story:
    """A story of one frame: in half of them one figure of any size, else one to five alike and up to two others (pairs beside less than three)."""
    key = f"{seed}/{split}/{index}"
    rng = random.Random(f"{key}/still")
    size = LANDSCAPE if rng.random() < 0.8 else PORTRAIT
    first, *others = rng.sample(list(product(COLORS, SHAPES)), rng.randint(1, 3))
    if rng.random() < 0.5:
        alike, figures = 1, [Figure(*first, rng.randint(8, CLOSE_UP))]
    else:
        alike = rng.randint(1, 5)
        figures = [Figure(*first, rng.randint(6, 10 if alike > 2 else 14))] * alike
        for other in others:
            figures += [Figure(*other, rng.randint(7, 10))] * (1 if alike > 2 else rng.randint(1, 2))
    scene = Scene("group", 0, 1, rng.choice(list(GROUND)), rng.choice(list(SKY)), place(figures, size, rng), alike, rng.getrandbits(32))
    return Story(key, "still", size, 1, (scene,))


def make_short(seed: int, split: str, index: int) -> Story:
    """A story of one scene in which somebody acts."""
    key = f"{seed}/{split}/{index}"
    rng = random.Random(f"{key}/short")
    fps = rng.choice((10, 12, 15))
    kind, verbs, seconds = rng.choice([plan for plan in _plans(rng) if plan[0] in ACTING])
    pairs = rng.sample(list(product(COLORS, SHAPES)), rng.randint(1, 3))
    size = LANDSCAPE if rng.random() < 0.8 else PORTRAIT
    scene = _make_scene(rng, kind, 0, pairs, verbs, round(seconds * fps), round(0.2 * fps), size)
    return Story(key, "short", size, fps, (scene,))


def _make_scene(
    rng: random.Random, kind: str, first_frame: int, pairs: list[tuple[str, str]], verbs: list[str], steps: int, rest: int, size: tuple[int, int]
) -> Scene:
    """`steps` is the number of frames of each act, or of a scene without acts; acts begin after `rest` frames, a fifth of a second."""
    acts, start = [], first_frame + rest
    for verb in verbs:
        acts.append(Act(verb, start, steps, rng.choice(list(DIRECTIONS)) if verb == "slide" else ""))
        start += steps
    smallest, largest = {"still": (6, 12), "group": (7, 10), "filler": (7, 12)}.get(kind, (8, 14))
    radii = [rng.randint(smallest, largest), *(rng.randint(7, 12) for _ in pairs[1:])]
    figures = [Figure(*pair, radius) for pair, radius in zip(pairs, radii, strict=True)]
    num_alike = rng.randint(1, 5) if kind == "group" else 1
    lead = Figure(*pairs[0], radii[0], acts=tuple(acts))
    while not fits(lead, size):  # the largest cannot both jump and slide up
        lead = replace(lead, radius=lead.radius - 1)
    cast = [*[lead] * num_alike, *figures[1:]]
    num_frames = max(start - first_frame, 5 * rest) if verbs else steps
    places = rng.choice(list(GROUND)), rng.choice(list(SKY))
    return Scene(kind, first_frame, num_frames, *places, place(cast, size, rng), num_alike, rng.getrandbits(32))


def caption(scene: Scene) -> str:
    """One sentence about the scene's lead."""
    return f"{_subject(scene.lead, scene.num_alike)} {_predicate(scene)} {_setting(scene.location, scene.daytime)}"


def _subject(figure: Figure, number: int) -> str:
    if number > 1:
        return f"{NUMBERS[number - 1]} {_plural(figure.name)}"
    return f"{'an' if figure.color == 'orange' else 'a'} {figure.name}"


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith("s") else "s")


def _predicate(scene: Scene) -> str:
    if not scene.lead.acts:
        return "stands still" if scene.num_alike == 1 else "stand still"
    does = [f"{act.verb}s {act.direction}".strip() for act in scene.lead.acts]
    if scene.kind in ("repeat", "count"):
        return f"{does[0]} {NUMBERS[len(does) - 1]} time{'s' * (len(does) > 1)}"
    return " and then ".join(does)


def _setting(location: str, daytime: str) -> str:
    return f"on the {location} {SETTINGS[daytime]}"


def evidence(story: Story, figures: Iterable[Figure], frames: tuple[int, int], words: Iterable[str]) -> Row:
    """Where an answer is seen: `frames` and `seconds` are half-open, `boxes` hold the figures visible at each frame, `words` name them."""
    found = {str(i): [b for figure in figures if (b := box(figure, i))] for i in range(*frames)}
    seconds = [round(i / story.fps, 3) for i in frames]
    return {"seconds": seconds, "frames": list(frames), "boxes": {i: boxes for i, boxes in found.items() if boxes}, "words": list(words)}


def _row(story: Story, question: str, answer: str | int, answer_type: str, needs: str, seen: Row, choices: list[str] | None = None) -> Row:
    return {
        _field(story): story.path, "question": question, "answer": answer, **({"choices": choices} if choices else {}),
        "answer_type": answer_type, "needs": needs, "evidence": seen,
    }  # fmt: skip


def _field(story: Story) -> str:
    return "image" if story.variant == "still" else "video"


def _choices(rng: random.Random, answer: str, others: Iterable[str]) -> list[str]:
    chosen = [answer, *rng.sample(sorted(others), 4)]
    rng.shuffle(chosen)
    return chosen


def action(story: Story, rng: random.Random) -> list[Row]:
    """Repeated action, 5 choices."""
    scene = story.scene("repeat")
    verb, times = scene.verbs[0], NUMBERS[len(scene.verbs) - 1]
    seen = evidence(story, [scene.lead], scene.acting_frames, scene.lead.name.split())
    question = f"what does the {scene.lead.name} do {times} times?"
    return [_row(story, question, verb, "action", "motion", seen, _choices(rng, verb, {*ACTIONS} - {verb}))]


def transition(story: Story, rng: random.Random) -> list[Row]:
    """State transition, 5 choices, none of which is the act that the question names."""
    scene = story.scene("transition")
    order = rng.choice(("after", "before"))
    named, answer = scene.verbs if order == "after" else scene.verbs[::-1]
    seen = evidence(story, [scene.lead], scene.acting_frames, [*scene.lead.name.split(), f"{named}s"])
    question = f"what does the {scene.lead.name} do {order} it {named}s?"
    return [_row(story, question, answer, "transition", "motion", seen, _choices(rng, answer, {*ACTIONS, "slide"} - {named, answer}))]


def count(story: Story, rng: random.Random) -> list[Row]:
    """Number of repetitions, a whole number from 1 to 10."""
    scene = story.scene("count")
    seen = evidence(story, [scene.lead], scene.acting_frames, [*scene.lead.name.split(), scene.verbs[0]])
    return [_row(story, f"how many times does the {scene.lead.name} {scene.verbs[0]}?", len(scene.verbs), "count", "length", seen)]


def direction(story: Story, rng: random.Random) -> list[Row]:
    """Open-ended, ours: no single frame tells, nor do two without their order."""
    scene = story.scene("slide")
    seen = evidence(story, [scene.lead], scene.acting_frames, scene.lead.name.split())
    return [_row(story, f"which way does the {scene.lead.name} slide?", scene.lead.acts[0].direction, "direction", "order", seen)]


FRAME_QUESTIONS: list[tuple[str, str, Callable[[Scene, Figure], tuple[str, str]]]] = [
    ("object", "color", lambda scene, figure: (f"what is the {figure.color} thing?", figure.shape)),
    ("color", "shape", lambda scene, figure: (f"what color is the {figure.shape}?", figure.color)),
    ("location", "shape", lambda scene, figure: (f"where is the {figure.shape}?", scene.location)),
]
"""Answer type, by what the figure is named, the question and its answer."""


def frameqa(story: Story, rng: random.Random) -> list[Row]:
    """One question for each of TGIF-QA's types: object, color, location, number."""
    return [*(rng.choice(asked) for asked in _frame_rows(story) if asked), _number(story, "number")]


def _frame_rows(story: Story) -> list[list[Row]]:
    """All that can be asked, by type."""

    def row(scene: Scene, figure: Figure, answer_type: str, by: str, question: str, answer: str) -> Row:
        seen = evidence(story, [figure], (scene.first_frame, scene.end_frame), [getattr(figure, by)])
        return _row(story, question, answer, answer_type, "frame", seen)

    return [[row(*pair, answer_type, by, *ask(*pair)) for pair in _alone(story, by)] for answer_type, by, ask in FRAME_QUESTIONS]


def _alone(story: Story, by: str) -> list[tuple[Scene, Figure]]:
    """The figures whose color or shape (`by`) no other figure of the story has."""
    figures = [(scene, figure) for scene in story.scenes for figure in scene.figures]
    values = [getattr(figure, by) for _, figure in figures]
    return [pair for pair, value in zip(figures, values, strict=True) if values.count(value) == 1]


def _number(story: Story, answer_type: str) -> Row:
    scene = story.scene("group")
    alike = scene.figures[: scene.num_alike]
    shapes = [figure.shape for other in story.scenes for figure in other.figures]
    name = scene.lead.shape if shapes.count(scene.lead.shape) == len(alike) and answer_type == "number" else scene.lead.name
    words = _plural(name).split()
    seen = evidence(story, alike, (scene.first_frame, scene.end_frame), words)
    return _row(story, f"how many {_plural(name)} are there?", NUMBERS[len(alike) - 1], answer_type, "frame", seen)


def openqa(story: Story, rng: random.Random) -> list[Row]:
    """One question for each of MSRVTT-QA's types: what, who, how, where, when."""
    repeat, counted, slide = (story.scene(kind) for kind in ("repeat", "count", "slide"))
    asked = slide if rng.randrange(7) == 0 else rng.choice((repeat, counted))  # each of the 7 verbs is equally often the answer
    what, who, where, when = (_open_rows(story, rng.choice((repeat, counted))) for _ in range(4))
    first = _open_rows(story, asked)["does"] if rng.random() < 0.5 else what["color"]
    return [first, who["who"], _number(story, "how"), where["where"], when["when"]]


def _open_rows(story: Story, scene: Scene) -> dict[str, Row]:
    """What can be asked about a scene with one verb."""
    lead, verb = scene.lead, scene.verbs[0]

    def row(question: str, answer: str, answer_type: str, needs: str, words: str) -> Row:
        frames = scene.acting_frames if needs == "motion" else (scene.first_frame, scene.end_frame)
        return _row(story, question, answer, answer_type, needs, evidence(story, [lead], frames, words.split()))

    return {
        "does": row(f"what does the {lead.name} do?", verb, "what", "motion", lead.name),
        "color": row(f"what color is the shape that {verb}s?", lead.color, "what", "motion", f"{verb}s"),
        "who": row(f"who {verb}s?", lead.shape, "who", "motion", f"{verb}s"),
        "where": row(f"where does the {lead.name} {verb}?", scene.location, "where", "frame", lead.name),
        "when": row(f"when does the {lead.name} {verb}?", scene.daytime, "when", "frame", lead.name),
    }


def choice(story: Story, rng: random.Random) -> list[Row]:
    """Five captions, one true: any five of the eight that two subjects, two predicates and two settings make, so none stands out."""
    scene, other = rng.sample([story.scene(kind) for kind in ACTING], 2)
    names = {figure.name for any_scene in story.scenes for figure in any_scene.figures}
    stranger = rng.choice([Figure(*pair, 1) for pair in product(COLORS, SHAPES) if " ".join(pair) not in names])
    places = {(s.location, s.daytime) for s in (scene, other)}
    elsewhere = rng.choice([pair for pair in product(GROUND, SKY) if pair not in places])
    somebody = other.lead if len(places) == 2 and rng.random() < 0.5 else stranger  # in one place, two captions would be true
    true, *false = (
        f"{_subject(figure, 1)} {predicate} {setting}"
        for figure, predicate, setting in product(
            (scene.lead, somebody),
            (_predicate(scene), _predicate(other)),
            (_setting(scene.location, scene.daytime), _setting(*elsewhere)),
        )
    )
    seen = evidence(story, [scene.lead], scene.acting_frames, caption(scene).split()[1:4])
    choices = _choices(rng, true, false)
    return [{"video": story.path, "answer": true, "choices": choices, "answer_type": "choice", "needs": "motion", "evidence": seen}]


def captions(story: Story, rng: random.Random) -> list[Row]:
    """A caption for each acting scene and the group."""
    scenes = [scene for scene in story.scenes if scene.kind in (*ACTING, "group")]
    return [{"video": story.path, "caption": caption(scene), "evidence": _whole_scene(story, scene)} for scene in scenes]


def _whole_scene(story: Story, scene: Scene) -> Row:
    words = caption(scene).split(" on the ")[0].split()[1:]
    return evidence(story, scene.figures[: scene.num_alike], (scene.first_frame, scene.end_frame), words)


def paragraphs(story: Story, rng: random.Random) -> list[Row]:
    """The captions of all scenes in order, as one text."""
    return [{"video": story.path, "caption": ". ".join(caption(scene) for scene in story.scenes if scene.kind != "filler") + "."}]


def stills(story: Story) -> list[Row]:
    """Images with captions that name all that is in them, for pre-training."""
    scene = story.scenes[0]
    groups = Counter(figure.name for figure in scene.figures)
    said = [_subject(next(f for f in scene.figures if f.name == name), number) for name, number in groups.items()]
    subjects = " and ".join(said)
    seen = evidence(story, scene.figures, (0, 1), [word for subject in said for word in subject.split()[1:]])
    return [{"image": story.path, "caption": f"{subjects} {_setting(scene.location, scene.daytime)}", "evidence": seen}]


def stillqa(story: Story) -> list[Row]:
    """All that frameqa could ask about an image; of one figure alone not the number."""
    asked = [row for rows_of_type in _frame_rows(story) for row in rows_of_type]
    return asked + [_number(story, "number")] * (len(story.scenes[0].figures) > 1)


def shorts(story: Story) -> list[Row]:
    """Videos of one acting scene with its caption."""
    return captions(story, random.Random())


def shortqa(story: Story) -> list[Row]:
    """All that frameqa, openqa and direction could ask about a short."""
    asked = [row for rows_of_type in _frame_rows(story) for row in rows_of_type]
    scene = story.scenes[0]
    if len(set(scene.verbs)) == 1:
        asked += _open_rows(story, scene).values()
    return asked + (direction(story, random.Random()) if scene.kind == "slide" else [])


def shortchoice(story: Story) -> list[Row]:
    """Repeated action or state transition in a short, 5 choices."""
    make = {"repeat": action, "transition": transition}.get(story.scenes[0].kind)
    return make(story, random.Random(f"{story.key}/shortchoice")) if make else []


TASKS: dict[str, Callable[[Story, random.Random], list[Row]]] = {
    "action": action, "transition": transition, "count": count, "direction": direction, "frameqa": frameqa, "openqa": openqa,
    "choice": choice, "captions": captions, "paragraphs": paragraphs,
}  # fmt: skip
"""Files of rows about the videos, one for each split."""
LESSONS: dict[str, Callable[[Story], list[Row]]] = {
    "stills": stills, "stillqa": stillqa, "shorts": shorts, "shortqa": shortqa, "shortchoice": shortchoice,
}  # fmt: skip
"""Files of rows about what is beside the videos."""


def rows(story: Story) -> dict[str, list[Row]]:
    """All that is asked and said about a story, by task."""
    return {task: make(story, random.Random(f"{story.key}/{task}")) for task, make in TASKS.items()}


def make_dataset(
    folder: str | Path, *, num_videos: int, seed: int, num_workers: int = 1, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, int]:
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
    for name in ("videos", "images", "shorts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    held_out = max(num_videos // 10, 1)
    counts: dict[str, int] = {}
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(num_workers, get_context("spawn"))) if num_workers > 1 else None
        for split, total in zip(SPLITS, (num_videos - 2 * held_out, held_out, held_out), strict=True):
            files = {task: stack.enter_context(open(folder / f"{task}_{split}.jsonl", "w")) for task in (*TASKS, *LESSONS, "stories")}
            make = partial(_make_video, folder, seed, split)
            for done, made in enumerate(pool.map(make, range(total), chunksize=4) if pool else map(make, range(total)), 1):
                for task, task_rows in made.items():
                    files[task].writelines(json.dumps(row) + "\n" for row in task_rows)
                    counts[f"{task}_{split}.jsonl"] = counts.get(f"{task}_{split}.jsonl", 0) + len(task_rows)
                if progress:
                    progress(split, done, total)
    (folder / "answers.json").write_text(json.dumps({answer: index for index, answer in enumerate(ANSWERS)}, indent=1) + "\n")
    (folder / "README.md").write_text(_readme(num_videos, seed, counts))
    return counts


def _make_video(folder: Path, seed: int, split: str, index: int) -> dict[str, list[Row]]:
    story = make_story(seed, split, index)
    write_video(story, folder / story.path)
    images = [make_still(seed, split, STILLS_PER_VIDEO * index + i) for i in range(STILLS_PER_VIDEO)]
    for still in images:
        next(pictures(still))[0].save(folder / still.path)
    brief = [make_short(seed, split, SHORTS_PER_VIDEO * index + i) for i in range(SHORTS_PER_VIDEO)]
    for short in brief:
        write_video(short, folder / short.path)
    taught = {name: [row for one in (images if "still" in name else brief) for row in make(one)] for name, make in LESSONS.items()}
    return {**rows(story), **taught, "stories": [asdict(story)]}


def _readme(num_videos: int, seed: int, counts: dict[str, int]) -> str:
    said = {name: (make.__doc__ or "").splitlines()[0] for name, make in (TASKS | LESSONS).items()}
    said |= {"stories": "What each video shows; every row follows from it."}
    files = "\n".join(
        f"| {name}_SPLIT.jsonl | {text} | {' | '.join(str(counts[f'{name}_{s}.jsonl']) for s in SPLITS)} |" for name, text in said.items()
    )
    kinds = list(VARIANTS.values())
    variants = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    return f"""# Moving shapes: synthetic videos with known answers and known evidence

Made by `clipbert data synthetic OUT --num-videos {num_videos} --seed {seed}` with PyAV {av.__version__}, Pillow {PIL.__version__} and \
numpy {np.__version__}; the same again on the same machine gives the same bytes. All videos are silent (no audio \
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
