"""Real footage for a fresh clone, none of it committed: what installed packages ship.

One clip comes from gradio as it is; the others are photos of scikit-image and
gradio turned into clips by moving a window over them.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image

ANIMALS = ("gradio", "media_assets/images/cheetah1.jpg"), ("gradio", "media_assets/images/lion.jpg"), ("skimage", "data/chelsea.png")
COFFEE, MOTORCYCLE, ASTRONAUT = ("skimage", "data/coffee.png"), ("skimage", "data/motorcycle_left.png"), ("skimage", "data/astronaut.png")
WORLD = ("gradio", "media_assets/videos/world.mp4")
# name -> photos shown one after another, and a question worth asking
PANS = {
    "cat": ((ANIMALS[2],), "what animal is it?"),
    "motorcycle": ((MOTORCYCLE,), "what color is the motorcycle?"),
    "astronaut": ((ASTRONAUT,), "who is smiling?"),
    "scenes": ((COFFEE, MOTORCYCLE, ANIMALS[2], ASTRONAUT), "what animal is it?"),  # the evidence lies in one scene of four
    "animals": (ANIMALS, "what animal is it?"),
}
SIZE = (320, 240)  # width, height of a pan


@dataclass(frozen=True)
class DemoVideo:
    """A clip on this disk, with a question to start from."""

    name: str
    path: Path
    question: str


def demo_videos(folder: str | Path) -> list[DemoVideo]:
    """The pans, written into `folder` unless they are there already, then gradio's clip of the turning earth where it lies.

    Raises ValueError naming the package where one of the two is not installed.
    """
    folder = Path(folder)
    videos = []
    for seed, (name, (photos, question)) in enumerate(PANS.items()):
        path = folder / f"{name}.mp4"
        if not path.is_file():
            pan([np.array(Image.open(package_file(*photo)).convert("RGB")) for photo in photos], path, seed=seed)
        videos.append(DemoVideo(name, path, question))
    return [*videos, DemoVideo("world", package_file(*WORLD), "what color is the world?")]


def package_file(package: str, name: str) -> Path:
    """Where an installed package keeps one of its files; the package is not imported."""
    spec = find_spec(package)
    path = Path((spec and spec.origin) or package).parent / name
    if not path.is_file():
        raise ValueError(f"demo footage needs {name} of the package {package}, which is not installed here; run: pip install 'clipbert[app]'.")
    return path


def pan(photos: Sequence[UInt8[np.ndarray, "_ _ 3"]], path: str | Path, *, seconds: float = 3.0, fps: int = 15, seed: int = 0) -> None:
    """Write an H.264 clip that glides over each RGB photo for `seconds`; the same arguments give the same bytes.

    The window goes from one side to the other while it grows or shrinks.  The
    file appears under its name only when it is whole.  Raises ValueError if
    there is no photo or no frame to show.
    """
    num_frames = round(seconds * fps)
    if not photos or num_frames < 1:
        raise ValueError(f"a pan needs a photo and a frame of each, got {len(photos)} photos of {seconds} s at {fps} frames a second.")
    rng, path = random.Random(seed), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}-{os.getpid()}.mp4")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "20", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for photo in photos:
            image = Image.fromarray(photo)
            start, end = _windows(image.size, rng)
            for i in range(num_frames):
                done = i / max(num_frames - 1, 1)
                window = tuple((1 - done) * a + done * b for a, b in zip(start, end, strict=True))
                shown = image.resize(SIZE, Image.Resampling.BILINEAR, box=window)  # pyright: ignore[reportArgumentType]
                container.mux(stream.encode(av.VideoFrame.from_image(shown)))
        container.mux(stream.encode(None))
    partial.replace(path)


def _windows(size: tuple[int, int], rng: random.Random) -> list[tuple[float, float, float, float]]:
    """First and last window (left, top, right, bottom), of the clip's aspect, at opposite sides of a photo of `size`."""
    largest = min(size[0] / SIZE[0], size[1] / SIZE[1])
    mirrored = [rng.random() < 0.5 for _ in size]
    zooms = rng.sample((0.75, 0.9), 2)
    windows = []
    for side, zoom in zip((0.0, 1.0), zooms, strict=True):
        width, height = (zoom * largest * length for length in SIZE)
        left, top = (abs(side - mirror) * room for mirror, room in zip(mirrored, (size[0] - width, size[1] - height), strict=True))
        windows.append((left, top, left + width, top + height))
    return windows
