"""Checkpoint + task -> a table and JSON, at any N_test, T, policy and all three aggregations from one pass a video.

    python train/evaluate.py --model runs/NAME/step_00000500 --task qa --annotations test.jsonl --videos videos --num-clips 1 4 16
    torchrun --nproc_per_node 8 train/evaluate.py ...

Several processes share the videos; the numbers are those of one.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, `import train` must find the folder of that name, and clipbert the one beside it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
import torch.distributed

from clipbert.allocator import keep_freed_memory
from clipbert.data.examples import read_examples
from clipbert.data.video_store import open_store
from clipbert.evaluate import EVALUATED, Evaluation, Share, evaluate
from clipbert.predict import Predictor
from clipbert.sampling_config import AGGREGATIONS
from clipbert.settling import ORDER


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="real", help="a bundled model or a folder (default: real)")
    parser.add_argument("--task", required=True, help=", ".join(EVALUATED))
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--videos", type=Path, required=True, help="a folder, or an LMDB of the original")
    parser.add_argument("--format", help="of the annotations (default: found from the first row)")
    parser.add_argument("--split", help="keep the rows of this split")
    parser.add_argument("--head", help="ask only this head of a model with several")
    parser.add_argument("--num-clips", type=int, nargs="+", metavar="N", help="N_test, one or several (default: the model's own)")
    parser.add_argument("--num-frames", type=int, metavar="T")
    parser.add_argument("--fps", type=float)
    parser.add_argument("--policy")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--adaptive", action="store_true", help="each question reads clips until its answer is settled; --num-clips is the most")
    parser.add_argument("--margin", type=float, metavar="NATS", help="lead at which it is settled (default: the model's calibrated ones)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON here too")
    parser.add_argument("--local_rank", help="given by the deepspeed launcher; not used")
    args = parser.parse_args(argv)
    share = _share()
    try:
        result = run(args, share)
    except ValueError as error:  # VideoError is one
        print(f"evaluate: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    finally:
        if share.num_processes > 1:
            torch.distributed.destroy_process_group()
    if share.rank == 0:
        if args.out:
            args.out.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result))
    return 0


def _share() -> Share:
    """This process's part, as torchrun says; its GPU, if it has one."""
    share = Share(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    if share.num_processes > 1:
        torch.distributed.init_process_group("gloo")
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return share


def run(args: argparse.Namespace, share: Share) -> dict[str, Any]:
    """Evaluate, show the table on stderr, and return what belongs to the reported numbers."""
    predictor = Predictor.from_pretrained(args.model, device=args.device, dtype=args.dtype)
    examples = read_examples(args.annotations, format=args.format, split=args.split)
    sampling = {name: value for name in ("num_frames", "fps", "policy", "seed") if (value := getattr(args, name)) is not None}
    progress, margins = _progress if share.rank == 0 else None, _margins(args, predictor)
    store = open_store(args.videos)
    rows = evaluate(
        predictor, examples, store, args.task, sizes=args.num_clips, head=args.head, share=share, progress=progress, margins=margins, **sampling
    )
    if share.rank == 0:
        _show(rows)
    own = predictor.sampling
    return {
        "model": args.model, "task": args.task, "annotations": str(args.annotations), "split": args.split, "num_examples": len(examples),
        "num_frames": args.num_frames or own.num_frames, "fps": args.fps or own.fps,
        "policy": args.policy or (own.policy if margins is None else ORDER), "margins": margins,
        "seed": own.seed if args.seed is None else args.seed, "dtype": args.dtype,
        "rows": [{"num_clips": row.num_clips, "aggregation": row.aggregation} | row.metrics for row in rows],
    }  # fmt: skip


def _margins(args: argparse.Namespace, predictor: Predictor) -> dict[str, float] | None:
    """Of each aggregation, for `--adaptive`."""
    if args.margin is not None and not args.adaptive:
        raise ValueError("--margin is the lead at which --adaptive stops; give --adaptive too.")
    if not args.adaptive:
        return None
    if args.margin is not None:
        return dict.fromkeys(AGGREGATIONS, args.margin)
    predictor.settle_margin(predictor.pooling(None))  # says what to do where there is none
    return predictor.settle_margins


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\rvideo {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _show(rows: Sequence[Evaluation]) -> None:
    for row in rows:
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in row.metrics.items())
        print(f"N_test {row.num_clips:>3}  {row.aggregation:<4}  {numbers}", file=sys.stderr)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
