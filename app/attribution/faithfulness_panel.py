"""Does the score follow the map better than it follows a random order?  Asked on demand, for whichever map is open."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.attribution.checks_panel import ChecksPanel
from app.attribution.explained import CELLS, CHEFER, CLIPS, FRAMES, TENTHS, TOKENS, Explained, Look, Way, explained, opened
from app.attribution.level import Level
from app.attribution.lines import verdict_html
from app.attribution.method_names import method_label
from app.attribution.watched import state_html, told
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
            self.steps = gr.Radio([TENTHS, CHEFER], value=TENTHS, label="Where one looks", elem_id="faithfulness-steps")
            self.beside = gr.Checkbox(False, label="beside the other methods", container=False, elem_id="faithfulness-others")
            with gr.Row():
                self.go = gr.Button("Test", variant="primary", min_width=80, scale=0, elem_id="faithfulness-go")
                self.stop = gr.Button("Stop", min_width=80, scale=0, elem_id="faithfulness-stop")
            self.state = gr.HTML(elem_id="faithfulness-state")
            self.verdict = gr.HTML(elem_id="faithfulness-verdict")
            self.table = gr.HTML(elem_id="faithfulness-table", elem_classes="scrolls")
            self.curves = Picture(shared, "faithfulness-curves", notice)
            self.checks = ChecksPanel(shared, notice)
        self.outputs = [self.state, self.verdict, self.table, *self.curves.outputs, *self.checks.outputs]

    def wire(self, lines: Mapping[str, gr.HTML], levels: Mapping[str, Level]) -> None:
        """`lines` are the sentences under each level's map, rewritten when it is tested."""
        on, chosen = self.shared.on, [self.level, self.perturbation, self.steps]
        self.lines, self.levels = lines, levels
        run = {"notice": self.notice, "concurrency_id": "model", "show_progress": "hidden"}
        on(self.go.click, self.run, [*chosen, self.beside], [*self.outputs, *lines.values()], **run)
        on(self.beside.input, self.put_beside, [*chosen, self.beside], [*self.outputs, *lines.values()], **run)
        on([self.perturbation.input, self.steps.input], self.expect, chosen, [self.state], **run)
        on(self.level.change, self.choose_level, [self.level], [self.perturbation], notice=self.notice, show_progress="hidden", queue=False)
        self.shared.stops(self.stop)
        self.checks.wire(chosen, self.map_to_test)

    def choose_level(self, _session: Session, level: str) -> Updates:
        ways = _ways(level)
        return {self.perturbation: gr.Radio(choices=ways, value="mask", visible=len(ways) > 1)}

    def map_to_test(self, session: Session, level: str) -> tuple[Explained, Look]:
        """Raises ValueError where none is open."""
        shown, look = explained(session), opened(session).looks.get(level)
        if look is None:
            raise ValueError(f"no map of the {LEVEL_NAMES[level]} is open; click a clip{' and one of its frames' * (level != FRAMES)} above first.")
        return shown, look

    def expect(self, session: Session, level: str, perturbation: str, steps: str) -> Updates:
        """How long the test would take, by a few sets of units, which it then need not ask for again."""
        if "attribution" not in session.results or level not in opened(session).looks:
            return {}
        shown, look = self.map_to_test(session, level)
        num_sets, seconds = shown.expected(self.shared.engine.predictor(), look, Way(perturbation, steps == CHEFER))
        return {self.state: state_html(f"Test will ask for {num_sets} sets of units: some {_duration(seconds)} here.")}

    def run(self, session: Session, level: str, perturbation: str, steps: str, beside: bool) -> Iterator[Updates]:
        session.stop.clear()
        shown, look = self.map_to_test(session, level)
        predictor = self.shared.engine.predictor()
        yield self.cleared() | {self.state: state_html("preparing the test …")}
        way = Way(perturbation, steps == CHEFER)
        test = yield from self._test(session, predictor, shown, look, way, "{stage}:")
        if test is None or session.results.get("attribution") is not shown:
            return
        yield self.show(session, predictor, shown, look, test)
        if beside:
            yield from self._others(session, predictor, shown, look, way)

    def put_beside(self, session: Session, level: str, perturbation: str, steps: str, beside: bool) -> Iterator[Updates]:
        """Of a map that was tested: draw the other methods, or take them away again."""
        shown, look = session.results.get("attribution"), opened(session).looks.get(level)
        way = Way(perturbation, steps == CHEFER)
        if shown is None or look is None or (shown.score, look, way) not in shown.tests:
            return
        session.stop.clear()
        predictor = self.shared.engine.predictor()
        if beside:
            yield from self._others(session, predictor, shown, look, way)
        else:
            yield self.show(session, predictor, shown, look, shown.tests[shown.score, look, way])

    def _test(
        self, session: Session, predictor: "Predictor", shown: Explained, look: Look, way: Way, what: str
    ) -> "Generator[Updates, None, Faithfulness | None]":
        """Updates of the state line; returns the test, or None where it was stopped."""
        return (yield from told(lambda progress: shown.test(predictor, look, way, progress), session.stop, self.state, what))

    def _others(self, session: Session, predictor: "Predictor", shown: Explained, look: Look, way: Way) -> Iterator[Updates]:
        """Each other method's curves as they come beside the tested one's; one that has no map for this score says why."""
        looks, done, without, test = shown.other_looks(look), [], [], shown.tests[shown.score, look, way]
        for n, other in enumerate(looks, 1):
            name = method_label(other.method)
            yield {self.state: state_html(f"{name} ({n} of {len(looks)} other methods): computing its map …", (n - 1, len(looks)))}
            try:
                shown.map(predictor, other)
            except ValueError as error:
                without.append(f"{name}: {error}")
                continue
            found = yield from self._test(session, predictor, shown, other, way, f"{name}, {{stage}}:")
            if session.results.get("attribution") is not shown:
                return
            if found is None or session.stop.is_set():
                yield {self.state: f'<p class="state partial">stopped after {len(done)} of {len(looks)} other methods; those are drawn.</p>'}
                return
            done.append(found)
            yield self.show(session, predictor, shown, look, test, done)
        said = f"{_done(predictor, test)} Beside it {len(done)} other methods, with the same random orders. {' '.join(without)}"
        yield {self.state: state_html(said)}

    def show(
        self, session: Session, predictor: "Predictor", shown: Explained, look: Look, test: "Faithfulness", others: "Sequence[Faithfulness]" = ()
    ) -> Updates:  # fmt: skip
        from clipbert.viz.figures import faithfulness_curves

        found, level = shown.map(predictor, look), test.level
        chart = faithfulness_curves(test, model=shown.model, others=others)
        return self.curves.show(session, chart) | {
            self.state: state_html(_done(predictor, test)), self.verdict: f"<p>{verdict_html(test)}</p>",
            self.table: areas_html(test, others), self.lines[level]: self.levels[level].lines_html(shown, look, found),
        }  # fmt: skip

    def cleared(self) -> Updates:
        return {self.state: "", self.verdict: "", self.table: "", **self.curves.clear(), **self.checks.cleared()}


def _ways(level: str) -> list[tuple[str, str]]:
    """(label, name) of the ways in which a level's units can be taken away."""
    from clipbert.faithfulness_units import PERTURBATIONS

    return [(TAKEN_AWAY.get(name, name), name) for name, levels in PERTURBATIONS.items() if level in levels]


def areas_html(test: "Faithfulness", others: "Sequence[Faithfulness]" = ()) -> str:
    """The areas under both curves of each method beside those of random orders, and whether they beat them."""
    from clipbert.viz.figures import to_table

    rows = [_area_row(one, method_label(one.method), "attributed") for one in (test, *others)]
    rows += [_area_row(test, "random orders, mean", "random"), _area_row(test, f"reverse order of {method_label(test.method)}", "reversed")]
    measured = f"Mean of {test.measured} over the units taken away or added, from 0 to 1"
    caption = f"{measured}; {test.num_units} {test.level}, perturbation {test.perturbation}"
    return to_table(rows, caption=caption)


def _area_row(test: "Faithfulness", name: str, kind: str) -> dict[str, Any]:
    """Both areas of one kind of order; only a method's own can beat random ones."""
    from clipbert.faithfulness_curves import MIN_UNITS, SIGNIFICANCE

    found, row = test.summary(), {"order of": name}
    for curve, good in (("deletion", "low"), ("insertion", "high")):
        p = found[f"{curve}_p"]
        beats = "too few units" if test.num_units < MIN_UNITS else "yes" if p <= SIGNIFICANCE else "no"
        row |= {f"{curve}: area ({good} is good)": found[f"{curve}_area_{kind}"]}
        row |= {f"{curve}: beats random?": f"{beats} (p = {p:.3f})" if kind == "attributed" else None}
    return row


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _done(predictor: "Predictor", test: "Faithfulness") -> str:
    runs = f"{test.num_runs} sets of units asked, {len(test.deletion.random)} random orders."
    if test.level != CELLS or test.perturbation != "mask":
        return runs
    model: Any = getattr(predictor.model, "model", None)
    trained_so = getattr(getattr(model, "config", None), "pixel_random_sampling_size", 0)
    if trained_so:
        return f"{runs} This model was trained with random cells missing, so that hiding cells shows it little that it does not know."
    return f"{runs} This model was never trained with cells missing: hiding them shows it what it does not know, so read the test with care."
