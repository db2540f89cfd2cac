"""The `clipbert` command: results on stdout, log on stderr; exit 0 ok, 2 bad input with one line that says what to do.

Heavy imports live inside the commands, so that `--help` answers at once.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from clipbert import adaptive_command, attribute_command, commands, sampler_command, show
from clipbert.allocator import keep_freed_memory
from clipbert.commands import Command, given, load_predictor, show_progress
from clipbert.hf.files import find, is_hf
from clipbert.results import answer_result, sample_result, sweep_result


class _Parser(argparse.ArgumentParser):
    """argparse without the usage dump."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help.", file=sys.stderr)
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    keep_freed_memory()
    logging.basicConfig(level=logging.WARNING, format="clipbert: %(message)s", stream=sys.stderr)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        _find_models([getattr(args, "model", ""), *(getattr(args, "compare", None) or ())])
        result, present, *code = args.command(args)
        if args.json:
            print(json.dumps(result, ensure_ascii=False))
        else:
            present(result)
        sys.stdout.flush()
        return code[0] if code else 0
    except ValueError as error:  # VideoError is one
        print(f"clipbert: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("clipbert: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _find_models(names: Sequence[str]) -> None:
    """Fail on a model of transformers that is not there before torch is loaded; the hub is asked only for what is named `hf:`."""
    named = [name for name in names if is_hf(name)]
    if not named:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for name in named:
        find(name)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="clipbert",
        description="Ask questions about videos, and see which sampled clips drove the answer.",
        epilog="example: clipbert ask clip.mp4 'what is the person doing?'",
    )
    subparsers = parser.add_subparsers(dest="name", required=True, metavar="COMMAND", parser_class=_Parser)

    def add(name: str, command: Callable[[argparse.Namespace], Command], about: str, example: str, to: Any = subparsers) -> argparse.ArgumentParser:
        sub = to.add_parser(name, help=about, description=about, epilog=f"example: {example}")
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        sub.set_defaults(command=command)
        return sub

    for name, command, options, about, example in COMMANDS:
        options(add(name, command, about, example))
    data = subparsers.add_parser("data", help="Make the synthetic benchmark, or check a data set of yours.")
    data_commands = data.add_subparsers(dest="data_name", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, command, options, about, example in DATA_COMMANDS:
        options(add(name, command, about, example, data_commands))
    return parser


def _ask_options(ask: argparse.ArgumentParser) -> None:
    ask.add_argument("video", nargs="?", help="a video or an image file")
    ask.add_argument("question", nargs="?")
    _backend_option(ask)
    _question_options(ask)
    _pooling_options(ask)
    _sampling_options(ask)
    commands.session_options(ask)
    commands.batch_options(ask)
    sampler_command.options(ask)
    adaptive_command.options(ask)


def _sample_options(sample: argparse.ArgumentParser) -> None:
    _video(sample)
    sample.add_argument("--num-clips", type=int, metavar="N", help="clips, 1 to 256 (default 16)")
    _sampling_options(sample)


def _sweep_options(sweep: argparse.ArgumentParser) -> None:
    _video(sweep)
    sweep.add_argument("question")
    _question_options(sweep)
    _sampling_options(sweep)


def _attribute_options(attribute: argparse.ArgumentParser) -> None:
    _video(attribute)
    attribute.add_argument("question")
    _question_options(attribute)
    attribute_command.options(attribute)
    _pooling_options(attribute)
    _sampling_options(attribute)


def _convert_options(convert: argparse.ArgumentParser) -> None:
    convert.add_argument("checkpoint", type=Path)
    convert.add_argument("out", type=Path, help="folder to write")
    convert.add_argument("--task", required=True, help="qa, multiple-choice, retrieval, pretrain, vqa or regression")
    convert.add_argument("--num-heads", type=int, metavar="H", help="attention heads (default: hidden size / 64)")
    convert.add_argument("--labels", type=Path, metavar="FILE", help="ans2label.json: answer -> index")
    convert.add_argument("--image-size", type=int, metavar="PIXELS", help="longer side of a frame (default: 448; 768 for pretrain and vqa)")


def _synthetic_options(synthetic: argparse.ArgumentParser) -> None:
    synthetic.add_argument("out", type=Path, help="a folder that is empty or does not exist")
    synthetic.add_argument("--num-videos", type=int, default=100, metavar="N", help="videos in all; val and test get a tenth each (default 100)")
    synthetic.add_argument("--seed", type=int, default=0, metavar="S")
    for kind, number in (("stills", 8), ("shorts", 4)):
        synthetic.add_argument(
            f"--{kind}-per-video", type=int, default=number, metavar="K", help=f"{kind} to learn from, beside each video (default {number})"
        )


def _check_options(check: argparse.ArgumentParser) -> None:
    check.add_argument("spec", type=Path, help="YAML or JSON: videos, train, val, test, vocabulary")


def _index_options(index: argparse.ArgumentParser) -> None:
    commands.index_options(index)
    _sampling_options(index)
    _model_options(index)


def _app_options(app: argparse.ArgumentParser) -> None:
    commands.app_options(app)
    _model_options(app)


def _video(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", help="a video or an image file")
    _backend_option(parser)


def _backend_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", metavar="B", help="pyav (default) or decord; also by CLIPBERT_VIDEO_BACKEND")


def _question_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--choices", nargs="+", metavar="TEXT", help="choose among these answers")
    _model_options(parser)


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="real", help="a bundled model, a folder, or hf:NAME_OR_DIR, a model of transformers (default: real)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16, or auto for bfloat16 where the device has it")


def _pooling_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num-clips", type=int, metavar="N", help="N_test, 1 to 256 (default: the model's own)")
    parser.add_argument("--aggregate", metavar="G", help="mean, max or lse (default: the model's own)")


def _sampling_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num-frames", type=int, metavar="T", help="frames per clip (default: the model's own; 2)")
    parser.add_argument("--fps", type=float, metavar="F", help="a clip lasts T/F seconds")
    parser.add_argument(
        "--policy",
        metavar="P",
        help="where clips lie: official, official-middle, official-random, paper, centered, random, stratified, dense or nested",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of the random policies (default 0)")


def _check_video(args: argparse.Namespace) -> None:
    """Fail on an unreadable file before transformers and a model are loaded."""
    from clipbert.source import source_of

    source_of(args.video, args.backend).timeline()


def _ask(args: argparse.Namespace) -> Command:
    from clipbert.tasks import check_choices, require_text

    commands.check_batch(args)
    sampler_command.check(args)
    adaptive_command.check(args)
    if args.jsonl is not None:
        return commands.ask_batch(args)
    require_text(args.question, "question")
    if args.choices is not None:
        check_choices(args.choices)
    commands.check_session_files(args)
    _check_video(args)
    if args.adaptive:
        return adaptive_command.ask(args)
    predictor = load_predictor(args)
    video, looked = sampler_command.encode(args, predictor)
    prediction = predictor.answer(video, args.question, choices=args.choices, aggregation=args.aggregate, seed=args.seed or 0)
    commands.write_session(args, predictor)
    seed = predictor.sampling.seed if args.seed is None else args.seed
    return answer_result(predictor, video, prediction, args.question, seed) | looked, show.answer


def _attribute(args: argparse.Namespace) -> Command:
    from clipbert.tasks import require_text

    require_text(args.question, "question")
    attribute_command.check(args)
    _check_video(args)
    return attribute_command.run(args)


def _sample(args: argparse.Namespace) -> Command:
    from dataclasses import replace

    from clipbert.config import SamplingConfig

    settings = replace(SamplingConfig(), **given(args, "num_clips", "num_frames", "fps", "policy", "seed"))
    return sample_result(args.video, settings, backend=args.backend), show.sample


def _sweep(args: argparse.Namespace) -> Command:
    from clipbert.tasks import require_text

    require_text(args.question, "question")
    _check_video(args)
    predictor = load_predictor(args)
    rows, note = predictor.sweep(
        args.video, args.question, choices=args.choices, backend=args.backend, **given(args, "num_frames", "fps", "policy", "seed")
    )
    return sweep_result(predictor, args.question, rows, note), show.sweep


def _convert(args: argparse.Namespace) -> Command:
    from clipbert.config import SamplingConfig
    from clipbert.convert import convert_official, read_checkpoint, read_labels
    from clipbert.processing import ClipBertProcessor

    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise ValueError(f"{args.out} exists and is not empty; name a new folder, so that nothing of yours is overwritten.")
    labels = read_labels(args.labels) if args.labels else None
    model, report = convert_official(read_checkpoint(args.checkpoint), args.task, num_heads=args.num_heads, labels=labels, image_size=args.image_size)
    model.save_pretrained(args.out)
    ClipBertProcessor.from_config(model.config, sampling=SamplingConfig(policy="official")).save_pretrained(args.out)
    parameters = sum(p.numel() for p in model.parameters())
    return {"out": str(args.out), "parameters": parameters, "used": report.used, "dropped": report.dropped}, show.conversion


def _data_synthetic(args: argparse.Namespace) -> Command:
    from clipbert.data.synthetic import make_dataset

    beside = {"stills_per_video": args.stills_per_video, "shorts_per_video": args.shorts_per_video}
    num_workers = (os.cpu_count() or 1) if args.num_videos >= 100 else 1
    rows = make_dataset(args.out, num_videos=args.num_videos, seed=args.seed, num_workers=num_workers, progress=show_progress, **beside)
    return {"out": str(args.out), "seed": args.seed, "rows": rows}, show.synthetic


def _data_check(args: argparse.Namespace) -> Command:
    from clipbert.data.check import check_dataset

    report = check_dataset(args.spec, progress=lambda done, total: show_progress("videos", done, total))
    result = {"lines": report.lines(), "loses_examples": report.loses_examples}
    return result, lambda shown: print("\n".join(shown["lines"])), 2 if report.loses_examples else 0


def _doctor(args: argparse.Namespace) -> Command:
    from clipbert.doctor import examine

    return examine(), show.doctor


COMMANDS = (
    ("ask", _ask, _ask_options, "Answer a question about a video, with each clip's vote; or many from a file.",
     "clipbert ask clip.mp4 'what colour is the car?' --num-clips 8"),
    ("sample", _sample, _sample_options, "Show which frames a sampling policy looks at.",
     "clipbert sample clip.mp4 --num-clips 4 --policy centered --json"),
    ("sweep", _sweep, _sweep_options, "Answer at N_test = 1, 2, 4, 8, 16 under mean, max and lse.",
     "clipbert sweep clip.mp4 'what is the dog doing?'"),
    ("attribute", _attribute, _attribute_options, "Which clips, frames, cells or words moved the score of an answer.",
     "clipbert attribute clip.mp4 'what animal is it?' --versus cat"),
    ("convert", _convert, _convert_options, "Convert a checkpoint of the original ClipBERT code.",
     "clipbert convert model_step_1000.pt my-model --task qa --labels ans2label.json"),
    ("index", commands.index, _index_options, "Encode a folder of videos once, to search it by text.", "clipbert index videos -o my.index"),
    ("search", commands.search, commands.search_options, "Rank the videos of an index for a text.",
     "clipbert search my.index 'a man plays guitar' -k 5"),
    ("tables", commands.tables, commands.tables_options, "The paper's tables beside our results, with an honest status for every cell.",
     "clipbert tables 3"),
    ("app", commands.app, _app_options, "Start the explorer in the browser.", "clipbert app --port 8000"),
    ("cost", commands.cost, commands.cost_options, "Time and memory of a training step: Figure 5, here.", "clipbert cost --model paper --repeats 1"),
    ("doctor", _doctor, lambda _: None, "What works on this machine.", "clipbert doctor"),
)  # fmt: skip
DATA_COMMANDS = (
    ("synthetic", _data_synthetic, _synthetic_options, "Draw videos with known answers and known evidence.",
     "clipbert data synthetic out --num-videos 100"),
    ("check", _data_check, _check_options, "Report all that is wrong with a data set before training on it.", "clipbert data check my.yaml"),
)  # fmt: skip
