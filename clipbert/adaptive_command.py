"""`clipbert ask --adaptive`: as many clips as it takes."""

import argparse
from typing import Any

from clipbert import show
from clipbert.commands import Command, given, load_predictor
from clipbert.results import answer_result


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--adaptive", action="store_true", help="add clips until the answer is settled; --num-clips is then the most (default 16)")
    parser.add_argument("--margin", type=float, metavar="NATS", help="lead at which it is settled (default: the model's calibrated one)")


def check(args: argparse.Namespace) -> None:
    """Raises ValueError for options that do not go together."""
    if args.margin is not None and not args.adaptive:
        raise ValueError("--margin is the lead at which --adaptive stops; give --adaptive too.")
    for option in ("jsonl", "session", "report", "policy", "sampler"):
        if args.adaptive and getattr(args, option) is not None:
            raise ValueError(f"--adaptive does not go with --{option}; leave one of them out.")


def ask(args: argparse.Namespace) -> Command:
    from clipbert.adaptive import answer_adaptive

    predictor = load_predictor(args)
    sampling = given(args, "num_frames", "fps", "seed", "backend") | {"num_clips": args.num_clips or 16}
    found = answer_adaptive(
        predictor, args.video, args.question, margin=args.margin, choices=args.choices, aggregation=args.aggregate, **sampling
    )  # fmt: skip
    seed = predictor.sampling.seed if args.seed is None else args.seed
    about: dict[str, Any] = {"num_read": found.num_read, "num_planned": found.num_planned, "margin": found.margin, "settled": found.settled}
    return answer_result(predictor, found.video, found.prediction, args.question, seed) | {"adaptive": about}, show.answer
