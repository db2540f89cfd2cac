"""One point of `clipbert.cost`, measured in this process: settings as JSON on stdin, the measurement as JSON on stdout."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor

from clipbert.config import ClipBertConfig, HeadConfig, check_known
from clipbert.model import ClipBertForSequenceClassification
from clipbert.predict import model_folder
from clipbert.tasks import TASKS

LARGEST_BATCH = 4096
OUT_OF_MEMORY = ("allocate memory", "could not create a primitive", "could not execute a primitive")
"""What PyTorch says on a CPU, and oneDNN, which has no other words for it: the memory is limited here, the shapes are known to work."""
SMALL = ClipBertConfig(
    vocab_size=1000, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, max_position_embeddings=64,
    stem_channels=4, bottleneck_channels=4, res2_channels=16, image_size=96,
)  # fmt: skip


@dataclass(frozen=True)
class CostSettings:
    """What is measured, and how; the paper's Figure 5 has batch size 8 and image size 448."""

    model: str = "small"
    """"small" (0.3 M parameters), "paper" (its sizes), a bundled model or a folder; its configuration only, with random weights."""
    num_clips: int = 1
    """N_train."""
    num_frames: int = 1
    """T."""
    batch_size: int = 8
    """Videos, with one text each."""
    image_size: int = 0
    """Pixels of a frame's side; 0 for the model's own."""
    text_length: int = 20
    """Tokens of each text (the paper's retrieval configs cut there)."""
    device: str = "cpu"
    dtype: str = "float32"
    warmup: int = 3
    repeats: int = 10
    seed: int = 0
    memory_cap: int = 0
    """Bytes that a point may take; 0 for what is free now."""

    def __post_init__(self) -> None:
        check_known("device", self.device, ("cpu", "cuda"))
        check_known("dtype", self.dtype, ("float32", "bfloat16"))
        for name in ("num_clips", "num_frames", "batch_size", "text_length", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("warmup", "image_size", "memory_cap", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device cuda is not available on this machine; use cpu.")


def cost_config(settings: CostSettings) -> ClipBertConfig:
    """The configuration that is measured: the named one's sizes, with a retrieval head as in Figure 5.

    Raises ValueError for a model that does not exist.
    """
    known = {"small": SMALL, "paper": ClipBertConfig()}
    config = known.get(settings.model) or ClipBertConfig.from_pretrained(model_folder(settings.model))
    changed = {"heads": {"match": HeadConfig("retrieval", 2)}} | ({"image_size": settings.image_size} if settings.image_size else {})
    return ClipBertConfig(**{**config.to_diff_dict(), **changed})


def model_of(settings: CostSettings, device: torch.device) -> ClipBertForSequenceClassification:
    """With random weights, in train mode."""
    torch.manual_seed(settings.seed)
    with device:
        return ClipBertForSequenceClassification(cost_config(settings)).train()


def inputs_of(settings: CostSettings, config: ClipBertConfig, device: torch.device) -> dict[str, Tensor]:
    b, size = settings.batch_size, config.image_size
    with device:
        return {
            "pixel_values": torch.randn(b, settings.num_clips, settings.num_frames, 3, size, size),
            "input_ids": torch.randint(config.vocab_size, (b, settings.text_length)),
            "attention_mask": torch.ones(b, settings.text_length, dtype=torch.bool),
        }


def loss_of(model: ClipBertForSequenceClassification, inputs: dict[str, Tensor]) -> Tensor:
    """The paper's: cross-entropy of the LogSumExp over clips."""
    logits = model(**inputs).clip_logits
    return TASKS["retrieval"].loss(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device), "lse")


def step(model: ClipBertForSequenceClassification, inputs: dict[str, Tensor], settings: CostSettings) -> None:
    model.zero_grad(set_to_none=True)
    with torch.autocast(settings.device, torch.bfloat16, enabled=settings.dtype == "bfloat16"):
        loss = loss_of(model, inputs)
    loss.backward()


def measured(settings: CostSettings) -> dict[str, Any]:
    """The fields of `clipbert.cost.CostPoint`, but for its settings."""
    return _on_cuda(settings) if settings.device == "cuda" else _on_cpu(settings)


def _on_cpu(settings: CostSettings) -> dict[str, Any]:
    model = model_of(settings, torch.device("cpu"))
    _reset_peak()
    before = _peak()
    inputs = inputs_of(settings, model.config, torch.device("cpu"))
    times = []
    for _ in range(settings.warmup + settings.repeats):
        start = time.perf_counter()
        step(model, inputs, settings)
        times.append(1000 * (time.perf_counter() - start))
    peak = _peak()
    return _timed(times[settings.warmup :]) | {
        "device_name": _processor(), "num_threads": torch.get_num_threads(), "peak_bytes": peak,
        "bytes_per_video": (peak - before) / settings.batch_size,
    }  # fmt: skip


def _timed(times: list[float]) -> dict[str, float]:
    low, _, high = quantiles(times, n=4) if len(times) > 1 else (times[0], 0, times[0])
    return {"milliseconds": median(times), "spread": high - low}


def _on_cuda(settings: CostSettings) -> dict[str, Any]:
    device = torch.device("cuda")
    if settings.memory_cap:
        torch.cuda.set_per_process_memory_fraction(min(1.0, settings.memory_cap / torch.cuda.get_device_properties(device).total_memory))
    model = model_of(settings, device)
    inputs = inputs_of(settings, model.config, device)
    before = torch.cuda.memory_allocated()
    for _ in range(settings.warmup):
        step(model, inputs, settings)
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(settings.repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        step(model, inputs, settings)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    del inputs
    return _timed(times) | {
        "device_name": torch.cuda.get_device_name(), "num_threads": torch.get_num_threads(), "peak_bytes": peak, "reserved_bytes": reserved,
        "bytes_per_video": (peak - before) / settings.batch_size, "max_batch": largest(lambda batch: _fits(model, settings, batch)),
    }  # fmt: skip


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
        step(model, inputs_of(replace(settings, batch_size=batch_size), model.config, torch.device("cuda")), settings)
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
        _limit_memory(settings.memory_cap or _free_memory())
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
