"""Two buttons for a first visit and for a room: the tour walks over the page in five steps; "present" enlarges it and hides settings."""

import html
import json
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import gradio as gr

STEPS = (  # tab, what is marked, title, text
    (
        "ask", "#player", "A video and a question",
        "This example has been asked already. Upload a video of your own here, or pick another example below it.",
    ),
    (
        "ask", "#answer", "The answer",
        "Each bar is an answer that the model thought likely. Change the question above and press Ask to see it grow clip by clip.",
    ),
    (
        "ask", "#clips", "Which seconds made it",
        "The model saw these clips and nothing else of the video. Each card says when it was, what this clip alone would answer, and how much it "
        "moved the answer. Click a card to play it.",
    ),
    (
        "sampling", "#timeline", "What was never seen",
        "A lane for each way to place the clips: coloured is seen, grey is not. More clips, in the settings, see more of it.",
    ),
    (
        "ntest", "#sweep-question", "Would fewer clips do?",
        "Press Sweep: the same question with 1, 2, 4, 8 and 16 clips, and each way to make one answer of theirs.",
    ),
)  # fmt: skip


def tour_buttons(tabs: Iterable[ModuleType]) -> gr.HTML:
    """The buttons and the card of the tour, which tour.js moves."""
    script = (Path(__file__).parent / "tour.js").read_text(encoding="utf-8")
    return gr.HTML(tour_html(tabs), elem_id="tours", js_on_load=script, apply_default_css=False)


def tour_html(tabs: Iterable[ModuleType]) -> str:
    labels = {tab.__name__.rsplit(".", 1)[-1]: tab.TITLE for tab in tabs}
    steps = [{"tab": tab, "label": labels[tab], "at": at, "title": title, "text": text} for tab, at, title, text in STEPS]
    return (
        '<button type="button" id="open-tour">Tour</button><button type="button" id="present" aria-pressed="false">Present</button>'
        f'<section id="tour" role="region" aria-labelledby="tour-title" hidden data-steps="{html.escape(json.dumps(steps))}">'
        '<div aria-live="polite"><h2 id="tour-title"></h2><p id="tour-text"></p></div>'
        '<div><span id="tour-count"></span><button type="button" id="tour-back">Back</button><button type="button" id="tour-next">Next</button>'
        '<button type="button" id="tour-close">Close</button></div></section>'
    )
