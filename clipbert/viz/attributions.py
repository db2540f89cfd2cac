"""Pictures of what moved a score inside a clip, and of whether the score follows it."""

from collections.abc import Sequence
from itertools import pairwise

from clipbert.faithfulness_curves import Faithfulness
from clipbert.viz.chart import Axis, Chart, Lines, Row, percent_axis
from clipbert.viz.style import plain

PANELS = {"deletion": "deletion: low is good", "insertion": "insertion: high is good"}
REVERSED = "lowest first"
UNITS_NAMED = 8


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
    how = {"mask": "masked", "mean": "set to the clip's mean"}[result.perturbation]
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
