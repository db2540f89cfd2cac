"""Packets of a video stream: the table of frames they make, and a reader that decodes from any of them on."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from clipbert.video_files import KNOWN_VIDEOS, VideoError, is_not_video, why_unreadable

MAX_REORDER = 32  # frames a codec may show later than it stores; H.264 and HEVC allow 16, fields double it


@dataclass(frozen=True)
class FrameTable:
    """The frames in presentation order (F) and where decoding must start for each."""

    pts: np.ndarray  # int64[F], ticks, ascending
    start: np.ndarray  # int64[F], position in the file of the key packet to start from
    packet_pts: np.ndarray | None  # int64[P] in file order; None if it does not identify packets
    last_duration: int  # ticks, 0 if unsaid
    by_order: bool  # frames are recognised by counting from the start
    open_gop: bool  # some frame is stored after a key packet and shown before it


@dataclass(frozen=True)
class Packets:
    """One entry per packet (P), in file order, which is decoding order."""

    pts: list[int | None]
    duration: list[int]
    key: list[bool]
    shown: list[bool]


def table_from_packets(packets: Packets) -> FrameTable | None:
    """The frame table, or None where the packets' times do not tell the frames' order."""
    shown = np.array(packets.shown)
    if any(pts is None for pts in packets.pts):
        return None
    packet_pts = np.array(packets.pts, dtype=np.int64)
    position = np.flatnonzero(shown)
    position = position[np.argsort(packet_pts[position], kind="stable")]
    pts = packet_pts[position]
    rank = np.argsort(np.argsort(position))
    if (np.diff(pts) <= 0).any() or (np.abs(rank - np.arange(len(pts))) > MAX_REORDER).any():
        return None
    keys = np.flatnonzero(packets.key)
    if (np.diff(packet_pts[keys]) <= 0).any():
        keys = keys[:0]
    last_key = np.searchsorted(packet_pts[keys], pts, side="right") - 1
    start = np.where(last_key >= 0, keys[last_key] if len(keys) else 0, 0)
    start = np.where(start <= position, start, 0)
    nearest = keys[np.searchsorted(keys, position, side="right") - 1] if len(keys) else start
    open_gop = bool((nearest > start).any())
    return FrameTable(pts, start, packet_pts, packets.duration[position[-1]], by_order=False, open_gop=open_gop)


class Reader:
    """An open container and its decoder; `position` is the number of the packet that comes next."""

    def __init__(self, path: str, time_limit_seconds: float) -> None:
        self.path, self._limit, self._seekable = path, time_limit_seconds, True
        self._open()

    def _open(self) -> None:
        try:
            self.container = av.open(self.path, metadata_errors="replace", timeout=self._limit, container_options={"protocol_whitelist": "file"})
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(f"cannot open video: {self.path} {why_unreadable(self.path)}.") from error
        format_name = self.container.format.name
        if format_name.endswith("_pipe") or format_name == "image2":
            self.close()
            raise is_not_video(self.path, "an image")
        if not self.container.streams:
            self.close()
            raise VideoError(f"cannot open video: {self.path} {why_unreadable(self.path)}.")
        videos = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        if not videos or videos[0].codec_context is None:
            what = "holds a codec this build cannot decode" if videos else "has no video stream (only sound, subtitles or cover art)"
            self.close()
            raise VideoError(f"cannot open video: {self.path} {what}; {KNOWN_VIDEOS}.")
        self.stream = videos[0]
        self.stream.codec_context.thread_type, self.stream.codec_context.thread_count = "NONE", 1
        self._packets, self.position = self.container.demux(self.stream), 0

    def close(self) -> None:
        self._packets: Iterator[Any] = iter(())
        self.container.close()

    def packets(self) -> Iterator[Any]:
        with contextlib.suppress(IndexError):  # PyAV 18 at the end of a file whose streams multiply while it is read
            for packet in self._packets:
                if packet.size or packet.pts is not None:  # else PyAV's end mark
                    self.position += 1
                    yield packet

    def frames(self) -> Iterator[Any]:
        """Decoded frames from here to the end, in the decoder's order; None where it reports an error."""
        packets = self.packets()
        packet = None
        while True:
            with contextlib.suppress(av.FFmpegError):
                packet = next(packets, None)
            try:
                yield from self.stream.codec_context.decode(packet)
            except av.EOFError:
                return
            except av.FFmpegError:
                yield None
            if packet is None:
                return
            packet = None

    def go_to(self, position: int, packet_pts: np.ndarray | None) -> None:
        """Make the packet at `position` the next one, with an empty decoder.

        Seeks, then checks where it landed; a container that overshoots is
        opened anew and read up to there without decoding.
        """
        if not (self._seekable and packet_pts is not None and self._seek(position, packet_pts)):
            self._seekable &= position == 0
            if position < self.position or packet_pts is None:
                self.close()
                self._open()
            self.stream.codec_context.flush_buffers()
        while self.position < position and next(self.packets(), None) is not None:
            pass

    def _seek(self, position: int, packet_pts: np.ndarray) -> bool:
        """Whether the container could place the reader at or before the packet at `position`."""
        try:
            self.container.seek(int(packet_pts[position]), stream=self.stream)
            self._packets = self.container.demux(self.stream)
            landed = next(self._packets)
        except (av.FFmpegError, StopIteration, IndexError):
            return False
        places = np.flatnonzero(packet_pts == landed.pts) if landed.pts is not None else ()
        if len(places) != 1 or places[0] > position:
            self.position = len(packet_pts)
            return False
        self._packets, self.position = itertools.chain([landed], self._packets), int(places[0])
        return True


def packets_of(reader: Reader, proceed: Callable[[], None]) -> tuple[Packets, bool]:
    """The packets' times and flags, and whether reading reached the end; calls `proceed` after each.  Raises VideoError for none."""
    packets, complete = Packets([], [], [], []), True
    vp8 = reader.stream.codec_context.name in ("vp8", "libvpx")
    try:
        for packet in reader.packets():
            proceed()
            packets.pts.append(packet.pts)
            packets.duration.append(packet.duration or 0)
            packets.key.append(packet.is_keyframe)
            packets.shown.append(not packet.is_discard and not (vp8 and _is_hidden_vp8(packet)))
    except av.FFmpegError:
        complete = False
    if not any(packets.shown):
        raise VideoError(f"cannot open video: {reader.path} holds no video frame; it is cut off, download or export it again.")
    return packets, complete


def table_from_decoding(reader: Reader, last_duration: int, proceed: Callable[[], None]) -> FrameTable:
    """The table of a file whose packets do not say when frames are shown: decode it through once, calling `proceed` after each frame."""
    reader.go_to(0, None)
    pts: list[int | None] = []
    for frame in reader.frames():
        proceed()
        if frame is not None:
            pts.append(frame.pts)
    ticks = _ascending(pts)
    if ticks is None:
        stream: Any = reader.stream
        ticks = np.arange(len(pts)) * max(round(1 / ((stream.average_rate or stream.guessed_rate or 25) * stream.time_base)), 1)
    return FrameTable(ticks, np.zeros(len(pts), np.int64), None, last_duration, by_order=True, open_gop=False)


def seconds_of(table: FrameTable, stream: Any) -> tuple[np.ndarray, float, float]:
    """When each frame of the table is shown, float64[F] seconds from the first; when the last stops being shown; frames a second."""
    pts, base = table.pts, stream.time_base
    times = (pts - pts[0]) * base.numerator / base.denominator
    span = float(times[-1])
    rate = float(stream.average_rate or stream.guessed_rate or 0) or ((len(pts) - 1) / span if span else 1.0)
    usual = float(np.sort(np.diff(times))[(len(pts) - 2) // 2]) if span else 1 / rate  # the lower of two middle ones
    return times, span + (float(table.last_duration * base) or usual), rate


def declared(reader: Reader) -> tuple[float, int]:
    """Seconds of video and number of packets that the header promises, 0 where it does not say."""
    stream: Any = reader.stream
    container = reader.container
    if "mp4" in container.format.name:  # after edit lists, which the frame count ignores
        return float((stream.duration or 0) * stream.time_base), len(stream.index_entries)
    if container.format.name == "avi":
        return float((stream.duration or 0) * stream.time_base), stream.frames
    if "matroska" in container.format.name and len(container.streams) == 1:
        return (container.duration or 0) / av.time_base - float((stream.start_time or 0) * stream.time_base), 0
    return 0.0, 0


def find(pts: np.ndarray, wanted: int | None) -> int:
    """The index of `wanted` in ascending `pts`, len(pts) if it is not there."""
    index = int(np.searchsorted(pts, wanted)) if wanted is not None else len(pts)
    return index if index < len(pts) and pts[index] == wanted else len(pts)


def _ascending(pts: list[int | None]) -> np.ndarray | None:
    """The presentation times of frames in output order, or None where they make no sense."""
    if any(p is None for p in pts):
        return None
    ticks = np.array(pts, dtype=np.int64)
    rank = np.argsort(np.argsort(ticks, kind="stable"))
    return np.sort(ticks) if (np.abs(rank - np.arange(len(ticks))) <= MAX_REORDER).all() else None


def _is_hidden_vp8(packet: Any) -> bool:
    """Whether a VP8 frame is only a reference for others (RFC 6386 section 9.1: show_frame is bit 4)."""
    return not bytes(packet)[0] >> 4 & 1
