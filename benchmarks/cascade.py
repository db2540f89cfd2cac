"""What a cascade keeps of the exact ranking (I4): the first hit, the first ten, and R@1, for shortlists of several lengths.

The model `synthetic` searches videos drawn with another seed than its training's for captions, each of one scene of one video, the first to the fifth
in turn: few clips show it, so that one clip of a video is a poor witness.  A clip that the first stage read is not read again.  Counts, no times;
those are of `retrieval.py`.  Writes benchmarks/results/cascade-DATE.json.
"""

import argparse
import itertools
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from rows import Row, table, write
from targets import TARGETS

from clipbert.allocator import keep_freed_memory
from clipbert.data.synthetic import make_dataset
from clipbert.metrics import binomial_interval
from clipbert.predict import Predictor
from clipbert.retrieval import CASCADE_CLIPS, VideoIndex

NUM_CLIPS = 16
SPLIT = "train"  # the model was trained on other videos
SHORTLISTS = (0.125, 0.25, 0.5)  # of all videos


def queries(folder: Path, num_videos: int) -> dict[Path, str]:
    """A caption of each of the first videos: of its k-th scene for video k, and again from the first."""
    captions: dict[Path, list[str]] = {}
    for line in (folder / f"captions_{SPLIT}.jsonl").read_text().splitlines():
        row = json.loads(line)
        captions.setdefault(folder / row["video"], []).append(row["caption"])
    return {video: told[k % len(told)] for k, (video, told) in enumerate(list(captions.items())[:num_videos])}


def kept(index: VideoIndex, asked: dict[Path, str]) -> list[Row]:
    """The rows of each shortlist; R@1 of the exact search first."""
    wanted = {query: str(video) for video, query in asked.items()}
    exact = {query: [hit.path for hit in index.search(query)] for query in wanted}
    right, total = sum(exact[query][0] == video for query, video in wanted.items()), len(wanted)
    rows = [Row("", f"R@1, exact, {total} captions, {total} videos", "%", 100 * right / total)]
    lengths = sorted({max(10, round(share * total)) for share in SHORTLISTS})
    for (cascade, clips), length in itertools.product(CASCADE_CLIPS.items(), lengths):
        found = {query: [hit.path for hit in index.search(query, cascade=cascade, shortlist=length)] for query in wanted}
        same = sum(found[query][0] == paths[0] for query, paths in exact.items())
        ten = sum(len(set(found[query]) & set(paths)) / len(paths) for query, paths in exact.items()) / total
        still = sum(found[query][0] == video for query, video in wanted.items())
        read = (total * clips + length * (NUM_CLIPS - clips)) / (total * NUM_CLIPS)
        at, low = f"{clips} of {NUM_CLIPS} clips -> top {length} of {total} videos", binomial_interval(same, total)[0]
        kept_note = f"{same} of {total}, 95 %: at least {100 * low:.0f} %; {100 * ten:.0f} % of the first ten"
        note = f"{kept_note}; R@1 {100 * still / total:.1f} %; {100 * read:.0f} % of the clips read"
        rows.append(Row("I4 first", f"first hits kept: {at}", "%", 100 * same / total, 100, same / total, note=note))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-videos", type=int, default=80)
    parser.add_argument("--seed", type=int, default=5, help="of the drawn videos; the model was trained on those of 1")
    parser.add_argument("--quick", action="store_true", help="12 videos")
    args = parser.parse_args()
    keep_freed_memory()
    num_videos = 12 if args.quick else args.num_videos
    with TemporaryDirectory(prefix="clipbert-cascade-") as scratch:
        folder = Path(scratch) / "synthetic"
        make_dataset(folder, num_videos=num_videos * 5 // 4, seed=args.seed)
        asked = queries(folder, num_videos)
        rows = kept(VideoIndex.build(sorted(asked), Predictor.from_pretrained("synthetic"), num_clips=NUM_CLIPS), asked)
    print(table(rows, TARGETS))
    settings = f"model synthetic, N={NUM_CLIPS}, T=4, {len(asked)} videos of split {SPLIT} that it never saw, a caption of one scene of each"
    print(write("cascade-quick" if args.quick else "cascade", rows, seed=args.seed, settings=settings))


if __name__ == "__main__":
    main()
