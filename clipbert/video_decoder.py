"""What PyAV decodes of a file, as numpy arrays: opening it, the table of its frames, the pictures of those asked for.

Opening reads the packets (compressed frames), not the pictures: their times
and key flags make a `FrameTable`.  A wanted frame is decoded from the latest
key packet that surely precedes it, ascending, so a group of pictures is
decoded once, up to its last wanted frame, and the reader jumps only over work.
A frame is recognised by its presentation time, never by counting, except in
files whose packets do not say it (AVI with B-frames, raw streams): those are
decoded through once at opening and always read from the start.

No PyTorch here: a process of its own that hosts a decoder starts without it.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from av.video.reformatter import VideoReformatter

from clipbert.video_files import VideoError
from clipbert.video_packets import FrameTable, Packets, Reader, declared, find, packets_of, seconds_of, table_from_decoding, table_from_packets

if TYPE_CHECKING:
    from clipbert.video_decord import DecordFrames


@dataclass(frozen=True)
class Opened:
    """What is known of a file once it is open; times and counts as in `Timeline`, the rest as in `Video`."""

    times: np.ndarray  # float64[F]
    pts: np.ndarray  # int64[F]
    duration: float
    fps: float
    stream_frames: int
    stream_duration: int | None
    size: tuple[int, int]
    rotation: int
    codec: str
    pixel_format: str
    notices: tuple[str, ...]


class Decoder:
    """A file and the reader that decodes it: `open` it first.  Calls `proceed` after each packet and frame."""

    def __init__(self, path: str, time_limit_seconds: float, proceed: Callable[[], None]) -> None:
        self.path, self.time_limit_seconds, self._proceed = path, time_limit_seconds, proceed
        self.frames_decoded = 0
        self._reader: Reader | None = None
        self._run: Iterator[tuple[int, Any]] | None = None
        self._run_start, self._run_is_damaged = 0, False
        self._recent: deque[tuple[int, Any]] = deque(maxlen=2)
        self._converter = VideoReformatter()  # one for all frames, in one thread: PyAV's default starts threads anew for each, 1 to 2 ms

    def open(self) -> Opened:
        """Raises VideoError."""
        reader = self._reader = Reader(self.path, self.time_limit_seconds)
        packets, complete = packets_of(reader, self._proceed)
        order_unsaid = reader.container.format.name == "avi" and reader.stream.codec_context.has_b_frames
        table = None if order_unsaid else table_from_packets(packets)
        if table is None or not self._begins_like(table):
            table = table_from_decoding(reader, packets.duration[-1], self._proceed)
            if not len(table.pts) or not self._begins_like(table):
                raise VideoError(f"cannot open video: no frame of {self.path} can be decoded; download or export it again.")
        frame = next((frame for _, frame in self._recent if frame is not None), None) or self._first_sound_frame()
        if frame is None:
            raise VideoError(f"cannot open video: every frame of {self.path} is damaged; download or export it again.")
        self._hidden_packets = not all(packets.shown)
        self._stored_size = (frame.height, frame.width)
        self._rotation = round(frame.rotation / 90) * 90
        times, duration, fps = seconds_of(self._table, reader.stream)
        context = reader.stream.codec_context
        return Opened(
            times, self._table.pts, duration, fps, reader.stream.frames, reader.stream.duration,
            self._stored_size if self._rotation % 180 == 0 else (frame.width, frame.height), self._rotation, context.name, context.pix_fmt or "",
            () if (loss := self._loss(packets, complete, duration)) is None else (loss,),
        )  # fmt: skip

    def _loss(self, packets: Packets, complete: bool, duration: float) -> str | None:
        """The sentence for the user about a file readable only in part."""
        assert self._reader is not None
        seconds_declared, expected = declared(self._reader)
        if complete and expected <= len(packets.pts) and (expected or seconds_declared <= duration + 0.5):
            return None
        num_frames = len(self._table.pts)
        frames = f" of {expected}" if expected > num_frames else ""
        seconds = f" of {seconds_declared:.1f} s" if seconds_declared > duration else ""
        return f"{num_frames}{frames} frames could be read; using the readable part 0-{duration:.1f} s{seconds}; the file is cut off or damaged."

    def close(self) -> None:
        self.give_up()
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def give_up(self) -> None:
        """Leave the reader to the thread that hangs in it."""
        self._run = None
        self._recent.clear()

    def key_frames(self) -> list[int]:
        """The frames, by their place in presentation order, that can be decoded without another."""
        table = self._table
        if table.packet_pts is None:
            return [0]
        return np.unique(np.searchsorted(table.pts, table.packet_pts[np.unique(table.start)])).tolist()

    def pictures(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index, uint8[3, H, W]), upright, of those frames among `wanted`, ascending, that are not damaged."""
        height, width = self._stored_size
        for index in wanted:
            if (frame := self._frame(index)) is not None:
                rgb = self._converter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
                yield index, np.rot90(rgb.to_ndarray(), self._rotation // 90).transpose(2, 0, 1).copy()

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
            self._proceed()
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


class DecordDecoder(Decoder):
    """decord's pixels, for files that it is known to read right; PyAV stays the judge of times and size."""

    _decord: "DecordFrames | None" = None

    def open(self) -> Opened:
        """Raises VideoError, for decord's sake too."""
        from clipbert.video_decord import DecordFrames, refusal

        opened = super().open()
        assert self._reader is not None
        why = refusal(self._reader.stream, self._reader.container.format.name, open_gop=self._table.open_gop)
        if not why and self._table.by_order:
            why = "decord needs packets that say when frames are shown"
        if not why and (opened.notices or self._hidden_packets):
            why = "decord gives stale frames for files that are damaged or cut inside a group of pictures"
        if not why:
            try:
                self._decord = DecordFrames(self.path)
            except (ValueError, OSError) as error:
                why = f"decord says: {error}"
        if self._decord and (self._decord.num_frames, self._decord.size) != (len(opened.pts), opened.size):
            found = f"{self._decord.num_frames} frames of size {self._decord.size}"
            why = f"decord counts {found}, the file holds {len(opened.pts)} of {opened.size}"
        if why:
            raise VideoError(f'cannot open video: {self.path}; {why}; use backend="pyav".')
        return opened

    def give_up(self) -> None:
        super().give_up()
        if self._decord is not None:
            self._decord.close()

    def pictures(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        assert self._decord is not None
        self.frames_decoded += len(wanted)
        for first in range(0, len(wanted), 8):  # few at a time: who waits wants to see progress
            indices = wanted[first : first + 8]
            self._proceed()
            try:
                pixels = self._decord.read(indices)
            except (ValueError, OSError) as error:
                raise VideoError(f'cannot decode video: {self.path}, decord says: {error}; use backend="pyav".') from error
            yield from ((i, p.transpose(2, 0, 1).copy()) for i, p in zip(indices, pixels, strict=True))
