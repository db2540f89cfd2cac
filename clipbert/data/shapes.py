"""Coloured shapes that move in front of places, and where each is at every frame.

A figure is a shape in a colour with an eye, so that a spin shows on a circle
too.  What it does is a list of acts; `pose` says where that puts it, `box` how
many pixels it covers, `draw` what is seen.  Lengths are pixels, times frames.
"""

import functools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

Box = tuple[int, int, int, int]
"""left, top, right, bottom; the last two are outside."""
Point = tuple[float, float]

COLORS = {
    "red": (225, 30, 30), "orange": (255, 140, 0), "yellow": (250, 230, 40), "green": (30, 200, 60),
    "blue": (40, 80, 240), "purple": (165, 45, 205), "white": (250, 250, 250), "black": (15, 15, 15),
}  # fmt: skip
DARK = ("blue", "purple", "black")  # these get a white edge and eye, the others a black one
GROUND = {
    "grass": (84, 122, 70), "water": (72, 112, 150), "sand": (196, 176, 132),
    "bricks": (146, 88, 74), "snow": (198, 206, 214), "wood": (116, 84, 54),
}  # fmt: skip
SKY = {"day": (150, 200, 240), "evening": (235, 150, 95), "night": (18, 22, 60)}
LIGHT = {"day": (1.0, 1.0, 1.0), "evening": (0.88, 0.74, 0.64), "night": (0.52, 0.49, 0.54)}  # how the ground looks then
SKY_PART = 6  # the sky is the top 1/6 of the picture; figures stay below it

ACTIONS = ("jump", "spin", "blink", "grow", "shake", "flip")
"""What ends where it began, so that it can be repeated."""
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
JUMP, SHAKE, SLIDE = 26, 9, 42
REST = 0.2  # part of an act at its end in which nothing moves, so that repetitions can be told apart
EDGE, OVERSAMPLING = 1.3, 4


@dataclass(frozen=True)
class Act:
    """One repetition of a verb; "slide" has a direction and leaves its figure elsewhere."""

    verb: str
    first_frame: int
    num_frames: int
    direction: str = ""


@dataclass(frozen=True)
class Figure:
    """A shape, centred at (x, y) before its first act."""

    color: str
    shape: str
    radius: int
    x: int = 0
    y: int = 0
    acts: tuple[Act, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """`figures[0]` is whom it is about; the first `num_alike` figures look the same."""

    kind: str
    first_frame: int
    num_frames: int
    location: str
    daytime: str
    figures: tuple[Figure, ...]
    num_alike: int
    texture_seed: int

    @property
    def lead(self) -> Figure:
        return self.figures[0]

    @property
    def verbs(self) -> tuple[str, ...]:
        return tuple(act.verb for act in self.lead.acts)

    @property
    def end_frame(self) -> int:
        return self.first_frame + self.num_frames

    @property
    def acting_frames(self) -> tuple[int, int]:
        """First frame of the lead's acts and the one after their last; the whole scene if it stands still."""
        acts = self.lead.acts
        return (acts[0].first_frame, acts[-1].first_frame + acts[-1].num_frames) if acts else (self.first_frame, self.end_frame)


@dataclass(frozen=True)
class Story:
    """What one video shows; `size` is its upright width and height."""

    key: str
    variant: str
    size: tuple[int, int]
    fps: int
    scenes: tuple[Scene, ...]

    @property
    def name(self) -> str:
        _, split, index = self.key.split("/")
        return f"{split}-{index:0>5}"

    @property
    def path(self) -> str:
        return {"still": "images/{}.png", "short": "shorts/{}.mp4", "gif": "videos/{}.gif"}.get(self.variant, "videos/{}.mp4").format(self.name)

    @property
    def num_frames(self) -> int:
        return self.scenes[-1].end_frame

    def scene(self, kind: str) -> Scene:
        return next(scene for scene in self.scenes if scene.kind == kind)


@dataclass(frozen=True)
class Pose:
    """How a figure looks at one frame: turned by `degrees`, then its width times `width`."""

    x: int
    y: int
    radius: int
    degrees: int = 0
    width: float = 1.0


def pose(figure: Figure, frame_index: int) -> Pose | None:
    """Where `figure` is, None while it blinks."""
    x, y, scale, degrees, width = float(figure.x), float(figure.y), 1.0, 0.0, 1.0
    for act in figure.acts:
        phase = (frame_index - act.first_frame) / act.num_frames
        progress = min(max(phase / (1 - REST), 0.0), 1.0)
        if act.verb == "slide":
            x += SLIDE * progress * DIRECTIONS[act.direction][0]
            y += SLIDE * progress * DIRECTIONS[act.direction][1]
        elif act.verb == "blink" and 0.25 <= phase < 0.75:
            return None
        elif act.verb == "jump":
            y -= JUMP * np.sin(np.pi * progress)
        elif act.verb == "grow":
            scale += 0.7 * np.sin(np.pi * progress)
        elif act.verb == "shake":
            x += SHAKE * np.sin(2 * np.pi * progress)
        elif act.verb == "spin":
            degrees += 360 * progress
        elif act.verb == "flip":
            width = abs(np.cos(np.pi * progress))
    return Pose(round(x), round(y), round(figure.radius * scale), round(degrees / 15) * 15 % 360, max(round(width * 8), 1) / 8)


def _arc(radius: float, first: float = 0.0, last: float = 360.0, centre: Point = (0.0, 0.0)) -> list[Point]:
    return [(centre[0] + radius * np.cos(t), centre[1] + radius * np.sin(t)) for t in np.radians(np.linspace(first, last, 41))]


def _corners(radii: Iterable[float], first: float) -> list[Point]:
    """A polygon around the origin, its corners at equal angles from `first` degrees."""
    radii = list(radii)
    return [(r * np.cos(t), r * np.sin(t)) for r, t in zip(radii, np.radians(first + 360 / len(radii) * np.arange(len(radii))), strict=True)]


_A, _B = 0.36, 1.05  # half a cross's width and length
_HEART = [
    (np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 15) for t in np.linspace(0, 2 * np.pi, 41)[:-1]
]
SHAPES: dict[str, tuple[list[Point], list[Point], Point]] = {
    "circle": (_arc(1.0), [], (0.0, -0.55)),
    "square": (_corners([1.25] * 4, 45.0), [], (0.0, -0.5)),
    "triangle": (_corners([1.25] * 3, -90.0), [], (0.0, -0.4)),
    "star": (_corners([1.25, 0.55] * 5, -90.0), [], (0.0, -0.5)),
    "cross": (
        [(-_A, -_B), (_A, -_B), (_A, -_A), (_B, -_A), (_B, _A), (_A, _A), (_A, _B), (-_A, _B), (-_A, _A), (-_B, _A), (-_B, -_A), (-_A, -_A)],
        [],
        (0.0, -0.65),
    ),
    "heart": (_HEART, [], (0.45, -0.4)),
    "ring": (_arc(1.05), _arc(0.45), (0.0, -0.75)),
    "moon": (_arc(1.1, 50.0, 310.0) + _arc(0.86, 282.0, 78.0, (0.55, 0.0)), [], (-0.68, -0.2)),
}
"""Outline, hole and eye at radius 1, y pointing down."""


@functools.lru_cache(maxsize=4096)
def _sprite(shape: str, color: str, radius: int, degrees: int, width: float) -> tuple[Image.Image, Box]:
    """The figure alone, centred, and its box in that picture."""
    reach = int(radius * 1.3) + 3
    side = 2 * reach
    sprite = Image.new("RGBA", (side * OVERSAMPLING, side * OVERSAMPLING))
    pen, edge = ImageDraw.Draw(sprite), COLORS["white" if color in DARK else "black"]
    turn = np.radians(degrees)
    outline, hole, eye = SHAPES[shape]

    def pixels(points: list[Point]) -> list[Point]:
        turned = [(width * (x * np.cos(turn) - y * np.sin(turn)), x * np.sin(turn) + y * np.cos(turn)) for x, y in points]
        return [((reach + radius * x) * OVERSAMPLING, (reach + radius * y) * OVERSAMPLING) for x, y in turned]

    for points, fill in ((outline, COLORS[color]), (hole, (0, 0, 0, 0))):
        if points:
            ring = pixels(points)
            pen.line([*ring, *ring[:2]], fill=edge, width=round(2 * EDGE * OVERSAMPLING), joint="curve")
            pen.polygon(ring, fill=fill)
    pen.polygon(pixels(_arc(0.2, centre=eye)), fill=edge)
    small = sprite.resize((side, side), Image.Resampling.BOX)
    bounds = Image.fromarray(np.asarray(small)[..., 3] >= 96).getbbox()
    assert bounds is not None
    return small, bounds


def box(figure: Figure, frame_index: int) -> Box | None:
    """The pixels that `figure` covers, None while it blinks."""
    at = pose(figure, frame_index)
    if at is None:
        return None
    sprite, (left, top, right, bottom) = _sprite(figure.shape, figure.color, at.radius, at.degrees, at.width)
    x, y = at.x - sprite.width // 2, at.y - sprite.height // 2
    return left + x, top + y, right + x, bottom + y


def reach(figure: Figure) -> Box:
    """The pixels that `figure` covers at some time."""
    frames = [0, *(act.first_frame + i for act in figure.acts for i in range(act.num_frames + 1))]
    lefts, tops, rights, bottoms = zip(*{b for i in frames if (b := box(figure, i))}, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def fits(figure: Figure, size: tuple[int, int]) -> bool:
    """Whether a picture of (width, height) has room for all that `figure` does."""
    left, top, right, bottom = reach(figure)
    return right - left <= size[0] and bottom - top <= size[1] - size[1] // SKY_PART


def place(figures: Sequence[Figure], size: tuple[int, int], rng: random.Random) -> tuple[Figure, ...]:
    """The figures, somewhere on the ground of a picture of (width, height), where none ever touches another or an edge."""
    reaches = [reach(replace(figure, x=0, y=0)) for figure in figures]
    width, height = size
    for _ in range(1000):
        taken: list[Box] = []
        placed = []
        for figure, (left, top, right, bottom) in zip(figures, reaches, strict=True):
            x, y = rng.randint(-left, width - right), rng.randint(height // SKY_PART - top, height - bottom)
            if any(left + x <= x1 and x0 <= right + x and top + y <= y1 and y0 <= bottom + y for x0, y0, x1, y1 in taken):
                break
            taken.append((left + x, top + y, right + x, bottom + y))
            placed.append(replace(figure, x=x, y=y))
        else:
            return tuple(placed)
    raise AssertionError(f"{len(figures)} figures find no room in {width}x{height}")


def draw(figures: Iterable[Figure], frame_index: int, background: Image.Image) -> Image.Image:
    """The picture at `frame_index`."""
    picture = background.copy()
    for figure in figures:
        if at := pose(figure, frame_index):
            sprite, _ = _sprite(figure.shape, figure.color, at.radius, at.degrees, at.width)
            picture.paste(sprite, (at.x - sprite.width // 2, at.y - sprite.height // 2), sprite)
    return picture


def background(location: str, daytime: str, size: tuple[int, int], texture_seed: int) -> Image.Image:
    """A place of (width, height) at a time of day: textured ground under a strip of sky."""
    rng = np.random.default_rng(texture_seed)
    width, height = size
    y, x = np.mgrid[:height, :width] + rng.integers(0, 99, (2, 1, 1))
    ground = np.array(GROUND[location]) + _texture(location, x, y, rng)[..., None]
    picture = ground * np.array(LIGHT[daytime])
    horizon = height // SKY_PART
    picture[:horizon] = SKY[daytime]
    if daytime == "night":
        picture[rng.integers(0, horizon, 12), rng.integers(0, width, 12)] = 200
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def _texture(location: str, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How much brighter than its ground each pixel is."""
    noise = rng.integers(-12, 13, (256, 256))
    if location == "grass":
        return noise[y // 5 % 256, x % 256]
    if location == "water":
        return 14 * np.sin((y + 3 * np.sin(x / 9)) * 2 * np.pi / 10)
    if location == "sand":
        return noise[y // 2 % 256, x // 2 % 256] * 0.8
    if location == "bricks":
        row = y // 10
        column = (x + 10 * (row % 2)) // 20
        mortar = (y % 10 == 0) | ((x + 10 * (row % 2)) % 20 == 0)
        return np.where(mortar, 50, noise[row % 256, column % 256])
    if location == "snow":
        return 12 * np.sin(x / 13) * np.sin(y / 7) + np.where(noise[y % 256, x % 256] == 12, 30, 0)
    assert location == "wood"
    return np.where(x % 16 == 0, -40, noise[x // 16 % 256, 0] + 5 * np.sin(y / 3 + x // 16))
