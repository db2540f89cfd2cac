"""The four panels of Figure 5: measured points, a straight line through them, and what the paper's text and tables say there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipbert.cost import SIZES, CostPoint
from clipbert.paper import figure_points, table_part

BATCHES = ("max_batch", "predicted_batch")
"""The largest batch under a memory cap: found by trial, or predicted where the machine has no such memory to fill."""


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
    y: str  # "max_batch", "predicted_batch", "bytes_per_video" or "milliseconds"
    points: tuple[CostPoint, ...]
    fit: Fit | None
    paper: dict[int, float]  # x -> largest batch (a), or R@1 (b and d); nothing of (c) is known


def panels(points: Sequence[CostPoint]) -> list[Panel]:
    """The paper's four: (a) memory and (b) time against N_train at T=1, (c) and (d) the same against T at N_train=1."""
    batch = {int(point.x): point.y for point in figure_points(5)}
    found = []
    for letters, x, other, recall in (("ab", "num_clips", "num_frames", _recall_by_clips()), ("cd", "num_frames", "num_clips", _recall_by_frames())):
        line = sorted((p for p in points if getattr(p.settings, other) == 1), key=lambda p: getattr(p.settings, x))
        memory = next((name for name in BATCHES if any(getattr(point, name) for point in line)), "bytes_per_video")
        for letter, y, paper in zip(letters, (memory, "milliseconds"), (batch if letters == "ab" else {}, recall), strict=True):
            known = [(float(getattr(p.settings, x)), float(getattr(p, y))) for p in line if getattr(p, y) is not None]
            fit = fit_line(*zip(*known, strict=True)) if len(known) > 2 and y not in BATCHES else None
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
