"""Write docs/pictures/ from the executed notebooks, so that the guide shows the very figures that they made.

python docs/pictures.py
"""

import base64
from pathlib import Path

import nbformat

DOCS = Path(__file__).resolve().parent
PICTURES = {  # name -> notebook, and which of its pictures
    "answer": ("00_quickstart", 0),
    "explorer": ("00_quickstart", 1),
    "lengths": ("03_fig3_lengths", 1),
    "ntest": ("04_fig4_ntest", 2),
    "pooling": ("05_table3_aggregators", 2),
    "table4": ("06_table4_sparse_vs_dense", 0),
    "clips": ("20_attribution_session", 0),
    "cells": ("20_attribution_session", 2),
    "faithfulness": ("20_attribution_session", 3),
    "leaderboard": ("21_attribution_leaderboard", 0),
}


def picture(name: str) -> bytes:
    """The PNG as the notebook has it."""
    notebook, number = PICTURES[name]
    cells = nbformat.read(DOCS.parent / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    found = [output.data["image/png"] for cell in cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})]
    return base64.b64decode(found[number])


if __name__ == "__main__":
    (DOCS / "pictures").mkdir(exist_ok=True)
    for name in PICTURES:
        (DOCS / "pictures" / f"{name}.png").write_bytes(picture(name))
