"""Checkpoints that are whole or not there: written aside, then renamed; the last few and the best are kept."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NO_SPACE_WORDS = ("No space left", "Disk quota exceeded", "file write failed", "unexpected pos")
"""How safetensors and torch.save tell that the disk is full: not as an OSError with a number."""


class DiskFull(Exception):
    """A checkpoint did not fit; the one before it is whole."""


def name_of(step: int) -> str:
    return f"step_{step:08d}"


def saved(output: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(path for path in output.glob("step_*") if path.is_dir())


def results_of(checkpoint: Path) -> dict[str, object]:
    return json.loads((checkpoint / "results.json").read_text())


def write(output: Path, step: int, fill: Callable[[Path], None], *, is_first: bool = True, barrier: Callable[[], object] = lambda: None) -> Path:
    """The checkpoint of `step`, filled by `fill(folder)` in every process; `is_first` in the one that makes and renames folders.

    Raises DiskFull in one sentence if the disk is full.  Whatever is raised,
    the checkpoints before stay as they are.
    """
    target, part = output / name_of(step), output / f".{name_of(step)}.part"
    try:
        if is_first:
            for leftover in output.glob(".step_*.part"):  # of a run that was killed while it saved
                shutil.rmtree(leftover)
            part.mkdir(parents=True)
        barrier()
        fill(part)
        barrier()
        if is_first:
            part.replace(target)
        barrier()
    except Exception as error:
        if is_first:
            shutil.rmtree(part, ignore_errors=True)
        if getattr(error, "errno", None) in NO_SPACE or any(words in str(error) for words in NO_SPACE_WORDS):
            raise DiskFull(_no_space(output, step)) from error
        raise
    return target


def _no_space(output: Path, step: int) -> str:
    before = saved(output)
    if not before:
        return f"no space left in {output} for the checkpoint of step {step}; nothing is saved yet. Free some space and start again."
    size = sum(path.stat().st_size for path in before[-1].rglob("*") if path.is_file()) / 1e6
    return (
        f"no space left in {output} for the checkpoint of step {step} (the last took {size:.0f} MB); "
        f"{before[-1]} is whole: free some space and go on with run.resume=true."
    )


def best(output: Path) -> Path | None:
    """The checkpoint with the highest validation score, the earlier of equals; None if none was validated."""
    scores = {path: results_of(path).get("validation_score") for path in saved(output)}
    validated = {path: score for path, score in scores.items() if isinstance(score, int | float)}
    return max(validated, key=lambda path: validated[path], default=None)


def prune(output: Path, *, keep_last: int) -> None:
    """Remove all but the last `keep_last` checkpoints and the best."""
    kept = {*saved(output)[-keep_last:], best(output)}
    for path in saved(output):
        if path not in kept:
            aside = path.with_name(f".{path.name}.part")  # a kill now leaves no half a checkpoint under its name
            path.replace(aside)
            shutil.rmtree(aside)
