"""Tables: every number of the paper beside ours, with an honest status."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.pictures import save_buttons
from app.shared import Shared, Updates
from app.state import Session
from app.table_results import committed, imported
from app.table_views import claims_html, conclusions_html, legend_html, overview_html, table_html
from clipbert.paper import paper_table
from clipbert.results import tables_result

if TYPE_CHECKING:
    from clipbert.comparison import Measured

TITLE, PLACE = "Tables", 7
OVERVIEW, CLAIMS, CONCLUSIONS = "Overview", "The text's own sums", "The six Main Conclusions"
ABOUT = (
    "What the paper reports, and what we have measured of it. A number of ours stands beside the paper's only if it was measured on the same data at "
    "full size; runs on synthetic or small data stand in a block of their own."
)


def build(shared: Shared) -> None:
    gr.Markdown(ABOUT, elem_classes="soft")
    with gr.Row():
        choice = gr.Dropdown(choices(), value=OVERVIEW, label="Table", scale=3, elem_id="tables-choice")
        all_rows = gr.Checkbox(True, label="Rows of other methods", info="Numbers that the paper cites.", scale=1, elem_id="tables-all-rows")
    notice = gr.HTML(elem_id="tables-notice")
    view = gr.HTML(elem_id="tables-view")
    gr.HTML(legend_html())
    save_buttons(shared, "tables", notice, {"csv": _write_csv, "json": _write_json})
    with gr.Accordion("Add results of your own runs", open=False, elem_id="tables-import"):
        gr.Markdown(
            'JSON files that say `"scale"` ("full", or what was smaller) and `"paper_cells"`: for each its `table`, `row`, `column` and `value`. '
            "They are checked against the paper's tables, and shown to you alone.",
            elem_classes="soft",
        )
        told = gr.HTML(elem_id="tables-import-notice")  # of its own: a table that is drawn later must not clear it
        files = gr.File(label="Result files", file_count="multiple", file_types=[".json"], elem_id="tables-files", height=120)

    def show(session: Session, name: str, everything: bool) -> Updates:
        session.kept["tables"] = name
        return {view: _view(tables_result(None, results(session)), name, everything)}

    def add(session: Session, paths: list[str] | None, name: str, everything: bool) -> Updates:
        session.uploads |= {Path(path) for path in paths or ()}
        session.kept["results"] = [measured for path in paths or () for measured in imported(Path(path))]
        return show(session, name, everything)

    shared.on([shared.tab.select, choice.change, all_rows.change], show, [choice, all_rows], [view], notice=notice, show_progress="hidden")
    shared.on([files.upload, files.clear], add, [files, choice, all_rows], [view], notice=told)


def choices() -> list[tuple[str, str]]:
    """(label, value) of each table, of the overview before and of the claims and conclusions after."""
    tables = [(f"Table {part.name}: {part.title}", part.name) for number in range(1, 12) for part in paper_table(number)]
    return [(OVERVIEW, OVERVIEW), *tables, (CLAIMS, CLAIMS), (CONCLUSIONS, CONCLUSIONS)]


def results(session: Session) -> "list[Measured]":
    return committed() + session.kept.get("results", [])


def _view(result: dict[str, Any], name: str, all_rows: bool) -> str:
    if name == OVERVIEW:
        return overview_html(result)
    if name == CLAIMS:
        return claims_html(result)
    if name == CONCLUSIONS:
        return conclusions_html(result)
    return table_html(next(table for table in result["tables"] if table["table"] == name), all_rows=all_rows)


def _chosen(session: Session) -> dict[str, Any]:
    """What the page shows: one table, or all and the claims."""
    result, name = tables_result(None, results(session)), session.kept.get("tables", OVERVIEW)
    tables = [table for table in result["tables"] if table["table"] == name]
    return {"tables": tables} if tables else result


def _write_json(session: Session, path: Path) -> None:
    path.write_text(json.dumps(_chosen(session), ensure_ascii=False, indent=1), encoding="utf-8")


def _write_csv(session: Session, path: Path) -> None:
    rows = [{"table": table["table"], **cell, "row": ", ".join(cell["row"])} for table in _chosen(session)["tables"] for cell in table["cells"]]
    columns = ("table", "row", "column", "unit", "benchmark", "split", "paper", "paper_interval", "ours", "difference", "status", "num_runs")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
