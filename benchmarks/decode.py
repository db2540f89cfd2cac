"""Frames decoded and time for sampled clips: our seek planner, a full decode, the original's access pattern, a seek per clip, decord.

The videos are generated (320 x 240, 25 frames/s, moving gradient; an hour is three minutes over and over), decoding is single-threaded, times are
medians that include opening, and every way must return the same pixels.  Writes benchmarks/results/decode-DATE.json.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from rows import Row, Timing, compared, table, timed, write
from targets import TARGETS

from clipbert.processing import resize_and_pad
from clipbert.sampling import ClipTimes, sample_clips
from clipbert.video import Video

SECONDS = {"15 s": 15, "180 s": 180, "1 h": 3600}
GOPS, CLIPS, FRAMES = (12, 60, 250), (1, 4, 8, 16), (1, 2)
ENCODED_SECONDS, RATE, MARGIN = 180, 25, 1024
WAYS = ("official", "full", "seeking", "decord")


def write_video(path: Path, seconds: int, gop: int) -> None:
    ramp = np.add.outer(np.arange(240), np.arange(320))
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "g": str(gop), "keyint_min": str(gop), "sc_threshold": "0"}
        stream: Any = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(RATE * min(seconds, ENCODED_SECONDS)):
            picture = (np.stack([ramp + i, ramp + 2 * i, ramp - i], axis=-1) % 256).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    if seconds > ENCODED_SECONDS:
        repeat_video(path, seconds // ENCODED_SECONDS)


def repeat_video(path: Path, times: int) -> None:
    """The same packets over and over, in place of encoding an hour."""
    once = path.with_suffix(".once.mp4")
    path.rename(once)
    with av.open(str(path), "w") as container:
        stream: Any = None
        for lap in range(times):
            with av.open(str(once)) as source:
                stream = stream or container.add_stream_from_template(source.streams.video[0])
                shift = lap * (source.streams.video[0].duration or 0)
                for packet in source.demux(video=0):
                    if packet.pts is not None and packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        container.mux(packet)
    once.unlink()


def clips_of(path: Path, num_clips: int, num_frames: int, policy: str) -> tuple[ClipTimes, ...]:
    with Video.open(path) as video:
        generator = torch.Generator().manual_seed(num_clips)
        return sample_clips(video.timeline, num_clips=num_clips, num_frames=num_frames, fps=2.0, policy=policy, generator=generator)


def wanted(clips: tuple[ClipTimes, ...]) -> list[int]:
    return sorted({int(i) for clip in clips for i in clip.frame_index})


Pictures = dict[int, np.ndarray]  # by place in presentation order


def planned(path: Path, clips: tuple[ClipTimes, ...]) -> tuple[int, Pictures]:
    with Video.open(path) as video:
        pictures, _ = video.decode(wanted(clips))
        return video.frames_decoded, {i: picture.permute(1, 2, 0).numpy() for i, picture in pictures.items()}


def full(path: Path, clips: tuple[ClipTimes, ...]) -> tuple[int, Pictures]:
    keep, pictures, count = set(wanted(clips)), {}, 0
    with _open(path) as container:
        for i, frame in enumerate(container.decode(video=0)):
            count += 1
            if i in keep:
                pictures[i] = frame.to_ndarray(format="rgb24")
    return count, pictures


def seeking(path: Path, clips: tuple[ClipTimes, ...]) -> tuple[int, Pictures]:
    """PyAV as its manual has it: open once, and for each clip seek to the key frame before it and decode up to its end."""
    pictures, count = {}, 0
    with _open(path) as container:
        for clip in clips:
            keep = set(wanted((clip,)))
            for frame in _decode_from(container, _ticks(container, min(keep))):
                count += 1
                i = _index(container, frame.pts)
                if i in keep:
                    pictures[i] = frame.to_ndarray(format="rgb24")
                if i >= max(keep):
                    break
    return count, pictures


def official(path: Path, clips: tuple[ClipTimes, ...], *, uniform: bool) -> tuple[int, Pictures]:
    """The original's access pattern (OFFICIAL section 3).

    Each clip opens the file, seeks to the key frame 1024 ticks before its start
    and converts every frame up to the one after its end; uniform sampling
    first decodes the whole video for its last time.
    """
    pictures, count = {}, 0
    for number, clip in enumerate(clips):
        keep = set(wanted((clip,)))
        if uniform and number == 0 and len(clips) > 1:
            with _open(path) as container:
                count += sum(1 for _ in container.decode(video=0))
        with _open(path) as container:
            start, end = _ticks(container, min(keep)), _ticks(container, max(*keep, int(clip.end * RATE) - 1))
            window = []
            for frame in _decode_from(container, max(start - MARGIN, 0)):
                count += 1
                if frame.pts >= start:
                    window.append((_index(container, frame.pts), frame.to_ndarray(format="rgb24")))
                if frame.pts > end:
                    break
        pictures |= {i: picture for i, picture in window if i in keep}
    return count, pictures


def with_decord(path: Path, clips: tuple[ClipTimes, ...]) -> tuple[None, Pictures]:
    with Video.open(path, backend="decord") as video:
        pictures, _ = video.decode(wanted(clips))
        return None, {i: picture.permute(1, 2, 0).numpy() for i, picture in pictures.items()}


def _open(path: Path) -> Any:
    container = av.open(str(path))
    container.streams.video[0].codec_context.thread_type = "NONE"
    container.streams.video[0].codec_context.thread_count = 1
    return container


def _decode_from(container: Any, ticks: int) -> Iterator[Any]:
    container.seek(ticks, any_frame=False, backward=True, stream=container.streams.video[0])
    return container.decode(video=0)


def _ticks(container: Any, index: int) -> int:
    """The generated videos have a constant rate and begin at 0."""
    return round(index / RATE / container.streams.video[0].time_base)


def _index(container: Any, ticks: int) -> int:
    return round(float(ticks * container.streams.video[0].time_base) * RATE)


def ways(path: Path, clips: tuple[ClipTimes, ...], policy: str) -> dict[str, Callable[[], tuple[int | None, Pictures]]]:
    found: dict[str, Any] = {"ours": planned, "official": partial(official, uniform=policy == "official"), "full": full, "seeking": seeking}
    found |= {"decord": with_decord}
    return {name: partial(way, path, clips) for name, way in found.items()}


def measure(path: Path, num_clips: int, num_frames: int, policy: str, repeats: int) -> tuple[dict[str, int], dict[str, Timing]]:
    """Frames decoded and time of each way, and a check that all returned the same pixels."""
    clips, found = clips_of(path, num_clips, num_frames, policy), {}

    def kept(name: str, way: Callable[[], tuple[int | None, Pictures]]) -> Callable[[], None]:
        return lambda: found.update({name: way()})

    times = timed({name: kept(name, way) for name, way in ways(path, clips, policy).items()}, repeats=repeats, warmup=0)
    expected = found["full"][1]
    for name, (_, pictures) in found.items():
        assert pictures.keys() == expected.keys() and all(np.array_equal(pictures[i], expected[i]) for i in expected), f"{name} differs: {path}"
    return {name: count for name, (count, _) in found.items() if count is not None}, times


def rows_of(at: str, frames: dict[str, int], times: dict[str, Timing], targets: tuple[str, str] = ("", "")) -> list[Row]:
    others = ", ".join(f"{way} {times[way].milliseconds:.1f} ms" + (f" {frames[way]}" if way in frames else "") for way in WAYS[1:])
    return [
        Row(targets[0], f"frames decoded: {at}", "", frames["ours"], frames["official"], frames["official"] / frames["ours"]),
        compared(targets[1], f"time: {at}", times["ours"], times["official"], others),
    ]


def worst_case(folder: Path, gops: tuple[int, ...], clips: tuple[int, ...], repeats: int) -> list[Row]:
    """D3: where our planner is least ahead of the better of a full decode and a seek per clip."""
    by_frames, by_time = [], []
    for gop, num_clips in itertools.product(gops, clips):
        path = folder / f"d3-{gop}.mp4"
        if not path.exists():
            write_video(path, 15, gop)
        frames, times = measure(path, num_clips, 2, "official", repeats)
        at, best = f"15 s, GOP {gop}, {num_clips} x 2", min(frames["full"], frames["seeking"])
        by_frames.append(Row("D3 frames", f"worst case: {at}", "", frames["ours"], best, frames["ours"] / best))
        ours, fastest = times["ours"].cpu_milliseconds, min(times["full"].cpu_milliseconds, times["seeking"].cpu_milliseconds)
        by_time.append(Row("D3 time", f"worst case: {at}", "ms", ours, fastest, ours / fastest, note="CPU time, one thread"))
    return [max(rows, key=lambda row: row.ratio or 0) for rows in (by_frames, by_time)]


def transfer(path: Path) -> list[Row]:
    """D4: a frame as we send it to the device, and as the original's workers do."""
    with Video.open(path) as video:
        frame = video.frames_by_index([0]).frames
    ours, theirs = frame.nbytes, resize_and_pad(frame, 448).float().nbytes
    return [Row("D4", "bytes of a 320 x 240 frame to the device", "B", ours, theirs, theirs / ours, note="resized, padded and normalised there")]


def across_cores(path: Path, repeats: int, num_videos: int = 16, workers: int = 2) -> list[Row]:
    """The same video many times, as a data loader reads many: one process against one per core."""
    clips = clips_of(path, 8, 2, "official-random")
    with ProcessPoolExecutor(workers) as pool:
        found = timed(
            {
                "one": lambda: [decoded_frames(path, clips) for _ in range(num_videos)],
                "all": lambda: list(pool.map(decoded_frames, [path] * num_videos, [clips] * num_videos)),
            },
            repeats=repeats,
        )
    one, many = found["one"].milliseconds, found["all"].milliseconds
    note = f"{1000 * num_videos / many:.0f} videos/s against {1000 * num_videos / one:.0f}"
    return [Row("", f"{num_videos} videos, 8 x 2 random, {workers} processes against 1", "ms", many, one, one / many, found["all"].spread, note)]


def decoded_frames(path: Path, clips: tuple[ClipTimes, ...]) -> int:
    return planned(path, clips)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lengths", nargs="+", default=list(SECONDS), choices=SECONDS)
    parser.add_argument("--gops", nargs="+", type=int, default=GOPS)
    parser.add_argument("--quick", action="store_true", help="15 s and GOP 250 only")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lengths, gops = (["15 s"], (250,)) if args.quick else (args.lengths, args.gops)
    worst_clips = (1, 16) if args.quick else (1, 2, 4, 8, 16, 32)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for length, gop in itertools.product(lengths, gops):
            path = folder / f"{SECONDS[length]}-{gop}.mp4"
            write_video(path, SECONDS[length], gop)
            shown = length == "15 s" and gop == 250
            repeats = args.repeats if length != "1 h" else 1
            for num_clips, num_frames in itertools.product(CLIPS, FRAMES):
                targets = ("D1 frames", "D1 time") if shown and (num_clips, num_frames) == (16, 2) else ("", "")
                at = f"{length}, GOP {gop}, {num_clips} x {num_frames} uniform"
                rows += rows_of(at, *measure(path, num_clips, num_frames, "official", repeats), targets)
            at, targets = f"{length}, GOP {gop}, 8 x 2 random", ("D2 frames", "D2 time") if shown else ("", "")
            rows += rows_of(at, *measure(path, 8, 2, "official-random", repeats), targets)
            print(f"{length}, GOP {gop}: done", flush=True)
            if shown:
                rows += transfer(path) + across_cores(path, args.repeats)
        rows += worst_case(folder, (12, 30, 60, 250) if tuple(gops) == GOPS else tuple(gops), worst_clips, args.repeats)
    rows.sort(key=lambda row: row.target == "")
    print(table(rows, TARGETS))
    print(
        write(
            "decode-quick" if args.quick else "decode",
            rows,
            seed=0,
            settings=f"generated H.264, 320 x 240, 25 frames/s, median of {args.repeats}, an hour once",
        )
    )


if __name__ == "__main__":
    main()
