"""Two maps of one clip side by side: of two methods, of two questions, or of two models."""

from dataclasses import replace
from typing import TYPE_CHECKING

import gradio as gr

from app.attribution.explained import CELLS, FITS, WHY, Explained, Look, explained, look_of, opened
from app.attribution.method_names import method_choices
from app.links import shown_name
from app.pictures import Picture
from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from clipbert.per_clip import PerClipModel
    from clipbert.types import Attribution
    from clipbert.viz.figures import Chart

OTHER = ("Relevance (gradient × attention)", "cell_relevance")  # what the map is compared with, until another method is chosen
OWN_MODEL = "this page's"
ABOUT = (
    "The map of cells above beside one of another method, of another question (or caption), or of another model, on one colour scale, and the first "
    "less the second. "
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
                names = list(shared.others)
                self.model = gr.Dropdown(
                    [(OWN_MODEL, ""), *names], value="", label="Its model", visible=bool(names), filterable=False, scale=2, elem_id="compare-model"
                )
                self.go = gr.Button("Compare", scale=1, min_width=80, elem_id="compare-go")
            self.picture = Picture(shared, "attribution-comparison", notice)
        shared.on([self.go.click, self.text.submit], self.run, [self.method, self.text, self.model], self.picture.outputs, notice=notice,
                  concurrency_id="model", show_progress="minimal")  # fmt: skip

    def run(self, session: Session, method: str, text: str, model: str) -> Updates:
        shown, look = explained(session), opened(session).looks.get(CELLS)
        if look is None:
            raise ValueError("no map of cells is open; click a clip and one of its frames above first.")
        return self.picture.show(session, self.compared(session, shown, look, method, text.strip(), model))

    def compared(self, session: Session, shown: Explained, look: Look, method: str, text: str, model: str) -> "Chart":
        """Raises ValueError where both maps would be the same."""
        from clipbert.source import source_of
        from clipbert.viz.figures import cell_comparison

        predictor, place = self.shared.engine.predictor(), opened(session)
        first, other_look = shown.map(predictor, look), look if method == look.method else look_of(method, look.clip)
        other = _asked(shown, text)
        if model:
            second = self.by_other(model, _same_answer(other, shown, first), other_look)
        elif (other.score, other_look) == (shown.score, look):
            raise ValueError("both maps would be the same; choose another method or model, or write another question.")
        else:
            second = other.map(predictor, other_look)
        assert look.clip is not None and place.frame is not None
        pixels = predictor.pictures(source_of(shown.path, None), shown.clips[look.clip])[place.frame]
        return cell_comparison(first, second, pixels, frame=place.frame)

    def by_other(self, model: str, asked: Explained, look: Look) -> "Attribution":
        """The map of the same clips by another model.  Raises ValueError where it cannot explain what is asked."""
        predictor = self.shared.other(model)
        try:
            return asked.by(predictor).map(predictor, look)
        except ValueError as error:
            raise ValueError(f"model {shown_name(model)}: {error} Explain among answers that both know, or a caption.") from error

    def offered(self, model: "PerClipModel") -> Updates:
        """The methods to choose from, and the first of them where the model does not know the one that is chosen here from the start."""
        choices = method_choices(CELLS, model)
        return {self.method: gr.Dropdown(choices=choices) if OTHER in choices else gr.Dropdown(choices=choices, value=choices[0][1])}

    def cleared(self) -> Updates:
        return self.picture.clear()


def _same_answer(other: Explained, shown: Explained, first: "Attribution") -> Explained:
    """Of the same question, the answer that the first map explains, lest another model's own answer be another."""
    if other is not shown or shown.score.kind == FITS or shown.score.target:
        return other
    return other.of(replace(other.score, target=first.target.removesuffix(f" rather than {shown.score.versus}")))


def _asked(shown: Explained, text: str) -> Explained:
    """With another text, if one is given: its own answer is explained, or the caption itself."""
    if not text or text == shown.score.text:
        return shown
    return shown.of(replace(shown.score, text=text, kind=FITS if shown.score.kind == FITS else WHY, target=None, versus=None))
