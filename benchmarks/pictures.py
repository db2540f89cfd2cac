"""The two pictures of docs/performance.md, from the same rows as its tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rows import Row
from targets import TARGETS

from clipbert.viz.chart import Axis, Chart, Lines, Points
from clipbert.viz.chart import Row as Tidy

SPENT = "{way}, N_test = {num_clips}\n{percent:.1f} % right\n{gflop:.1f} GFLOP, {frames_decoded:.0f} frames"
MOST = 16.0  # times a target, beyond which a point stands at the edge


def targets(rows: Sequence[Row]) -> Chart:
    """How far beyond its target each ratio is, the worst of those against the same one; what must be 0 is in the table alone."""
    found: dict[str, float] = {}
    for row in rows:
        target = TARGETS[row.target]
        if row.ratio and (target.at_least or target.at_most):
            beyond = row.ratio / target.at_least if target.at_least else (target.at_most or 0) / row.ratio
            found[row.target] = max(min(found.get(row.target, MOST), beyond), 1 / MOST)
    tidy: list[Tidy] = [
        {"target": key, "times": found[key], "ratio": f"{TARGETS[key].about}: {TARGETS[key].words}", "met": "met" if found[key] >= 1 else "not met"}
        for key in TARGETS if key in found
    ]  # fmt: skip
    return Chart(
        "Targets of speed, memory and counts", "", f"1: as the target says; further right: better, {MOST:g} and more at the edge", tidy,
        Axis("times the target", "log2", ticks=(0.25, 0.5, 1, 2, 4, 8, 16)), Axis("", "category", order=tuple(row["target"] for row in tidy)),
        (Points(tidy, "times", "target", "{target}: {ratio}\n{times:.2f} times", series="met"),), ("met", "not met"),
    )  # fmt: skip


def samplers(path: Path) -> Chart:
    """Right answers to questions that one scene answers, against what finding and reading the clips cost."""
    written = json.loads(path.read_text(encoding="utf-8"))
    points = {way: [point for point in written["points"] if point["way"] == way] for way in dict.fromkeys(p["way"] for p in written["points"])}
    (alone,) = _tidy(points.pop("text alone"))
    oracle, rows = _tidy(points.pop("oracle")), _tidy([point for some in points.values() for point in some])
    sizes = ", ".join(map(str, sorted({row["num_clips"] for row in rows})))
    return Chart(
        "Choosing clips: right answers against total cost", "synthetic",
        f"N_test = {sizes}; {alone['questions']} questions that one scene answers; text alone: {alone['percent']:.0f} % right", [*rows, *oracle],
        Axis("GFLOP a question, looking included", "log2", ticks=(1, 2, 4, 8, 16, 32)), Axis("right (%)", limits=(0, 103)),
        (Lines(rows, "gflop", "percent", "way", SPENT), Points(oracle, "gflop", "percent", SPENT, series="way", shape="hollow")), (*points, "oracle"),
    )  # fmt: skip


def _tidy(points: Sequence[dict[str, Any]]) -> list[Tidy]:
    return [
        {
            "way": point["way"], "num_clips": point["num_clips"], "gflop": point["gflop"], "frames_decoded": point["frames_decoded"],
            "percent": 100 * point["localised"][0] / point["localised"][1], "questions": point["localised"][1],
        }
        for point in points
    ]  # fmt: skip
