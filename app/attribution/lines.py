"""The sentences that keep a map honest: how the answer stands, whether values add up, what lies on padding, what testing it said."""

import html
from typing import TYPE_CHECKING

from app.attribution.explained import STEPS, Look, Standing
from app.attribution.method_names import is_signed, makes_steps
from clipbert.viz.style import time_range

if TYPE_CHECKING:
    from clipbert.faithfulness_curves import Faithfulness
    from clipbert.types import Attribution

LARGEST_GAP = 0.05  # of the whole, for sums that a longer run would close
NOT_TESTED = "Not tested: whether the score follows this map better than a random one is open until you press Test below."


def standing_html(standing: Standing | None) -> str:
    """The answer, its margin over the runner-up and, where known, whether it is right.  A doubtful one offers to explain why not the other."""
    if standing is None:
        return ""
    first, second = html.escape(standing.answer), html.escape(standing.runner_up)
    told = (
        f"The model answers <b>{first}</b> ({100 * standing.probability:.1f} %), {standing.margin_points:.1f} percentage points ahead of "
        f"<b>{second}</b> ({100 * standing.runner_up_probability:.1f} %)."
    )
    if standing.known:
        right = " or ".join(html.escape(answer) for answer in standing.known)
        told += " This is right." if standing.right else f" <b>This is wrong</b>: right is {right}."
    if not standing.doubtful:
        return f'<p class="standing">{told}</p>'
    why = "Explaining a wrong answer shows what misled the model" if standing.right is False else "The model is not sure"
    button = f'<button type="button" data-versus="{second}">Why {first} and not {second}?</button>'
    return f'<p class="standing doubtful">{told} {why}: the map of what separates the two says more. {button}</p>'


def conclusion_html(found: "Attribution", row: int, unit_name: str, test: "Faithfulness | None") -> str:
    """What the map says in one sentence, and how far it can be believed."""
    values = found.values.flatten() if found.level == "clips" else found.values[row].flatten()
    unit = int(values.argmax())
    value, method_unit = float(values[unit]), _unit(found.method)
    if value > 0:
        said = f"Most for the score: {_place(found, row, unit, unit_name)} ({value:+.3f} {method_unit})."
    else:
        said = f"No {unit_name} speaks for the score."
    return f'<p class="conclusion"><b>{html.escape(said)}</b> {verdict_html(test)}</p>'


def verdict_html(test: "Faithfulness | None") -> str:
    """The test's verdict; one that forbids to read the map stands out."""
    if test is None:
        return f'<span class="soft">{NOT_TESTED}</span>'
    level = "good" if test.beats_random else "doubtful"
    return f'<span class="verdict {level}">Tested: {html.escape(test.verdict)}</span>'


def completeness_html(found: "Attribution", row: int = 0, look: Look | None = None) -> str:
    """Whether the values (of one clip) add up to the whole score, in numbers; a sum by steps that misses it by 5 % says what to do."""
    values = found.values if found.level == "clips" else found.values[row]
    gap = found.gap if found.gaps is None else float(found.gaps[row])
    if gap is None:
        return f'<p class="completeness">{_need_not(found)}</p>'
    total = float(values.sum())
    whole = total - gap
    share = abs(gap) / abs(whole) if abs(whole) > 1e-9 else 0.0
    percent = f"{100 * share:.1f} %" if abs(whole) > 1e-9 else f"{abs(gap):.1e} nats"
    said = f"sum {total:.3f}, whole {whole:.3f} nats above {_start(found, look)}, gap {percent}."
    if share <= LARGEST_GAP:
        return f'<p class="completeness">The values add up: {said}</p>'
    advice = f" More than {100 * LARGEST_GAP:.0f} %: raise steps (now {look.steps or STEPS})." if look and makes_steps(look.method) else ""
    return f'<p class="completeness doubtful">The values do not add up: {said}{advice}</p>'


def padding_html(found: "Attribution") -> str:
    """How much of the map lies on cells that show padding alone."""
    share = found.on_padding()
    if share is None:
        return '<p class="completeness">The size of the frames is not known, so neither is what lies on padding.</p>'
    assert found.grid is not None
    count = int(found.grid.on_padding().sum())
    if not count:
        return '<p class="completeness">0.0 % of |attribution| on padding: every cell shows some of the frame.</p>'
    num_cells = found.grid.shape[0] * found.grid.shape[1]
    said = f"{100 * share:.1f} % of |attribution| on padding ({count} of {num_cells} cells show nothing else, hatched)."
    if share < 5e-4:
        return f'<p class="completeness">{said}</p>'
    why = "The model looks at where there is no picture: that part of the map explains nothing you can see."
    return f'<p class="completeness doubtful">{said} {why}</p>'


def _unit(method: str) -> str:
    from clipbert.attribution import METHODS

    return METHODS[method].unit


def _place(found: "Attribution", row: int, unit: int, unit_name: str) -> str:
    if found.level == "clips":
        assert found.spans is not None
        return f"clip {unit + 1}, {time_range(*found.spans[unit].tolist())}"
    if found.level == "cells":
        assert found.cells is not None
        columns = found.cells.shape[-1]
        cells = found.cells.shape[-2] * columns
        frame = f" of frame {unit // cells + 1}" if found.cells.ndim == 4 else ""
        row_index, column = unit % cells // columns, unit % columns
        padding = ", on padding" if found.grid is not None and found.grid.box(row_index, column) is None else ""
        return f"the cell in row {row_index + 1}, column {column + 1}{frame}{padding}"
    if found.level == "tokens":
        return f"“{found.pieces[unit]}”"
    return f"{unit_name} {unit + 1}"


def _need_not(found: "Attribution") -> str:
    if not is_signed(found.method):
        return "These values are of no score's parts: they have no sum to check."
    return {
        "clips": "These values need not add up to the score: clips that say the same stand in for each other.",
        "frames": "These values need not add up to the score: frames that say the same stand in for each other.",
        "cells": "These values need not add up to the score: cells that show the same stand in for each other.",
        "tokens": "These values need not add up to the score: words that say the same stand in for each other.",
    }[found.level]


def _start(found: "Attribution", look: Look | None) -> str:
    """What the whole is counted from."""
    if found.level == "clips":
        return "the guess"
    if found.level == "frames":
        return "the text alone"
    said = {"grey": "a grey clip", "mean": "a clip of mean cells", "mask": "a text of [MASK] alone", "pad": "a text of [PAD] alone"}
    default = {"cells": "grey", "tokens": "mask"}[found.level]
    return said.get((look.baseline if look else None) or default, "the baseline")
