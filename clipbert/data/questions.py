"""All that is asked and said about a story of the synthetic benchmark, each with its answer and its evidence.

`TASKS` mirror the paper's; the lessons, about stills and shorts, are easier to learn from first.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import product

from clipbert.data.shapes import ACTIONS, COLORS, DIRECTIONS, GROUND, SHAPES, SKY, Figure, Scene, Story, box
from clipbert.data.stories import ACTING

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SETTINGS = {"day": "by day", "evening": "in the evening", "night": "at night"}
ANSWERS = (*COLORS, *SHAPES, *GROUND, *SKY, *NUMBERS[:5], *ACTIONS, "slide", *DIRECTIONS)
"""Every answer to an open-ended question; counts (1 to 10) and choices are apart."""
Row = dict[str, object]


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


def singleqa(story: Story) -> list[Row]:
    """Color and shape of a figure that stands alone in its image: a network from random weights learns to tell shapes from these alone first."""
    asked = stillqa(story) if len(story.scenes[0].figures) == 1 else []
    return [row for row in asked if row["answer_type"] in ("color", "object")]


def stillqa(story: Story) -> list[Row]:
    """All that frameqa could ask about an image; of one figure alone not the number."""
    asked = [row for rows_of_type in _frame_rows(story) for row in rows_of_type]
    return asked + [_number(story, "number")] * (len(story.scenes[0].figures) > 1)


def numberqa(story: Story) -> list[Row]:
    """How many alike there are, of a group's image: too few among all that stillqa asks for counting ever to be learned."""
    return [row for row in stillqa(story) if row["answer_type"] == "number"]


def shorts(story: Story) -> list[Row]:
    """Videos of one acting scene with its caption."""
    return captions(story, random.Random())


def motionqa(story: Story) -> list[Row]:
    """What shortqa asks that no single frame answers: too few among all else for motion ever to be learned."""
    return [row for row in shortqa(story) if row["needs"] != "frame"]


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
STILL_LESSONS: dict[str, Callable[[Story], list[Row]]] = {"stills": stills, "singleqa": singleqa, "numberqa": numberqa, "stillqa": stillqa}
SHORT_LESSONS: dict[str, Callable[[Story], list[Row]]] = {
    "shorts": shorts, "motionqa": motionqa, "shortqa": shortqa, "shortchoice": shortchoice,
}  # fmt: skip
LESSONS = STILL_LESSONS | SHORT_LESSONS
"""Files of rows about what is beside the videos."""


def rows(story: Story) -> dict[str, list[Row]]:
    """All that is asked and said about a story, by task."""
    return {task: make(story, random.Random(f"{story.key}/{task}")) for task, make in TASKS.items()}
