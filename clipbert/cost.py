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

from clipbert.cost_parts import STEP_PARTS
from clipbert.cost_settings import CostSettings, cost_config, inputs_of, loss_of, model_of
from clipbert.paper import figure_points, table_part

SIZES = (1, 2, 4, 8, 16)
LOOK_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class CostPoint:
    """One measured point: its settings, and what they cost.

    `milliseconds` is the median over repeats of a forward and backward pass,
    `spread` the distance between quartiles.  `peak_bytes` is the process's
    resident memory on a CPU, and what PyTorch allocated on a GPU;
    `bytes_per_video` is what the pass added, over the batch.  `max_batch` is
    None on a CPU.  Where a point failed, `error` says how and the rest is None.
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
    error: str = ""
    parts: dict[str, float] = field(default_factory=dict)
    """Median milliseconds of decode, cnn, transformer, head and backward."""

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
    """What a configuration costs, known without running it; a multiplication and an addition are two FLOPs.

    `milliseconds` and `peak_bytes` follow from measured points, and are None without.
    """

    parameters: int
    trainable: int
    cnn_flops: int
    transformer_flops: int
    training_flops: int
    milliseconds: float | None = None
    peak_bytes: float | None = None


def predict_cost(settings: CostSettings, *, points: Sequence[CostPoint] = ()) -> Cost:
    """Parameters and FLOPs, counted on tensors without memory; with `points` of the same model and device, time and memory too.

    `cnn_flops` and `transformer_flops` are of one forward pass over the batch,
    `training_flops` of forward and backward.  Time and memory are
    a + b * clips + c * frames, fitted to the points.  Raises ValueError if
    these are fewer than three, or of other settings.
    """
    meta = torch.device("meta")
    model = model_of(settings, meta)
    inputs = inputs_of(settings, model.config, meta)
    with FlopCounterMode(display=False) as cnn, torch.no_grad():
        features = model.encode_clips(inputs["pixel_values"])
    with FlopCounterMode(display=False) as transformer, torch.no_grad():
        model.score(features, inputs["input_ids"], inputs["attention_mask"])
    with FlopCounterMode(display=False) as training:
        loss_of(model, inputs).backward()
    parameters = list(model.parameters())
    cost = Cost(
        sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad), cnn.get_total_flops(),
        transformer.get_total_flops(), training.get_total_flops(),
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


@dataclass(frozen=True)
class Fit:
    """y = intercept + slope * x, by least squares."""

    intercept: float
    slope: float
    r_squared: float


def fit_line(x: Sequence[float], y: Sequence[float]) -> Fit:
    """Raises ValueError for fewer than three points: two always lie on a line."""
    if len(x) < 3:
        raise ValueError(f"a fit needs at least three points, got {len(x)}.")
    slope, intercept = np.polyfit(x, y, 1)
    residual = np.asarray(y) - (intercept + slope * np.asarray(x))
    total = np.asarray(y) - np.mean(y)
    return Fit(float(intercept), float(slope), float(1 - (residual**2).sum() / max((total**2).sum(), 1e-300)))


@dataclass(frozen=True)
class Panel:
    """One panel of Figure 5: our points, and what the paper's text and tables say there."""

    letter: str
    x: str  # "num_clips" or "num_frames"
    y: str  # "max_batch", "bytes_per_video" or "milliseconds"
    points: tuple[CostPoint, ...]
    fit: Fit | None
    paper: dict[int, float]  # x -> largest batch (a), or R@1 (b and d); nothing of (c) is known


def panels(points: Sequence[CostPoint]) -> list[Panel]:
    """The paper's four: (a) memory and (b) time against N_train at T=1, (c) and (d) the same against T at N_train=1."""
    batch = {int(point.x): point.y for point in figure_points(5)}
    found = []
    for letters, x, other, recall in (("ab", "num_clips", "num_frames", _recall_by_clips()), ("cd", "num_frames", "num_clips", _recall_by_frames())):
        line = sorted((p for p in points if getattr(p.settings, other) == 1), key=lambda p: getattr(p.settings, x))
        memory = "max_batch" if any(point.max_batch for point in line) else "bytes_per_video"
        for letter, y, paper in zip(letters, (memory, "milliseconds"), (batch if letters == "ab" else {}, recall), strict=True):
            known = [(float(getattr(p.settings, x)), float(getattr(p, y))) for p in line if getattr(p, y) is not None]
            fit = fit_line(*zip(*known, strict=True)) if len(known) > 2 and y != "max_batch" else None
            found.append(Panel(letter, x, y, tuple(line), fit, paper))
    return found


def _recall_by_clips() -> dict[int, float]:
    """R@1 of Tables 3 and 4: LogSumExp, T=1, N_test=16."""
    cells = [table_part("4").cell("R1", "Sparse Random", str(n)) for n in (1, 2, 4)] + [table_part("3").cell("R1", "LogSumExp", "16")]
    return {int(cell.row[1]): cell.value for cell in cells if cell.value is not None}


def _recall_by_frames() -> dict[int, float]:
    """R@1 of Table 2: mean pooling, N_train=1, N_test=1."""
    cells = [table_part("2").cell("R1", "-" if t == 1 else "mean pooling", str(t)) for t in SIZES]
    return {int(cell.row[1]): cell.value for cell in cells if cell.value is not None}
