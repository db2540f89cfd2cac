"""Attribution: which clips, frames, cells and words moved the score of an answer, and whether to believe it."""

from dataclasses import replace
from typing import Any

import gradio as gr

from app.asking import CHOICE, Question
from app.attribution.explained import CLIPS, FITS, WHY, WHY_NOT, Explained, Look, Score, Way, explained, opened, standing_of
from app.attribution.exports import LEFT_OUT, clips_chart
from app.attribution.faithfulness_panel import FaithfulnessPanel
from app.attribution.inside_panel import InsidePanel, fired
from app.attribution.level import Level, heading_html
from app.attribution.lines import standing_html
from app.clip_bars import CLICK_CLIP, bars_html
from app.settings import sampling
from app.shared import Shared, Updates
from app.state import Session
from app.views import CLICK_OTHER

TITLE, PLACE = "Attribution", 4
BY_TIME, BY_VALUE = "by time", "by value"
ANSWERS_LISTED = 20
AGGREGATION = 4  # its place among the settings
ABOUT = (
    "Which seconds of the video, which frames, which places in a frame and which words moved this model's score. Start with **Explain**, then "
    "click a clip, then one of its frames. An attribution says which inputs move the score, **not whether the model is right**, and a map is "
    "worth reading only if it passes its test (below it)."
)


def build(shared: Shared) -> None:
    gr.Markdown(ABOUT, elem_id="attribution-about")
    _Explaining(shared)


class _Asked:
    """The controls: which score is explained."""

    def __init__(self, shared: Shared) -> None:
        self.kind = gr.Radio((WHY, WHY_NOT, FITS), value=WHY, show_label=False, container=False, elem_id="attribution-kind")
        with gr.Row(equal_height=True):
            self.text = gr.Textbox(label="Question, or caption", max_length=2000, scale=6, min_width=200, elem_id="attribution-text")
            self.go = gr.Button("Explain", variant="primary", scale=1, min_width=80, elem_id="explain")
        with gr.Row():
            self.choices = gr.Textbox(
                label="Answers to choose from, one on each line (empty: all)", lines=1, max_length=4000, min_width=240, elem_id="attribution-choices"
            )
            self.target = _answers("Answer to explain (empty: the model's own)", "attribution-target")
            self.versus = _answers("rather than", "attribution-versus", visible=False)
        self.answers = [self.target, self.versus]
        shared.follows_question(self.text)
        shared.follows_choices(self.choices)


class _Explaining:
    """The explanation of what the controls ask for: clips first, then what lies inside the clip that is clicked."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.asked = shared, _Asked(shared)
        self.notice = gr.HTML(elem_id="attribution-notice")
        self.standing = gr.HTML(elem_id="attribution-standing", js_on_load=CLICK_OTHER)
        with gr.Column(visible=False, elem_id="attribution-result") as self.result:
            self.clips = Level(CLIPS, "clips", js=CLICK_CLIP)
            self.order = gr.Radio((BY_TIME, BY_VALUE), value=BY_TIME, label="Sorted", show_label=False, container=False, elem_id="attribution-order")
            self.clips.files_and_table(shared, self.notice)
            self.inside = InsidePanel(shared, self.notice)
            self.faithfulness = FaithfulnessPanel(shared, self.notice)
        self.fresh = gr.State("")
        self.offering = [self.clips, *self.inside.levels.values(), self.inside.compare]
        self.outputs = [
            *(each.method for each in self.offering),
            self.standing,
            self.result,
            *self.clips.outputs,
            *self.inside.outputs,
            *self.faithfulness.outputs,
            self.fresh,
        ]
        self.wire()

    def wire(self) -> None:
        shared, asked, on = self.shared, self.asked, self.shared.on
        quiet, everything = {"notice": self.notice, "show_progress": "hidden"}, [*asked.answers, *self.outputs]
        how = [self.clips.method, self.order, *shared.settings]
        on([asked.go.click, asked.text.submit], self.explain, [asked.kind, asked.text, asked.choices, *asked.answers, *how], everything,
           notice=self.notice, concurrency_id="model", show_progress="minimal", show_progress_on=[self.standing])  # fmt: skip
        changed = [asked.target.input, asked.versus.input, self.clips.method.input, self.order.input, shared.settings[AGGREGATION].input]
        on(changed, self.again, [*asked.answers, *how], self.outputs, trigger_mode="always_last", **quiet)
        on(self.standing.click, self.why_not, how, [asked.kind, *everything], **quiet)
        on(shared.answer.click, self.why_not_asked, how, [shared.tabs, asked.kind, asked.text, asked.choices, *everything],
           notice=self.notice, concurrency_id="model", show_progress="minimal", show_progress_on=[self.standing])  # fmt: skip
        on(asked.kind.input, self.choose_kind, [asked.kind], [asked.choices, *everything], **quiet)
        on(self.clips.view.click, self.open_clip, outputs=[shared.player, self.fresh], notice=self.notice, show_progress="hidden")
        shared.when_video_changes(self.other_video, outputs=everything, notice=self.notice)
        levels = {CLIPS: self.clips, **self.inside.levels}
        self.inside.wire(self.fresh, self.faithfulness.level)
        self.faithfulness.wire({name: level.lines for name, level in levels.items()}, levels)

    def explain(
        self, session: Session, what: str, said: str, listed: str, wanted: str | None, other: str | None, how: str, sorted_how: str, *settings: Any
    ) -> Updates:  # fmt: skip
        import torch

        given, path = sampling(settings), session.current_video()
        score = Score(what, said, Question.written(CHOICE, said, listed).texts, wanted or None, other or None, given.aggregation, given.seed)
        score.settings()  # what is lacking is told before the model runs
        predictor = self.shared.engine.predictor()
        _, planned, _ = predictor.plan_clips(path, **_sampled(given))
        video = predictor.encode(path, **_sampled(given))
        clips = tuple(next(clip for clip in planned if torch.equal(clip.times, times)) for times in video.times)
        standing, likeliest = standing_of(predictor, video, score, self.known_answers(session, said), ANSWERS_LISTED)
        session.results.pop("attribution-opened", None)
        shown = Explained(score, path, video, clips, predictor.model.name, standing, likeliest, _sampled(given))
        answers = dict.fromkeys(self.asked.answers, gr.Dropdown(choices=list(likeliest)))
        return answers | self.offered() | self.inside.cleared() | self.show(session, shown, how, sorted_how)

    def offered(self) -> Updates:
        """The methods of each level, of those that can explain the model."""
        model = self.shared.engine.predictor().model
        return {part: update for each in self.offering for part, update in each.offered(model).items()}

    def known_answers(self, session: Session, question: str) -> tuple[str, ...]:
        """What is right, where an example is asked its own question."""
        if not session.example:
            return ()
        example = self.shared.examples.named(session.example)
        return example.answers if question.strip() == example.question else ()

    def again(self, session: Session, wanted: str | None, other: str | None, how: str, sorted_how: str, *settings: Any) -> Updates:
        """Another answer, method, order or pooling of the text explained before: no model runs for the clips."""
        before = session.results.get("attribution")
        if before is None:
            return {}
        score = replace(before.score, target=wanted or None, versus=other or None, aggregation=sampling(settings).aggregation)
        return self.show(session, before.of(score), how, sorted_how)

    def why_not(self, session: Session, how: str, sorted_how: str, *settings: Any, event: Any) -> Updates:
        """The model's answer rather than the runner-up."""
        before = explained(session)
        assert before.standing is not None
        first, second = before.standing.answer, str(event.versus)
        score = replace(before.score, kind=WHY_NOT, target=first, versus=second)
        boxes = {self.asked.kind: WHY_NOT, self.asked.target: first, self.asked.versus: gr.Dropdown(value=second, visible=True)}
        return boxes | self.show(session, before.of(score), how, sorted_how)

    def why_not_asked(self, session: Session, how: str, sorted_how: str, *settings: Any, event: Any) -> Updates:
        """The answer in the Ask tab rather than the one whose bar was clicked there."""
        answered = session.results["ask"]
        question, first, second = answered.question, answered.prediction.answer, str(event.versus)
        listed = "\n".join(question.texts)
        found = self.explain(session, WHY_NOT, question.text, listed, first, second, how, sorted_how, *settings)
        offered = list(explained(session).likeliest)
        return found | {
            self.shared.tabs: gr.Tabs(selected="attribution"), self.asked.kind: WHY_NOT, self.asked.text: question.text,
            self.asked.choices: listed, self.asked.target: gr.Dropdown(choices=offered, value=first),
            self.asked.versus: gr.Dropdown(choices=offered, value=second, visible=True),
        }  # fmt: skip

    def show(self, session: Session, shown: Explained, how: str, sorted_how: str) -> Updates:
        from clipbert.viz.figures import to_table

        predictor, look, place = self.shared.engine.predictor(), Look(how), opened(session)
        found, _ = shown.map(predictor, look), shown.map(predictor, LEFT_OUT)
        if shown.video.num_clips > 1:
            shown.test(predictor, look, Way())
        session.results["attribution"], place.looks[CLIPS] = shown, look
        chart = clips_chart(shown, look)
        return {
            self.standing: standing_html(shown.standing), self.result: gr.Column(visible=True), self.clips.heading: heading_html(chart.title),
            self.clips.view: bars_html(chart, by_value=sorted_how == BY_VALUE, notices=shown.video.notices, selected=place.clip),
            self.clips.lines: self.clips.lines_html(shown, look, found),
            self.clips.table: to_table(chart.rows, caption=f"{chart.title}. {chart.subtitle}"),
            **self.faithfulness.cleared(), **(fired(self.fresh) if place.clip is not None else {}),
        }  # fmt: skip

    def choose_kind(self, session: Session, what: str) -> Updates:
        session.results.pop("attribution", None)
        target, versus = self.asked.answers
        shown = {self.asked.choices: gr.Textbox(visible=what != FITS)}
        return shown | {target: gr.Dropdown(visible=what != FITS), versus: gr.Dropdown(visible=what == WHY_NOT), **self.cleared()}

    def open_clip(self, session: Session, event: Any) -> Updates:
        place = opened(session)
        place.clip, place.frame, place.looks = int(event.clip), None, {}
        return self.shared.seek(float(explained(session).clips[place.clip].start)) | fired(self.fresh)

    def other_video(self, session: Session) -> Updates:
        return {**dict.fromkeys(self.asked.answers, gr.Dropdown(choices=[], value=None)), **self.cleared()}

    def cleared(self) -> Updates:
        hidden = {self.standing: "", self.result: gr.Column(visible=False)}
        return hidden | self.clips.cleared() | self.inside.cleared() | self.faithfulness.cleared()


def _answers(label: str, name: str, visible: bool = True) -> gr.Dropdown:
    return gr.Dropdown([], value=None, label=label, allow_custom_value=True, visible=visible, min_width=240, elem_id=name)


def _sampled(given: Any) -> dict[str, Any]:
    return {"num_clips": given.num_clips, "num_frames": given.num_frames, "fps": given.fps, "policy": given.policy, "seed": given.seed}
