"""What every notebook does: keep a figure for print and show it, show rows as a table, say where it ran."""

import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from IPython.display import HTML, Image, display

from clipbert import __version__
from clipbert.comparison import Measured
from clipbert.paper import PaperTable
from clipbert.predict import Predictor
from clipbert.viz.chart import Chart, Row
from clipbert.viz.export import save, to_table
from clipbert.viz.paper_tables import comparison_rows, measured_lines
from clipbert.viz.prints import print_bytes

DPI = 100  # on the page; files for print have 300


def load(model: str = "real", device: str = "cpu") -> Predictor:
    """The predictor, without the progress bars that a notebook would keep."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    return Predictor.from_pretrained(model, device=device)


def show(chart: Chart, folder: str | Path, name: str, *, width: str = "page") -> None:
    """Write `name`.png, .pdf and .csv for print into the folder, and show the chart."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("png", "pdf", "csv"):
        save(chart, folder / f"{name}.{suffix}", width=width)
    display(Image(data=print_bytes(chart, "png", width=width, dpi=DPI), alt=f"{chart.title}. {chart.subtitle}"))


def table(rows: Sequence[Row], caption: str = "") -> None:
    """Show rows as a table."""
    display(HTML(to_table(rows, caption)))


def compare_with_paper(part: PaperTable, results: Sequence[Measured], folder: str | Path) -> None:
    """The table with our full-size numbers beside it; smaller runs in figures of their own, or the sentence that there is none."""
    table(comparison_rows(part, results), f"Table {part.name}: {part.title}. [95 % interval]; (grey in the paper)")
    smaller = list(dict.fromkeys((run.scale, run.cell.column) for run in results if run.cell.table == part.name and run.scale != "full"))
    for number, (scale, column) in enumerate((scale, column) for scale, column in smaller if column in ("R1", "Accuracy")):
        show(measured_lines(part, column, results, scale), folder, f"table{part.name}-ours-{number}")
    if not smaller:
        print(f"Table {part.name}: no run of ours, small or full size, is committed yet: not run.")


def environment(mode: str, device: str, seed: int) -> None:
    """Say what ran this."""
    cores = torch.get_num_threads()
    print(f"clipbert {__version__}, torch {torch.__version__}, {platform.machine()}, {cores} threads, {device}; mode {mode}, seed {seed}")
