"""Bodies of the commands over a gallery and of the app, and what all commands share; `clipbert.cli` names their options."""

import argparse
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clipbert import show, show_tables
from clipbert.hf.files import is_hf
from clipbert.results import committed_results, cost_result, curves_result, search_result, tables_result

Command = tuple[Any, Callable[[Any], None]] | tuple[Any, Callable[[Any], None], int]  # result, how to show it, exit code unless 0


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def load_predictor(args: argparse.Namespace) -> Any:
    quiet_loading()
    from clipbert.bundled import model_folder
    from clipbert.predict import Predictor

    if not is_hf(args.model):
        model_folder(args.model)
    return Predictor.from_pretrained(args.model, device=args.device, dtype=args.dtype)


def quiet_loading() -> None:
    """No progress bars of transformers on stderr."""
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()


def show_progress(stage: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{stage} {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def session_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--session", type=Path, metavar="FILE", help="also write a session zip: settings, result and the frames used, no video")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the result as one HTML file that works offline")


def check_session_files(args: argparse.Namespace) -> None:
    """Fail before a model runs.  Raises ValueError."""
    for option, path, suffix in (("--session", args.session, ".zip"), ("--report", args.report, ".html")):
        if path is not None and path.suffix.lower() != suffix:
            raise ValueError(f"{option} writes a {suffix} file, got {path}; name it {path.with_suffix(suffix)}.")
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{option}: there is no folder {path.parent}; make it first.")
        if path is not None:
            check_pictures(option)


def check_pictures(option: str) -> None:
    """Raises ValueError where what draws them is not installed."""
    for package in ("matplotlib", "plotly"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"{option} needs {package}, which is not installed; pip install 'clipbert[app]'.")


def write_session(args: argparse.Namespace, predictor: Any) -> None:
    """The files that `ask` was told to write; frames and logits come from the predictor's caches."""
    if args.session is None and args.report is None:
        return
    from clipbert.session import ExplorerSession

    session = ExplorerSession.of(
        predictor, args.video, args.question, task="open" if args.choices is None else "choices", candidates=args.choices or (),
        aggregation=args.aggregate, **given(args, "num_clips", "num_frames", "fps", "policy", "seed"),
    )  # fmt: skip
    result = session.run(predictor, args.video)
    if args.session is not None:
        from clipbert.session_file import save_session

        save_session(result, args.session)
    if args.report is not None:
        from clipbert.viz.report import save_report

        save_report(result, args.report)


def batch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jsonl", type=Path, metavar="FILE", help='instead of one video: a line {"video", "question", "choices"} a question')
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results and the report of --jsonl; run again to go on")


def check_batch(args: argparse.Namespace) -> None:
    """Raises ValueError unless either a video with its question is given, or a file with a folder."""
    if args.jsonl is None:
        if args.out is not None:
            raise ValueError("--out is the folder of --jsonl; for one video use --report or --session.")
        if args.video is None or args.question is None:
            raise ValueError("ask needs a video and a question, or --jsonl FILE --out DIR; see clipbert ask --help.")
        return
    if args.out is None:
        raise ValueError("--jsonl needs --out DIR, where results and report are written.")
    for option in ("video", "choices", "session", "report"):
        if getattr(args, option) is not None:
            raise ValueError(f"--jsonl takes videos, questions and choices from its file; leave out {option}.")


def ask_batch(args: argparse.Namespace) -> Command:
    from clipbert.batch import answer_rows, read_rows
    from clipbert.viz.batch_report import batch_report

    rows = read_rows(args.jsonl)
    predictor, outcomes = load_predictor(args), []
    sampling = given(args, "num_clips", "num_frames", "fps", "policy", "seed", "backend")
    for found in answer_rows(predictor, rows, args.jsonl.parent, args.out, aggregation=args.aggregate, seed=args.seed or 0, **sampling):
        outcomes.append(found)
        show_progress("rows", len(outcomes), len(rows))
    used = vars(predictor.sampling) | given(args, "num_clips", "num_frames", "fps", "policy", "seed")
    used["aggregation"] = args.aggregate or used["aggregation"]
    page = batch_report(
        outcomes, title=args.jsonl.name, model=predictor.model.name, settings=", ".join(f"{name} {value}" for name, value in used.items())
    )
    (args.out / "report.html").write_text(page, encoding="utf-8")
    failed = [{"line": found.row.line, "error": found.error} for found in outcomes if found.result is None]
    reused = sum(found.reused for found in outcomes)
    result = {"out": str(args.out), "rows": len(outcomes), "reused": reused, "failed": failed, "model": predictor.model.name}
    return result, show.batch, 2 if failed else 0


def index_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a folder with videos, in it or below")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="the index to write")
    parser.add_argument("--num-clips", type=int, default=4, metavar="N", help="clips per video, 1 to 256 (default 4)")
    parser.add_argument("--store", default="float16", metavar="S", help="features on disk: float16 (default), or int8 in half the space")


def index(args: argparse.Namespace) -> Command:
    from clipbert.index_entry import videos_below
    from clipbert.index_file import check_index_file
    from clipbert.retrieval import VideoIndex

    check_index_file(args.out)
    videos_below(args.folder)
    built = VideoIndex.build(
        args.folder, load_predictor(args), progress=show_progress, file=args.out, store=args.store,
        **given(args, "num_clips", "num_frames", "fps", "policy", "seed"),
    )  # fmt: skip
    partial = {path: list(notices) for path in built.entries if (notices := built.entries.notices(path))}
    return {
        "out": str(args.out), "model": built.model["name"], "videos": len(built), "bytes": built.num_bytes, "settings": built.settings,
        "partial": partial, **asdict(built.report),
    }, show.index  # fmt: skip


def search_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", type=Path, help="a file that clipbert index wrote")
    parser.add_argument("query", help="what the video should show")
    parser.add_argument("-k", "--top-k", type=int, default=10, metavar="K", help="hits to show (default 10)")
    parser.add_argument("--aggregate", metavar="G", help="mean, max or lse (default: the model's own)")
    how = "find candidates by vectors, one-clip, two-clips or four-clips, and read these alone (default: read every video)"
    parser.add_argument("--cascade", metavar="C", help=how)
    parser.add_argument("--first", type=Path, metavar="INDEX", help="find candidates in this index of the same videos, of a dual encoder say")
    parser.add_argument("--shortlist", type=int, metavar="K", help="candidates of a cascade (default 64)")


def search(args: argparse.Namespace) -> Command:
    from clipbert.retrieval import SHORTLIST, VideoIndex
    from clipbert.tasks import require_text

    query = require_text(args.query, "query")
    cascade = args.cascade or ("vectors" if args.first else None)
    if args.shortlist is not None and cascade is None:
        raise ValueError("--shortlist is the number of candidates of a cascade; give --cascade vectors or one-clip, or --first INDEX, too.")
    gallery, first = VideoIndex.load(args.index), VideoIndex.load(args.first) if args.first else None
    quiet_loading()
    hits = gallery.search(query, top_k=args.top_k, aggregation=args.aggregate, cascade=cascade, first=first, **given(args, "shortlist"))
    how = {"cascade": cascade, "shortlist": args.shortlist or SHORTLIST} if cascade else {}
    return search_result(gallery, query, hits) | how | ({"first": first.model["name"]} if first else {}), show.search


def tables_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", nargs="?", type=int, metavar="N", help="a table of the paper, 1 to 11 (default: an overview of all)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="result files of ours (default: benchmarks/results of the checkout)")


def tables(args: argparse.Namespace) -> Command:
    from clipbert.comparison import read_results

    folder = args.results or committed_results()
    result = tables_result(args.number, read_results(folder) if folder else [])
    result["figure_4"] = curves_result(folder) if folder else []
    return result, show_tables.tables if args.number is not None else show_tables.overview


def app_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, metavar="P", help="default: the first free one from 7860")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask visitors for this name and password")
    parser.add_argument("--share", action="store_true", help="also publish a temporary link through gradio.live")
    parser.add_argument("--max-file-size", default="500mb", metavar="SIZE", help="of an upload (default 500mb)")
    parser.add_argument("--compare", nargs="+", metavar="MODEL", help="models that visitors may compare with (default: the bundled ones)")
    parser.add_argument("--mcp", action="store_true", help="also offer ask, sample, ... as tools to language models (needs the package mcp)")


def app(args: argparse.Namespace) -> Command:
    import clipbert

    root = Path(clipbert.__file__).parent.parent
    if not (root / "app" / "app.py").is_file():
        raise ValueError("the explorer is part of the source checkout, not of the installed package; clone the repository and run make app there.")
    if args.auth is not None and not all(args.auth.partition(":")):
        raise ValueError(f"--auth must be USER:PASSWORD, got {args.auth!r}.")
    from clipbert.bundled import model_folder

    if not is_hf(args.model):
        model_folder(args.model)
    sys.path.insert(0, str(root))
    _import_app(with_mcp=args.mcp).serve(
        lambda: load_predictor(args), host=args.host, port=args.port, share=args.share, auth=tuple(args.auth.split(":", 1)) if args.auth else None,
        max_file_size=args.max_file_size, mcp=args.mcp, others=_others(args),
    )  # fmt: skip
    return {}, lambda _: None


def _others(args: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """The models that visitors may compare with; only the server's owner names any, so that nobody else can have one fetched."""
    from clipbert.bundled import BUNDLED

    names = [name for name in args.compare or BUNDLED if name != args.model]
    return {name: lambda name=name: load_predictor(argparse.Namespace(**{**vars(args), "model": name})) for name in names}


def _import_app(*, with_mcp: bool) -> Any:
    """The module app.app.  Gradio imports mcp where it finds it, for about a second; unless it is asked for, it does not find it."""
    hidden = not with_mcp and "mcp" not in sys.modules
    if hidden:
        sys.modules["mcp"] = None  # pyright: ignore[reportArgumentType]
    try:
        return importlib.import_module("app.app")
    finally:
        if hidden:
            del sys.modules["mcp"]


def cost_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="small", help="small (default), paper, a bundled model or a folder: its sizes, with random weights")
    parser.add_argument("--num-clips", type=int, nargs="+", metavar="N", help="N_train of panels a and b, with T=1 (default 1 2 4 8 16)")
    parser.add_argument("--num-frames", type=int, nargs="+", metavar="T", help="T of panels c and d, with N_train=1 (default 1 2 4 8 16)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="B", help="videos (default 8, as in the paper)")
    parser.add_argument("--image-size", type=int, default=0, metavar="PIXELS", help="longer side of a frame (default: the model's own)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    parser.add_argument("--mode", default="one-pass", help="one-pass (default), two-pass-full or two-pass-split: clips one after the other")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations again instead of keeping them")
    parser.add_argument("--machine", metavar="M", help="whose roofline to state: V100, A100, H100 or H200 (default: this machine's, measured)")
    parser.add_argument("--warmup", type=int, default=3, metavar="R", help="passes before those that count (default 3)")
    parser.add_argument("--repeats", type=int, default=10, metavar="R", help="passes that count (default 10)")
    parser.add_argument("--memory-cap", type=float, default=0, metavar="GIB", help="memory a point may take (default: what is free; the paper: 32)")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write each point as it comes (points.jsonl), the result and the four panels")


def cost(args: argparse.Namespace) -> Command:
    from clipbert.checks import check_known
    from clipbert.cost import SIZES, measure
    from clipbert.cost_limits import LIMITS
    from clipbert.cost_settings import CostSettings
    from clipbert.per_clip import find_device

    quiet_loading()
    if args.machine is not None:
        check_known("machine", args.machine, tuple(LIMITS))
    if args.out is not None:
        check_pictures("--out")
    names = ("model", "batch_size", "image_size", "dtype", "mode", "checkpointing", "warmup", "repeats", "seed")
    settings = CostSettings(device=find_device(args.device).type, memory_cap=int(args.memory_cap * 2**30), **given(args, *names))
    clips, frames = args.num_clips or SIZES, args.num_frames or SIZES
    total, points = len({(n, 1) for n in clips} | {(1, t) for t in frames}), []
    for point in measure(settings, clips=clips, frames=frames):
        points.append(point)
        show_progress("points", len(points), total)
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            with (args.out / "points.jsonl").open("w" if len(points) == 1 else "a", encoding="utf-8") as file:
                file.write(json.dumps(point.row()) + "\n")
    result = cost_result(settings, points, LIMITS.get(args.machine or ""))
    if args.out is not None:
        _write_cost(result, settings, points, args.out)
    return result, show.cost


def _write_cost(result: dict[str, Any], settings: Any, points: list[Any], out: Path) -> None:
    """The result, and a picture of each panel that has a point."""
    from clipbert.cost_panels import panels
    from clipbert.viz.figures import cost_panel, save

    (out / "cost.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    for panel in panels(points):
        if any(getattr(point, panel.y) for point in panel.points):
            save(cost_panel(panel, model=f"{settings.model}, random weights"), out / f"cost-{panel.letter}.png")
