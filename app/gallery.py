"""A session's gallery: the examples and the user's own videos, their posters, and the index over them."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from app.examples import Examples
from app.state import Session

if TYPE_CHECKING:
    from clipbert.predict import Predictor
    from clipbert.retrieval import VideoIndex
    from clipbert.sampling_config import SamplingConfig

LARGEST = 200  # videos
POSTER_WIDTH, POSTER_QUALITY = 240, 70
PREVIEW_FRAMES, PREVIEW_SIZE = 5, (128, 72)  # style.css steps through as many


@dataclass(frozen=True)
class Poster:
    """A frame from the middle and a strip of frames in order, as data: addresses, and the video's length."""

    source: str
    moving: str
    duration: float
    is_portrait: bool


@dataclass(frozen=True)
class Indexing:
    """How far indexing is."""

    done: int
    total: int
    num_bytes: int
    seconds: float


@dataclass
class Gallery:
    """Videos under the names that the user knows, in their order; `index` holds those that `index_all` has read."""

    names: dict[Path, str] = field(default_factory=dict)
    own: dict[Path, str] = field(default_factory=dict)
    index: "VideoIndex | None" = None

    def refresh(self, session: Session, examples: Examples) -> None:
        """List the examples (each file once), the session's own current video, and the videos added."""
        bundled = {example.path.resolve(): example.path.name for example in examples.all() if not example.captions}
        current = {session.video.resolve(): session.name} if session.video is not None and not session.example else {}
        self.names = {path: name for path, name in {**bundled, **self.own, **current}.items() if path.is_file()}

    def add(self, paths: Sequence[Path]) -> None:
        """Raises ValueError for a gallery that would be too large, VideoError for a file that is no video."""
        if len(self.names) + len(paths) > LARGEST:
            raise ValueError(f"a gallery here holds at most {LARGEST} videos; for more use clipbert index and clipbert search.")
        for path in paths:
            poster(path)
        self.own |= {path.resolve(): path.name for path in paths}

    def index_all(self, predictor: "Predictor", num_clips: int, sampling: "SamplingConfig") -> Iterator[Indexing]:
        """Read what the index lacks, one video after the other; other settings start it anew."""
        from clipbert.retrieval import VideoIndex

        settings = {"num_clips": num_clips, **{name: getattr(sampling, name) for name in ("num_frames", "fps", "policy", "seed")}}
        index = self.index
        if index is None or index.settings != settings or index.predictor is not predictor:
            index = self.index = VideoIndex.empty(predictor, **settings)
        index.remove([path for path in index.entries if Path(path) not in self.names])
        start = time.perf_counter()
        for done, path in enumerate(self.names, 1):
            index.add([path])
            yield Indexing(done, len(self.names), index.num_bytes, time.perf_counter() - start)

    def named(self, path: str) -> str:
        return self.names.get(Path(path), Path(path).name)


def gallery_of(session: Session) -> Gallery:
    return session.kept.setdefault("gallery", Gallery())


@lru_cache(maxsize=1024)
def poster(path: Path) -> Poster:
    """Raises VideoError."""
    import torch

    from clipbert.video import Video, VideoError
    from clipbert.viz.strip import data_url, frame_image, frame_image_within

    with Video.open(path) as video:
        duration = video.duration
        times = torch.tensor([duration * (n + 0.5) / PREVIEW_FRAMES for n in range(PREVIEW_FRAMES)], dtype=torch.float64)
        wanted = (torch.searchsorted(video.frame_times, times, right=True) - 1).tolist()
        sound, missing = video.decode(wanted)
        if not sound:
            raise VideoError(f"cannot read video: {path}, none of its frames {', '.join(map(str, missing))} can be decoded; it is damaged.")
    frames = [sound[min(sound, key=lambda i, n=n: abs(i - n))] for n in wanted]  # a damaged frame gives way to the nearest sound one
    middle, (width, height) = frames[PREVIEW_FRAMES // 2], PREVIEW_SIZE
    strip = Image.new("RGB", (PREVIEW_FRAMES * width, height))
    for n, frame in enumerate(frames):
        strip.paste(ImageOps.pad(frame_image(frame), PREVIEW_SIZE), (n * width, 0))
    return Poster(
        data_url(frame_image_within(middle, POSTER_WIDTH), POSTER_QUALITY), data_url(strip, POSTER_QUALITY), duration,
        middle.shape[-2] > middle.shape[-1],
    )  # fmt: skip


def names_of(paths: Sequence[Path]) -> dict[str, str]:
    """Resolved path -> file name; the second of the same name is called "name (2)"."""
    seen, found = Counter[str](), {}
    for path in paths:
        seen[path.name] += 1
        found[str(path.resolve())] = path.name + (f" ({seen[path.name]})" if seen[path.name] > 1 else "")
    return found
