"""Frames decoded and seconds for sampled clips: seek planner, full decode, decord.  `make bench`.

Prints one JSON line per row; the videos are generated (320 x 240, 25 frames/s, moving gradient), single-threaded, median of `--repeats`.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch

from clipbert.sampling import sample_clips
from clipbert.video import Video

SECONDS = {"15 s": 15, "180 s": 180}
GOPS = (12, 60, 250)
CLIPS = (1, 4, 16)


def write_video(path: Path, seconds: int, gop: int) -> None:
    ramp = np.add.outer(np.arange(240), np.arange(320))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "g": str(gop), "keyint_min": str(gop), "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(25 * seconds):
            picture = (np.stack([ramp + i, ramp + 2 * i, ramp - i], axis=-1) % 256).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def wanted_frames(path: Path, num_clips: int) -> list[int]:
    with Video.open(path) as video:
        clips = sample_clips(video.timeline, num_clips=num_clips, num_frames=2, fps=2.0, policy="official")
    return sorted({int(i) for clip in clips for i in clip.frame_index})


def planned(path: Path, wanted: list[int]) -> int:
    with Video.open(path) as video:
        video.frames_by_index(wanted)
        return video.frames_decoded


def full(path: Path, wanted: list[int]) -> int:
    keep, count = set(wanted), 0
    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            count += 1
            if i in keep:
                frame.to_ndarray(format="rgb24")
    return count


def with_decord(path: Path, wanted: list[int]) -> None:
    with Video.open(path, backend="decord") as video:
        video.frames_by_index(wanted)


def measure(run: Callable[[Path, list[int]], int | None], path: Path, wanted: list[int], repeats: int) -> tuple[int | None, float]:
    times, decoded = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        decoded = run(path, wanted)
        times.append(time.perf_counter() - start)
    return decoded, 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine = {"machine": platform.machine(), "av": av.__version__, "repeats": args.repeats}
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds in SECONDS.items():
            for gop in GOPS:
                path = Path(folder) / f"{seconds}-{gop}.mp4"
                write_video(path, seconds, gop)
                for num_clips in CLIPS:
                    wanted = wanted_frames(path, num_clips)
                    row: dict[str, object] = {"video": name, "gop": gop, "clips": num_clips, "frames_per_clip": 2}
                    for label, run in (("planned", planned), ("full", full), ("decord", with_decord)):
                        decoded, milliseconds = measure(run, path, wanted, args.repeats)
                        row |= {f"{label}_ms": round(milliseconds, 1)} | ({f"{label}_frames": decoded} if decoded else {})
                    print(json.dumps(row | machine), flush=True)


if __name__ == "__main__":
    main()
