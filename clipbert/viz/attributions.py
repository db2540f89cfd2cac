"""Pictures of which frames and words moved a score, and of whether the score follows an attribution."""

import math
from collections.abc import Sequence
from itertools import pairwise

from clipbert.attribution import METHODS
from clipbert.faithfulness_curves import Faithfulness
from clipbert.faithfulness_units import row_of
from clipbert.types import Attribution
from clipbert.viz.chart import Axis, Bars, Boxes, Chart, Lines, Row, Scale, percent_axis
from clipbert.viz.style import clock, plain

PANELS = {"deletion": "deletion: low is good", "insertion": "insertion: high is good"}
REVERSED = "lowest first"
UNITS_NAMED = 8
RAISES, LOWERS = "raises the score", "lowers it"
CHIP_LINE, CHIP_GAP, LONGEST_PIECE = 46, 0.5, 24  # in characters


def frame_values(found: Attribution, *, clip: int | None = None) -> Chart:
    """What each frame of a clip (counted from 0; default: the only one explained) did for the clip's own score.

    Raises ValueError for an attribution of something else, or of several clips unless `clip` says which.
    """
    row = _row_at(found, "frames", clip)
    values, (low, high) = found.values[row].tolist(), (end[row].tolist() for end in found.interval())
    index, sampled = found.clip_index[row], found.standard_error is not None
    seconds = found.times[index].tolist() if found.times is not None else [None] * len(values)
    rows: list[Row] = [
        {
            "clip": index + 1, "frame": t + 1, "seconds": second, "value_nats": value, "low_nats": low[t] if sampled else None,
            "high_nats": high[t] if sampled else None, "direction": RAISES if value >= 0 else LOWERS,
            "place": f"frame {t + 1}" + ("" if second is None else f", {clock(second)}"),
            "label": f"{value:+.3f}" + f" ± {high[t] - value:.3f}" * sampled,
        }
        for t, (second, value) in enumerate(zip(seconds, values, strict=True))
    ]  # fmt: skip
    reach = 1.4 * max(*map(abs, values), 1e-3)
    about = f"{METHODS[found.method].about}; score: {plain(found.value_function, 120)}" + "; ±: 95 % interval" * sampled
    return Chart(
        f"Which frames of clip {index + 1} moved the score of “{plain(found.target, 60)}”", found.model, about, rows,
        Axis("value (nats)", limits=(min(0.0, *(1.4 * value for value in values)), reach) if min(values) < 0 else (0, reach)),
        Axis("", "category", tuple(row["place"] for row in rows)),
        (Bars(rows, "place", "value_nats", "{place}\n{label} nats", horizontal=True, series="direction", label="label"),), (RAISES, LOWERS),
    )  # fmt: skip


def token_chips(found: Attribution, *, clip: int | None = None) -> Chart:
    """The text's word pieces as the model reads them, each coloured by what it did for a clip's own score; `clip` and errors as in `frame_values`."""
    row = _row_at(found, "tokens", clip)
    values, method, index = found.values[row].tolist(), METHODS[found.method], found.clip_index[row]
    rows: list[Row] = [
        {"clip": index + 1, "token": n, "piece": piece, "value": value, "rank": 1 + sum(other > value for other in values), **place}
        for n, (piece, value, place) in enumerate(zip(found.pieces, values, _lay_out(found.pieces), strict=True), 1)
    ]
    num_lines = math.ceil(max(row["bottom"] for row in rows))
    hover = "{piece}\n{value:+.4f} " + f"{method.unit}, rank {{rank}} of {len(rows)}"
    boxes = Boxes(rows, "value", hover, Scale.of(values, signed=method.signed, unit=method.unit), text="shown")
    return Chart(
        f"Which words moved the score of “{plain(found.target, 60)}” in clip {index + 1}", found.model,
        f"{method.about}; score: {plain(found.value_function, 120)}; ## continues a word", rows,
        Axis("", "hidden", limits=(0, CHIP_LINE)), Axis("", "hidden", limits=(num_lines, 0)), (boxes,),
    )  # fmt: skip


def _lay_out(pieces: Sequence[str]) -> list[Row]:
    """Where each piece stands, as wide as it is long, in lines one below the other."""
    places, line, at = [], 0, 0.0
    for piece in pieces:
        shown = plain(piece, LONGEST_PIECE)
        width = len(shown) + 2.0
        if at + width > CHIP_LINE:
            line, at = line + 1, 0.0
        places.append({"shown": shown, "left": at, "top": line + 0.06, "right": at + width, "bottom": line + 0.94})
        at += width + CHIP_GAP
    return places


def _row_at(found: Attribution, level: str, clip: int | None) -> int:
    if found.level != level:
        raise ValueError(f"this picture is of {level}, and {found.method} explains {found.level}.")
    return row_of(found, clip)


def faithfulness_curves(result: Faithfulness, *, model: str, others: Sequence[Faithfulness] = ()) -> Chart:
    """The target's probability as units leave and come, highest value first, beside random orders and the reverse; of `others` the first alone.

    Raises ValueError for others that were not measured on the same units in the same way.
    """
    for other in others:
        _check_comparable(result, other)
    num_orders = len(result.deletion.random)
    chance = f"random, mean of {num_orders}"
    own = _rows(result, {"attributed": result.method, "reversed": REVERSED})
    own += [row for other in others for row in _rows(other, {"attributed": other.method})]
    random = _rows(result, {"random": chance})
    hover = "{order}\n{units} units, {share_percent:.0f} %{newest}\np = {probability_percent:.1f} %"
    band = f"{hover} (95 % of orders: {{low_percent:.1f}} to {{high_percent:.1f}})"
    where = "" if result.clip is None else f" of clip {result.clip + 1}"
    how = {"mask": "masked", "mean": "set to the clip's mean", "blur": "blurred"}[result.perturbation]
    about = f"{plain(result.measured, 80)}; the {result.num_units} {result.level}{where} are {how}; band: 95 % of {num_orders} random orders"
    return Chart(
        f"Does the score follow {result.method}?", model,
        f"{result.verdict} {about}", [*own, *random], Axis("units removed or added (%)", limits=(-3, 103)),
        percent_axis("probability (%)", [row["high_percent"] or row["probability_percent"] for row in [*own, *random]]),
        (Lines(random, "share_percent", "probability_percent", "order", band, "low_percent", "high_percent", "band"),
         Lines(own, "share_percent", "probability_percent", "order", hover)),
        (result.method, chance, REVERSED, *(other.method for other in others)), panels="curve",
    )  # fmt: skip


def _check_comparable(result: Faithfulness, other: Faithfulness) -> None:
    told = [(found.level, found.num_units, found.clip, found.measured, found.perturbation) for found in (result, other)]
    if told[0] != told[1]:
        raise ValueError(f"curves side by side must be of the same units, measured in the same way, got {told[0]} and {told[1]}.")
    if result.method == other.method:
        raise ValueError(f"curves side by side must be of different methods, got {result.method} twice.")


def _rows(result: Faithfulness, orders: dict[str, str]) -> list[Row]:
    """Of some kinds of order, under other names."""
    newest = _newest(result)
    return [
        {
            "curve": PANELS[row["curve"]], "order": orders[row["order"]], "units": row["units"], "share_percent": 100 * row["share"],
            "probability_percent": 100 * row["value"], "low_percent": None if row["low"] is None else 100 * row["low"],
            "high_percent": None if row["high"] is None else 100 * row["high"], "newest": newest.get((row["order"], row["units"]), ""),
        }
        for row in result.rows() if row["curve"] in PANELS and row["order"] in orders
    ]  # fmt: skip


def _newest(result: Faithfulness) -> dict[tuple[str, int], str]:
    """Which units each step takes or adds, counted from 1, cells row by row."""
    found = {}
    for kind, order in (("attributed", result.order), ("reversed", result.order.flip(0))):
        for before, count in pairwise(result.counts):
            names = [str(unit + 1) for unit in order[before:count].tolist()]
            found[kind, count] = f": {', '.join(names[:UNITS_NAMED])}{', …' * (len(names) > UNITS_NAMED)}"
    return found
