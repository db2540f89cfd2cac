"""The part of Retrieve's measuring that looks at slices: those always shown, and those that the visitor names, kept for the next measuring."""

import csv
import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.pictures import save_buttons
from app.retrieval_views import slices_html
from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from app.slices import Slice, Table

ABOUT = "Name some of the captions to see how often their videos are found, now and each time you measure: those for which all that you set holds."


class SlicePanel:
    """Build it here, hidden; `show` fills it.  `session.kept["slices"]` are the visitor's own choices."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        with gr.Column(visible=False, elem_id="retrieve-slicing") as self.box:
            self.view = gr.HTML(elem_id="retrieve-slices-view")
            with gr.Accordion("Name a slice", open=False, elem_id="slice-form"):
                gr.Markdown(ABOUT, elem_classes="soft")
                with gr.Row():
                    name = gr.Textbox(label="Name", max_length=60, min_width=160, elem_id="slice-name")
                    word = gr.Textbox(label="Captions that contain", max_length=200, min_width=160, elem_id="slice-word")
                with gr.Row(equal_height=True):
                    rank = gr.Number(0, label="Rank above", minimum=0, precision=0, min_width=110, elem_id="slice-rank")
                    seconds = gr.Number(0, label="Video shorter than (s); 0: any", minimum=0, min_width=110, elem_id="slice-seconds")
                    portrait = gr.Checkbox(False, label="portrait only", min_width=110, elem_id="slice-portrait")
                with gr.Row():
                    save = gr.Button("Save slice", size="sm", min_width=110, elem_id="slice-save")
                    remove = gr.Button("Remove the slice of this name", size="sm", min_width=110, elem_id="slice-remove")
            save_buttons(shared, "retrieve-slices", notice, {"csv": _write_csv, "json": _write_json}, label="Save the slices as")
        self.outputs = [self.box, self.view]
        shared.on(save.click, self.save, [name, word, rank, seconds, portrait], self.outputs, notice=notice, show_progress="hidden")
        shared.on(remove.click, self.remove, [name], self.outputs, notice=notice, show_progress="hidden")

    def save(self, session: Session, name: str, word: str, rank: float | None, seconds: float | None, portrait: bool) -> Updates:
        from app.slices import Choice, with_choice

        new = Choice(name.strip(), word.strip(), rank or 0, seconds or math.inf, portrait)
        session.kept["slices"] = with_choice(session.kept.get("slices", ()), new)
        return self.show(session)

    def remove(self, session: Session, name: str) -> Updates:
        kept = session.kept.get("slices", ())
        if name.strip() not in [choice.name for choice in kept]:
            raise ValueError(f"there is no saved slice “{name.strip()}”; yours are: {', '.join(choice.name for choice in kept) or 'none'}.")
        session.kept["slices"] = tuple(choice for choice in kept if choice.name != name.strip())
        return self.show(session)

    def show(self, session: Session, table: "Table | None" = None) -> Updates:
        """The slices of `table`, or of the one before."""
        if table is not None:
            session.kept["slice table"] = table
        slices = slices_of(session)
        return {self.box: gr.Column(visible=True), self.view: slices_html(slices, len(session.kept["slice table"].captions))}


def slices_of(session: Session) -> "list[Slice]":
    """Of what was measured last."""
    from app.slices import sliced

    return sliced(session.kept["slice table"], session.kept.get("slices", ()))


def _rows(session: Session) -> list[dict[str, Any]]:
    return [{name: None if value != value else value for name, value in asdict(part).items()} for part in slices_of(session)]  # nan: none


def _write_json(session: Session, path: Path) -> None:
    path.write_text(
        json.dumps({"model": session.kept["measured"]["model"], "slices": _rows(session)}, ensure_ascii=False, indent=1), encoding="utf-8"
    )


def _write_csv(session: Session, path: Path) -> None:
    from app.slices import Slice

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [part.name for part in fields(Slice)])
        writer.writeheader()
        writer.writerows(_rows(session))
