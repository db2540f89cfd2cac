"""Where each head of each layer looks, in the clip that is open: a matrix, and the map of the head that is clicked."""

from pathlib import Path

import gradio as gr

from app.attribution.explained import explained, opened
from app.attribution.frame_views import LARGE_PIXELS, clip_images
from app.attribution.heads_view import HEADS, heads_html
from app.pictures import save_buttons
from app.shared import Shared, Updates
from app.state import Session

ABOUT = (
    "For each layer and head of the transformer: how much of its attention goes from the words to the picture and back, and how much stays within "
    "each. Click a head to see it over the frame, or a layer's number for the mean of its heads. Where a model looks is **not an explanation** of "
    "what it answers."
)
KEPT = "attribution-head-matrix"


class HeadsPanel:
    """`cleared` hides the matrices."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared = shared
        with gr.Accordion("Look at the attention of each head", open=False, elem_id="attribution-heads"):
            gr.Markdown(ABOUT)
            self.go = gr.Button("Show", scale=0, min_width=80, elem_id="heads-go")
            with gr.Column(visible=False, elem_id=KEPT) as self.box:
                self.view = gr.HTML(elem_id="heads-view", js_on_load=HEADS)
                save_buttons(shared, KEPT, notice, dict.fromkeys(("png", "svg", "csv"), _write))
        self.outputs = [self.box, self.view]
        shared.on(self.go.click, self.run, [], self.outputs, notice=notice, concurrency_id="model", show_progress="minimal")

    def run(self, session: Session) -> Updates:
        from clipbert.attention_heads import head_attention

        shown, place = explained(session), opened(session)
        if place.clip is None:
            raise ValueError("no clip is open; click one above first.")
        asked = {name: value for name, value in shown.score.settings().items() if name in ("task", "choices")}
        predictor = self.shared.engine.predictor()
        found = head_attention(predictor, shown.video, shown.score.text, clip=place.clip, **asked)
        session.kept[KEPT] = found
        image = clip_images(predictor, shown, place.clip, LARGE_PIXELS)[place.frame or 0]
        return {self.box: gr.Column(visible=True), self.view: heads_html(found, image)}

    def cleared(self) -> Updates:
        return {self.box: gr.Column(visible=False), self.view: ""}


def _write(session: Session, path: Path) -> None:
    from clipbert.viz.figures import attention_heads, save

    save(attention_heads(session.kept[KEPT]), path)
