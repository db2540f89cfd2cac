"""Write docs/pictures/ from the executed notebooks, so that the guide shows the very figures that they made.

python docs/pictures.py
"""

import base64
from pathlib import Path

import nbformat

DOCS = Path(__file__).resolve().parent
PICTURES = {  # name -> notebook, and how the picture's description begins
    "answer": ("00_quickstart", "Which clips made"),
    "explorer": ("00_quickstart", "what animal is it?"),
    "lengths": ("03_fig3_lengths", "Where each policy looks"),
    "ntest": ("04_fig4_ntest", "Accuracy by N_test"),
    "pooling": ("05_table3_aggregators", "From clip logits to one"),
    "table4": ("06_table4_sparse_vs_dense", "Table 4: R1 by N_train. the paper's own"),
    "clips": ("20_attribution_session", "Which clips moved the score"),
    "cells": ("20_attribution_session", "cell_occlusion for"),
    "faithfulness": ("20_attribution_session", "Does the score follow"),
    "leaderboard": ("21_attribution_leaderboard", "Methods by planted evidence"),
}


def picture(name: str) -> bytes:
    """The PNG as the notebook has it."""
    notebook, beginning = PICTURES[name]
    cells = nbformat.read(DOCS.parent / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    shown = [output for cell in cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})]
    (found,) = [output for output in shown if output.metadata["image/png"]["alt"].startswith(beginning)]
    return base64.b64decode(found.data["image/png"])


if __name__ == "__main__":
    (DOCS / "pictures").mkdir(exist_ok=True)
    for name in PICTURES:
        (DOCS / "pictures" / f"{name}.png").write_bytes(picture(name))
