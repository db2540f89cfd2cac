"""The attention of each head as matrices to click in, and a head's map over the frame."""

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from app.attribution.cell_views import Canvas, cells_of, cividis

if TYPE_CHECKING:
    from clipbert.attention_heads import HeadAttention

HEADS = (Path(__file__).parent / "heads.js").read_text(encoding="utf-8")
NUM_COLORS = 64


def heads_html(found: "HeadAttention", image: Image.Image) -> str:
    """A matrix of layers by heads for each direction, and the map of the chosen head over the frame.  Empty maps where no frame size is known."""
    matrices = {name: _matrix(found, name) for name in dict.fromkeys(row["direction"] for row in found.rows())}
    num_layers, best = len(found.text_to_image), int(found.text_to_image[-1].argmax()) + 1
    maps = {name: [[_rounded(head) for head in layer] for layer in cells.flatten(2).tolist()] for name, cells in found.cells.items()}
    colors = [cividis(k / (NUM_COLORS - 1)) for k in range(NUM_COLORS)]
    choices = "".join(
        f'<label><input type="radio" name="heads-direction" value="{name}"{" checked" * (n == 0)}> {name}</label>' for n, name in enumerate(matrices)
    )
    return (
        f'<div class="heads" data-layers="{num_layers}" data-layer="{num_layers}" data-head="{best}" '
        f'data-maps="{html.escape(json.dumps(maps))}" data-colors="{html.escape(json.dumps(colors))}">'
        f'<div class="overlay-tools"><fieldset><legend>Attention</legend>{choices}</fieldset></div>'
        f'<div class="heads-both"><div class="scrolls" tabindex="0" role="region" aria-label="Matrix of heads">{"".join(matrices.values())}</div>'
        f"<div>{_map(found, image)}"
        '<p class="head-said" role="status"></p><div class="overlay-tools"><label>Layer '
        f'<input type="range" min="1" max="{num_layers}" value="{num_layers}" aria-label="Layer"></label>'
        '<button type="button" class="play">Play</button></div></div></div></div>'
    )


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 5) for value in values]


def _matrix(found: "HeadAttention", direction: str) -> str:
    """Percent of a token's attention; the larger the brighter, on one scale for the direction."""
    shares = getattr(found, direction.replace(" ", "_"))
    largest, num_heads = float(shares.max()) or 1.0, shares.shape[1]
    head = "".join(f'<th scope="col">{n}</th>' for n in range(1, num_heads + 1))
    rows = "".join(
        f'<tr><th scope="row"><button type="button" data-layer="{layer}" data-head="0" aria-label="layer {layer}, mean of its heads">{layer}</button>'
        "</th>" + "".join(_head(layer, n, share, largest) for n, share in enumerate(row, 1)) + "</tr>"
        for layer, row in enumerate(shares.tolist(), 1)
    )
    caption = f"{direction}: percent of a token's attention, rows are layers, columns heads"
    return (
        f'<table class="head-matrix" data-direction="{direction}"{" hidden" * (direction != "text to image")}><caption>{caption}</caption>'
        f'<thead><tr><th scope="col">layer</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _head(layer: int, head: int, share: float, largest: float) -> str:
    color = cividis(share / largest)
    return (
        f'<td><button type="button" data-layer="{layer}" data-head="{head}" aria-label="layer {layer}, head {head}: {100 * share:.1f} %" '
        f'style="background:{color};color:{_readable(color)}">{100 * share:.0f}</button></td>'
    )


def _readable(color: str) -> str:
    """Black or white, whichever stands out more from an rgb(...) colour (WCAG's relative luminance)."""
    parts = [int(part) / 255 for part in color.removeprefix("rgb(").rstrip(")").split(",")]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#fff"


def _map(found: "HeadAttention", image: Image.Image) -> str:
    from clipbert.viz.strip import data_url

    if found.grid is None:
        return '<p class="state">Where the cells lie is not known, since the size of the frames is not.</p>'
    canvas, shape = Canvas(found.grid), found.text_to_image.new_zeros(found.grid.shape)
    cells = "".join(f'<i class="unsigned" style="{canvas.cell(cell)}"></i>' for cell in cells_of(shape, found.grid))
    height, width = canvas.size
    return (
        f'<div class="overlay head-map" style="aspect-ratio:{width / height:.4f}"><img alt="The frame" src="{data_url(image, 88)}" '
        f'style="{canvas.frame()}"><div class="cells" aria-hidden="true">{cells}</div></div>'
    )
