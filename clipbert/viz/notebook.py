"""What every notebook does: keep a figure for print and show it, show rows as a table, say where it ran."""

import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from IPython.display import HTML, Image, display

from clipbert import __version__
from clipbert.comparison import Measured, smaller_runs
from clipbert.conclusions import COLUMNS
from clipbert.paper import PaperTable
from clipbert.predict import Predictor
from clipbert.trends import table_trends
from clipbert.viz.chart import Chart, Row
from clipbert.viz.export import save, to_table
from clipbert.viz.paper_tables import comparison_rows, measured_lines, smaller_rows, trend_rows
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
    """The table with our full-size numbers beside it; smaller runs in tables and figures of their own, or the sentence that there is none."""
    table(comparison_rows(part, results), f"Table {part.name}: {part.title}. [95 % interval]; (grey in the paper)")
    smaller = smaller_runs(part, results)
    if not smaller:
        print(f"Table {part.name}: no run of ours, small or full size, is committed yet: not run.")
    for number, scale in enumerate(dict.fromkeys(run.scale for run in smaller)):
        runs = [run for run in smaller if run.scale == scale]
        table(smaller_rows(part, runs), f"Our own runs: {scale}. Not to be compared with the paper's numbers; only their order may be.")
        for column in dict.fromkeys(run.cell.column for run in runs if run.cell.column in COLUMNS):
            show(measured_lines(part, column, runs), folder, f"table{part.name}-ours-{number}-{column}", width="column")
    if trends := table_trends(part, results):
        table(trend_rows(trends), "Do our rows come in the paper's order? tau +1: every pair does, -1: none; p: how often chance is as far from 0")


def environment(mode: str, device: str, seed: int) -> None:
    """Say what ran this."""
    cores = torch.get_num_threads()
    print(f"clipbert {__version__}, torch {torch.__version__}, {platform.machine()}, {cores} threads, {device}; mode {mode}, seed {seed}")
