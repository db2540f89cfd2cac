"""The words of the question, as the model reads them, coloured by what each did for the score of a clip."""

import html
from typing import TYPE_CHECKING

from app.attribution.cell_views import cividis
from app.attribution.method_names import is_signed, unit_html

if TYPE_CHECKING:
    from clipbert.types import Attribution


def words_html(found: "Attribution") -> str:
    """A chip for each word piece with its value under it; the strongest is the most coloured."""
    from clipbert.attribution import METHODS

    values, method = found.values[0].tolist(), METHODS[found.method]
    largest = max((abs(value) for value in values), default=0.0) or 1.0
    chips = "".join(_chip(piece, value, values, largest, found.method) for piece, value in zip(found.pieces, values, strict=True))
    key = "Blue: speaks for the answer; orange, striped: against it." if is_signed(found.method) else "The more colour, the more it counts."
    return (
        f'<p class="soft">{html.escape(method.about)}. Unit: {unit_html(method.unit)}. {key} '
        f'Pieces that begin with ## continue a word.</p><ol class="words">{chips}</ol>'
    )


def word_rows(found: "Attribution") -> list[dict[str, object]]:
    """The word pieces as rows of a table, in their order."""
    values = found.values[0].tolist()
    return [
        {"token": n + 1, "piece": piece, "value": value, "rank": _rank(value, values)}
        for n, (piece, value) in enumerate(zip(found.pieces, values, strict=True))
    ]


def _chip(piece: str, value: float, values: list[float], largest: float, method: str) -> str:
    share = abs(value) / largest
    if is_signed(method):
        fill = f'<i class="{"for" if value >= 0 else "against"}" style="--share:{share:.3f}"></i>'
        shown = f"{value:+.3f}"
    else:
        fill = f'<i class="unsigned" style="background:{cividis(share)};--share:{share:.3f}"></i>'
        shown = f"{value:.3f}"
    said = f"rank {_rank(value, values)} of {len(values)}"
    return f'<li class="word" title="{said}">{fill}<b>{html.escape(piece)}</b><small>{shown}</small></li>'


def _rank(value: float, values: list[float]) -> int:
    return 1 + sum(other > value for other in values)
