"""Two maps of one clip side by side: of two methods, or of two questions."""

from dataclasses import replace
from typing import TYPE_CHECKING

import gradio as gr

from app.attribution.explained import CELLS, FITS, WHY, Explained, Look, explained, opened
from app.attribution.level import look_of
from app.attribution.method_names import method_choices
from app.pictures import Picture
from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from clipbert.viz.figures import Chart

OTHER = ("Relevance (gradient × attention)", "cell_relevance")  # what the map is compared with, until another method is chosen
ABOUT = (
    "The map of cells above beside one of another method, or of another question (or caption), on one colour scale, and the first less the second. "
    "Maps in units that cannot be compared are drawn as shares of the sum of their sizes."
)


class ComparePanel:
    """`cleared` hides what was compared."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared = shared
        with gr.Accordion("Compare this map with another", open=False, elem_id="attribution-compare"):
            gr.Markdown(ABOUT)
            with gr.Row(equal_height=True):
                self.method = gr.Dropdown([OTHER], value=OTHER[1], label="Its method", filterable=False, scale=2, elem_id="compare-method")
                self.text = gr.Textbox(label="Its question or caption (empty: the same)", max_length=2000, scale=3, elem_id="compare-text")
                self.go = gr.Button("Compare", scale=1, min_width=80, elem_id="compare-go")
            self.picture = Picture(shared, "attribution-comparison", notice)
        shared.on([self.go.click, self.text.submit], self.run, [self.method, self.text], self.picture.outputs, notice=notice, concurrency_id="model",
                  show_progress="minimal")  # fmt: skip

    def run(self, session: Session, method: str, text: str) -> Updates:
        shown, look = explained(session), opened(session).looks.get(CELLS)
        if look is None:
            raise ValueError("no map of cells is open; click a clip and one of its frames above first.")
        return self.picture.show(session, self.compared(session, shown, look, method, text.strip()))

    def compared(self, session: Session, shown: Explained, look: Look, method: str, text: str) -> "Chart":
        """Raises ValueError where both maps would be the same."""
        from clipbert.source import source_of
        from clipbert.viz.figures import cell_comparison

        predictor, place = self.shared.engine.predictor(), opened(session)
        other, other_look = _asked(shown, text), look if method == look.method else look_of(method, look.clip)
        if (other.score, other_look) == (shown.score, look):
            raise ValueError("both maps would be the same; choose another method, or write another question.")
        assert look.clip is not None and place.frame is not None
        pixels = predictor.pictures(source_of(shown.path, None), shown.clips[look.clip])[place.frame]
        return cell_comparison(shown.map(predictor, look), other.map(predictor, other_look), pixels, frame=place.frame)

    def offered(self) -> Updates:
        """The methods to choose from."""
        return {self.method: gr.Dropdown(choices=method_choices(CELLS))}

    def cleared(self) -> Updates:
        return self.picture.clear()


def _asked(shown: Explained, text: str) -> Explained:
    """With another text, if one is given: its own answer is explained, or the caption itself."""
    if not text or text == shown.score.text:
        return shown
    return shown.of(replace(shown.score, text=text, kind=FITS if shown.score.kind == FITS else WHY, target=None, versus=None))
