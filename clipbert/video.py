"""Open a video file, know when each of its frames is shown, give the frames asked for; never trust the file.

How a file is read stands in `video_decoder`; here its frames become tensors,
and work that hangs or crashes becomes a VideoError.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from clipbert.types import Clip, Timeline
from clipbert.video_decoder import Decoder, DecordDecoder
from clipbert.video_files import PartialDecodeError, VideoError, refuse_what_is_no_video
from clipbert.video_watch import Watch
from clipbert.video_worker import WorkerDecoder

DECODERS = {"pyav": Decoder, "decord": DecordDecoder, "process": WorkerDecoder}
_Result = TypeVar("_Result")


def backend_of(backend: str | None) -> str:
    """The name in DECODERS that is meant: by default what CLIPBERT_VIDEO_BACKEND says, else "pyav".  Raises ValueError."""
    backend = backend or os.environ.get("CLIPBERT_VIDEO_BACKEND") or "pyav"
    if backend not in DECODERS:
        raise ValueError(f"backend must be one of {', '.join(DECODERS)}, got {backend!r}.")
    return backend


class Video:
    """An open video file: `with Video.open(path) as video`.

    `timeline` says when each frame is shown, `size` is the upright (H, W),
    `rotation` the degrees counter-clockwise by which stored pictures were
    turned, `codec` and `pixel_format` FFmpeg's names.  `notices` are sentences for
    the user about a file readable only in part.  `frames_decoded` counts the pictures the decoder produced since
    opening, wanted or not; the pass that counts the frames of a file without
    usable packet times is left out of it.  One reader per thread or process.
    """

    timeline: Timeline
    size: tuple[int, int]
    rotation: int
    codec: str
    pixel_format: str

    def __init__(self, path: str, backend: str, time_limit_seconds: float) -> None:
        self.path = path
        self._watch = Watch(path, time_limit_seconds)
        self._decoder = DECODERS[backend](path, time_limit_seconds, self._watch.proceed)
        self._opening_notices: tuple[str, ...] = ()
        self._undecodable: set[int] = set()
        self._closed = False

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, backend: str | None = None, time_limit_seconds: float = 20.0) -> "Video":
        """The opened video; close it, or use it in a `with` statement.

        `backend` is "pyav", "process" or "decord"; by default what
        CLIPBERT_VIDEO_BACKEND says, else "pyav".  "process" is PyAV in a
        process of its own: one that hangs is ended, one that crashes is
        replaced.  decord, in a process too, gives the same
        frames, pixels equal (within 2 of 255 for MPEG-4 part 2); files of a
        kind it is known to get wrong are refused, but H.264 with periodic
        intra refresh and damage without a declared loss are not recognised.
        `time_limit_seconds` bounds the wait for the next
        packet or frame, here and in every later call; a long decode that gets
        on is not cut.  Reads are interrupted; with "pyav" a decoder that hangs
        in C is left behind in its thread.  Raises VideoError.
        """
        video = cls(os.path.abspath(os.fspath(path)), backend_of(backend), time_limit_seconds)
        refuse_what_is_no_video(video.path)
        try:
            opened = video._within_time_limit(video._decoder.open)
        except BaseException:
            video.close()
            raise
        times, pts = torch.from_numpy(opened.times), torch.from_numpy(opened.pts.copy())
        video.timeline = Timeline(times, opened.duration, opened.fps, pts, opened.stream_frames, opened.stream_duration)
        video.size, video.rotation, video.codec, video.pixel_format = opened.size, opened.rotation, opened.codec, opened.pixel_format
        video._opening_notices = opened.notices
        return video

    def close(self) -> None:
        if not self._watch.gave_up:
            self._decoder.close()
        self._closed = True

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def duration(self) -> float:
        return self.timeline.duration

    @property
    def fps(self) -> float:
        return self.timeline.fps

    @property
    def num_frames(self) -> int:
        return self.timeline.num_frames

    @property
    def frame_times(self) -> Float64[Tensor, " F"]:
        return self.timeline.times

    @property
    def key_frames(self) -> tuple[int, ...]:
        """The frames, by their place in presentation order, that can be decoded without another."""
        return tuple(self._within_time_limit(self._decoder.key_frames))

    @property
    def frames_decoded(self) -> int:
        return self._decoder.frames_decoded

    @property
    def notices(self) -> tuple[str, ...]:
        """What was not readable, found so far: at opening and by every decode since."""
        damage = [f"{len(self._undecodable)} of the {self.num_frames} frames could not be decoded: {_ranges(self._undecodable)}."]
        return (*self._opening_notices, *damage * bool(self._undecodable))

    def frames_at(self, seconds: Sequence[float] | Float64[Tensor, " T"]) -> Clip:
        """The frames shown at `seconds` after the first frame, in the order asked.

        The frame at t is the last one with time <= t; past the end, the last.
        `times` of the clip are those of its frames.  Raises ValueError for
        t < 0 and PartialDecodeError like `frames_by_index`.
        """
        wanted = torch.as_tensor(seconds, dtype=torch.float64)
        if wanted.ndim != 1 or not bool((wanted >= 0).all()):
            raise ValueError(f"seconds must be a list of times >= 0, got {wanted.tolist()}; they count from the first frame.")
        return self.frames_by_index((torch.searchsorted(self.frame_times, wanted, right=True) - 1).tolist())

    def frames_by_index(self, indices: Iterable[int]) -> Clip:
        """Frames by their place in presentation order, in the order asked; repeats allowed.

        Raises PartialDecodeError if any cannot be decoded; `decode` gives the others.
        """
        indices = [int(i) for i in indices]
        pictures, missing = self.decode(indices)
        if missing:
            raise PartialDecodeError(
                f"cannot decode {len(missing)} of the frames asked for: {self.path}, frames {_ranges(missing)}; the file is damaged there.", missing
            )
        height, width = self.size
        frames = torch.stack([pictures[i] for i in indices]) if indices else torch.empty(0, 3, height, width, dtype=torch.uint8)
        return Clip(frames, self.frame_times[torch.tensor(indices, dtype=torch.long)])

    def decode(self, indices: Iterable[int]) -> tuple[dict[int, UInt8[Tensor, "3 H W"]], tuple[int, ...]]:
        """Pictures by frame index, and the indices of those that cannot be decoded.

        A frame the decoder rejects or marks as damaged is left out, and so are
        those after it until the next key frame, which are predicted from it.
        """
        wanted = sorted({int(i) for i in indices})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < self.num_frames:
            raise ValueError(f"indices must be in [0, {self.num_frames}), got {wanted[0]} to {wanted[-1]}.")
        pictures = self._within_time_limit(lambda: {i: torch.from_numpy(picture) for i, picture in self._decoder.pictures(wanted)})
        missing = tuple(i for i in wanted if i not in pictures)
        self._undecodable.update(missing)
        return pictures, missing

    def _within_time_limit(self, work: Callable[[], _Result]) -> _Result:
        """What `work` returns, or VideoError once it makes no progress for the time limit."""
        if self._watch.gave_up or self._closed:
            raise VideoError(f"cannot read video: {self.path} is closed; open it again.")
        try:
            return self._watch.result_of(work)
        finally:
            if self._watch.gave_up:
                self._decoder.give_up()


def _ranges(indices: Iterable[int]) -> str:
    """Sorted indices as "0-3, 7", at most eight ranges."""
    spans: list[list[int]] = []
    for i in sorted(indices):
        if spans and spans[-1][1] == i - 1:
            spans[-1][1] = i
        else:
            spans.append([i, i])
    words = [f"{a}" if a == b else f"{a}-{b}" for a, b in spans]
    return ", ".join(words[:8]) + (f" and {len(words) - 8} more ranges" if len(words) > 8 else "")
