"""A training step on the CPU at a small size: the original's loop over clips, one pass, two passes, checkpointing; T4 to T9.

Same weights, pixels and labels, no dropout, so that the gradients of every row
can be held against those of one pass.  Times are of this small model and this
CPU; FLOPs and bytes of the full size come from `clipbert.cost.predict_cost`,
which runs the step on tensors without memory.  Writes benchmarks/results/training-DATE.json.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # for the package train, which is not installed

import torch
from official import grid_of, norms_apart
from rows import Row, Timing, compared, table, timed, write
from targets import TARGETS
from torch import Tensor

from clipbert.allocator import keep_freed_memory
from clipbert.config import ClipBertConfig, HeadConfig
from clipbert.cost import predict_cost
from clipbert.cost_panels import fit_line
from clipbert.cost_settings import MODES, CostSettings, cost_config, training_step
from clipbert.cost_trace import traced_step
from clipbert.model import ClipBertForSequenceClassification
from clipbert.recompute import checkpoint_activations
from clipbert.tasks import TASKS
from train.optimizer import AdamW

SMALLER = ClipBertConfig(
    vocab_size=2000, hidden_size=192, num_hidden_layers=4, num_attention_heads=4, intermediate_size=768, max_position_embeddings=64,
    stem_channels=16, bottleneck_channels=16, res2_channels=64, image_size=192, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    heads={"match": HeadConfig("retrieval", 2)},
)  # fmt: skip
OFFICIAL_PARAMETERS, OFFICIAL_BATCH = 199.3e6, 16
"""Of the original's retrieval checkpoint with its 50.5 M dead ones (OFFICIAL section 7); its largest batch at N_train=16 (paper, Figure 5)."""
GIB = 2**30
AT_ONCE = 8  # clips a pass: where one clip of each video leaves the cores idle


def model_of(seed: int, dtype: torch.dtype = torch.float32) -> ClipBertForSequenceClassification:
    torch.manual_seed(seed)
    return ClipBertForSequenceClassification(SMALLER).to(dtype).train()


def inputs_of(batch_size: int, num_clips: int, num_frames: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    side = SMALLER.image_size
    return {
        "pixel_values": 60 * torch.randn(batch_size, num_clips, num_frames, 3, side, side, dtype=dtype),
        "input_ids": torch.randint(1000, 2000, (batch_size, 20)), "attention_mask": torch.ones(batch_size, 20, dtype=torch.bool),
    }  # fmt: skip


def official_step(model: Any, inputs: dict[str, Tensor]) -> None:
    """The original's: a loop over clips, each with the text, every position of every layer, attention and BatchNorm in separate kernels, NCHW."""
    trunk, logits = model.clipbert, []
    for clip in inputs["pixel_values"].split(1, dim=1):
        with norms_apart(trunk):
            grid = grid_of(trunk.backbone, clip.flatten(0, 2), len(clip))
        fused = trunk.fuse(grid[:, None], inputs["input_ids"], inputs["attention_mask"])
        tokens = fused.tokens
        for layer in trunk.fusion.layers:
            tokens = layer.explicit(tokens, fused.mask)[0]
        logits.append(model.heads["match"].mlp(trunk.fusion.pool(tokens))[:, None])
    TASKS["retrieval"].loss(torch.cat(logits, dim=1), torch.zeros(len(logits[0]), dtype=torch.int64), "lse").backward()


def steps(model: Any, checkpointed: Any, inputs: dict[str, Tensor]) -> dict[str, Callable[[], None]]:
    """Ways to the same gradients; `checkpointed` has the weights of `model`."""

    def ours(of: Any, mode: str, clips_per_pass: int = 1) -> None:
        of.zero_grad(set_to_none=True)
        training_step(of, inputs, CostSettings(mode=mode, clips_per_pass=clips_per_pass), lambda loss, _: loss.backward())

    def official() -> None:
        model.zero_grad(set_to_none=True)
        official_step(model, inputs)

    at_once = {folded(mode): partial(ours, model, mode, AT_ONCE) for mode in MODES[1:]} if inputs["pixel_values"].shape[1] > AT_ONCE else {}
    one_by_one = {mode: partial(ours, model, mode) for mode in MODES}
    return {"official": official} | one_by_one | at_once | {"checkpointed": partial(ours, checkpointed, "one-pass")}


def folded(mode: str) -> str:
    return f"{mode}, {AT_ONCE} clips a pass"


def gradients(model: Any, step: Callable[[], None]) -> dict[str, Tensor]:
    step()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def gradient_errors(seed: int, batch_size: int, num_clips: int, num_frames: int, dtype: torch.dtype) -> dict[str, float]:
    """Of each way: the largest difference of a gradient from one pass, over the largest gradient."""
    model, checkpointed = model_of(seed, dtype), model_of(seed, dtype)
    checkpoint_activations(checkpointed)
    ways = steps(model, checkpointed, inputs_of(batch_size, num_clips, num_frames, dtype))
    expected = gradients(model, ways["one-pass"])
    largest = max(float(value.abs().max()) for value in expected.values())
    errors = {}
    for name, step in ways.items():
        found = gradients(checkpointed if name == "checkpointed" else model, step)
        assert found.keys() == expected.keys()
        errors[name] = max(float((found[key] - expected[key]).abs().max()) for key in expected) / largest
    return errors


def sweep(seed: int, shapes: list[tuple[int, int, int]], repeats: int) -> tuple[list[Row], dict[tuple[int, int, int], dict[str, Timing]]]:
    """Rows of every way at every (batch, N_train, T), and the timings."""
    model, checkpointed = model_of(seed), model_of(seed)
    checkpoint_activations(checkpointed)
    rows, timings = [], {}
    for shape in shapes:
        inputs = inputs_of(*shape)
        errors = gradient_errors(seed, *shape, torch.float32)
        found = timings[shape] = timed(steps(model, checkpointed, inputs), repeats=repeats)
        at = f"B={shape[0]} N={shape[1]} T={shape[2]}"
        rows += [
            compared("", f"{name}, {at}", found[name], found["official"], f"gradients within {error:.0e}")
            for name, error in errors.items() if name != "official"
        ]  # fmt: skip
        print(table(rows[1 - len(found) :], TARGETS), flush=True)
    return rows, timings


def overheads(found: dict[str, Timing], num_clips: int) -> list[Row]:
    """What two passes cost, as a multiple of one: clip by clip, and with as many clips a pass as keep the cores busy."""
    return [
        overhead(f"T6 {mode.removeprefix('two-pass-')}", f"{name}, against one pass, N={num_clips}", found[name], found["one-pass"])
        for mode in MODES[1:] for name in (mode, folded(mode)) if name in found
    ]  # fmt: skip


def overhead(target: str, name: str, ours: Timing, one: Timing) -> Row:
    ratio, by_cpu = ours.milliseconds / one.milliseconds, ours.cpu_milliseconds / one.cpu_milliseconds
    return Row(target, name, "ms", ours.milliseconds, one.milliseconds, ratio, ours.spread, f"{by_cpu:.2f} by CPU time")


def exactness(seed: int) -> list[Row]:
    """With 9 clips, so that every way of two passes is among them."""
    rows = []
    for dtype, name in ((torch.float64, "T7 float64"), (torch.float32, "T7 float32")):
        error, way = max((error, way) for way, error in gradient_errors(seed, 2, AT_ONCE + 1, 2, dtype).items())
        rows.append(Row(name, f"gradients of {way}, the least exact of all ways", "", error, ratio=error, note=f"B=2 N={AT_ONCE + 1} T=2"))
    return rows


def memory(full_size: str, most_clips: int) -> list[Row]:
    """By following the step of the paper's sizes on tensors without memory."""

    def bare(num_clips: int) -> int:
        settings = CostSettings(model=full_size, batch_size=8, num_clips=num_clips, mode="two-pass-full")
        return traced_step(settings).peak_bytes - 8 * num_clips * 3 * 4 * cost_config(settings).image_size ** 2

    one, two, many = bare(1), bare(2), bare(most_clips)
    settings = CostSettings(model=full_size, batch_size=1, num_clips=16, dtype="bfloat16", memory_cap=32 * GIB)
    batch = predict_cost(CostSettings(**{**vars(settings), "mode": "two-pass-full"})).predicted_batch or 0
    plain = predict_cost(settings).predicted_batch or 0
    without = f"predicted, B=8; {many / two:.3f} against N=2: at N=1 there are no gradients yet when the activations are largest"
    about = "predicted, weights and gradients in float32, text of 20 tokens, no optimizer"
    return [
        Row("T5", f"two passes: bytes at N={most_clips} against N=1, no inputs", "MB", many / 1e6, one / 1e6, many / one, note=without),
        Row("T5 batch", "largest batch at N=16 in two passes", "videos", batch, OFFICIAL_BATCH, batch, note=about),
        Row("", "largest batch at N=16 in one pass", "videos", plain, OFFICIAL_BATCH, plain / OFFICIAL_BATCH, note=about),
    ]  # fmt: skip


def flops(full_size: str) -> list[Row]:
    one, *others = (predict_cost(CostSettings(model=full_size, batch_size=1, num_clips=2, mode=mode)).training_flops for mode in MODES)
    again = predict_cost(CostSettings(model=full_size, batch_size=1, num_clips=2, checkpointing=True)).training_flops
    names = (*MODES[1:], "checkpointed")
    return [
        Row("", f"FLOPs of {name} against one pass", "GFLOP", found / 1e9, one / 1e9, found / one, note=f"{full_size}, T=1")
        for name, found in zip(names, (*others, again), strict=True)
    ]


def size() -> list[Row]:
    ours = predict_cost(CostSettings(model="paper", batch_size=1)).parameters
    note = f"{4 * ours / 1e6:.0f} MB in float32"
    return [Row("T8", "parameters of the retrieval model", "M", ours / 1e6, OFFICIAL_PARAMETERS / 1e6, OFFICIAL_PARAMETERS / ours, note=note)]


class LoopAdamW(AdamW):
    """One parameter after the other, as the original's."""

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        for p in params:
            super()._update([p], group)


def optimizer(seed: int, repeats: int) -> list[Row]:
    model = model_of(seed)
    gradients(model, steps(model, model, inputs_of(1, 1, 1))["one-pass"])
    ways = {"fused": torch.optim.AdamW(model.parameters(), fused=True), "original's form": AdamW(model.parameters())}
    found = timed({name: way.step for name, way in (ways | {"loop": LoopAdamW(model.parameters())}).items()}, repeats=5 * repeats)
    about = "CPU; the target T9 is of a GPU, where launches dominate"
    return [compared("", f"AdamW step, {name}, against a loop over parameters", found[name], found["loop"], about) for name in ways]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer points, the small model's bytes")
    args = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(args.seed)
    batches, clips, frames = ((2,), (1, 2, 4), ()) if args.quick else ((1, 2, 4, 8), (1, 2, 4, 8, 16), (2, 4, 8))
    shapes = [(2, n, 1) for n in clips] + [(b, 4, 1) for b in batches if b != 2] + [(2, 1, t) for t in frames]
    rows, timings = sweep(args.seed, shapes, args.repeats)
    most = max(clips)
    line = fit_line(clips, [timings[2, n, 1]["one-pass"].cpu_milliseconds for n in clips])
    first, last = timings[2, 1, 1]["one-pass"], timings[2, most, 1]
    one, full_size = last["one-pass"], "small" if args.quick else "paper"
    linear = f"B=2; CPU time is a line in N with R² {line.r_squared:.4f}"
    rows = [
        Row("T4", f"one pass, N={most} against 1", "ms", one.milliseconds, first.milliseconds, one.milliseconds / first.milliseconds, note=linear),
        *memory(full_size, 16 if args.quick else 64),
        *overheads(last, most),
        *exactness(args.seed), *size(), *optimizer(args.seed, args.repeats), *flops(full_size), *rows,
    ]  # fmt: skip
    print(table(rows, TARGETS))
    settings = "times: hidden 192, 4 layers, CNN of a quarter width, 192 pixels, float32; bytes and FLOPs: the paper's sizes"
    print(write("training-quick" if args.quick else "training", rows, seed=args.seed, settings=f"{settings}; median of {args.repeats}"))


if __name__ == "__main__":
    main()
