"""Look at a whole video cheaply, then closely where a rule of `clipbert.selection` says; with what both cost.

The cheap look takes the first frame of each of K candidate clips.  Colors cost
no arithmetic, features cost the CNN, and relevance also the model's own match
score of a clip that stands still at that frame.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from clipbert.checks import check_known
from clipbert.encoding import VideoEncoder
from clipbert.sampling import MAX_CLIPS, ClipTimes, clip_at, sample_clips
from clipbert.selection import NEEDS, SELECTORS, Scan
from clipbert.source import Source, source_of
from clipbert.types import EncodedVideo

NUM_CANDIDATES = 32
Relevance = Callable[[EncodedVideo], Float[Tensor, " K"]]


@dataclass
class LookCost:
    """Frames that the decoder produced, wanted or not, and FLOPs (two for a multiplication and an addition)."""

    frames_decoded: int = 0
    flops: int = 0


@dataclass(frozen=True, eq=False)
class Guided:
    """A video at the clips that were chosen, what they were chosen from, and the cost of both looks together."""

    video: EncodedVideo
    scan: Scan
    chosen: tuple[int, ...]
    cost: LookCost


@contextmanager
def spent(encoder: VideoEncoder) -> Iterator[LookCost]:
    """What the encoder decodes and all models compute within the context; known at its end.  What caches hold costs nothing."""
    cost, before = LookCost(), encoder.frames_decoded
    with FlopCounterMode(display=False) as counter:
        yield cost
    cost.frames_decoded, cost.flops = encoder.frames_decoded - before, counter.get_total_flops()


def guided(
    encoder: VideoEncoder, video: str | Path | Image.Image, relevance: Relevance, *, sampler: str, num_clips: int | None = None,
    num_candidates: int = NUM_CANDIDATES, num_frames: int | None = None, fps: float | None = None, backend: str | None = None,
) -> Guided:  # fmt: skip
    """The video encoded at `num_clips` of `num_candidates` clips, chosen by `sampler`, one of SELECTORS.

    Candidates are the clips of policy `official`; for `shots` those at key
    frames, which cost one decoded frame each, where the file has as many as are
    wanted twice over.  `relevance` is asked only by rules that read it.  Raises
    VideoError if no chosen clip can be decoded.
    """
    check_known("sampler", sampler, tuple(SELECTORS))
    given = {"num_clips": num_clips, "num_frames": num_frames, "fps": fps}
    settings = replace(encoder.sampling, **{name: value for name, value in given.items() if value is not None})
    if not settings.num_clips <= num_candidates <= MAX_CLIPS:
        raise ValueError(f"num_candidates must be between num_clips ({settings.num_clips}) and {MAX_CLIPS}, got {num_candidates}.")
    source = source_of(video, backend)
    with spent(encoder) as cost:
        clips = _candidates(source, sampler, settings.num_clips, num_candidates, settings.num_frames, settings.fps)
        scan = _scan(encoder, source, clips, relevance, NEEDS[sampler])
        chosen = SELECTORS[sampler](scan, settings.num_clips)
        encoded = encoder.encode_clips(source, [clips[k] for k in chosen], sampler)
    return Guided(encoded, scan, tuple(chosen), cost)


def _candidates(source: Source, sampler: str, num_clips: int, num_candidates: int, num_frames: int, fps: float) -> list[ClipTimes]:
    timeline, _ = source.timeline()
    if sampler == "shots":
        with source.open() as opened:
            keys = [float(timeline.times[i]) for i in opened.key_frames]
        if len(keys) >= 2 * num_clips:
            thinned = [keys[k * len(keys) // num_candidates] for k in range(num_candidates)] if len(keys) > num_candidates else keys
            return [clip_at(timeline, start, num_frames=num_frames, fps=fps) for start in thinned]
    return list(sample_clips(timeline, num_clips=num_candidates, num_frames=num_frames, fps=fps, policy="official"))


def _scan(encoder: VideoEncoder, source: Source, clips: list[ClipTimes], relevance: Relevance, needed: str) -> Scan:
    starts = torch.tensor([clip.start for clip in clips], dtype=torch.float64)
    if needed == "colors":
        first = [int(clip.frame_index[0]) for clip in clips]
        found = dict(encoder.frames_of(source, sorted(set(first))))
        return Scan(starts, colors=torch.stack([_histogram(found[i]) if i in found else torch.zeros(24) for i in first]))
    still = [replace(clip, times=clip.times[:1], frame_index=clip.frame_index[:1]) for clip in clips]
    seen = encoder.encode_clips(source, still, "scan")
    if seen.num_clips < len(clips):
        raise ValueError(f"{source.name} is damaged: only {seen.num_clips} of {len(clips)} candidates can be decoded; choose a policy instead.")
    if needed == "features":
        return Scan(starts, features=seen.features.mean(dim=(1, 2, 3)))
    num_frames = len(clips[0].frame_index)
    stands = replace(seen, features=seen.features.expand(-1, num_frames, -1, -1, -1), times=seen.times.expand(-1, num_frames), key="", clip_keys=())
    return Scan(starts, relevance=relevance(stands))


def _histogram(frame: UInt8[Tensor, "3 H W"]) -> Float[Tensor, " C"]:
    """Share of pixels in each of 8 bins of each color."""
    bins = (frame.flatten(1) >> 5).long() + 8 * torch.arange(3)[:, None]
    return torch.bincount(bins.flatten(), minlength=24).float() / frame[0].numel()
