"""What a run writes about itself: a line per update, and what made each checkpoint."""

import json
import platform
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from train import checkpoints
from train.sections import RunSettings
from train.settings import Settings, read_settings

PACKAGES = ("clipbert", "torch", "transformers", "deepspeed", "av", "numpy")
FREE = ("output", "num_workers", "save_every", "keep_last", "log_every", "tensorboard", "resume", "clip_cache", "clip_cache_gigabytes")
"""Settings of `run` that may change when it is resumed."""


def say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def results(settings: Settings, num_processes: int, data: str) -> dict[str, Any]:
    """What one needs to make the checkpoint again: settings, versions, commit, data, seed, hardware."""
    return {
        "settings": asdict(settings), "seed": settings.run.seed, "data": data, "versions": versions(), "commit": commit(),
        "num_processes": num_processes, "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
    }  # fmt: skip


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """The git commit of this checkout, marked where files differ from it; "" outside a checkout."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()


def last_checkpoint(output: Path, settings: Settings, data: str) -> Path | None:
    """The checkpoint to go on from, None for a new run.

    Raises ValueError if a new run would mix with an old one, or a resumed one
    would not be the same run.
    """
    found = checkpoints.saved(output)
    if not settings.run.resume:
        if found:
            raise ValueError(f"{output} holds checkpoints of another run; go on with run.resume=true, or name another run.output.")
        return None
    if not found:
        return None
    before = read_settings(found[-1] / "settings.yaml")
    for name, then, now in _differences(asdict(before), asdict(settings)):
        raise ValueError(f"{found[-1]} was made with {name}={then!r}, not {now!r}; resume with the same settings, or start anew.")
    if checkpoints.results_of(found[-1])["data"] != data:
        raise ValueError(f"the annotations have changed since {found[-1]} was made; start anew in another run.output.")
    return found[-1]


def _differences(then: Any, now: Any, where: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(then, dict) and isinstance(now, dict):
        names = [name for name in now if not (where == "run" and name in FREE)]
        return [found for name in names for found in _differences(then.get(name), now[name], f"{where}.{name}" if where else name)]
    return [] if json.dumps(then) == json.dumps(now) else [(where, then, now)]


def resumed_update(checkpoint: Path, *, num_processes: int) -> int:
    """Updates done at `checkpoint`; ValueError if it was made by another number of processes, which read other batches."""
    done = checkpoints.results_of(checkpoint)
    if done["num_processes"] != num_processes:
        raise ValueError(f"{checkpoint} was made by {done['num_processes']} processes, not {num_processes}; resume with as many.")
    return int(str(done["step"]))


class Log:
    """log.jsonl: one line per update, as exact as Python prints floats; also progress on stderr and TensorBoard."""

    def __init__(self, output: Path, first: int, settings: RunSettings) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self.path, self.settings, self.seconds, self.done = output / "log.jsonl", settings, 0.0, 0
        kept = self.path.read_text().splitlines(keepends=True)[:first] if self.path.is_file() else []
        self.path.write_text("".join(kept))  # updates after the checkpoint happen again
        self.board: Any = None
        if settings.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(output / "tensorboard"), purge_step=first + 1)

    def write(self, line: dict[str, Any], total: int) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.seconds, self.done = self.seconds + line["seconds"], self.done + 1
        if self.board:
            for name, value in _scalars(line).items():
                self.board.add_scalar(name, value, line["step"])
        if line["step"] % self.settings.log_every == 0 or line["step"] == total:
            say(progress(line, total, self.seconds / self.done))
        if "validation_loss" in line:
            shown = [f"{name} {value:.4g}" for name, value in _scalars(line).items() if name.startswith("validation")]
            say(f"{line['step']}/{total}  {'  '.join(shown)}")


def _scalars(line: dict[str, Any]) -> dict[str, float]:
    """What TensorBoard draws."""
    names = ("loss", "lr", "grad_norm", "data_wait", "validation_loss")
    metrics = {f"validation.{k}/{name}": value for k, one in enumerate(line.get("validation", ())) for name, value in one.items()}
    return {name: line[name] for name in names if name in line} | metrics


def progress(line: dict[str, Any], total: int, seconds_per_update: float) -> str:
    """One update in a line, with the time left and what the run waits for."""
    left = int((total - line["step"]) * seconds_per_update)
    bound = f"bound by {'data' if line['data_wait'] > 0.5 else 'compute'} ({line['data_wait']:.0%} waiting)"
    loss = f"loss {line['loss']:.4f}  lr {line['lr']:.2e}  norm {line['grad_norm']:.2f}"
    time_left = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
    return f"{line['step']}/{total}  {line['task']}  {loss}  {seconds_per_update:.2f} s/update, {bound}  left {time_left}"
