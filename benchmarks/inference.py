"""One video, one 12-token question, N_test=16, full-size model, CPU: the original's algorithm beside ours, and each factor alone.

Same random weights, same pixels, interleaved runs in one process.  Writes benchmarks/results/inference-DATE.json; `--quick` takes fewer clips.
"""

import argparse
from dataclasses import replace
from functools import partial

import torch
from official import ALONE, OFFICIAL, OURS, Inference
from rows import Row, compared, table, timed, write
from targets import TARGETS
from torch import Tensor

from clipbert.allocator import keep_freed_memory
from clipbert.config import ClipBertConfig, HeadConfig
from clipbert.model import ClipBertForSequenceClassification

QUESTION_TOKENS, PADDED_TO, ANSWERS = 12, 100, 1500
PADDED_TO_LONGEST = replace(OFFICIAL, unpadded=True)  # one question: its own length is the longest of its batch
BFLOAT16 = replace(OURS, bfloat16=True)


def question(config: ClipBertConfig) -> tuple[Tensor, Tensor]:
    """Random words, padded as MSRVTT-QA's are."""
    mask = (torch.arange(PADDED_TO) < QUESTION_TOKENS)[None]
    return torch.randint(1000, config.vocab_size, (1, PADDED_TO)) * mask, mask


def full_size(seed: int, heads: dict[str, HeadConfig]) -> ClipBertForSequenceClassification:
    torch.manual_seed(seed)
    return ClipBertForSequenceClassification(ClipBertConfig(heads=heads))


def relative_error(found: Tensor, exact: Tensor) -> float:
    """The largest difference, of the largest value."""
    return float((found - exact).abs().max() / exact.abs().max())


def answering(inference: Inference, pixels: Tensor, repeats: int, warmup: int) -> list[Row]:
    """The whole answer under every recipe, with the largest difference of a logit beside each."""
    text = question(inference.model.config)
    recipes = {"official": OFFICIAL, "longest": PADDED_TO_LONGEST, "ours": OURS, "ours in bfloat16": BFLOAT16} | ALONE
    logits: dict[str, Tensor] = {}

    def run(name: str) -> None:
        logits[name] = inference.clip_logits(pixels, *text, recipes[name])

    found = timed({name: partial(run, name) for name in recipes}, repeats=repeats, warmup=warmup)
    off = {name: relative_error(values, logits["official"]) for name, values in logits.items()}

    def row(target: str, name: str, ours: str, official: str) -> Row:
        return compared(target, name, found[ours], found[official], f"logits within {off[ours]:.0e} of the largest")

    return [
        row("QA float32", "answer, float32", "ours", "official"),
        row("QA bfloat16", "answer, bfloat16", "ours in bfloat16", "official"),
        row("", "answer, float32, against the original padded to the longest only", "ours", "longest"),
        row("", "answer, bfloat16, against the original padded to the longest only", "ours in bfloat16", "longest"),
        *(row("", f"the original with {name.replace('_', ' ')} alone", name, "official") for name in ALONE),
    ]


@torch.inference_mode()
def parts(inference: Inference, pixels: Tensor, repeats: int, warmup: int) -> list[Row]:
    """The CNN alone (C1) and the transformer alone (I6)."""
    tokens = torch.randn(len(pixels), PADDED_TO + 49, inference.model.config.hidden_size)
    mask = torch.arange(PADDED_TO + 49).expand(len(pixels), -1)
    mask = (mask < QUESTION_TOKENS) | (mask >= PADDED_TO)
    kept = mask[0].nonzero()[:, 0]

    def cnn(recipe: object) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe is BFLOAT16):
            for part in pixels.split(1 if recipe is OFFICIAL else len(pixels)):
                inference.grid(part, recipe)  # type: ignore[arg-type]

    found = timed({
        "cnn official": partial(cnn, OFFICIAL), "cnn float32": partial(cnn, OURS), "cnn bfloat16": partial(cnn, BFLOAT16),
        "bert padded": partial(inference.pooled, tokens, mask, OURS),
        "bert unpadded": partial(inference.pooled, tokens[:, kept], mask[:, kept], OURS),
    }, repeats=repeats, warmup=warmup)  # fmt: skip
    return [
        compared("C1", "CNN, one frame at a time in float32 against all in bfloat16, folded, NHWC", found["cnn bfloat16"], found["cnn official"]),
        compared("C1 float32", "the same against float32", found["cnn float32"], found["cnn official"]),
        compared("I6", "transformer of 16 clips: 149 tokens against 61", found["bert unpadded"], found["bert padded"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-clips", type=int, default=16)
    parser.add_argument("--num-frames", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="4 clips, once")
    args = parser.parse_args()
    num_clips, repeats, warmup = (4, 1, 0) if args.quick else (args.num_clips, args.repeats, 1)
    keep_freed_memory()
    model = full_size(args.seed, {"qa": HeadConfig("classifier", ANSWERS)})
    pixels = 60 * torch.randn(num_clips, args.num_frames, 3, model.config.image_size, model.config.image_size)
    inference = Inference(model, "qa")
    rows = [*answering(inference, pixels, repeats, warmup), *parts(inference, pixels, repeats, warmup)]
    print(table(rows, TARGETS))
    settings = f"full size, random weights, N={num_clips}, T={args.num_frames}, a question of {QUESTION_TOKENS} tokens, median of {repeats}"
    print(write("inference-quick" if args.quick else "inference", rows, seed=args.seed, settings=settings))


if __name__ == "__main__":
    main()
