"""Does the score follow the map better than it follows a random order?  Asked on demand, for whichever map is open."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.attribution.explained import CELLS, CLIPS, FRAMES, TOKENS, Explained, Look, explained, opened
from app.attribution.level import Level
from app.attribution.lines import verdict_html
from app.attribution.watched import Finished, watched
from app.pictures import Picture
from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from clipbert.faithfulness_curves import Faithfulness
    from clipbert.predict import Predictor

LEVEL_NAMES = {CLIPS: "clips of the video", FRAMES: "frames of the clip", CELLS: "cells", TOKENS: "words"}
TAKEN_AWAY = {"mask": "hide it from the model", "mean": "put the clip's mean in its place", "blur": "blur its pixels (slow: the CNN runs again)"}
ABOUT = (
    "Units (clips, frames, cells or words) are taken away, and added to nothing, in the order of the map, in its reverse, and in 20 random orders. "
    "If the map is true to the model, the probability falls and rises faster in its order than in nearly all random ones; p is the share of orders "
    "that do at least as well. "
    "This tests the map against the **model**, never the model against the world."
)


class FaithfulnessPanel:
    """`level` says which map is tested; `wire` says where its verdict is to appear besides."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared, self.notice = shared, notice
        with gr.Accordion("Can this map be trusted? Test it", open=False, elem_id="faithfulness"):
            gr.Markdown(ABOUT)
            self.level = gr.Radio(
                [(name, level) for level, name in LEVEL_NAMES.items()], value=CLIPS, label="Map to test", elem_id="faithfulness-level"
            )
            self.perturbation = gr.Radio(
                [(TAKEN_AWAY["mask"], "mask")], value="mask", visible=False, label="How one is taken away", elem_id="faithfulness-perturbation"
            )
            with gr.Row():
                self.go = gr.Button("Test", variant="primary", min_width=80, scale=0, elem_id="faithfulness-go")
                self.stop = gr.Button("Stop", min_width=80, scale=0, elem_id="faithfulness-stop")
            self.state = gr.HTML(elem_id="faithfulness-state")
            self.verdict = gr.HTML(elem_id="faithfulness-verdict")
            self.table = gr.HTML(elem_id="faithfulness-table", elem_classes="scrolls")
            self.curves = Picture(shared, "faithfulness-curves", notice)
        self.outputs = [self.state, self.verdict, self.table, *self.curves.outputs]

    def wire(self, lines: Mapping[str, gr.HTML], levels: Mapping[str, Level]) -> None:
        """`lines` are the sentences under each level's map, rewritten when it is tested."""
        on = self.shared.on
        self.lines, self.levels = lines, levels
        on(self.go.click, self.run, [self.level, self.perturbation], [*self.outputs, *lines.values()], notice=self.notice, concurrency_id="model",
           show_progress="hidden")  # fmt: skip
        on(self.level.change, self.choose_level, [self.level], [self.perturbation], notice=self.notice, show_progress="hidden", queue=False)
        self.shared.stops(self.stop)

    def choose_level(self, _session: Session, level: str) -> Updates:
        ways = _ways(level)
        return {self.perturbation: gr.Radio(choices=ways, value="mask", visible=len(ways) > 1)}

    def run(self, session: Session, level: str, perturbation: str) -> Iterator[Updates]:
        session.stop.clear()
        shown, predictor = explained(session), self.shared.engine.predictor()
        look = opened(session).looks.get(level)
        if look is None:
            raise ValueError(f"no map of the {LEVEL_NAMES[level]} is open; click a clip{' and one of its frames' * (level != FRAMES)} above first.")
        yield self.cleared() | {self.state: _state("preparing the test …")}
        told = (0, 0)
        with closing(watched(lambda progress: shown.test(predictor, look, perturbation, progress), session.stop)) as steps:
            for step in steps:
                if isinstance(step, Finished):
                    yield self.show(session, predictor, shown, look, step.result)
                    return
                told = (step.done, step.total)
                yield {self.state: _state(f"{step.done} of {step.total} sets of units asked", told)}
        yield {self.state: f'<p class="state partial">stopped after {told[0]} of {told[1] or "?"} sets; nothing is concluded from a part.</p>'}

    def show(self, session: Session, predictor: "Predictor", shown: Explained, look: Look, test: "Faithfulness") -> Updates:
        from clipbert.viz.figures import faithfulness_curves

        found, level = shown.map(predictor, look), test.level
        chart = faithfulness_curves(test, model=shown.model, others=shown.tests_beside(look, test.perturbation))
        return self.curves.show(session, chart) | {
            self.state: f'<p class="state">{_done(predictor, test)}</p>', self.verdict: f"<p>{verdict_html(test)}</p>",
            self.table: areas_html(test), self.lines[level]: self.levels[level].lines_html(shown, look, found),
        }  # fmt: skip

    def cleared(self) -> Updates:
        return {self.state: "", self.verdict: "", self.table: "", **self.curves.clear()}


def _ways(level: str) -> list[tuple[str, str]]:
    """(label, name) of the ways in which a level's units can be taken away."""
    from clipbert.faithfulness_units import PERTURBATIONS

    return [(TAKEN_AWAY.get(name, name), name) for name, levels in PERTURBATIONS.items() if level in levels]


def areas_html(test: "Faithfulness") -> str:
    """The areas under both curves beside those of random orders, and whether they beat them."""
    from clipbert.faithfulness_curves import MIN_UNITS, SIGNIFICANCE
    from clipbert.viz.figures import to_table

    found, rows = test.summary(), []
    for curve, good in (("deletion", "low"), ("insertion", "high")):
        p = found[f"{curve}_p"]
        beats = "too few units" if test.num_units < MIN_UNITS else "yes" if p <= SIGNIFICANCE else "no"
        rows.append({
            "curve": f"{curve} ({good} is good)", "area, this map": found[f"{curve}_area_attributed"],
            "area, random orders": found[f"{curve}_area_random"], "area, reverse order": found[f"{curve}_area_reversed"],
            "beats random?": f"{beats} (p = {p:.3f})",
        })  # fmt: skip
    measured = f"Mean of {test.measured} over the units taken away or added, from 0 to 1"
    caption = f"{measured}; {test.num_units} {test.level}, perturbation {test.perturbation}"
    return to_table(rows, caption=caption)


def _state(text: str, told: tuple[int, int] = (0, 0)) -> str:
    bar = f'<progress value="{told[0]}" max="{told[1]}" aria-label="Test"></progress> ' if told[1] else ""
    return f'<p class="state" role="status">{bar}{text}</p>'


def _done(predictor: "Predictor", test: "Faithfulness") -> str:
    runs = f"{test.num_runs} sets of units asked, {len(test.deletion.random)} random orders."
    if test.level != CELLS or test.perturbation != "mask":
        return runs
    model: Any = getattr(predictor.model, "model", None)
    trained_so = getattr(getattr(model, "config", None), "pixel_random_sampling_size", 0)
    if trained_so:
        return f"{runs} This model was trained with random cells missing, so that hiding cells shows it little that it does not know."
    return f"{runs} This model was never trained with cells missing: hiding them shows it what it does not know, so read the test with care."
