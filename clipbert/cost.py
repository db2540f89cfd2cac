"""Time and memory of one training step (forward and backward) against N_train and T: Figure 5, on this machine.

Every point runs in a process of its own, so that no point inherits another's
caches or memory.  A CPU has no fixed memory to fill: there the paper's largest
batch becomes bytes per video.  The CUDA path has not been run yet.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from clipbert.cost_limits import Limits
from clipbert.cost_parts import STEP_PARTS
from clipbert.cost_settings import CostSettings, cost_config, inputs_of, model_of
from clipbert.cost_trace import largest_batch, traced_step, weightless

SIZES = (1, 2, 4, 8, 16)
LOOK_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class CostPoint:
    """One measured point: its settings, and what they cost.

    `milliseconds` is the median over repeats of a forward and backward pass,
    `spread` the distance between quartiles.  `peak_bytes` is the process's
    resident memory on a CPU, and what PyTorch allocated on a GPU;
    `bytes_per_video` is what the pass added, over the batch.  `max_batch` is
    None on a CPU, which has no memory of its own to fill; there
    `predicted_batch` is what would fit under the memory cap, if one is given.
    Where a point failed, `error` says how and the rest is None.
    """

    settings: CostSettings
    device_name: str
    num_threads: int
    milliseconds: float | None = None
    spread: float | None = None
    peak_bytes: int | None = None
    reserved_bytes: int | None = None
    bytes_per_video: float | None = None
    max_batch: int | None = None
    predicted_batch: int | None = None
    error: str = ""
    parts: dict[str, float] = field(default_factory=dict)
    """Median milliseconds of decode, cnn, transformer, head and backward; of a step in two passes, decode alone."""

    @property
    def clips_per_second(self) -> float | None:
        """Of all videos of the batch."""
        return None if self.milliseconds is None else 1000 * self.settings.batch_size * self.settings.num_clips / self.milliseconds

    def row(self) -> dict[str, Any]:
        """Flat, for a table, a data frame or JSON."""
        own = {name: value for name, value in vars(self).items() if name not in ("settings", "parts")}
        return asdict(self.settings) | own | {f"{part}_ms": self.parts.get(part) for part in ("decode", *STEP_PARTS)}


def sizes_up_to(largest: int) -> list[int]:
    """Those of the paper's N_train and T.  Raises ValueError if there is none."""
    if largest < 1:
        raise ValueError(f"largest must be at least 1, got {largest}.")
    return [size for size in SIZES if size <= largest]


def measure(
    settings: CostSettings | None = None, *, clips: Sequence[int] = SIZES, frames: Sequence[int] = SIZES, stopped: Callable[[], bool] = lambda: False
) -> Iterator[CostPoint]:
    """Yield a point for each N_train in `clips` with T=1, then for each T in `frames` with N_train=1; the point both share comes once.

    Stop taking points and nothing more is measured; once `stopped` says so, the
    point in work is ended and dropped.  A point that does not fit into memory
    comes with its error.  Raises ValueError for settings that cannot be measured.
    """
    settings = settings or CostSettings()
    cost_config(settings)
    wanted = [(n, 1) for n in clips] + [(1, t) for t in frames]
    jobs = [replace(settings, num_clips=n, num_frames=t) for n, t in dict.fromkeys(wanted)]
    for job in jobs:
        point = _in_fresh_process(job, stopped)
        if point is None:
            return
        yield point


def _in_fresh_process(settings: CostSettings, stopped: Callable[[], bool] = lambda: False) -> CostPoint | None:
    """The point, or None if it was stopped."""
    here = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", "clipbert.cost_point"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    with process:
        try:
            found = _heard(process, json.dumps(asdict(settings)), stopped)
        finally:
            process.kill()
    if found is None:
        return None
    out, errors = found
    if process.returncode == 0:
        return CostPoint(settings=settings, **json.loads(out.splitlines()[-1]))
    why = "the system ended the process, most likely for memory" if process.returncode < 0 else (errors.strip().splitlines() or ["unknown"])[-1]
    return CostPoint(settings, settings.device, torch.get_num_threads(), error=why)


def _heard(process: "subprocess.Popen[str]", asked: str | None, stopped: Callable[[], bool]) -> tuple[str, str] | None:
    """What the process printed until its end, out and errors; None as soon as it is to stop."""
    while not stopped():
        try:
            return process.communicate(asked, timeout=LOOK_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            asked = None  # it has been sent
    return None


@dataclass(frozen=True)
class Cost:
    """What a training step costs, known without running it; a multiplication and an addition are two FLOPs.

    `activation_bytes` is what a forward pass leaves for its backward pass,
    `step_bytes` the most that is held at once: weights, gradients, inputs and
    all between, without an optimizer or a GPU's context.  `traffic_bytes` is
    read and written by kernels that are not fused.  `roofline_milliseconds` is
    of a machine's limits and `predicted_batch` of a memory cap, `milliseconds`
    and `peak_bytes` of measured points; each is None without these.
    """

    parameters: int
    trainable: int
    cnn_flops: int
    transformer_flops: int
    training_flops: int
    activation_bytes: int
    step_bytes: int
    traffic_bytes: int
    roofline_milliseconds: float | None = None
    predicted_batch: int | None = None
    milliseconds: float | None = None
    peak_bytes: float | None = None


def predict_cost(settings: CostSettings, *, limits: Limits | None = None, points: Sequence[CostPoint] = ()) -> Cost:
    """What one step costs, from running it on tensors that have shapes and no memory.

    `cnn_flops` and `transformer_flops` are of one forward pass over the batch,
    `training_flops` of the whole step, with what two passes or checkpointing
    compute again.  With `limits`, the time of a machine whose kernels all reach
    its arithmetic or its memory's speed.  With `points` of the same model and
    device, time and memory are a + b * clips + c * frames, fitted to them.
    Raises ValueError if these are fewer than three, or of other settings.
    """
    with weightless():
        model, inputs = model_of(settings, torch.device(settings.device)), inputs_of(settings, settings.device)
        with FlopCounterMode(display=False) as cnn, torch.no_grad():
            features = model.encode_clips(inputs["pixel_values"])
        with FlopCounterMode(display=False) as transformer, torch.no_grad():
            model.score(features, inputs["input_ids"], inputs["attention_mask"])
        parameters = list(model.parameters())
    step = traced_step(settings)
    cost = Cost(
        sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad), cnn.get_total_flops(),
        transformer.get_total_flops(), step.flops, step.activation_bytes, step.peak_bytes, step.traffic_bytes,
        roofline_milliseconds=limits and 1000 * step.seconds(limits, settings.dtype),
        predicted_batch=largest_batch(settings) if settings.memory_cap else None,
    )  # fmt: skip
    if not points:
        return cost
    return replace(cost, milliseconds=_predicted(settings, points, "milliseconds"), peak_bytes=_predicted(settings, points, "peak_bytes"))


def _predicted(settings: CostSettings, points: Sequence[CostPoint], what: str) -> float:
    usable = [point for point in points if getattr(point, what) is not None]
    for point in usable:
        alike = replace(point.settings, num_clips=settings.num_clips, num_frames=settings.num_frames, batch_size=settings.batch_size)
        if alike != settings:
            raise ValueError("points must differ from the settings only in num_clips, num_frames and batch_size; measure this model and device.")
    terms = np.array([_terms(point.settings) for point in usable])
    if len(usable) < 3 or np.linalg.matrix_rank(terms) < 3:
        raise ValueError(f"a prediction needs at least three measured points that differ in clips and in frames, got {len(usable)}.")
    coefficients = np.linalg.lstsq(terms, np.array([getattr(point, what) for point in usable]), rcond=None)[0]
    return float(coefficients @ _terms(settings))


def _terms(settings: CostSettings) -> list[float]:
    clips = settings.batch_size * settings.num_clips
    return [1.0, float(clips), float(clips * settings.num_frames)]
