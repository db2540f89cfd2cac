"""Tables 1 to 6 and Figure 4, run by `train.py` and `evaluate.py` on any data: a list of named cells, over seeds, one row a run.

    python train/ablate.py --config train/configs/ablate_synthetic.yaml --seeds 3 --out benchmarks/results/ablations-synthetic.jsonl
    python train/ablate.py --table 3 --config ... --out ...      # the runs of one table
    python train/ablate.py --list --config ... --out ...         # what is done, what is missing, how long it will take

A configuration that several tables share runs once.  A run that is done, which
its row in the file says, is not repeated; one that was killed goes on from its
last checkpoint; the same command in a second process takes other runs.

One line of the file is one run, in the form that `clipbert tables` reads:

    run             name of the run: recipe, overrides and evaluations, as a hash; the same for all its seeds
    seed            of training; of a model that is only read, the number of the split, from 1
    scale           what the numbers are of: other scales do not compare ("synthetic videos, ..."; "full" is the paper's own data and size)
    paper_cells     [{table, row, column, value, metric, num_examples}]: all cells of Tables 1 to 6 that this run fills
    figure_points   [{figure: 4, series, x: N_test, aggregation, column, value, metric, num_examples}]
    measured        what evaluate.py wrote, for each task: every N_test and aggregation
    overrides       in what the run differs from its recipe;  settings: recipe and overrides together
    updates, seconds, evaluation_seconds    seconds are those of updates alone
    command, data, hardware, load, commit, versions, date

Columns are the paper's: R1, R5, R10, MdR of text-to-video retrieval and
Accuracy of questions, in percent (MdR is a rank).  Rows are only added.
"""

import argparse
import fcntl
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, `import train` must find this folder, and clipbert the one beside it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch

from clipbert.aggregation import AGGREGATIONS
from train import ablation_list, checkpoints, record
from train.ablation_plan import COLUMNS, RANKS, AblationSettings, Run, chosen, plan, read_ablation
from train.train import EXIT_INTERRUPTED

Row = dict[str, Any]
STDERR = 2


class Failed(Exception):
    """A program that a run calls ended badly; it has said why."""


@dataclass(frozen=True)
class Caller:
    """How the programs of this folder are started."""

    launcher: tuple[str, ...]

    def call(self, script: str, arguments: Sequence[str]) -> str:
        """The command, once it has ended well.  Raises Failed, and KeyboardInterrupt once the program has saved and ended."""
        command = [*self.launcher, os.path.relpath(Path(__file__).with_name(script)), *arguments]
        process = subprocess.Popen(command, stdout=STDERR, close_fds=False)  # holds the lock of its run, should this process be killed
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # which Ctrl-C has done already, a polite kill not
            process.wait()
            raise
        if code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise Failed(f"{script} ended with {code}: {shlex.join(command)}")
        return shlex.join(["python" if part == sys.executable else part for part in command])


def read_rows(path: Path, runs: Sequence[Run]) -> list[Row]:
    """What is done; ValueError for a line that is none of these runs'."""
    rows, known = [], {(run.name, run.scale) for run in runs}
    for number, line in enumerate(path.read_text().splitlines() if path.is_file() else (), 1):
        try:
            row = json.loads(line)
            belongs = (row["run"], row["scale"]) in known
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{path}, line {number} is no row of an ablation; take it out, or name another --out.") from None
        if not belongs:
            raise ValueError(f"{path}, line {number} was made by other settings than these; name another --out.")
        rows.append(row)
    return rows


def perform(run: Run, settings: AblationSettings, caller: Caller) -> Row:
    """Train, unless the model is only read, evaluate, and say what came of it.  Raises Failed."""
    load, commands, line, model = os.getloadavg()[0], [], {"step": 0}, run.model
    if run.recipe:
        commands.append(caller.call("train.py", run.train_arguments()))
        checkpoint = checkpoints.saved(run.folder)[-1]
        model, line = str(checkpoint), checkpoints.results_of(checkpoint)
    run.folder.mkdir(parents=True, exist_ok=True)
    began, measured = time.monotonic(), []
    for number, evaluation in enumerate(run.evaluations):
        out = run.folder / f"evaluation{number}.json"
        sizes = [str(size) for size in settings.num_clips]
        commands.append(caller.call("evaluate.py", [f"--model={model}", *evaluation.arguments(), f"--out={out}", "--num-clips", *sizes]))
        measured.append(json.loads(out.read_text()))
    return {
        "run": run.name, "seed": run.seed, "scale": run.scale, **cells(run, measured, settings.num_clips), "measured": measured,
        "overrides": list(run.overrides), "settings": run.content, "updates": line["step"], "seconds": seconds_of(run.folder),
        "evaluation_seconds": round(time.monotonic() - began, 1), "command": commands, "data": settings.data, "hardware": hardware(),
        "load": round(load, 1), "commit": record.commit(), "versions": record.versions(), "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip


def cells(run: Run, measured: Sequence[Row], sizes: Sequence[int]) -> Row:
    """The cells and points that a run fills, from what evaluate.py wrote for each of its evaluations."""
    paper_cells, points = [], []
    for evaluation, result in zip(run.evaluations, measured, strict=True):
        grid = {(row["num_clips"], row["aggregation"]): row for row in result["rows"]}
        for column, metric in COLUMNS[evaluation.task].items():
            about = {"column": column, "metric": metric, "num_examples": result["num_examples"]}
            factor = 1 if column in RANKS else 100
            for row in run.rows:
                value = factor * grid[row.num_clips, row.aggregation][metric]
                paper_cells.append({"table": row.table, "row": list(row.row), "value": value, **about})
            for curve in run.curves:
                for size, how in ((size, how) for how in AGGREGATIONS for size in sizes):
                    value = factor * grid[size, how][metric]
                    points.append({"figure": 4, "series": curve.series, "x": size, "aggregation": how, "value": value, **about})
    return {"paper_cells": paper_cells, "figure_points": points}


def seconds_of(folder: Path) -> float:
    """Of all updates of a run, also where it was killed and went on."""
    log = folder / "log.jsonl"
    return round(sum(json.loads(line)["seconds"] for line in log.read_text().splitlines()), 1) if log.is_file() else 0.0


def hardware() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    about = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in about.read_text().splitlines() if line.startswith("model name")] if about.is_file() else []
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} of {os.cpu_count()} threads"


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether no other process is at this run; the lock ends with this process and what it started, however they end."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def ablate(runs: Sequence[Run], left: Sequence[Run], settings: AblationSettings, out: Path, caller: Caller) -> list[str]:
    """Do what is `left` of all `runs`, unless another process has by then, adding a row each to `out`; a line on each that came to nothing."""
    problems = []
    for number, run in enumerate(left, 1):
        about = f"run {number} of {len(left)}, {ablation_list.title(run)}, seed {run.seed}"
        if missing := run.missing():
            problems.append(f"{about}: there is no {missing[0]}")
            continue
        with alone(run.folder) as free:
            if not free:
                record.say(f"{about}: another process is at it")
            elif not any(ablation_list.is_of(row, run) for row in read_rows(out, runs)):
                record.say(about)
                try:
                    row = perform(run, settings, caller)
                except Failed as failure:
                    problems.append(f"{about}: {failure}")
                    continue
                out.parent.mkdir(parents=True, exist_ok=True)
                with out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    return problems


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="YAML file of recipes and evaluations; see train/configs/ablate_*.yaml")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON lines to which a row is added for each run")
    parser.add_argument("--table", default="", help='1 to 6 or "figure 4": only its runs (default: all)')
    parser.add_argument("--seeds", type=int, default=3, metavar="K", help="seeds 1 to K (default: 3)")
    parser.add_argument("--list", action="store_true", help="show what is done, what is missing and how long it will take; run nothing")
    parser.add_argument("--launcher", default=sys.executable, help='what starts train.py and evaluate.py, such as "deepspeed --num_gpus 8"')
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if args.seeds < 1:
            raise ValueError(f"--seeds must be at least 1, got {args.seeds}.")
        settings = read_ablation(args.config)
        runs = plan(settings, num_seeds=args.seeds)
        todo, done = chosen(runs, args.table), read_rows(args.out, runs)
        if args.list:
            print("\n".join(ablation_list.lines(todo, done, settings)))
            return 0
        left = [run for run in todo if not any(ablation_list.is_of(row, run) for row in done)]
        problems = ablate(runs, left, settings, args.out, Caller(tuple(shlex.split(args.launcher))))
    except (ValueError, OSError) as error:
        print(f"ablate: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        record.say("interrupted; the same command goes on")
        return EXIT_INTERRUPTED
    for problem in problems:
        print(f"ablate: {problem}", file=sys.stderr)
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
