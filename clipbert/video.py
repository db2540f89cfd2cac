"""Open a video file, know when each of its frames is shown, give the frames asked for; never trust the file.

Opening reads the packets (compressed frames), not the pictures: their times
and key flags make a `FrameTable`.  A wanted frame is decoded from the latest
key packet that surely precedes it, ascending, so a group of pictures is
decoded once, up to its last wanted frame, and the reader jumps only over work.
A frame is recognised by its presentation time, never by counting, except in
files whose packets do not say it (AVI with B-frames, raw streams): those are
decoded through once at opening and always read from the start.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from clipbert.types import Clip, Timeline
from clipbert.video_files import PartialDecodeError, VideoError, refuse_what_is_no_video
from clipbert.video_packets import FrameTable, Reader, declared, find, packets_of, table_from_decoding, table_from_packets, timeline_of
from clipbert.video_watch import Watch

if TYPE_CHECKING:
    from clipbert.video_decord import DecordFrames

BACKENDS = ("pyav", "decord")
_Result = TypeVar("_Result")


class Video:
    """An open video file: `with Video.open(path) as video`.

    `timeline` says when each frame is shown, `size` is the upright (H, W),
    `rotation` the degrees counter-clockwise by which stored pictures were
    turned.  `notices` are sentences for the user about a file readable only in
    part.  `frames_decoded` counts the pictures the decoder produced since
    opening, wanted or not; the pass that counts the frames of a file without
    usable packet times is left out of it.  One reader per thread or process.
    """

    timeline: Timeline
    size: tuple[int, int]
    rotation: int

    def __init__(self, path: str, time_limit_seconds: float) -> None:
        self.path = path
        self.time_limit_seconds = time_limit_seconds
        self.frames_decoded = 0
        self._opening_notices: list[str] = []
        self._undecodable: set[int] = set()
        self._watch = Watch(path, time_limit_seconds)
        self._reader: Reader | None = None
        self._decord: DecordFrames | None = None
        self._run: Iterator[tuple[int, Any]] | None = None
        self._run_start, self._run_is_damaged = 0, False
        self._recent: deque[tuple[int, Any]] = deque(maxlen=2)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, backend: str | None = None, time_limit_seconds: float = 20.0) -> "Video":
        """The opened video; close it, or use it in a `with` statement.

        `backend` is "pyav" or "decord"; by default what CLIPBERT_VIDEO_BACKEND
        says, else "pyav".  decord, in a process of its own, gives the same
        frames, pixels equal (within 2 of 255 for MPEG-4 part 2); files of a
        kind it is known to get wrong are refused, but H.264 with periodic
        intra refresh and damage without a declared loss are not recognised.
        `time_limit_seconds` bounds the wait for the next
        packet or frame, here and in every later call; a long decode that gets
        on is not cut.  Reads are interrupted, and a decoder that hangs in C is
        left behind in its thread.  Raises VideoError.
        """
        backend = backend or os.environ.get("CLIPBERT_VIDEO_BACKEND") or "pyav"
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}.")
        video = cls(os.path.abspath(os.fspath(path)), time_limit_seconds)
        refuse_what_is_no_video(video.path)
        try:
            video._within_time_limit(video._open)
            if backend == "decord":
                video._within_time_limit(video._open_decord)
        except BaseException:
            video.close()
            raise
        return video

    def close(self) -> None:
        self._run = None
        self._recent.clear()
        if self._decord is not None:
            self._decord.close()
        if self._reader is not None and not self._watch.gave_up:
            self._reader.close()
        self._reader = None

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
        table = self._table
        if table.packet_pts is None:
            return (0,)
        return tuple(int(i) for i in np.unique(np.searchsorted(table.pts, table.packet_pts[np.unique(table.start)])))

    @property
    def notices(self) -> tuple[str, ...]:
        """What was not readable, found so far: at opening and by every decode since."""
        damage = [f"{len(self._undecodable)} of the {self.num_frames} frames could not be decoded: {_ranges(self._undecodable)}."]
        return tuple(self._opening_notices + damage * bool(self._undecodable))

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
        pictures = self._within_time_limit(lambda: self._decode_with_decord(wanted) if self._decord else self._decode(wanted))
        missing = tuple(i for i in wanted if i not in pictures)
        self._undecodable.update(missing)
        return pictures, missing

    def _decode(self, wanted: list[int]) -> dict[int, Tensor]:
        pictures, (height, width) = {}, self._stored_size
        for index in wanted:
            if (frame := self._frame(index)) is not None:
                pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
                pictures[index] = torch.from_numpy(np.rot90(pixels, self.rotation // 90).transpose(2, 0, 1).copy())
        return pictures

    def _decode_with_decord(self, wanted: list[int]) -> dict[int, Tensor]:
        assert self._decord is not None
        self.frames_decoded += len(wanted)
        pictures = {}
        for first in range(0, len(wanted), 8):  # few at a time: the watch wants to see progress
            indices = wanted[first : first + 8]
            self._watch.proceed()
            try:
                pixels = self._decord.read(indices)
            except (ValueError, OSError) as error:
                raise VideoError(f'cannot decode video: {self.path}, decord says: {error}; use backend="pyav".') from error
            pictures.update({i: torch.from_numpy(p.transpose(2, 0, 1).copy()) for i, p in zip(indices, pixels, strict=True)})
        return pictures

    def _frame(self, index: int) -> Any:
        """The decoded frame, None if damaged.  Ascending calls share the decoding.

        After damage the next key packet goes to an emptied decoder: an H.264
        decoder has been seen to spoil the key frame after a broken one.
        """
        for i, frame in self._recent:
            if i == index:
                return frame
        start = int(self._table.start[index])
        assert self._reader is not None
        last = self._recent[-1][0] if self._recent else -1
        goes_on = self._run is not None and self._run_start <= start <= self._reader.position and last < index
        if not goes_on or (self._run_is_damaged and start != self._run_start):
            self._run, self._run_start = self._outputs(start), start
            self._recent.clear()
        assert self._run is not None
        for i, frame in self._run:
            self._recent.append((i, frame))
            if i >= index:
                return frame if i == index else None
        return None

    def _outputs(self, start: int) -> Iterator[tuple[int, Any]]:
        """(index, frame or None if damaged) from the packet at `start` on, in presentation order.

        If the decoder does not begin with that packet's frame, its key flag was
        wrong: from then on this file is read from its beginning only.
        """
        table, reader = self._table, self._reader
        assert reader is not None
        reader.go_to(start, table.packet_pts)
        key_pts = int(table.packet_pts[start]) if start and table.packet_pts is not None else int(table.pts[0])
        first, unchecked = int(np.searchsorted(table.pts, key_pts)), start > 0 and key_pts in table.pts
        self._run_is_damaged, sound, count = False, True, 0
        for frame in reader.frames():
            self._watch.proceed()
            if frame is None:
                self._run_is_damaged, sound, unchecked = True, False, False
                continue
            self.frames_decoded += 1
            sound = (sound or bool(frame.key_frame)) and not frame.is_corrupt
            self._run_is_damaged |= not sound
            index, count = (count if table.by_order else find(table.pts, frame.pts)), count + 1
            if unchecked and index >= first and not (index == first and frame.key_frame):
                self._table = replace(table, start=np.zeros_like(table.start))
                yield from self._outputs(0)
                return
            if first <= index < len(table.pts):
                unchecked = False
                yield index, frame if sound else None

    def _open(self) -> None:
        reader = self._reader = Reader(self.path, self.time_limit_seconds)
        packets, complete = packets_of(reader, self._watch.proceed)
        order_unsaid = reader.container.format.name == "avi" and reader.stream.codec_context.has_b_frames
        table = None if order_unsaid else table_from_packets(packets)
        if table is None or not self._begins_like(table):
            table = table_from_decoding(reader, packets.duration[-1], self._watch.proceed)
            if not len(table.pts) or not self._begins_like(table):
                raise VideoError(f"cannot open video: no frame of {self.path} can be decoded; download or export it again.")
        frame = next((frame for _, frame in self._recent if frame is not None), None) or self._first_sound_frame()
        if frame is None:
            raise VideoError(f"cannot open video: every frame of {self.path} is damaged; download or export it again.")
        self._hidden_packets = not all(packets.shown)
        self._stored_size = (frame.height, frame.width)
        self.rotation = round(frame.rotation / 90) * 90
        self.size = self._stored_size if self.rotation % 180 == 0 else (frame.width, frame.height)
        self.timeline = timeline_of(self._table, reader.stream)
        seconds_declared, expected = declared(reader)
        if not complete or expected > len(packets.pts) or (not expected and seconds_declared > self.duration + 0.5):
            frames = f" of {expected}" if expected > self.num_frames else ""
            seconds = f" of {seconds_declared:.1f} s" if seconds_declared > self.duration else ""
            readable = f"{self.num_frames}{frames} frames could be read; using the readable part 0-{self.duration:.1f} s{seconds}"
            self._opening_notices.append(f"{readable}; the file is cut off or damaged.")

    def _open_decord(self) -> None:
        """Start decord for a file that it is known to read right; PyAV stays the judge of times and size."""
        from clipbert.video_decord import DecordFrames, refusal

        assert self._reader is not None
        why = refusal(self._reader.stream, self._reader.container.format.name, open_gop=self._table.open_gop)
        if not why and self._table.by_order:
            why = "decord needs packets that say when frames are shown"
        if not why and (self._opening_notices or self._hidden_packets):
            why = "decord gives stale frames for files that are damaged or cut inside a group of pictures"
        if not why:
            try:
                self._decord = DecordFrames(self.path)
            except (ValueError, OSError) as error:
                why = f"decord says: {error}"
        if self._decord and (self._decord.num_frames, self._decord.size) != (self.num_frames, self.size):
            found = f"{self._decord.num_frames} frames of size {self._decord.size}"
            why = f"decord counts {found}, the file holds {self.num_frames} of {self.size}"
        if why:
            raise VideoError(f'cannot open video: {self.path}; {why}; use backend="pyav".')

    def _begins_like(self, table: FrameTable) -> bool:
        """Whether the first two decoded frames are the first two of `table`, which then becomes the video's.

        Frames the decoder silently leaves out at the start (they need pictures
        that were cut away) are dropped from the table.
        """
        self._table = table
        self._run, self._run_start = self._outputs(0), 0
        self._recent.clear()
        self._recent.extend(itertools.islice(self._run, 2))
        if any(frame is None for _, frame in self._recent):
            return True
        if not self._recent or (len(self._recent) < 2 < len(table.pts)):
            return False
        first = self._recent[0][0]
        if [i for i, _ in self._recent] != list(range(first, first + len(self._recent))):
            return False
        if first:
            self._table = replace(table, pts=table.pts[first:], start=table.start[first:])
            self._run = None
            self._recent = deque(((i - first, frame) for i, frame in self._recent), maxlen=2)
        return True

    def _first_sound_frame(self) -> Any:
        return next((frame for i in range(len(self._table.pts)) if (frame := self._frame(i)) is not None), None)

    def _within_time_limit(self, work: Callable[[], _Result]) -> _Result:
        """What `work` returns, or VideoError once it makes no progress for the time limit."""
        if self._watch.gave_up or (self._reader is None and hasattr(self, "timeline")):
            raise VideoError(f"cannot read video: {self.path} is closed; open it again.")
        return self._watch.result_of(work)


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
