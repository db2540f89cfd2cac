"""What the videos of the synthetic benchmark show: stories, made by seed.

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

import random
from dataclasses import replace
from itertools import product

from clipbert.data.shapes import ACTIONS, COLORS, DIRECTIONS, GROUND, SHAPES, SKY, Act, Figure, Scene, Story, fits, place

LANDSCAPE, PORTRAIT = (160, 120), (120, 160)  # width, height
VARIANTS = {1: "portrait", 3: "gif", 5: "rotated", 9: "long", 11: "portrait", 13: "gif"}  # by index modulo 20; the others are "landscape"
LONG_SECONDS = 60
CLOSE_UP = 36  # the largest radius of a still
ACTING = ("repeat", "count", "transition", "slide")
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
