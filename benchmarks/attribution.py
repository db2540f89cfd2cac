"""What explaining an answer costs: each method of `clipbert.attribution` on one clip, after the answer (clips: on all clips).

Then what testing a map of cells costs, by `clipbert.faithfulness` at its defaults.  Prints one JSON line per method: medians of `--repeats` runs on
one thread, of the clock's seconds and of the process's own CPU seconds, which a busy machine does not stretch.  The video is generated (15 s,
320 x 240, 25 frames/s), so that it has padding; the CNN ran before.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from decode import write_video

QUESTION = "what is the woman doing?"


def seconds(run: Any, repeats: int) -> tuple[list[float], list[float]]:
    """Of the clock and of the CPU, each run once before."""
    run()
    wall, cpu = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="real")
    parser.add_argument("--num-clips", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    sys.path[:0] = [str(Path(__file__).parents[1])]  # this file's own name would hide the package
    import torch

    from clipbert.attribution import METHODS, attribute
    from clipbert.faithfulness import faithfulness
    from clipbert.faithfulness_units import PERTURBATIONS
    from clipbert.predict import Predictor

    torch.set_num_threads(1)
    predictor = Predictor.from_pretrained(args.model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, seconds=15, gop=50)
        video = predictor.encode(path, num_clips=args.num_clips)
        predictor.answer(video, QUESTION)
        runs: dict[str, Any] = {
            name: partial(attribute, predictor, video, QUESTION, method=name, clips=None if method.level == "clips" else [0])
            for name, method in METHODS.items()
        }
        cells = attribute(predictor, video, QUESTION, method="cell_occlusion", clips=[0])
        for how in PERTURBATIONS:
            file = path if how == "blur" else None
            runs[f"faithfulness ({how})"] = partial(faithfulness, predictor, video, QUESTION, cells, perturbation=how, file=file)
        for name, run in runs.items():
            load = round(os.getloadavg()[0], 1)
            wall, cpu = seconds(run, args.repeats)
            row: dict[str, Any] = {
                "command": f"benchmarks/attribution.py {' '.join(sys.argv[1:])}".strip(),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU", "threads": 1, "load": load, "model": args.model,
                "N": args.num_clips, "T": video.times.shape[1], "method": name, "wall_seconds": round(statistics.median(wall), 3),
                "cpu_seconds": round(statistics.median(cpu), 3),
            }  # fmt: skip
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
