"""Where each head of each layer looks, in the clip that is open."""

import gradio as gr

from app.attribution.explained import explained, opened
from app.pictures import Picture
from app.shared import Shared, Updates
from app.state import Session

ABOUT = (
    "For each layer and head of the transformer: how much of its attention goes from the words to the picture and back, and how much stays within "
    "each. Where a model looks is **not an explanation** of what it answers."
)


class HeadsPanel:
    """`cleared` hides the matrices."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared = shared
        with gr.Accordion("Look at the attention of each head", open=False, elem_id="attribution-heads"):
            gr.Markdown(ABOUT)
            self.go = gr.Button("Show", scale=0, min_width=80, elem_id="heads-go")
            self.picture = Picture(shared, "attribution-head-matrix", notice)
        shared.on(self.go.click, self.run, [], self.picture.outputs, notice=notice, concurrency_id="model", show_progress="minimal")

    def run(self, session: Session) -> Updates:
        from clipbert.attention_heads import head_attention
        from clipbert.viz.figures import attention_heads

        shown, place = explained(session), opened(session)
        if place.clip is None:
            raise ValueError("no clip is open; click one above first.")
        asked = {name: value for name, value in shown.score.settings().items() if name in ("task", "choices")}
        found = head_attention(self.shared.engine.predictor(), shown.video, shown.score.text, clip=place.clip, **asked)
        return self.picture.show(session, attention_heads(found))

    def cleared(self) -> Updates:
        return self.picture.clear()
