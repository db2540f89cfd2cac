"""The picture of where each head of each layer looks."""

from clipbert.attention_heads import HeadAttention
from clipbert.viz.chart import PERCENT, Axis, Chart, Heat, Row
from clipbert.viz.style import plain


def attention_heads(found: HeadAttention) -> Chart:
    """A matrix of layers by heads for each direction between text and image, for one clip."""
    rows: list[Row] = [
        {
            "direction": row["direction"], "layer": f"layer {row['layer']}", "head": str(row["head"]), "attention_percent": 100 * row["share"],
        }
        for row in found.rows()
    ]  # fmt: skip
    layers, heads = (tuple(dict.fromkeys(row[column] for row in rows)) for column in ("layer", "head"))
    about = "mean share of its attention that a token of text (or a cell) gives to cells (or to text); attention is not an explanation"
    hover = "{direction}, {layer}, head {head}\n{attention_percent:.1f} % of the attention"
    return Chart(
        f"Where each head looks in clip {found.clip + 1}", found.model,
        f"“{plain(found.text, 80)}”: {about}",
        rows, Axis("head", "category", heads), Axis("", "category", layers),
        (Heat(rows, "head", "layer", "attention_percent", hover, "", PERCENT),), panels="direction",
    )  # fmt: skip
