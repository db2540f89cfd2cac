"""What is done of an ablation, what is missing, and how long that will take by what was measured."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from train.ablation_plan import AblationSettings, Run

Row = Mapping[str, Any]


def title(run: Run) -> str:
    """What a run asks, and what it fills."""
    tasks = " and ".join(evaluation.task for evaluation in run.evaluations)
    return f"{tasks}: " + "; ".join(["Table " + row.name for row in run.rows] + ["F" + curve.name[1:] for curve in run.curves])


def is_of(row: Row, run: Run) -> bool:
    return row["run"] == run.name and row["seed"] == run.seed


def lines(runs: Sequence[Run], done: Sequence[Row], settings: AblationSettings) -> list[str]:
    """One for each run, then the rows that are left out, then the sum."""
    shown, seconds, unknown, num_done = [], 0.0, 0, 0
    for run in runs:
        row = next((row for row in done if is_of(row, run)), None)
        if row:
            state, num_done = f"done, {_time(row['seconds'] + row['evaluation_seconds'])}", num_done + 1
        elif missing := run.missing():
            state = f"needs {missing[0]}"
        else:
            expected = estimate(run, done)
            state = "missing" + (f", about {_time(expected)}" if expected else ", time not measured")
            seconds, unknown = seconds + (expected or 0.0), unknown + (expected is None)
        shown.append(f"{run.name}  seed {run.seed}  {state:<28}  {title(run)}")
    shown += [f"{'left out':<22}  {why:<28}  {'Table ' * name[0].isdigit()}{name}" for name, why in settings.left_out.items()]
    rest = f"; {unknown} more not measured" if unknown else ""
    return [*shown, f"{num_done} of {len(runs)} runs done; the missing that can run need about {_time(seconds)}{rest}"]


def estimate(run: Run, done: Sequence[Row]) -> float | None:
    """Seconds that a run will take, less what it has done: as another seed took, else as the run of its recipe nearest in pixels, in proportion.

    None where nothing of the kind was measured.
    """
    rows = [row for row in done if row["settings"].get("train") == run.content.get("train")]  # of the same recipe, or only read like it
    same = [row for row in rows if row["run"] == run.name]
    if same:
        training, evaluation = _mean(same, "seconds"), _mean(same, "evaluation_seconds")
    elif rows:
        work = _work(run.content)
        near = min(rows, key=lambda row: abs(math.log(_work(row["settings"]) / work)))
        training, evaluation = near["seconds"] * work / _work(near["settings"]), near["evaluation_seconds"]
    else:
        return None
    return training * (1 - _part_done(run)) + evaluation


def _mean(rows: Sequence[Row], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


def _work(content: Mapping[str, Any]) -> float:
    """Pixels that an update looks at, up to a factor."""
    clips = content.get("clips", {})
    size = content.get("model", {}).get("config", {}).get("image_size", 448)
    return float(clips.get("num_clips", 1)) * float(clips.get("num_frames", 1)) * float(size) ** 2


def _part_done(run: Run) -> float:
    """Of the updates of a run that was killed."""
    log = run.folder / "log.jsonl"
    total = run.settings().run.max_steps if run.recipe else 0
    written = log.read_text().splitlines() if total and log.is_file() else []
    return json.loads(written[-1])["step"] / total if written else 0.0


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
