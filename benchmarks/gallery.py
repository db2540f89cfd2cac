"""A search of 100,000 videos: seconds a query after warm-up and memory.  The index is synthesised at its true size; content does not matter.

Prints one JSON line per row: features of `real` (N=4 clips of T=2 frames, 7 x 7 cells of 384, int8: 15 GB of disk) and one contrastive vector a
clip (float16).  Candidates by the vectors of all, then those read with all clips, by the model as it is (its match score is the vectors' alone), or
with its cross-encoder weighing 1, which reads the candidates' grids.  Each row is a process of its own; memory is its peak resident set.

    python benchmarks/gallery.py --index /tmp/gallery.index --videos 100000
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from clipbert import index_file
from clipbert.index_entry import Entry
from clipbert.index_file import create_index
from clipbert.index_segment import Entries, segment_of
from clipbert.predict import Predictor
from clipbert.retrieval import VideoIndex
from clipbert.types import EncodedVideo

CLIPS, FRAMES, GRID, WIDTH, SEGMENT_VIDEOS = 4, 2, 7, 384, 500
QUERIES = ("a dog runs on the beach", "two people play the piano in a room", "a man rides a horse", "a red car", "children swim in a pool")
ROWS = (("as it is", "float32", 64), ("cross-encoder", "float32", 16), ("cross-encoder", "bfloat16", 64))


def entries(first: int, features: torch.Tensor, generator: torch.Generator) -> list[Entry]:
    vectors = torch.nn.functional.normalize(torch.randn(SEGMENT_VIDEOS, CLIPS, WIDTH, generator=generator), dim=-1)
    spans, found = torch.tensor([[n, n + 1] for n in range(CLIPS)], dtype=torch.float64), []
    for i in range(SEGMENT_VIDEOS):
        name = f"{first + i:09d}"
        keys = tuple(f"{name} {n}" for n in range(CLIPS))
        video = EncodedVideo(
            features=features[i], times=spans, spans=spans, duration=15.0, key=name, policy="paper", shortened=(False,) * CLIPS, clip_keys=keys,
            frame_size=(240, 320),
        )  # fmt: skip
        found.append(Entry(f"/gallery/{name}.mp4", name, 1, 1, video, vectors[i]))
    return found


def synthesise(path: Path, videos: int, predictor: Predictor) -> None:
    """The grids of every segment are the same numbers; vectors and names are its own."""
    generator = torch.Generator().manual_seed(0)
    about = VideoIndex.empty(predictor, num_clips=CLIPS)._about()
    features = torch.rand(SEGMENT_VIDEOS, CLIPS, FRAMES, GRID, GRID, WIDTH, generator=generator)
    grids = segment_of(entries(0, features, generator), "int8").blocks
    create_index(path, Entries(), about, "int8")
    with path.open("rb+") as file:
        file.seek(0, os.SEEK_END)
        records = []
        for first in range(0, videos, SEGMENT_VIDEOS):
            own = segment_of(entries(first, features[..., :1, :1, :1], generator), "int8").blocks
            records.append({"blocks": index_file._write_blocks(file, own | {name: grids[name] for name in ("features", "scales")}), "dead": []})
        index_file._commit(file, 2, {"about": about, "store": "int8", "segments": records})


def measure(path: Path, scored_by: str, dtype: str, shortlist: int, repeats: int) -> dict[str, object]:
    predictor = Predictor.from_pretrained("real", dtype=dtype)
    if scored_by == "cross-encoder":
        assert predictor.model.model.config.heads
        predictor.model.model.config.heads["retrieval"]["match_weight"] = 1.0
    start = time.perf_counter()
    index = VideoIndex.load(path)
    index._predictor = predictor  # of another precision than the one that is said to have made it
    loaded = time.perf_counter() - start
    index.search("warm-up", cascade="vectors", shortlist=shortlist)
    whole, cheap = [], []
    for n in range(repeats):
        query = f"{QUERIES[n % len(QUERIES)]} {n}"
        start = time.perf_counter()
        index.candidates(query, "vectors", shortlist)
        cheap.append(time.perf_counter() - start)
        start = time.perf_counter()
        index.search(query, cascade="vectors", shortlist=shortlist)
        whole.append(time.perf_counter() - start)
    return {
        "videos": len(index), "clips": CLIPS, "frames": FRAMES, "grid": [GRID, GRID, WIDTH], "store": "int8", "scored_by": scored_by, "dtype": dtype,
        "shortlist": shortlist, "seconds_to_load": round(loaded, 2), "seconds_a_query": round(statistics.median(whole), 3),
        "seconds_slowest": round(max(whole), 3), "seconds_of_vectors": round(statistics.median(cheap), 3),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2), "index_gb": round(path.stat().st_size / 1e9, 2),
        "target": "under 2 s a query after warm-up, under 4 GB", "repeats": repeats, "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU", "load": round(os.getloadavg()[0], 1), "torch": torch.__version__, "seed": 0,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--index", type=Path, required=True, help="the file to synthesise, kept if it is there")
    parser.add_argument("--videos", type=int, default=100_000, help=f"a multiple of {SEGMENT_VIDEOS}")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--row", type=int, help="measure this row in this process")
    args = parser.parse_args()
    if args.row is not None:
        print(json.dumps(measure(args.index, *ROWS[args.row], args.repeats)), flush=True)
        return
    if not args.index.exists():
        synthesise(args.index, args.videos, Predictor.from_pretrained("real"))
    for row in range(len(ROWS)):
        subprocess.run([sys.executable, __file__, "--index", str(args.index), "--repeats", str(args.repeats), "--row", str(row)], check=True)


if __name__ == "__main__":
    main()
