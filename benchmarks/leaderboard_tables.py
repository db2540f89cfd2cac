"""Tables of `attribution_leaderboard.py`, from the rows of its videos."""

from collections.abc import Callable
from functools import partial
from statistics import mean
from typing import Any

from clipbert.attribution import METHODS
from clipbert.metrics import bootstrap_interval

Row = dict[str, Any]
SCORES = {
    "clips": ("pointing", "temporal_iou", "temporal_iou_at_0.5"), "frames": ("pointing",), "cells": ("pointing", "pointing_centre", "energy"),
    "tokens": ("pointing",),
}  # fmt: skip
BACKGROUND = ("location", "where", "when")
"""Types whose answer is the place or the time of day, seen all over the frame: the planted box holds whom it is about."""
SURE = 0.5
"""From this probability on an answer is taken as known rather than guessed: a guess can be right too, and no map of it finds the evidence."""
SURELY, BOXED = f"p >= {SURE:g}", "answer in the box"
GOALS = {"clips": 0.95, "cells": 0.80}


def leaderboard(videos: list[Row], num_questions: int) -> Row:
    """Scores and faithfulness of every method over the first `num_questions` questions; videos are drawn for the intervals."""
    kept: list[list[Row]] = []
    for video in videos:
        kept.append(video["questions"][: num_questions - sum(map(len, kept))])
    explained = [[row for row in rows if row["clip"] is not None] for rows in kept]
    types = sorted({row["type"] for rows in explained for row in rows})
    groups: dict[str, Callable[[Row], bool]] = {
        "all": lambda row: True, SURELY: lambda row: row["probability"] >= SURE, BOXED: lambda row: row["type"] not in BACKGROUND,
        "answer in the background": lambda row: row["type"] in BACKGROUND, **{kind: partial(_of_type, kind) for kind in types},
    }  # fmt: skip
    asked, right = (sum(sum(video[name].values()) for video in videos) for name in ("asked", "right"))
    scores = [
        {"group": group, "level": about.level, "method": name, "score": score, **found}
        for group, belongs in groups.items()
        for name, about in METHODS.items()
        for score in SCORES[about.level]
        if (found := _summary([[row["scores"][name][score] for row in rows if belongs(row)] for rows in explained]))
    ]
    return {
        "videos": len(videos), "asked": asked, "right": right, "questions": sum(map(len, kept)), "explained": sum(map(len, explained)),
        "seconds": {name: mean(row["seconds"][name] for rows in explained for row in rows) for name in METHODS},
        "on_padding": {name: _mean([row["on_padding"].get(name) for rows in explained for row in rows]) for name in METHODS},
        "scores": scores, "goals": [goal for group in ("all", SURELY, BOXED) for level in GOALS for goal in _goal(level, scores, group)],
        "faithfulness": _faithfulness(explained),
        "cpu_seconds": sum(video["cpu_seconds"] for video in videos),
    }  # fmt: skip


def _of_type(kind: str, row: Row) -> bool:
    return row["type"] == kind


def _summary(by_video: list[list[list[float]]]) -> Row:
    """The mean of [value, random, best], and the interval of the first; nothing where there is none."""
    by_video = [values for values in by_video if values]
    if not by_video:
        return {}
    number = sum(map(len, by_video))
    value, chance, best = (sum(entry[n] for values in by_video for entry in values) / number for n in range(3))
    low, high = bootstrap_interval([sum(entry[0] for entry in values) for values in by_video], [len(values) for values in by_video])
    return {"questions": number, "videos": len(by_video), "value": value, "low": low, "high": high, "random": chance, "best": best}


def _goal(level: str, scores: list[Row], group: str) -> list[Row]:
    """Whether the best method of a level reaches it; nothing where there is no question."""
    rows = [row for row in scores if row["group"] == group and row["level"] == level and row["score"] == "pointing"]
    if not rows:
        return []
    best = max(rows, key=lambda row: row["value"])
    said = {name: best[name] for name in ("group", "level", "method", "questions", "value", "low", "high")}
    return [said | {"goal": GOALS[level], "reached": best["value"] >= GOALS[level]}]


def _faithfulness(explained: list[list[Row]]) -> list[Row]:
    """Areas less those of random orders: of deletion below 0 and of insertion above 0 are better than random."""
    tested = [one for rows in explained for row in rows for one in row["faithfulness"]]
    found = []
    for name, about in METHODS.items():
        for how in dict.fromkeys(one["perturbation"] for one in tested):
            rows = [one for one in tested if one["method"] == name and one["perturbation"] == how]
            judged = [row["beats_random"] for row in rows if row["beats_random"] is not None]
            if rows:
                found.append({
                    "level": about.level, "method": name, "perturbation": how, "questions": len(rows),
                    **{f"{curve}_gain": _interval([row[f"{curve}_area_attributed"] - row[f"{curve}_area_random"] for row in rows])
                       for curve in ("deletion", "insertion")},
                    **{f"{curve}_passed": mean(row[f"{curve}_p"] <= 0.05 for row in rows) for curve in ("deletion", "insertion")},
                    "beats_random": mean(judged) if judged else None,
                })  # fmt: skip
    return found


def _interval(values: list[float]) -> Row:
    low, high = bootstrap_interval(values, [1] * len(values))
    return {"mean": mean(values), "low": low, "high": high}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def markdown(found: Row) -> str:
    """The tables for people."""
    about, sampling = found["about"], found["about"]["sampling"]
    lines = [
        "# Attribution methods against planted evidence", "",
        f"`{about['command']}`", "",
        f"Model {about['model']} (fingerprint {about['fingerprint']}), {about['date']}, {about['hardware']}, seed {about['seed']}, "
        f"N={sampling['num_clips']}, T={sampling['num_frames']}, fps {sampling['fps']:g}, {sampling['policy']}, {sampling['aggregation']}; "
        f"{found['cpu_seconds']:.0f} s of CPU.", "",
        f"{found['right']} of {found['asked']} open-ended questions about {found['videos']} held-out videos are answered right; of these "
        f"{found['questions']} are drawn, {found['explained']} with a clip that shows a planted box. Intervals: 95 %, bootstrap over videos. "
        "`random`: expected of a random map; `best`: the most that any map of these units can reach.", "",
    ]  # fmt: skip
    for goal in found["goals"]:
        reached = "reached" if goal["reached"] else "NOT reached"
        of = f"{goal['level']}, {goal['group']} ({goal['questions']} questions)"
        lines.append(f"- {of}: {goal['method']} {_ranged(goal)}; goal {_percent(goal['goal'])}: {reached}")
    lines.append("")
    for level in SCORES:
        lines += _level(found, level)
    return "\n".join([*lines, *_by_type(found), *_tested(found)]) + "\n"


def _level(found: Row, level: str) -> list[str]:
    methods = [name for name, about in METHODS.items() if about.level == level]
    rows = {(row["method"], row["score"]): row for row in found["scores"] if row["group"] == "all"}
    padding = " on padding |" if level == "cells" else ""
    lines = [f"## {level}", "", "| method | " + " | ".join(f"{score} | random | best" for score in SCORES[level]) + f" | CPU s |{padding}"]
    lines.append("|---" * (lines[-1].count("|") - 1) + "|")
    for name in sorted((name for name in methods if (name, "pointing") in rows), key=lambda name: -rows[name, "pointing"]["value"]):
        cells = [f"{_ranged(row)} | {_percent(row['random'])} | {_percent(row['best'])}" for row in (rows[name, score] for score in SCORES[level])]
        share = f" {_percent(found['on_padding'][name])} |" if level == "cells" and found["on_padding"][name] is not None else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {found['seconds'][name]:.3f} |{share}")
    return [*lines, ""]


def _by_type(found: Row) -> list[str]:
    groups = [group for group in dict.fromkeys(row["group"] for row in found["scores"]) if group != "all"]
    rows = {(row["method"], row["group"]): row for row in found["scores"] if row["score"] == "pointing"}
    counts = [f"{group} ({next(row['questions'] for row in rows.values() if row['group'] == group)})" for group in groups]
    lines = ["## Pointing by question type", "", "| method | " + " | ".join(counts) + " |", "|---" * (len(groups) + 1) + "|"]
    for name in METHODS:
        values = [f"{_percent(row['value'])} ({_percent(row['random'])})" if (row := rows.get((name, group))) else "" for group in groups]
        lines.append(f"| {name} | {' | '.join(values)} |")
    return [*lines, "", "In brackets: a random map.", ""]


def _tested(found: Row) -> list[str]:
    lines = [
        "## Faithfulness beside random orders", "",
        "Area under the curve less the mean area of 20 random orders [95 %]; the share of questions where p <= 0.05, and where both curves pass.", "",
        "| method | units away by | questions | deletion (lower is better) | p <= 0.05 | insertion (higher is better) | p <= 0.05 | both |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in found["faithfulness"]:
        gains = [f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" for gain in (row["deletion_gain"], row["insertion_gain"])]
        both = "too few units" if row["beats_random"] is None else _percent(row["beats_random"])
        lines.append(
            f"| {row['method']} | {row['perturbation']} | {row['questions']} | {gains[0]} | {_percent(row['deletion_passed'])} | {gains[1]} "
            f"| {_percent(row['insertion_passed'])} | {both} |"
        )
    return [*lines, ""]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _ranged(row: Row) -> str:
    return f"{_percent(row['value'])} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
