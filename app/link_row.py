"""Copy a link to what is asked and how, and read the settings of one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from app.asking import Question
from app.engine import Engine
from app.examples import Examples
from app.links import Link, read_link, shown_name
from app.settings import sampling, shown_settings
from app.shared import Shared, Updates, notice_html
from app.state import Session

COPY = """(query) => {
  if (!query) return "";
  const address = `${location.origin}${location.pathname}?${query}`;
  navigator.clipboard?.writeText(address).catch(() => {});
  return address;
}"""
COPIED = "the link is copied, and stands in the box; it carries the question, the settings"


def link_row(shared: Shared, asking: Sequence[Any], notice: gr.HTML) -> None:
    """Build it; `asking` are the controls of the question (mode, text, list)."""
    with gr.Row(elem_classes="edit-row"):
        copy = gr.Button("Copy link", size="sm", min_width=110, scale=0, elem_id="copy-link")
        address = gr.Textbox(show_label=False, container=False, placeholder="the link appears here", interactive=False, elem_id="link")
        query = gr.Textbox(visible="hidden")

    def make(session: Session, how: str, text: str, listed: str, *settings: Any) -> Iterator[Updates]:
        yield {query: ""}  # so that an error copies nothing, rather than the link before
        link = link_to(session, shared.examples, Question.written(how, text, listed), settings)
        if shared.engine.state == "ready":
            link = replace(link, model=shown_name(shared.engine.predictor().model.name))
        own = "but not your own video: whoever opens it needs the file. A session (ZIP) can carry it."
        yield {query: link.query(), notice: notice_html(f"{COPIED} and the example." if link.video else f"{COPIED}, {own}", "note")}

    made = shared.on(copy.click, make, [*asking, *shared.settings], [query], notice=notice, show_progress="hidden")
    made.then(fn=None, js=COPY, inputs=[query], outputs=[address], api_visibility="private")


def link_to(session: Session, examples: Examples, question: Question, settings: Sequence[Any]) -> Link:
    """A link to the question with these values of the settings; of a video only where it is a bundled one."""
    example = next((known.name for known in examples.all() if session.video == known.path), "")
    return Link(session.example or example, question, vars(sampling(settings)))


def linked_settings(address: str, examples: Examples, engine: Engine) -> list[Any]:
    """The updates that show the model's own settings, with those of the page's address over them; one that cannot be followed has none."""
    own = engine.predictor().sampling
    try:
        return shown_settings(read_link(address, tuple(example.name for example in examples.all())).sampling(own))
    except ValueError:  # the chooser says what is wrong
        return shown_settings(own)
