"""N_test & aggregation: how the answer, or a score over many videos, depends on how many clips are seen and how they are pooled."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.asking import one_a_line
from app.model_panel import model_panel
from app.pictures import Picture
from app.scoring import ACCURACY, RECALL, STREAMS, SYNTHETIC_VIDEOS, Scores, synthetic_set, uploaded_set
from app.settings import sampling
from app.shared import Shared, Updates
from app.state import Session
from app.sweeping import SIZES, Sweep, matrix_html, sizes_with, sweep_stream
from clipbert.checks import require_text
from clipbert.sampling_config import AGGREGATIONS, POLICY_NAMES

if TYPE_CHECKING:
    from clipbert.viz.figures import Chart

TITLE, PLACE = "N_test & aggregation", 3
NUM_CLIPS, AGGREGATION = 0, 4  # their places among the settings
OWN_SET, BUNDLED_SET = "my videos", "synthetic videos, made here"
COMPARED = ("paper", "official", "centered")
SETS = (BUNDLED_SET, OWN_SET)
METRICS = [("accuracy of answers", ACCURACY), ("R@1: captions that find their video first", RECALL)]
FILES = 'Your videos, and one .jsonl: a line {"video", "question", "answer"} a question, or {"video", "caption"} a caption'
CELL_CLICK = """element.addEventListener("click", (event) => {
  const cell = event.target.closest("button[data-clips]");
  if (cell) trigger("select", { index: [Number(cell.dataset.clips), cell.dataset.how] });
});"""
ASK = """(question) => {
  const ready = () => document.querySelector("#ask")?.checkVisibility() && document.querySelector("#question textarea")?.value == question;
  const ask = (left) => ready() ? document.querySelector("#ask").click() : left && setTimeout(ask, 50, left - 1);
  ask(600);
}"""  # once the page shows the other tab, which a busy one may do late


def build(shared: Shared) -> None:
    notice = gr.HTML(elem_id="sweep-notice")
    with gr.Row(equal_height=True):
        question = gr.Textbox(label="Question", max_length=2000, scale=6, min_width=200, elem_id="sweep-question")
        run = gr.Button("Sweep", variant="primary", scale=1, min_width=80, elem_id="sweep")
        stop = gr.Button("Stop", scale=1, min_width=80, elem_id="sweep-stop")
    with gr.Accordion("Choose among given answers (optional)", open=False):
        listed = gr.Textbox(label="One answer a line; empty: the model's own answers", lines=3, max_length=4000, elem_id="sweep-choices")
    shared.follows_question(question)
    shared.stops(stop)
    _Swept(shared, notice).wire([run.click, question.submit], [question, listed])
    _policies(shared, question, listed)
    model_panel(shared, question, listed)
    _when_it_matters(shared)
    _DataSet(shared)


class _Swept:
    """The sweep as it grows: its curve, the answers as a matrix, and how their clips' opinions were pooled."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared, self.notice = shared, notice
        self.said = gr.HTML(elem_id="sweep-said")
        self.curve = Picture(shared, "ntest-curve", notice)
        self.matrix = gr.HTML(elem_id="ntest-matrix", js_on_load=CELL_CLICK, apply_default_css=False)
        self.explain = _Explainer(shared)
        self.outputs = [self.said, self.matrix, *self.curve.outputs, *self.explain.outputs]

    def wire(self, triggers: list[Any], asked: list[Any]) -> None:
        shared, on, notice = self.shared, self.shared.on, self.notice
        chosen = [shared.settings[NUM_CLIPS], shared.settings[AGGREGATION]]
        ran = on(triggers, self.run, [*asked, *shared.settings], self.outputs, notice=notice, concurrency_id="model")
        shared.after(ran, self.mark, chosen, [self.matrix], notice=notice)
        on([each.change for each in chosen], self.mark, chosen, [self.matrix], notice=notice, trigger_mode="always_last", show_progress="hidden")
        shared.when_video_changes(self.other_video, outputs=self.outputs, notice=notice)
        cell = on(self.matrix.select, self.ask_so, outputs=[*chosen, shared.question, shared.tabs], notice=notice)
        cell.then(fn=None, js=ASK, inputs=[shared.question], api_visibility="private")

    def run(self, session: Session, text: str, choices: str, *settings: Any) -> Iterator[Updates]:
        require_text(text, "question")
        session.stop.clear()
        wanted, video = sampling(settings), session.current_video()
        for sweep in sweep_stream(self.shared.engine.predictor(), video, text, one_a_line(choices) or None, wanted, sizes_with(wanted.num_clips)):
            if session.video != video:
                return
            updates = self.show(session, sweep, wanted.num_clips, wanted.aggregation)
            yield updates | (self.explain(session) if sweep.finished else {})
            if session.stop.is_set():
                return

    def show(self, session: Session, sweep: Sweep, num_clips: int, aggregation: str) -> Updates:
        from clipbert.viz.figures import ntest_curve

        session.results["sweep"] = sweep
        state = "" if sweep.finished else f"; N_test {', '.join(map(str, sweep.logits))} of {', '.join(map(str, sweep.planned))} done"
        return {
            self.said: f'<p class="soft" role="status">model {sweep.model}; {sweep.note}{state}</p>',
            self.matrix: matrix_html(sweep, num_clips=num_clips, aggregation=aggregation),
            **self.curve.show(session, ntest_curve(sweep.rows(), model=sweep.model, note=sweep.note, spent=sweep.spent)),
        }

    def mark(self, session: Session, num_clips: int, aggregation: str) -> Updates:
        """Another chosen setting marks other cells, also one chosen while the sweep ran: no model runs."""
        sweep = session.results.get("sweep")
        if sweep is None:
            return {self.notice: gr.skip()}
        return {self.notice: gr.skip(), self.matrix: matrix_html(sweep, num_clips=num_clips, aggregation=aggregation)}

    def other_video(self, session: Session) -> Updates:
        return {self.said: "", self.matrix: "", **self.curve.clear(), **self.explain.clear()}

    def ask_so(self, session: Session, event: Any) -> Updates:
        """The Ask tab, in the setting of the cell."""
        num_clips, aggregation = event.index
        sweep = session.results["sweep"]
        return {
            self.shared.settings[NUM_CLIPS]: num_clips, self.shared.settings[AGGREGATION]: aggregation, self.shared.question: sweep.question,
            self.shared.tabs: gr.Tabs(selected="ask"),
        }  # fmt: skip


class _Explainer:
    """Clip logits, the pooled row and each clip's responsibility, from mean to maximum."""

    def __init__(self, shared: Shared) -> None:
        with gr.Accordion("How the clips' opinions become one", open=False, elem_id="explainer"):
            gr.Markdown(
                "Every clip gives each answer a logit *g*. Pooling is **(1/β) · log mean exp(β · g)** over clips: β near 0 is the mean, β = 1 is lse "
                "(the paper's LogSumExp, less a constant), large β is the maximum. A clip's *responsibility* is its part in the pooled logit."
            )
            notice = gr.HTML(elem_id="explainer-notice")
            self.sharpness = gr.Slider(-2, 2, 0, step=0.1, label="log₁₀ β: from mean (left) through lse (0) to max (right)", elem_id="sharpness")
            self.heat, self.bars = Picture(shared, "pooling-heat", notice), Picture(shared, "responsibility", notice)
        self.outputs = [*self.heat.outputs, *self.bars.outputs, self.sharpness]

        def moved(session: Session, exponent: float) -> Updates:
            return self._shown(session, exponent) if "sweep" in session.results else {}

        shared.on(
            self.sharpness.release, moved, [self.sharpness], self.outputs[:-1], notice=notice, trigger_mode="always_last", show_progress="hidden"
        )

    def __call__(self, session: Session) -> Updates:
        return {self.sharpness: 0, **self._shown(session, 0.0)}

    def clear(self) -> Updates:
        return self.heat.clear() | self.bars.clear()

    def _shown(self, session: Session, exponent: float) -> Updates:
        from clipbert.viz.figures import pooling_heat, responsibility_bars

        sweep = session.results["sweep"]
        logits, about = sweep.logits[max(sweep.logits)], {"sharpness": 10.0**exponent, "model": sweep.model}
        return {
            **self.heat.show(session, pooling_heat(logits, sweep.candidates, **about)),
            **self.bars.show(session, responsibility_bars(logits, sweep.candidates, **about)),
        }


def _policies(shared: Shared, question: gr.Textbox, listed: gr.Textbox) -> None:
    """The same question at every N_test under each of the sampling policies chosen, a panel each."""
    with gr.Accordion("The same under other sampling policies", open=False, elem_id="policies"):
        notice = gr.HTML(elem_id="policies-notice")
        wanted = gr.CheckboxGroup(list(POLICY_NAMES), value=list(COMPARED), label="Policies", elem_id="policies-wanted")
        with gr.Row():
            run, stop = gr.Button("Compare", variant="primary", elem_id="policies-compare"), gr.Button("Stop", elem_id="policies-stop")
        said = gr.HTML(elem_id="policies-said")
        panels = Picture(shared, "ntest-panels", notice)
    shared.stops(stop)

    def compare(session: Session, text: str, choices: str, names: list[str], *settings: Any) -> Iterator[Updates]:
        require_text(text, "question")
        if not names:
            raise ValueError("no policy is chosen; tick at least one.")
        session.stop.clear()
        given, video, predictor, done = sampling(settings), session.current_video(), shared.engine.predictor(), dict[str, Sweep]()
        for name in names:
            for sweep in sweep_stream(predictor, video, text, one_a_line(choices) or None, replace(given, policy=name), SIZES):
                if session.video != video:
                    return
                done[name] = sweep
                told = f"{name}: N_test {max(sweep.logits)}; {len(done)} of {len(names)} policies"
                yield {said: f'<p class="soft" role="status">{told}</p>', **panels.show(session, panels_of(done))}
                if session.stop.is_set():
                    return

    inputs, outputs = [question, listed, wanted, *shared.settings], [said, *panels.outputs]
    shared.on(run.click, compare, inputs, outputs, notice=notice, concurrency_id="model")
    shared.when_video_changes(lambda session: {said: "", **panels.clear()}, outputs=outputs, notice=notice)


def panels_of(done: dict[str, Sweep]) -> "Chart":
    from clipbert.viz.figures import ntest_panels

    model = next(iter(done.values())).model
    return ntest_panels({name: sweep.rows() for name, sweep in done.items()}, model=model, spent={name: sweep.spent for name, sweep in done.items()})


def _when_it_matters(shared: Shared) -> None:
    """The bundled examples on which mean, max and lse do not agree."""
    with gr.Accordion("When does aggregation matter? The bundled examples", open=False, elem_id="disagreements"):
        notice, check = gr.HTML(elem_id="disagreements-notice"), gr.Button("Check the examples", elem_id="disagreements-check")
        found = gr.HTML(elem_id="disagreements-found", elem_classes="scrolls")

    def compare(session: Session, *settings: Any) -> Iterator[Updates]:
        from clipbert.viz.figures import to_table

        session.stop.clear()
        wanted, predictor, rows = sampling(settings), shared.engine.predictor(), []
        for example in shared.examples.all():
            for sweep in sweep_stream(predictor, example.path, example.question, example.captions or None, wanted, [wanted.num_clips]):
                answers = {row.aggregation: row.answer for row in sweep.rows()}
                rows.append({"example": example.case, "question": example.question, **answers, "disagree": len(set(answers.values())) > 1})
            differ = sum(row["disagree"] for row in rows)
            caption = f"{differ} of {len(rows)} examples depend on the aggregation; N_test = {wanted.num_clips}, model {predictor.model.name}"
            yield {found: to_table(sorted(rows, key=lambda row: not row["disagree"]), caption=caption)}
            if session.stop.is_set():
                return

    shared.on(check.click, compare, shared.settings, [found], notice=notice, concurrency_id="model")


class _DataSet:
    """Accuracy, or R@1, over many videos against N_test, with its interval, beside the paper's numbers that exist as text."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        with gr.Accordion("Over many videos: accuracy or R@1 by N_test", open=False, elem_id="data-set"):
            self.notice = gr.HTML(elem_id="data-set-notice")
            with gr.Row():
                self.which = gr.Radio(SETS, value=BUNDLED_SET, label="Videos", elem_id="data-set-which")
                metric = gr.Radio(METRICS, value=ACCURACY, label="Measure", elem_id="data-set-metric")
            self.files = gr.File(label=FILES, file_count="multiple", visible=False, elem_id="data-set-files")
            with gr.Row(equal_height=True):
                self.num_videos = gr.Slider(
                    3, 60, SYNTHETIC_VIDEOS, step=1, precision=0, label="Videos", elem_id="data-set-videos", scale=3, min_width=160,
                    info="More videos, a narrower interval, a longer wait.",
                )  # fmt: skip
                self.aggregation = gr.Radio(
                    list(AGGREGATIONS), value="lse", label="Pooled by (no model run)", elem_id="data-set-aggregation", scale=3, min_width=180
                )
                self.evaluate = gr.Button("Evaluate", variant="primary", scale=1, min_width=80, elem_id="evaluate")
                stop = gr.Button("Stop", scale=1, min_width=80, elem_id="evaluate-stop")
            self.said = gr.HTML(elem_id="data-set-said")
            self.curve = Picture(shared, "data-set-curve", self.notice)
        shared.stops(stop)
        self.wire([self.which, metric, self.files, self.num_videos, *shared.settings])

    def wire(self, inputs: list[Any]) -> None:
        on, outputs, quiet = self.shared.on, [self.said, *self.curve.outputs], {"notice": self.notice, "show_progress": "hidden"}
        on(self.which.change, self.choose, [self.which], [self.files, self.num_videos], **quiet)
        ran = on(self.evaluate.click, self.run, [self.aggregation, *inputs], outputs, notice=self.notice, concurrency_id="model")
        self.shared.after(ran, self.pool_again, [self.aggregation], outputs, notice=self.notice)
        on(self.aggregation.change, self.pool_again, [self.aggregation], outputs, **quiet)

    def choose(self, session: Session, kind: str) -> Updates:
        return {self.files: gr.File(visible=kind == OWN_SET), self.num_videos: gr.Slider(visible=kind == BUNDLED_SET)}

    def run(self, session: Session, how: str, kind: str, measure: str, paths: list[str] | None, size: int, *settings: Any) -> Iterator[Updates]:
        session.stop.clear()
        wanted, predictor = sampling(settings), self.shared.engine.predictor()
        yield {self.said: '<p class="soft" role="status">reading the data set …</p>'}
        made = self.shared.sessions.uploads / "synthetic"
        data = synthetic_set(size, made, measure) if kind == BUNDLED_SET else uploaded_set([Path(p) for p in paths or []])
        stream, _ = STREAMS[measure]
        for scores in stream(predictor, data, wanted):
            yield self.show(session, scores, how)
            if session.stop.is_set():
                return

    def pool_again(self, session: Session, how: str) -> Updates:
        """The same votes, also after a run that began with another pooling: no model runs."""
        return {self.notice: gr.skip()} | (self.show(session, session.results["scores"], how) if "scores" in session.results else {})

    def show(self, session: Session, scores: Scores, how: str) -> Updates:
        session.results["scores"] = scores
        return {self.said: scores.html(), **(self.curve.show(session, scores.chart(how)) if scores.right else self.curve.clear())}
