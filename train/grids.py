"""What a frozen CNN makes of each fixed draw of each video, kept on disk: later epochs cost the transformer alone.

Grids are kept in float16, everything else is exact.  A key holds all that a
grid depends on: the file, the draw, the sampling, the image size, the CNN.
"""

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float16, UInt8
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clipbert.backbone import without_repeats
from clipbert.data.dataset import Draw, Item, VideoTextDataset
from clipbert.data.rows import Example
from clipbert.processing import ClipBertProcessor
from clipbert.video import VideoError

Encode = Callable[[UInt8[Tensor, "N T 3 H W"]], Float16[Tensor, "N T C h w"]]
SECONDS_BETWEEN_LINES = 20
LOOKS_AT_ONCE = 16  # by a process, between two words to the first


class FrozenCnn:
    """The CNN of a model as it will stay: frames of one look to grids in float16, under a fingerprint."""

    def __init__(self, backbone: Any, processor: ClipBertProcessor) -> None:
        self.cnn, self.processor = backbone.folded().cnn, processor
        self.device = next(self.cnn.parameters()).device
        digest = hashlib.sha256(repr((processor.image_size, processor.pixel_mean, processor.pixel_std)).encode())
        for name, value in sorted(backbone.cnn.state_dict().items()):
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()[:16]

    @torch.inference_mode()
    def __call__(self, frames: UInt8[Tensor, "N T 3 H W"]) -> Float16[Tensor, "N T C h w"]:
        read = without_repeats(frames)  # of a photo one frame
        pixels = rearrange(self.processor.pixels(read.to(self.device)), "n t c h w -> (n t) c h w")
        grids = self.cnn(pixels.contiguous(memory_format=torch.channels_last)).half().cpu()
        return rearrange(grids, "(n t) c h w -> n t c h w", n=len(read)).expand(*frames.shape[:2], -1, -1, -1).contiguous()


class GridDataset(Dataset[Item]):
    """The items of a `VideoTextDataset` with fixed draws, grids in place of frames; `fill` makes them."""

    def __init__(self, decoded: VideoTextDataset, folder: str | Path, fingerprint: str) -> None:
        if not decoded.views.num_draws:
            raise ValueError("grids are kept of fixed draws only; set num_draws.")
        self.decoded, self.folder, self.fingerprint = decoded, Path(folder), fingerprint
        self.groups, self.videos = decoded.groups, decoded.videos

    def __len__(self) -> int:
        return len(self.decoded)

    def __getitem__(self, draw: int | Draw) -> Item:
        epoch, index = draw if isinstance(draw, tuple) else (0, draw)
        group, seed = self.groups[index], self.decoded.item_seed(epoch, index)
        grids, times = read(self.path(group[0], self.decoded.views.seed_of(group[0].video, seed)))
        return Item(grids, times, group, seed)

    def path(self, example: Example, seed: int) -> Path:
        s, d = self.decoded.sampling, self.decoded
        look = (s.num_clips, s.num_frames, s.fps, s.policy, d.backend, d.views.smallest_crop, d.views.mirror, seed)
        key = (self.fingerprint, d.videos.identity(example.video), look)
        return self.folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()}.grid"

    def looks(self) -> Iterator[tuple[Example, int, Path]]:
        """Each draw of each video, with its seed and place."""
        for example in {group[0].video: group[0] for group in self.groups}.values():
            for seed in self.decoded.views.seeds(example.video):
                yield example, seed, self.path(example, seed)


def fill(datasets: Sequence[GridDataset], encode: Encode, *, max_bytes: int, say: Callable[[str], None], num_workers: int = 0) -> None:
    """Make the grids that are not there yet, in at most `num_workers` processes of one thread each, or in this one.

    Raises ValueError before the disk holds more than `max_bytes` of them, and
    VideoError for a video that cannot be read.
    """
    wanted = {path: (dataset, example, seed) for dataset in datasets for example, seed, path in dataset.looks()}
    todo = Todo([(path, *look) for path, look in wanted.items() if not path.is_file()], encode)
    num_workers = min(num_workers, len(todo) // LOOKS_AT_ONCE)
    loader = DataLoader(
        todo, batch_size=LOOKS_AT_ONCE, collate_fn=list, num_workers=num_workers, generator=torch.Generator(), worker_init_fn=outlive_signals
    )
    if len(todo) and (total := todo.make(0)[1].nbytes * len(wanted)) > max_bytes:
        raise ValueError(
            f"grids of {len(wanted)} looks take {total / 1e9:.1f} GB, more than clips.grid_cache_gb={max_bytes / 1e9:g}; "
            "raise it, or lower clips.num_draws."
        )
    began, spoke, done = time.monotonic(), time.monotonic(), 0
    for errors in loader if len(todo) else ():
        for error in filter(None, errors):
            raise error
        done += len(errors)
        if time.monotonic() - spoke > SECONDS_BETWEEN_LINES:
            spoke = time.monotonic()
            say(f"grids of the frozen CNN: {done}/{len(todo)}, {(spoke - began) / done * (len(todo) - done):.0f} s left")


class Todo(Dataset["VideoError | None"]):
    """Looks whose grids are to be made: reading one makes it, and gives the error of a video that cannot be read.

    An error raised would come out of another process as several lines.
    """

    def __init__(self, looks: Sequence[tuple[Path, GridDataset, Example, int]], encode: Encode) -> None:
        self.looks, self.encode = looks, encode

    def __len__(self) -> int:
        return len(self.looks)

    def __getitem__(self, index: int) -> VideoError | None:
        try:
            write(*self.make(index))
        except VideoError as error:
            return error
        return None

    def make(self, index: int) -> tuple[Path, Float16[Tensor, "N T C h w"], Tensor]:
        path, dataset, example, seed = self.looks[index]
        frames, times = dataset.decoded.look(example, seed)
        return path, self.encode(frames), times


def outlive_signals(worker: int) -> None:
    """Ctrl-C and torchrun reach the processes of a loader too, but what they read for has to end first."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def write(path: Path, grids: Float16[Tensor, "N T C h w"], times: Tensor) -> None:
    """Whole or not at all; of a photo, whose frames are all one, once."""
    one = grids[:1, :1]
    grids = one.clone() if torch.equal(grids, one.expand_as(grids)) else grids
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    save_file({"grids": grids, "times": times}, part)
    os.replace(part, path)


def read(path: Path) -> tuple[Float16[Tensor, "N T C h w"], Tensor]:
    with safe_open(path, framework="pt") as file:
        grids, times = file.get_tensor("grids"), file.get_tensor("times")
    return grids.expand(*times.shape, -1, -1, -1), times


def means(datasets: Iterable[GridDataset]) -> Iterator[tuple[Example, Tensor]]:
    """The mean cell `float[C]` of each look, with an example of its video."""
    for dataset in datasets:
        for example, _, path in dataset.looks():
            yield example, read(path)[0].float().mean(dim=(0, 1, 3, 4))
