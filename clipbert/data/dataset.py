"""`Example`s to sampled clips: texts of one video share one decode; an item follows from (seed, epoch, index) alone.

Frames stay uint8 at source size: resizing and normalising happen on the device
(OFFICIAL section 9, number 13).
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float16, Float64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from clipbert.config import SamplingConfig
from clipbert.data.clip_cache import ClipCache
from clipbert.data.rows import Example
from clipbert.data.seeds import derived_seed
from clipbert.data.video_store import VideoStore
from clipbert.data.views import Views
from clipbert.sampling import sample_clips
from clipbert.sampling_config import RANDOM_POLICIES
from clipbert.source import source_of
from clipbert.types import Clip
from clipbert.video import Video, VideoError

Group = tuple[Example, ...]


class Draw(NamedTuple):
    """What a training sampler asks for; asking for a bare index is epoch 0."""

    epoch: int
    item_index: int


@dataclass(frozen=True)
class Unreadable:
    """A video that another took the place of, and why."""

    video: str
    reason: str


@dataclass(frozen=True)
class Item:
    """The clips of one video and the texts that go with it.

    `seed` is of whatever else is random about the item.  `replaced` are the
    unreadable videos drawn before it; `notices` say what was not readable of
    its own file.  Training with a frozen CNN may keep what that made of the
    frames, and read this instead.
    """

    frames: UInt8[Tensor, "N T 3 H W"] | Float16[Tensor, "N T C h w"]
    times: Float64[Tensor, "N T"]
    examples: Group
    seed: int
    replaced: tuple[Unreadable, ...] = ()
    notices: tuple[str, ...] = ()


def group_by_video(examples: Iterable[Example], *, max_texts: int | None = None) -> list[Group]:
    """Examples of one video together, in file order, at most `max_texts` a group; by default all of them.

    Groups of one are the original's question answering and retrieval.
    """
    if max_texts is not None and max_texts < 1:
        raise ValueError(f"max_texts must be at least 1, got {max_texts}.")
    by_video: dict[str, list[Example]] = {}
    for example in examples:
        by_video.setdefault(example.video, []).append(example)
    size = max_texts or max(map(len, by_video.values()), default=1)
    return [tuple(group[first : first + size]) for group in by_video.values() for first in range(0, len(group), size)]


def group_evenly(examples: Iterable[Example], *, num_texts: int, seed: int) -> list[Group]:
    """Groups of exactly `num_texts`: a video's last is filled with repeats drawn from its examples.

    As the original trains (`mk_input_group`), drawn once.
    """
    draw, examples = random.Random(seed), list(examples)
    by_video = {group[0].video: group for group in group_by_video(examples)}
    groups = group_by_video(examples, max_texts=num_texts)
    return [group + tuple(draw.choices(by_video[group[0].video], k=num_texts - len(group))) for group in groups]


class VideoTextDataset(Dataset[Item]):
    """One item per group of examples of one video.

    `sampling.policy` "random" is the paper's training; `sampling.seed` with
    epoch and index decides every draw, whatever the worker and its past.  An
    unreadable video raises VideoError: evaluation never drops one.  With
    `max_unreadable` above 0, as training may, another item drawn at random
    takes its place and `Item.replaced` says so; `UnreadableVideos` counts.
    `cache` keeps decoded clips; it has no effect on random clips, which never
    come back, so there it is a ValueError.  `views` fix or vary the looks.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        videos: VideoStore,
        *,
        sampling: SamplingConfig,
        max_unreadable: int = 0,
        cache: ClipCache | None = None,
        backend: str | None = None,
        views: Views | None = None,
    ) -> None:
        if not groups:
            raise ValueError("groups must hold at least one group of examples, got none.")
        if any(len({example.video for example in group}) != 1 for group in groups):
            raise ValueError("a group must hold examples of one video; make groups with group_by_video.")
        if cache is not None and sampling.policy in RANDOM_POLICIES:
            raise ValueError(f'the clip cache has no effect with policy="{sampling.policy}", whose clips never come back; leave it out.')
        self.groups, self.videos, self.sampling = list(groups), videos, sampling
        self.max_unreadable, self.cache, self.backend = max_unreadable, cache, backend
        self.views = views or Views()

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, draw: int | Draw) -> Item:
        epoch, index = draw if isinstance(draw, tuple) else (0, draw)
        others = random.Random(derived_seed(self.sampling.seed, epoch, index, "replacement"))
        replaced: list[Unreadable] = []
        while True:
            group, seed = self.groups[index], self.item_seed(epoch, index)
            look = self.views.seed_of(group[0].video, seed)
            try:
                clips, notices = self._clips(group[0], look)
            except VideoError as error:
                replaced.append(Unreadable(group[0].video, str(error)))
                UnreadableVideos(self.max_unreadable).add(replaced)
                index = others.randrange(len(self))
                continue
            frames, times = self._seen(clips, look)
            return Item(frames, times, group, seed, tuple(replaced), notices)

    def item_seed(self, epoch: int, index: int) -> int:
        return derived_seed(self.sampling.seed, epoch, index)

    def look(self, example: Example, seed: int) -> tuple[UInt8[Tensor, "N T 3 H W"], Float64[Tensor, "N T"]]:
        """The frames of one look at an example's video, and their times; VideoError if they cannot be read."""
        return self._seen(self._clips(example, seed)[0], seed)

    def _seen(self, clips: Clip, seed: int) -> tuple[Tensor, Tensor]:
        n = self.sampling.num_clips
        frames = rearrange(self.views.cut(clips.frames, seed), "(n t) c h w -> n t c h w", n=n)
        return frames, rearrange(clips.times, "(n t) -> n t", n=n)

    def _clips(self, example: Example, seed: int) -> tuple[Clip, tuple[str, ...]]:
        """All clips of a video, one after the other, and what was not readable of its file."""
        if self.cache is None or example.is_image:
            return self._decode(example, seed)
        s = self.sampling
        key = (self.videos.identity(example.video), s.num_clips, s.num_frames, s.fps, s.policy, self.backend)
        if (kept := self.cache.get(key)) is not None:
            return kept, ()
        clip, notices = self._decode(example, seed)
        if not notices:  # those of a damaged file are to be heard every time
            self.cache.put(key, clip)
        return clip, notices

    def _decode(self, example: Example, seed: int) -> tuple[Clip, tuple[str, ...]]:
        s = self.sampling
        with self.videos.file(example.video) as path:
            source = source_of(path, self.backend).open() if example.is_image else Video.open(path, backend=self.backend)
            with source as video:
                generator = torch.Generator().manual_seed(seed)
                clips = sample_clips(video.timeline, num_clips=s.num_clips, num_frames=s.num_frames, fps=s.fps, policy=s.policy, generator=generator)
                wanted = torch.cat([clip.frame_index for clip in clips]).tolist()
                pictures, missing = video.decode(wanted)
                if missing:
                    raise VideoError(f"cannot decode {len(missing)} of the {len(set(wanted))} frames sampled from {path}; the file is damaged there.")
                first = pictures[wanted[0]]
                frames = first.expand(len(wanted), -1, -1, -1) if example.is_image else torch.stack([pictures[i] for i in wanted])
                return Clip(frames, torch.cat([clip.times for clip in clips])), tuple(video.notices)


@dataclass
class UnreadableVideos:
    """Counts the videos that training could not read, each once; above `limit` it stops.

    Give it every batch's `replaced`, in the process that trains.
    """

    limit: int
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, replaced: Iterable[Unreadable]) -> None:
        """Raises VideoError if more than `limit` different videos were unreadable so far."""
        self.reasons |= {unreadable.video: unreadable.reason for unreadable in replaced}
        if len(self.reasons) > self.limit:
            last, reason = list(self.reasons.items())[-1]
            allowed = f"more than the {self.limit} allowed by max_unreadable" if self.limit else "and none may be left out here"
            raise VideoError(f"{len(self.reasons)} of the videos cannot be read, {allowed}; {last}: {reason} See them all with clipbert data check.")

    def lines(self) -> list[str]:
        return [f"{video}: {reason}" for video, reason in self.reasons.items()]
