"""Body and options of `clipbert attribute`."""

import argparse
from pathlib import Path
from typing import Any

from clipbert.attribution_files import ANIMATIONS, NUMBERS, check_fits, check_suffix, write_attribution
from clipbert.commands import Command, check_pictures, given, load_predictor, show_progress
from clipbert.results import attribution_result, checkup_result, faithfulness_result
from clipbert.show_attribution import attribution as show_attribution

ATTRIBUTIONS = "clips: clip_shapley (default), clip_leave_one_out, clip_responsibility; frames: frame_shapley, frame_leave_one_out; \
cells: cell_occlusion, cell_integrated_gradients, cell_gradient_x_activation, cell_grad_cam, cell_relevance, cell_rollout, cell_attention (not an \
explanation); words: token_ablation, token_integrated_gradients, token_relevance"
CHECKS = "more metrics: infidelity, sensitivity, sign violations, rank agreement of methods in pairs, and the map of models with random layers"
CLIP = "clips to look into, from 1 (default: the one that raises the score most; for a .gif or .mp4 all)"
OUT = "also write it, as the suffix says: .npz (reloads as an Attribution), .csv; a picture .png, .svg, .pdf, .html; cells over all clips .gif, .mp4"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", default="clip_shapley", metavar="M", help=ATTRIBUTIONS)
    parser.add_argument("--task", default="answer", metavar="T", help="answer (default), or match: the question is then a caption")
    parser.add_argument("--target", metavar="TEXT", help="the answer to explain (default: the one the model gives)")
    parser.add_argument("--versus", metavar="TEXT", help="another answer: why the target and not this one")
    parser.add_argument("--clip", type=int, nargs="+", metavar="K", help=CLIP)
    parser.add_argument("--baseline", metavar="B", help="of integrated gradients: grey (default) or mean; of words mask (default) or pad")
    parser.add_argument("--steps", type=int, metavar="S", help="of integrated gradients (default 32): more, and the values add up better")
    parser.add_argument(
        "--faithfulness", action="store_true", help="also test the map: deletion and insertion beside 20 random orders, and a verdict in words"
    )
    parser.add_argument(
        "--perturbation", metavar="P", help="how --faithfulness takes units away: mask (default); of cells also mean or blur, of frames blur"
    )
    parser.add_argument("--others", action="store_true", help="with --faithfulness: test every other method of the level in the same way")
    parser.add_argument(
        "--chefer", action="store_true", help="with --faithfulness: curves at Chefer 2021's shares (25, 50, 75, 80 ... 95 %%), not tenths"
    )
    parser.add_argument("--checks", action="store_true", help=CHECKS)
    parser.add_argument("--out", type=Path, metavar="FILE", help=OUT)


def check(args: argparse.Namespace) -> None:
    """Fail before a model runs.  Raises ValueError."""
    if args.perturbation is not None and not (args.faithfulness or args.checks):
        raise ValueError("--perturbation is of --faithfulness and --checks; add one, or leave the perturbation out.")
    for option in ("others", "chefer"):
        if getattr(args, option) and not args.faithfulness:
            raise ValueError(f"--{option} is of --faithfulness; add it, or leave --{option} out.")
    if args.out is None:
        return
    check_suffix(args.out)
    if args.out.suffix.lower() not in NUMBERS:
        check_pictures("--out")
    if not args.out.parent.is_dir():
        raise ValueError(f"--out: there is no folder {args.out.parent}; make it first.")


def run(args: argparse.Namespace) -> Command:
    from clipbert.attribution import METHODS
    from clipbert.attribution import attribute as explain
    from clipbert.config import check_known
    from clipbert.faithfulness_units import check_perturbation

    check_known("method", args.method, tuple(METHODS))
    if args.perturbation is not None:
        check_perturbation(args.perturbation, args.method, METHODS[args.method].level)
    if args.out is not None:
        check_fits(args.out, args.method, METHODS[args.method].level, len(args.clip or ()))
    predictor = load_predictor(args)
    video = predictor.encode(
        args.video, backend=args.backend, progress=show_progress, **given(args, "num_clips", "num_frames", "fps", "policy", "seed")
    )
    wanted = {"aggregation": args.aggregate, "seed": args.seed or 0, **given(args, "task", "target", "versus", "choices")}
    clips = [clip - 1 for clip in args.clip] if args.clip is not None else None
    if wrong := [clip + 1 for clip in clips or () if not 0 <= clip < video.num_clips]:
        raise ValueError(f"--clip must be between 1 and {video.num_clips}, got {wrong[0]}.")
    if clips is None and METHODS[args.method].level != "clips" and not _animated(args):
        shares = explain(predictor, video, args.question, **wanted).values
        clips = [int(shares.argmax())]
    found = explain(predictor, video, args.question, method=args.method, clips=clips, file=args.video, **wanted, **given(args, "baseline", "steps"))
    if args.out is not None:
        write_attribution(
            found, args.out, video=video, clip_frames=lambda clip: predictor.clip_frames(args.video, video, clip, backend=args.backend),
            explain=lambda method: explain(predictor, video, args.question, method=method, **wanted),
        )  # fmt: skip
    result = attribution_result(predictor, video, found, args.question)
    if args.faithfulness or args.checks:
        result |= _tested(args, predictor, video, found, wanted)
    return result, show_attribution


def _animated(args: argparse.Namespace) -> bool:
    """Whether the file to write shows all clips, unless some are named."""
    return args.out is not None and args.out.suffix.lower() in ANIMATIONS


def _tested(args: argparse.Namespace, predictor: Any, video: Any, found: Any, wanted: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """For each clip looked into, or once for all: the map's curves, those of the other methods, the checks, and which method has no map, as asked."""
    from clipbert.checkup import checkup, other_maps
    from clipbert.faithfulness import faithfulness
    from clipbert.faithfulness_curves import CHEFER_STEPS

    away: dict[str, Any] = wanted | {"perturbation": args.perturbation or "mask", "file": args.video, "progress": show_progress}
    tested: dict[str, list[dict[str, Any]]] = {}

    def add(kind: str, result: dict[str, Any]) -> None:
        tested.setdefault(kind, []).append(result)

    shares: dict[str, Any] = {"steps": CHEFER_STEPS} if args.chefer else {}
    for clip in [None] if found.level == "clips" else found.clip_index:
        asked, known = (predictor, video, args.question), {}
        needs_others = args.others or args.checks
        others, why_not = other_maps(*asked, found, clip=clip, progress=show_progress, file=args.video, **wanted) if needs_others else ([], {})
        if args.faithfulness:
            add("faithfulness", faithfulness_result(faithfulness(*asked, found, clip=clip, known=known, **away, **shares)))
        for other in others if args.others else ():
            add("others", faithfulness_result(faithfulness(*asked, other, clip=clip, known=known, **away, **shares)))
        if args.checks:
            checked = checkup(*asked, found, others=others, clip=clip, **away, **given(args, "baseline", "steps"))
            add("checks", checkup_result(checked))
        if why_not:
            add("no_map", why_not)
    return tested
