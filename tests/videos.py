"""Test videos made with PyAV alone: every frame differs from every other."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition


def picture(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8[H, W, 3]: a ramp and a bar that move, and the index in binary along the top."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([(x * 3 + index * 7) % 256, (y * 4 + index * 3) % 256, (x + y + index * 11) % 256], -1).astype(np.uint8)
    image[:, (index * 5) % width : (index * 5) % width + 4] = 255
    for bit in range(12):
        image[:8, bit * 4 : bit * 4 + 4] = 255 * (index >> bit & 1)
    return image


def write_video(
    path: Path,
    *,
    num_frames: int = 60,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    fps: int = 30,
    gop: int = 12,
    max_b_frames: int = 0,
    pts: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    size: tuple[int, int] = (48, 64),
    cover: bool = False,
    sound_too: bool = False,
) -> Path:
    """`path`, written; `pts` are in ticks of 1/(100 fps), by default 100 apart from 0."""
    defaults = {"libx264": {"preset": "ultrafast", "sc_threshold": "0"}, "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}}
    with av.open(str(path), "w", options=container_options or {}) as output:
        first: Any = _cover(output) if cover else None
        stream: Any = output.add_stream(codec, rate=fps, options={**defaults.get(codec, {}), **(options or {})})
        stream.height, stream.width = size
        stream.pix_fmt, stream.gop_size, stream.max_b_frames = pix_fmt, gop, max_b_frames
        stream.thread_count = 1
        fine = path.suffix not in (".avi", ".gif")
        ticks = list(pts) if pts is not None else [i * 100 for i in range(num_frames)]
        stream.codec_context.time_base = Fraction(1, fps * 100) if fine else Fraction(1, fps)
        sound: Any = output.add_stream("aac", rate=16000) if sound_too else None
        for i in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24").reformat(format=pix_fmt)
            frame.time_base = stream.codec_context.time_base
            frame.pts = ticks[i] if fine else ticks[i] // 100
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if sound is not None:
            _add_sound(output, sound, first)
    return path


def copy_packets(source: Path, path: Path, *, shift: int = 0, first: int = 0, options: dict[str, str] | None = None) -> Path:
    """`path`, holding the packets of `source` from number `first` on, all times moved by `shift` ticks."""
    with av.open(str(source)) as read, av.open(str(path), "w", options=options or {}) as output:
        stream = output.add_stream_from_template(read.streams.video[0])
        stream.time_base = read.streams.video[0].time_base
        for number, packet in enumerate(p for p in read.demux(video=0) if p.size):
            if number >= first:
                packet.pts += shift
                packet.dts += shift
                packet.stream = stream
                output.mux(packet)
    return path


def rotate(path: Path, degrees: int) -> Path:
    """`path`, an MP4 whose header now asks players to turn the picture clockwise by 90, 180 or 270."""
    content = bytearray(path.read_bytes())
    one = 0x10000
    turn = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    at = content.index(struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30), content.index(b"tkhd"))
    content[at : at + 20] = struct.pack(">5i", turn[0], turn[1], 0, turn[2], turn[3])
    path.write_bytes(content)
    return path


def repeat_packets(source: Path, path: Path, times: int) -> Path:
    """`path`, holding `source` `times` over without a gap: a long video without long encoding."""
    with av.open(str(source)) as read, av.open(str(path), "w") as output:
        template = read.streams.video[0]
        assert template.time_base is not None and template.duration is not None
        stream = output.add_stream_from_template(template)
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe, p.duration) for p in read.demux(template) if p.size]
        for lap in range(times):
            for content, pts, dts, key, duration in packets:
                packet = av.Packet(content)
                packet.pts, packet.dts = pts + lap * template.duration, dts + lap * template.duration
                packet.is_keyframe, packet.duration, packet.time_base, packet.stream = key, duration, template.time_base, stream
                output.mux(packet)
    return path


def write_sound(path: Path, *, cover: bool = False) -> Path:
    with av.open(str(path), "w") as output:
        _add_sound(output, output.add_stream("aac", rate=16000), _cover(output) if cover else None)
    return path


def _cover(output: Any) -> Any:
    stream = output.add_stream("mjpeg", rate=1)
    stream.height, stream.width, stream.pix_fmt = 32, 32, "yuvj420p"
    stream.disposition = Disposition.attached_pic
    return stream


def _add_sound(output: Any, stream: Any, cover: Any = None) -> None:
    if cover is not None:
        image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), format="rgb24").reformat(format="yuvj420p")
        image.pts, image.time_base = 0, Fraction(1, 1)
        output.mux(cover.encode(image) + cover.encode())
    for i in range(20):
        frame = av.AudioFrame.from_ndarray(np.sin(np.arange(1024, dtype=np.float32) / 9)[None], format="fltp", layout="mono")
        frame.rate, frame.pts = 16000, i * 1024
        output.mux(stream.encode(frame))
    output.mux(stream.encode())
