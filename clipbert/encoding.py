"""A video, once: its clips sampled, decoded and through the CNN.

Two bounded caches, keyed by content, stand between the stages: decoded frames
and frame features.  What was decoded or encoded before is not again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from clipbert.caches import Cache
from clipbert.config import SamplingConfig
from clipbert.memory import InParts
from clipbert.per_clip import PerClipModel
from clipbert.processing import resize_and_pad, resized
from clipbert.sampling import ClipTimes, sample_clips, sweep_plan
from clipbert.source import Source, digest, source_of
from clipbert.types import EncodedVideo
from clipbert.video import VideoError

FRAMES_AT_ONCE = 32
Progress = Callable[[str, int, int], None]  # stage, done, total


class VideoEncoder:
    """A model's CNN with its way of sampling a video, if not told otherwise.

    `frames_decoded` counts the pictures that decoders have produced for it so far, wanted or not.
    """

    def __init__(self, model: PerClipModel, sampling: SamplingConfig, *, frame_bytes: int, feature_bytes: int) -> None:
        self.model, self.sampling = model, sampling
        self.frames, self.features = Cache(frame_bytes), Cache(feature_bytes)
        self.frames_in_parts = InParts()
        self.frames_decoded = 0

    def encode(
        self,
        video: str | Path | Image.Image,
        *,
        num_clips: int | None = None,
        num_frames: int | None = None,
        fps: float | None = None,
        policy: str | None = None,
        seed: int | None = None,
        backend: str | None = None,
        progress: Progress | None = None,
    ) -> EncodedVideo:
        """Sampled, decoded and through the CNN; settings not given are the model's own.

        An image is a one-frame video.  Clips that cannot be decoded are left
        out and named in `notices`.  Raises VideoError if no clip can.
        """
        source, clips, used = self.plan_clips(video, num_clips=num_clips, num_frames=num_frames, fps=fps, policy=policy, seed=seed, backend=backend)
        return self.encode_clips(source, clips, used, progress)

    def plan_clips(
        self, video: str | Path | Image.Image, *, num_clips: int | None = None, num_frames: int | None = None, fps: float | None = None,
        policy: str | None = None, seed: int | None = None, backend: str | None = None,
    ) -> tuple[Source, list[ClipTimes], str]:  # fmt: skip
        """The video, the clips that `encode` would take of it, and the policy's name.  Raises VideoError."""
        given = {"num_clips": num_clips, "num_frames": num_frames, "fps": fps, "policy": policy, "seed": seed}
        settings = replace(self.sampling, **{k: v for k, v in given.items() if v is not None})
        source = source_of(video, backend)
        timeline, _ = source.timeline()
        clips = sample_clips(
            timeline, num_clips=settings.num_clips, num_frames=settings.num_frames, fps=settings.fps, policy=settings.policy,
            generator=torch.Generator().manual_seed(settings.seed),
        )  # fmt: skip
        return source, list(clips), settings.policy

    def encode_clips(self, source: Source, clips: Sequence[ClipTimes], policy: str, progress: Progress | None = None) -> EncodedVideo:
        """These clips of the video, decoded and through the CNN.  Raises VideoError, DamagedClips if none can be decoded."""
        timeline, notices = source.timeline()
        wanted = sorted({int(i) for clip in clips for i in clip.frame_index})
        found, missing = self._frame_features(source, wanted, progress)
        usable = [n for n, clip in enumerate(clips) if not any(int(i) in missing for i in clip.frame_index)]
        if not usable:
            raise damaged(len(clips), source.name)
        if len(usable) < len(clips):
            notices = (*notices, left_out([n + 1 for n in range(len(clips)) if n not in usable], len(clips)))
        kept = [clips[n] for n in usable]
        picked = tuple(tuple(int(i) for i in clip.frame_index) for clip in kept)
        keys = tuple(digest(source.key, self.model.fingerprint, repr(clip)) for clip in picked)
        return EncodedVideo(
            features=torch.stack([torch.stack([found[i] for i in clip]) for clip in picked]),
            times=torch.stack([clip.times for clip in kept]),
            spans=torch.tensor([[clip.start, clip.end] for clip in kept], dtype=torch.float64),
            duration=timeline.duration,
            key=digest(*keys),
            policy=policy,
            partial=bool(notices),
            shortened=tuple(bool(clip.shortened) for clip in kept),
            notices=notices,
            clip_keys=keys,
            frame_size=source.frame_size(),
        )

    def pictures(self, source: Source, clip: ClipTimes) -> UInt8[Tensor, "T 3 H W"]:
        """The decoded frames of a clip that could be encoded."""
        indices = sorted({int(i) for i in clip.frame_index})
        found = dict(self.frames_of(source, indices))
        return torch.stack([found[int(i)] for i in clip.frame_index])

    def has_features(self, source: Source, clip: ClipTimes) -> bool:
        """Whether encoding the clip needs neither decoding nor the CNN."""
        return all((self.model.fingerprint, source.key, int(i)) in self.features for i in clip.frame_index)

    def _frame_features(self, source: Source, wanted: Sequence[int], progress: Progress | None) -> tuple[dict[int, Tensor], set[int]]:
        """Features of the wanted source frames, and those that cannot be decoded."""
        found: dict[int, Tensor] = {}
        for i in wanted:
            if (features := self.features.get((self.model.fingerprint, source.key, i))) is not None:
                found[i] = features
        todo = [i for i in wanted if i not in found]
        batch: list[tuple[int, Tensor]] = []
        decoded: set[int] = set()

        def features_of(frames: list[Tensor]) -> Tensor:
            return self.frames_in_parts.run(lambda part: self.model.encode(part).cpu(), torch.stack(frames), dim=0)

        def flush() -> None:
            for (i, _), features in zip(batch, features_of([frame for _, frame in batch]), strict=True):
                found[i] = features.clone()
                self.features.put((self.model.fingerprint, source.key, i), found[i])
            batch.clear()
            if progress is not None:
                progress("frames", len(found), len(wanted))

        for i, frame in self.frames_of(source, todo):
            decoded.add(i)
            batch.append((i, frame))
            if len(batch) == FRAMES_AT_ONCE:
                flush()
        if batch:
            flush()
        return found, set(todo) - decoded

    def frames_of(self, source: Source, wanted: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield (source frame index, uint8[3, H, W]) of the decodable ones among `wanted`."""
        cached = {i: frame for i in wanted if (frame := self.frames.get((source.key, i))) is not None}
        yield from cached.items()
        rest = [i for i in wanted if i not in cached]
        if rest:
            with source.open() as opened:
                try:
                    for first in range(0, len(rest), FRAMES_AT_ONCE):  # ascending, so chunks share the decoding of a group of pictures
                        pictures, _ = opened.decode(rest[first : first + FRAMES_AT_ONCE])
                        for i, frame in pictures.items():
                            self.frames.put((source.key, i), frame)
                            yield i, frame
                finally:
                    self.frames_decoded += opened.frames_decoded

    def clip_pictures(
        self, video: str | Path | Image.Image, encoded: EncodedVideo, *, backend: str | None = None
    ) -> tuple[UInt8[Tensor, "N T 3 S S"], tuple[int, int]]:
        """The frames of each clip as the model gets them, from the cache where it has them; and the (height, width) that is no padding.

        Raises VideoError.
        """
        source, side = source_of(video, backend), self.model.image_size
        picked = _frame_index(source, encoded)
        small, size = {}, (side, side)
        for i, frame in self.frames_of(source, sorted(set(picked.flatten().tolist()))):
            small[i] = resize_and_pad(frame[None], side)[0].round().clamp(0, 255).to(torch.uint8)
            size = resized(frame.shape[-2], frame.shape[-1], side)
        return torch.stack([torch.stack([small[i] for i in clip]) for clip in picked.tolist()]), size

    def clip_frames(
        self, video: str | Path | Image.Image, encoded: EncodedVideo, clip: int, *, backend: str | None = None
    ) -> UInt8[Tensor, "T 3 H W"]:
        """The frames of one clip at their own size, from the cache where it has them.

        Raises VideoError, and ValueError if `encoded` is of another video.
        """
        source = source_of(video, backend)
        wanted = _frame_index(source, encoded)[clip].tolist()
        found = dict(self.frames_of(source, sorted(set(wanted))))
        if lost := [i for i in wanted if i not in found]:
            raise VideoError(f"cannot decode frame {lost[0]} of {source.name} again; was the file changed?")
        return torch.stack([found[i] for i in wanted])

    def encode_sweep(
        self, video: str | Path | Image.Image, *, sizes: Sequence[int] = (1, 2, 4, 8, 16), num_frames: int | None = None, fps: float | None = None,
        policy: str | None = None, seed: int | None = None, backend: str | None = None,
    ) -> tuple[dict[int, EncodedVideo], str]:  # fmt: skip
        """The video at each N_test, and a sentence on how many clips that took: one encoding where the policy nests.

        Raises VideoError if any of the clips cannot be decoded.
        """
        given = {"num_frames": num_frames, "fps": fps, "policy": policy, "seed": seed}
        sampling = replace(self.sampling, **{k: v for k, v in given.items() if v is not None})
        source = source_of(video, backend)
        timeline, _ = source.timeline()
        plan = sweep_plan(
            timeline, sizes, num_frames=sampling.num_frames, fps=sampling.fps, policy=sampling.policy,
            generator=torch.Generator().manual_seed(sampling.seed),
        )  # fmt: skip
        encoded = self.encode_clips(source, plan.clips, sampling.policy, None)
        if encoded.num_clips < len(plan.clips):
            raise VideoError(f"a sweep needs all {len(plan.clips)} clips of {source.name}, and only {encoded.num_clips} can be decoded; use ask.")
        parts = {}
        for size, members in plan.index.items():
            chosen = list(members)
            parts[size] = replace(
                encoded, features=encoded.features[chosen], times=encoded.times[chosen], spans=encoded.spans[chosen],
                shortened=tuple(encoded.shortened[i] for i in chosen), key=digest(encoded.key, repr(members)),
                clip_keys=tuple(encoded.clip_keys[i] for i in chosen),
            )  # fmt: skip
        passes = "the sizes do not nest, so each ran on its own clips" if plan.reruns else "all sizes from one pass"
        return parts, f"policy {sampling.policy}: {passes}, {len(plan.clips)} clips encoded"


def _frame_index(source: Source, encoded: EncodedVideo) -> Int[Tensor, "N T"]:
    """Which frames of the source were encoded; raises ValueError where it has none at these times."""
    times = source.timeline()[0].times
    index = torch.searchsorted(times, encoded.times.contiguous())
    if bool((index == len(times)).any()) or not torch.equal(times[index], encoded.times):
        raise ValueError(f"{source.name} is not the video that was encoded: it has no frames at those times; name the right file.")
    return index


class DamagedClips(VideoError):
    """None of the clips can be decoded."""


def damaged(num_clips: int, name: str) -> DamagedClips:
    return DamagedClips(f"cannot decode any of the {num_clips} clips of {name}; the file is damaged where they lie.")


def left_out(lost: Sequence[int], num_clips: int) -> str:
    """The sentence about clips, counted from 1, that could not be decoded."""
    be = "clip {} of {} could not be decoded and is" if len(lost) == 1 else "clips {} of {} could not be decoded and are"
    return f"{be.format(', '.join(map(str, lost)), num_clips)} left out; N_test={num_clips - len(lost)}"
