"""An attribution as one tidy table: a row for each value, with what it belongs to."""

import csv
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from clipbert.types import Attribution

Row = dict[str, Any]


def tidy(found: Attribution) -> list[Row]:
    """A row for each value: clip (counted from 1), its seconds, then frame, cell or token, then the value.

    Sampled values have `low` and `high`, the 95 % confidence interval; cells
    have their box in pixels of the source, empty where they show padding alone.
    """
    rows = [row for n in range(len(found.values)) for row in _rows(found, n)]
    low, high = (end.flatten().tolist() for end in found.interval())
    if found.standard_error is not None:
        rows = [row | {"low": a, "high": b} for row, a, b in zip(rows, low, high, strict=True)]
    return rows


def write_csv(found: Attribution, path: str | Path) -> None:
    rows = tidy(found)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n") if rows else None
        if writer is not None:
            writer.writeheader()
            writer.writerows(rows)


def _rows(found: Attribution, n: int) -> Iterator[Row]:
    clip, values = found.clip_index[n], found.values[n]
    head: Row = {"clip": clip + 1}
    if found.spans is not None:
        head |= {"start": round(float(found.spans[clip, 0]), 6), "end": round(float(found.spans[clip, 1]), 6)}
    if found.level == "clips":
        yield head | {"value": float(values)}
        return
    for place in product(*map(range, values.shape)):
        yield head | _place(found, clip, place) | {"value": float(values[place])}


def _place(found: Attribution, clip: int, place: tuple[int, ...]) -> Row:
    if found.level == "tokens":
        return {"token": place[0] + 1, "piece": found.pieces[place[0]]}
    frame: Row = {}
    if found.level == "frames" or len(place) == 3:
        frame = {"frame": place[0] + 1} | ({"seconds": float(found.times[clip, place[0]])} if found.times is not None else {})
    if found.level == "frames":
        return frame
    box = found.grid.box(*place[-2:]) if found.grid is not None else None
    return frame | {"row": place[-2], "col": place[-1]} | dict(zip(("left", "top", "right", "bottom"), box or ("",) * 4, strict=True))
