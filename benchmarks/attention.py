"""Attention of one layer as a CPU learns it, forward and backward: two batched products beside torch's fused one.

As many rows and tokens as an update of whole videos of `synthetic` has.  Writes benchmarks/results/attention-DATE.json.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from rows import Row, compared, table, timed, write
from targets import TARGETS
from torch import Tensor

from clipbert.allocator import keep_freed_memory
from clipbert.transformer import by_products, fused

NUM_ROWS, NUM_HEADS, LENGTH, WIDTH = 320, 4, 76, 32


def attention(dtype: torch.dtype, dropout: float, repeats: int) -> Row:
    mask = torch.ones(NUM_ROWS, LENGTH, dtype=torch.bool)
    mask[::2, 6:10] = False
    q, k, v = (torch.randn(NUM_ROWS, LENGTH, NUM_HEADS, WIDTH, dtype=dtype).transpose(1, 2).requires_grad_() for _ in range(3))
    found = timed({way.__name__: partial(differentiated, partial(way, q, k, v, mask, dropout)) for way in (by_products, fused)}, repeats=repeats)
    name = f"{str(dtype).removeprefix('torch.')}, dropout {dropout:g}: products (official: torch's fused)"
    return compared("", name, found["by_products"], found["fused"])


def differentiated(output: Callable[[], Tensor]) -> None:
    output().sum().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two repeats")
    args = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(args.seed)
    repeats = 2 if args.quick else args.repeats
    rows = [attention(dtype, dropout, repeats) for dtype in (torch.bfloat16, torch.float32) for dropout in (0.0, 0.1)]
    print(table(rows, TARGETS))
    settings = f"{NUM_ROWS} rows, {NUM_HEADS} heads of {WIDTH}, {LENGTH} tokens; median of {repeats}"
    print(write("attention-quick" if args.quick else "attention", rows, seed=args.seed, settings=settings))


if __name__ == "__main__":
    main()
