"""One point of `clipbert.cost`, measured in this process: settings as JSON on stdin, the measurement as JSON on stdout."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

from clipbert.cost_parts import STEP_PARTS, decode_milliseconds, timed_step
from clipbert.cost_settings import CostSettings, inputs_of, model_of
from clipbert.cost_trace import largest_batch
from clipbert.model import ClipBertForSequenceClassification

LARGEST_BATCH = 4096
OUT_OF_MEMORY = ("allocate memory", "could not create a primitive", "could not execute a primitive")
"""What PyTorch says on a CPU, and oneDNN, which has no other words for it: the memory is limited here, the shapes are known to work."""


def measured(settings: CostSettings) -> dict[str, Any]:
    """The fields of `clipbert.cost.CostPoint`, but for its settings."""
    return _on_cuda(settings) if settings.device == "cuda" else _on_cpu(settings)


def _on_cpu(settings: CostSettings) -> dict[str, Any]:
    model = model_of(settings, torch.device("cpu"))
    _reset_peak()
    before = _peak()
    inputs = inputs_of(settings, "cpu")
    passes = [timed_step(model, inputs, settings, time.perf_counter) for _ in range(settings.warmup + settings.repeats)]
    peak = _peak()
    laps = [[1000 * (end - start) for start, end in pairwise(marks)] for marks in passes[settings.warmup :]]
    return _timed(laps, settings) | {
        "device_name": _processor(), "num_threads": torch.get_num_threads(), "peak_bytes": peak,
        "bytes_per_video": (peak - before) / settings.batch_size, "predicted_batch": largest_batch(settings) if settings.memory_cap else None,
    }  # fmt: skip


def _timed(laps: list[list[float]], settings: CostSettings) -> dict[str, Any]:
    """From the milliseconds of the parts of each pass."""
    times = [sum(lap) for lap in laps]
    low, _, high = quantiles(times, n=4) if len(times) > 1 else (times[0], 0, times[0])
    of_step = dict(zip(STEP_PARTS, map(median, zip(*laps, strict=True)), strict=True)) if settings.mode == "one-pass" else {}
    parts = {"decode": decode_milliseconds(settings)} | of_step
    return {"milliseconds": median(times), "spread": high - low, "parts": parts}


def _on_cuda(settings: CostSettings) -> dict[str, Any]:
    device = torch.device("cuda")
    if settings.memory_cap:
        torch.cuda.set_per_process_memory_fraction(min(1.0, settings.memory_cap / torch.cuda.get_device_properties(device).total_memory))
    model = model_of(settings, device)
    inputs = inputs_of(settings, device)
    before = torch.cuda.memory_allocated()
    for _ in range(settings.warmup):
        timed_step(model, inputs, settings, _event)
    torch.cuda.reset_peak_memory_stats()
    laps = []
    for _ in range(settings.repeats):
        marks = timed_step(model, inputs, settings, _event)
        marks[-1].synchronize()
        laps.append([start.elapsed_time(end) for start, end in pairwise(marks)])
    peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    del inputs
    return _timed(laps, settings) | {
        "device_name": torch.cuda.get_device_name(), "num_threads": torch.get_num_threads(), "peak_bytes": peak, "reserved_bytes": reserved,
        "bytes_per_video": (peak - before) / settings.batch_size, "max_batch": largest(lambda batch: _fits(model, settings, batch)),
    }  # fmt: skip


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def largest(fits: Callable[[int], bool]) -> int:
    """The largest batch size up to LARGEST_BATCH that fits, 0 if none: by doubling, then halving the gap."""
    low, high = 0, 1
    while high <= LARGEST_BATCH and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _fits(model: ClipBertForSequenceClassification, settings: CostSettings, batch_size: int) -> bool:
    torch.cuda.empty_cache()
    try:
        timed_step(model, inputs_of(replace(settings, batch_size=batch_size), "cuda"), settings, _event)
        torch.cuda.synchronize()
    except torch.cuda.OutOfMemoryError:
        return False
    return True


def _limit_memory(num_bytes: int) -> None:
    """Let allocation fail beyond so many bytes more, rather than the system end processes."""
    try:
        import resource
    except ImportError:  # Windows
        return
    taken = int(_status("VmSize") or 0)
    if taken:
        resource.setrlimit(resource.RLIMIT_AS, (taken + num_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _free_memory() -> int:
    """Bytes free on this machine or in this container, without the tenth that others may need; a generous guess where Linux does not tell."""
    free = 1 << 36
    if (info := Path("/proc/meminfo")).is_file():
        free = next(1024 * int(line.split()[1]) for line in info.read_text().splitlines() if line.startswith("MemAvailable"))
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()) != "max":
        free = min(free, int(text) - int(used.read_text()))
    return int(0.9 * free)


def _status(name: str) -> int | None:
    """A memory figure of this process in bytes, where Linux tells it."""
    path = Path("/proc/self/status")
    if not path.is_file():
        return None
    return next((1024 * int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(f"{name}:")), None)


def _peak() -> int:
    """The most memory this process has held."""
    found = _status("VmHWM")
    if found is None:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        found = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found


def _reset_peak() -> None:
    """Let the peak start from what is held now, where Linux can."""
    if (path := Path("/proc/self/clear_refs")).is_file():
        path.write_text("5")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0] if names else "cpu"


def _does_not_fit() -> int:
    print("it does not fit into memory", file=sys.stderr)
    return 1


def main() -> int:
    settings = CostSettings(**json.load(sys.stdin))
    if settings.device == "cpu":
        _limit_memory(min(settings.memory_cap or 1 << 62, _free_memory()))
    try:
        print(json.dumps(measured(settings)))
    except (torch.cuda.OutOfMemoryError, MemoryError):
        return _does_not_fit()
    except RuntimeError as error:
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        return _does_not_fit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
