"""Every text with every clip of a gallery: ours against the official algorithm, and what each difference brings alone.  `--cascade`: I4 and I5.

Prints one JSON line per row.  "official" is the original's loop (`inference_retrieval`) written straight, in this process, with the same weights: for
each video and mini-batch of texts, padded to `--pad-to`, for each clip, the CNN on that clip's frames again, then the transformer with a full last
layer.  Each factor is one change to it.  Frames are noise and texts drawn words: time does not depend on them.  Scores of all rows are compared.

    OMP_NUM_THREADS=1 python benchmarks/retrieval.py --model real --videos 4 --texts 16 --clips 4
    OMP_NUM_THREADS=1 python benchmarks/retrieval.py --cascade
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from clipbert.bundled import model_folder
from clipbert.config import ClipBertConfig, HeadConfig
from clipbert.index_entry import Entry
from clipbert.matching import log_odds_of_clips
from clipbert.model import ClipBertForSequenceClassification
from clipbert.per_clip import ClipBertPerClip
from clipbert.predict import Predictor
from clipbert.processing import ClipBertProcessor
from clipbert.retrieval import VideoIndex
from clipbert.types import EncodedVideo

WORDS = "a man woman dog plays the guitar on street red ball runs over green grass and jumps into water while people watch".split()


@dataclass(frozen=True)
class Factors:
    """Ways in which a loop differs from the official one."""

    cnn_once: bool = False
    unpadded: bool = False
    cls_only: bool = False
    batched: bool = False
    """All clips of a video in one pass of the CNN, and in one of the transformer."""


def loop(model: ClipBertForSequenceClassification, pixels: Tensor, texts: list[tuple[Tensor, Tensor]], head: str, factors: Factors) -> Tensor:
    """Log-odds [M, V * N]; `pixels` are [V, N, T, 3, S, S], `texts` mini-batches, padded."""
    columns = []
    for clips in (part for video in pixels for part in ([video] if factors.batched else video.split(1))):
        features = model.encode_clips(clips[None]) if factors.cnn_once else None
        rows = []
        for ids, mask in texts:
            grid = model.encode_clips(clips[None]) if features is None else features
            fused = model.clipbert.fuse(grid, ids, mask, torch.zeros(len(ids), dtype=torch.int64))
            fusion, mlp = model.clipbert.fusion, model.heads[head].mlp
            pooled = fusion.pooled(fused.tokens, fused.mask) if factors.cls_only else fusion.pool(fusion.states(fused.tokens, fused.mask))
            rows.append(log_odds_of_clips(mlp(pooled).unflatten(0, (len(ids), len(clips)))))
        columns.append(torch.cat(rows))
    return torch.cat(columns, dim=1)


def batches(processor: ClipBertProcessor, texts: list[str], size: int, pad_to: int | None) -> list[tuple[Tensor, Tensor]]:
    found = []
    for first in range(0, len(texts), size):
        ids, mask = processor.texts(texts[first : first + size])
        more = (pad_to or ids.shape[1]) - ids.shape[1]
        found.append((torch.nn.functional.pad(ids, (0, more)), torch.nn.functional.pad(mask, (0, more))))
    return found


def compare(args: argparse.Namespace) -> None:
    if args.model == "paper":
        torch.manual_seed(args.seed)
        model = ClipBertForSequenceClassification(ClipBertConfig(heads={"retrieval": HeadConfig("retrieval", 2)})).eval()
        processor = ClipBertProcessor.from_config(model.config)
    else:
        folder = model_folder(args.model)
        model = ClipBertForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
        processor = ClipBertProcessor.from_pretrained(folder)
    generator, side = torch.Generator().manual_seed(args.seed), processor.image_size
    frames = 255 * torch.rand(args.videos, args.clips, args.frames, 3, side, side, generator=generator)
    lengths = torch.randint(4, 19, (args.texts,), generator=generator).sort().values  # with [CLS] and [SEP] 13 on average, as MSRVTT's captions
    texts = [" ".join(WORDS[int(w)] for w in torch.randint(len(WORDS), (int(n),), generator=generator)) for n in lengths]
    fast = ClipBertPerClip(model, processor, name=args.model, device="cpu", dtype="float32")
    pixels = processor.normalised(frames.flatten(0, 2)).unflatten(0, frames.shape[:3])

    def one_loop(factors: Factors) -> Tensor:
        return loop(model, pixels, batches(processor, texts, args.batch, None if factors.unpadded else args.pad_to), "retrieval", factors)

    def ours() -> Tensor:
        features = fast.encode_pixels(frames.flatten(0, 2)).unflatten(0, (args.videos * args.clips, args.frames))
        return log_odds_of_clips(fast.score(features, texts, "retrieval"))

    alone = {field.name: replace(Factors(), **{field.name: True}) for field in fields(Factors)}
    everything = Factors(**{field.name: True for field in fields(Factors)})
    runs: dict[str, Callable[[], Tensor]] = {"official": lambda: one_loop(Factors())}
    runs |= {f"official, {name}": lambda factors=factors: one_loop(factors) for name, factors in alone.items()}
    runs |= {"official, all four": lambda: one_loop(everything), "ours": ours}
    with torch.inference_mode():
        expected = runs["official"]()
        median = 0.0
        for name, run in runs.items():
            difference = float((run() - expected).abs().max())
            times = []
            for _ in range(args.repeats):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            median = statistics.median(times) if name == "official" else median
            sizes = {"V": args.videos, "Q": args.texts, "N": args.clips, "T": args.frames, "text_batch": args.batch, "pad_to": args.pad_to}
            row = {
                "model": args.model,
                **sizes,
                "mean_tokens": float((lengths + 2).float().mean()),
                "algorithm": name,
                "seconds": statistics.median(times),
            }
            row |= {"spread": [min(times), max(times)], "times_faster": median / statistics.median(times), "largest_difference": difference}
            print(json.dumps(row | about(args)), flush=True)


def about(args: argparse.Namespace) -> dict[str, Any]:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, CPU"
    told = {"dtype": "float32", "threads": torch.get_num_threads(), "repeats": args.repeats, "machine": machine}
    return told | {"load": round(os.getloadavg()[0], 1), "torch": torch.__version__, "seed": args.seed}


def cascade(args: argparse.Namespace) -> None:
    """Times of one query over a gallery of `--gallery` videos; a small cross-encoder with random weights, so only times mean something."""
    torch.manual_seed(args.seed)
    config = ClipBertConfig(
        hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=512, heads={"retrieval": HeadConfig("retrieval", 2)},
        stem_channels=8, bottleneck_channels=4, res2_channels=16,
    )  # fmt: skip
    processor = ClipBertProcessor.from_config(config)
    predictor = Predictor(ClipBertForSequenceClassification(config), processor, name="small", cache_bytes=(0, 0, 64 << 20))
    exact: dict[int, float] = {}
    found: dict[int, float] = {}
    for num_clips in (1, 16):
        index = VideoIndex.empty(predictor, num_clips=num_clips)
        spans = torch.arange(num_clips, dtype=torch.float64)[:, None].expand(-1, 2)
        for name in map(str, range(args.gallery)):
            features, keys = torch.randn(num_clips, 1, 7, 7, 128).half(), tuple(f"{name} {n}" for n in range(num_clips))
            video = EncodedVideo(features, spans[:, :1], spans, 15.0, name, shortened=(False,) * num_clips, clip_keys=keys)
            index.entries[name] = Entry(name, name, 0, 0, video)
        for n, (times, how) in enumerate(((exact, {}), (found, {"cascade": "one-clip", "shortlist": 64}))):
            start = time.perf_counter()
            index.search(f"a dog runs after a red ball {n}", **how)  # another query each time: none is in the cache of logits
            times[num_clips] = time.perf_counter() - start
    row = {"gallery": args.gallery, "model": "3 layers of 128, random", "N": 16, "T": 1, "cascade": "one-clip", "shortlist": 64}
    row |= {"exact_seconds": exact[16], "cascade_seconds": found[16], "exact_over_cascade": exact[16] / found[16], "target_I4": ">= 6"}
    row |= {"cascade_seconds_N1": found[1], "t16_over_t1": found[16] / found[1], "target_I5": "<= 2.3"}
    print(json.dumps(row | about(args) | {"repeats": 1}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="real", help="a bundled model or folder with a head `retrieval`, or paper: full size, random weights")
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="texts of a mini-batch of the official loop (64 in its README)")
    parser.add_argument("--pad-to", type=int, default=20, help="its max_txt_len (20 for MSRVTT retrieval)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cascade", action="store_true")
    parser.add_argument("--gallery", type=int, default=1000, help="videos of --cascade")
    args = parser.parse_args()
    (cascade if args.cascade else compare)(args)


if __name__ == "__main__":
    main()
