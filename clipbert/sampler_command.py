"""Options of `clipbert ask` that choose clips by a look at the whole video, and what they cost."""

import argparse
from typing import TYPE_CHECKING, Any

from clipbert.checks import check_known
from clipbert.commands import given, show_progress
from clipbert.sampling_config import SAMPLERS

if TYPE_CHECKING:
    from clipbert.predict import Predictor
    from clipbert.types import EncodedVideo


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sampler", metavar="S", help=f"instead of --policy, look at the whole video first: {', '.join(SAMPLERS)}")
    parser.add_argument("--candidates", type=int, metavar="K", help="clips that --sampler chooses from (default 32)")


def check(args: argparse.Namespace) -> None:
    """Raises ValueError for an unknown sampler, or options that do not go with one."""
    if args.sampler is None:
        if args.candidates is not None:
            raise ValueError("--candidates has no effect without --sampler; name one of " + ", ".join(SAMPLERS) + ".")
        return
    check_known("sampler", args.sampler, SAMPLERS)
    for option in ("policy", "jsonl", "session", "report"):
        if getattr(args, option) is not None:
            raise ValueError(f"--sampler chooses clips for one question and keeps no session; leave out --{option}.")


def encode(args: argparse.Namespace, predictor: "Predictor") -> "tuple[EncodedVideo, dict[str, Any]]":
    """The video, encoded as the options say, and what of `--sampler` belongs into the result.  Raises ValueError and VideoError."""
    if args.sampler is None:
        settings = given(args, "num_clips", "num_frames", "fps", "policy", "seed")
        return predictor.encode(args.video, backend=args.backend, progress=show_progress, **settings), {}
    settings = given(args, "num_clips", "num_frames", "fps") | ({} if args.candidates is None else {"num_candidates": args.candidates})
    found = predictor.encode_for(args.video, args.question, sampler=args.sampler, choices=args.choices, backend=args.backend, **settings)
    return found.video, {
        "sampler": args.sampler, "num_candidates": len(found.scan.starts),
        "frames_decoded": found.cost.frames_decoded, "sampling_flops": found.cost.flops,
    }  # fmt: skip
