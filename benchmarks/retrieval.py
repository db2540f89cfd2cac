"""Every text with every clip of a gallery: ours against the official algorithm, and each of its factors alone; the cascade; ranks.

"Official" is the original's loop (`inference_retrieval`) with our weights, in this process: for each video and mini-batch of texts, padded to
`max_txt_len`, for each clip, the CNN on that clip's frames again, then the transformer with a full last layer.  Frames are noise and texts drawn
words: time does not depend on them.  Writes benchmarks/results/retrieval-DATE.json.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from inference import full_size
from official import ALONE, OFFICIAL, OURS, Inference, Recipe
from rows import Row, compared, table, timed, write
from targets import TARGETS
from torch import Tensor, nn

from clipbert.allocator import keep_freed_memory
from clipbert.bundled import model_folder
from clipbert.config import ClipBertConfig, HeadConfig
from clipbert.index_entry import Entry
from clipbert.matching import log_odds_of_clips
from clipbert.metrics import retrieval_metrics
from clipbert.model import ClipBertForSequenceClassification
from clipbert.per_clip import ClipBertPerClip
from clipbert.predict import Predictor
from clipbert.processing import ClipBertProcessor
from clipbert.retrieval import VideoIndex
from clipbert.types import EncodedVideo

WORDS = "a man woman dog plays the guitar on street red ball runs over green grass and jumps into water while people watch".split()
BATCH, PADDED_TO = 8, 20  # texts of a mini-batch of the official loop (64 in its README), its max_txt_len for MSRVTT
Texts = list[tuple[Tensor, Tensor]]


@contextmanager
def counted(cnn: nn.Module) -> Iterator[list[int]]:
    """The sizes of the batches of frames that pass the CNN within it."""
    sizes: list[int] = []
    hook = cnn.register_forward_hook(lambda _, frames, __: sizes.append(len(frames[0])))
    try:
        yield sizes
    finally:
        hook.remove()


@torch.inference_mode()
def loop(inference: Inference, pixels: Tensor, texts: Texts, recipe: Recipe, *, cnn_once: bool = False) -> Tensor:
    """Log-odds [M, V * N] of mini-batches of texts with `pixels` [V, N, T, 3, S, S]."""
    columns = []
    for clips in (part for video in pixels for part in ([video] if recipe.batched else video.split(1))):
        grid, rows = inference.grid(clips, recipe) if cnn_once else None, []
        for ids, mask in texts:
            found = inference.scored(inference.grid(clips, recipe) if grid is None else grid, ids, mask, recipe)
            rows.append(log_odds_of_clips(found))
        columns.append(torch.cat(rows))
    return torch.cat(columns, dim=1)


def batches(processor: ClipBertProcessor, texts: list[str], pad_to: int) -> Texts:
    """Mini-batches, padded to `pad_to` or, where that is shorter, to the longest of each."""
    found = []
    for first in range(0, len(texts), BATCH):
        ids, mask = processor.texts(texts[first : first + BATCH])
        more = max(pad_to - ids.shape[1], 0)
        found.append((nn.functional.pad(ids, (0, more)), nn.functional.pad(mask, (0, more))))
    return found


def drawn_texts(count: int, generator: torch.Generator) -> list[str]:
    """4 to 18 words; with [CLS] and [SEP] 13 tokens on average, as MSRVTT's captions."""
    lengths = torch.randint(4, 19, (count,), generator=generator).sort().values
    return [" ".join(WORDS[int(w)] for w in torch.randint(len(WORDS), (int(n),), generator=generator)) for n in lengths]


def exact(args: argparse.Namespace) -> list[Row]:
    """I1 and I2, and what each difference brings alone."""
    model, processor = loaded(args.model, args.seed)
    generator, side = torch.Generator().manual_seed(args.seed), processor.image_size
    frames = 255 * torch.rand(args.videos, args.num_clips, args.num_frames, 3, side, side, generator=generator)
    texts, pixels = drawn_texts(args.texts, generator), processor.normalised(frames.flatten(0, 2)).unflatten(0, frames.shape[:3])
    fast, inference = ClipBertPerClip(model, processor, name=args.model, device="cpu", dtype="float32"), Inference(model, "retrieval")
    found: dict[str, Tensor] = {}
    frames_of: dict[str, int] = {}

    def ours() -> Tensor:
        features = fast.encode_pixels(frames.flatten(0, 2)).unflatten(0, (args.videos * args.num_clips, args.num_frames))
        return log_odds_of_clips(fast.score(features, texts, "retrieval"))

    def by(recipe: Recipe, *, cnn_once: bool = False) -> Tensor:
        return loop(inference, pixels, batches(processor, texts, 0 if recipe.unpadded else PADDED_TO), recipe, cnn_once=cnn_once)

    alone = {name: partial(by, recipe) for name, recipe in ALONE.items() if name != "bfloat16"} | {"cnn_once": partial(by, OFFICIAL, cnn_once=True)}
    runs: dict[str, Callable[[], Tensor]] = {"official": partial(by, OFFICIAL), "ours": ours, "all": partial(by, OURS, cnn_once=True), **alone}

    def run(name: str) -> None:
        found[name] = runs[name]()

    for name, cnn in (("official", inference.cnn(OFFICIAL).cnn), ("ours", fast.backbone.cnn)):
        with counted(cnn) as sizes:
            run(name)
        frames_of[name] = sum(sizes)
    times = timed({name: partial(run, name) for name in runs}, repeats=args.repeats, warmup=0)
    off = {name: f"log-odds within {float((scores - found['official']).abs().max()):.0e}" for name, scores in found.items()}
    once, at = args.videos * args.num_clips * args.num_frames, f"{args.videos} videos x {args.num_clips} clips x {args.texts} texts"
    note = f"official {frames_of['official'] / once:g} times, with texts {BATCH} at a time"
    return [
        Row("I1", f"frames through the CNN, {at}", "", frames_of["ours"], frames_of["official"], frames_of["ours"] / once, note=note),
        compared("I2", f"all pairs, exact, {at}", times["ours"], times["official"], off["ours"]),
        compared("", "the original with all of them in its own loop", times["all"], times["official"], off["all"]),
        *(compared("", f"the original with {name.replace('_', ' ')} alone", times[name], times["official"], off[name]) for name in alone),
    ]


def loaded(name: str, seed: int) -> tuple[ClipBertForSequenceClassification, ClipBertProcessor]:
    """A bundled model or folder with a head `retrieval`, or "paper": full size, random weights."""
    if name == "paper":
        model = full_size(seed, {"retrieval": HeadConfig("retrieval", 2)})
        return model.eval(), ClipBertProcessor.from_config(model.config)
    folder = model_folder(name)
    return ClipBertForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval(), ClipBertProcessor.from_pretrained(folder)


def cascade(gallery: int, seed: int) -> list[Row]:
    """I4 and I5: one query over a gallery; a small cross-encoder with random weights, so only times mean something."""
    torch.manual_seed(seed)
    config = ClipBertConfig(
        hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=512, heads={"retrieval": HeadConfig("retrieval", 2)},
        stem_channels=8, bottleneck_channels=4, res2_channels=16,
    )  # fmt: skip
    processor = ClipBertProcessor.from_config(config)
    predictor = Predictor(ClipBertForSequenceClassification(config), processor, name="small", cache_bytes=(0, 0, 64 << 20))
    times: dict[tuple[str, int], float] = {}
    for num_clips in (1, 16):
        index = VideoIndex.empty(predictor, num_clips=num_clips)
        spans = torch.arange(num_clips, dtype=torch.float64)[:, None].expand(-1, 2)
        for name in map(str, range(gallery)):
            features, keys = torch.randn(num_clips, 1, 7, 7, 128).half(), tuple(f"{name} {n}" for n in range(num_clips))
            video = EncodedVideo(features, spans[:, :1], spans, 15.0, name, shortened=(False,) * num_clips, clip_keys=keys)
            index.entries[name] = Entry(name, name, 0, 0, video)
        for n, (how, options) in enumerate((("exact", {}), ("cascade", {"cascade": "one-clip", "shortlist": 64}))):
            start = time.perf_counter()
            index.search(f"a dog runs after a red ball {n}", **options)  # another query each time: none is in the cache of logits
            times[how, num_clips] = 1000 * (time.perf_counter() - start)
    fast, slow, first = times["cascade", 16], times["exact", 16], times["cascade", 1]
    return [
        Row(
            "I4", f"one query over {gallery:,} videos, N=16: 1 clip -> top 64 -> 16 clips", "ms", fast, slow, slow / fast, note="random weights, once"
        ),
        Row("I5", f"the cascade at N=16 against N=1, {gallery:,} videos", "ms", fast, first, fast / first, note="random weights, once"),
    ]


def ranks(seed: int, permutations: int = 100) -> Row:
    """R2, with scores rounded to one decimal, so that a third of the videos tie."""
    generator = torch.Generator().manual_seed(seed)
    scores, index = torch.randn(60, 60, generator=generator).mul(10).round().div(10), torch.arange(60)
    expected, off = retrieval_metrics(scores, index), 0.0
    for _ in range(permutations):
        order = torch.randperm(60, generator=generator)
        found = retrieval_metrics(scores[:, order], order.argsort())
        off = max(off, *(abs(found[name] - value) for name, value in expected.items()))
    return Row("R2", f"R@k and ranks, gallery of 60 with ties, {permutations} orders", "", off, ratio=off, note="largest difference")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="real", help="a bundled model or folder with a head `retrieval`, or paper: full size, random weights")
    parser.add_argument("--videos", type=int, default=2)
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--num-clips", type=int, default=16)
    parser.add_argument("--num-frames", type=int, default=2)
    parser.add_argument("--gallery", type=int, default=1000, help="videos of the cascade")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="16 texts, 2 clips, once; a gallery of 200")
    args = parser.parse_args()
    if args.quick:
        args.texts, args.num_clips, args.repeats, args.gallery = 16, 2, 1, 200
    keep_freed_memory()
    rows = [*exact(args), *cascade(args.gallery, args.seed), ranks(args.seed)]
    print(table(rows, TARGETS))
    settings = (
        f"model {args.model}, N={args.num_clips}, T={args.num_frames}, text padded to {PADDED_TO} by the original, float32, median of {args.repeats}"
    )
    print(write("retrieval-quick" if args.quick else "retrieval", rows, seed=args.seed, settings=settings))


if __name__ == "__main__":
    main()
