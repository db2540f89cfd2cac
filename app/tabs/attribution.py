"""Attribution: which clips moved the score of an answer, of one answer rather than another, or of a caption."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import torch

from app.asking import CHOICE, Question
from app.clip_bars import CLICK_CLIP, bars_html, completeness_html
from app.clip_card import clip_card
from app.pictures import save_buttons
from app.settings import sampling
from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from clipbert.predict import Predictor
    from clipbert.sampling import ClipTimes
    from clipbert.types import Attribution, EncodedVideo
    from clipbert.viz.figures import Chart

TITLE, PLACE = "Attribution", 4
WHY, WHY_NOT, FITS = "Why this answer", "Why not another answer", "Why this caption fits"
SHAPLEY, LEFT_OUT = "Shapley value", "Leave one out"
METHODS = {SHAPLEY: "clip_shapley", LEFT_OUT: "clip_leave_one_out"}
BY_TIME, BY_VALUE = "by time", "by value"
ANSWERS_LISTED = 20
AGGREGATION = 4  # its place among the settings
ABOUT = (
    "Which seconds of the video moved this model's score, clip by clip. An attribution says which inputs move the score, "
    "**not whether the model is right**. This page shows the level of clips; `clipbert attribute --method` and the endpoint `/attribute` look "
    "inside a clip too: at its frames, grid cells and words."
)


@dataclass(frozen=True)
class Explained:
    """An attribution with what drawing it, and asking for another of the same text, needs."""

    text: str
    choices: tuple[str, ...]  # empty: the model's own answers
    kind: str
    path: Path
    video: "EncodedVideo"
    clips: "tuple[ClipTimes, ...]"
    found: "Attribution"
    left_out: "Attribution"
    model: str

    def chart(self) -> "Chart":
        from clipbert.attribution import METHODS as ABOUT_METHODS
        from clipbert.viz.figures import clip_values

        assert self.left_out.clips is not None
        about = ABOUT_METHODS[self.found.method].about
        return clip_values(self.found, self.left_out.clips, self.video.spans, model=self.model, duration=self.video.duration, about=about)


def build(shared: Shared) -> None:
    gr.Markdown(ABOUT, elem_id="attribution-about")
    _Explaining(shared)


class _Asked:
    """The controls: which score is explained, and how."""

    def __init__(self, shared: Shared) -> None:
        self.kind = gr.Radio((WHY, WHY_NOT, FITS), value=WHY, show_label=False, container=False, elem_id="attribution-kind")
        with gr.Row(equal_height=True):
            self.text = gr.Textbox(label="Question, or caption", max_length=2000, scale=6, min_width=200, elem_id="attribution-text")
            self.go = gr.Button("Explain", variant="primary", scale=1, min_width=80, elem_id="explain")
        self.choices = gr.Textbox(
            label="Answers to choose from, one on each line (empty: all the model knows)",
            lines=2,
            max_length=4000,
            elem_id="attribution-choices",
        )
        with gr.Row():
            self.target = _answers("Answer to explain (empty: the model's own)", "attribution-target")
            self.versus = _answers("rather than", "attribution-versus", visible=False)
        with gr.Row():
            self.method = gr.Radio(
                list(METHODS), value=SHAPLEY, label="Method", elem_id="attribution-method",
                info="Shapley: a clip's mean gain over all orders in which clips could come. Leave one out: the loss without it.",
            )  # fmt: skip
            self.order = gr.Radio((BY_TIME, BY_VALUE), value=BY_TIME, label="Sorted", elem_id="attribution-order")
        self.answers = [self.target, self.versus]
        shared.follows_question(self.text)
        shared.follows_choices(self.choices)


class _Explaining:
    """The explanation of what the controls ask for."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.asked = shared, _Asked(shared)
        self.notice = gr.HTML(elem_id="attribution-notice")
        self.bars = gr.HTML(elem_id="attribution-bars", js_on_load=CLICK_CLIP)
        self.card = gr.HTML(elem_id="attribution-clip")
        with gr.Column(visible=False, elem_id="attribution-result") as self.result:
            save_buttons(shared, "attribution", self.notice, dict.fromkeys(("png", "svg", "csv"), _write))
            with gr.Accordion("View as table", open=False, elem_id="attribution-as-table"):
                self.table = gr.HTML(elem_classes="scrolls")
        self.outputs = [self.bars, self.card, self.result, self.table]
        self.wire()

    def wire(self) -> None:
        shared, asked, on = self.shared, self.asked, self.shared.on
        quiet, everything = {"notice": self.notice, "show_progress": "hidden"}, [*asked.answers, *self.outputs]
        how = [asked.method, asked.order, *shared.settings]
        on([asked.go.click, asked.text.submit], self.explain, [asked.kind, asked.text, asked.choices, *asked.answers, *how], everything,
           notice=self.notice, concurrency_id="model", show_progress_on=[self.bars])  # fmt: skip
        changed = [asked.target.input, asked.versus.input, asked.method.input, shared.settings[AGGREGATION].input]
        on(changed, self.again, [*asked.answers, *how], self.outputs, trigger_mode="always_last", **quiet)
        on(asked.order.input, self.resort, [asked.order], self.outputs, **quiet)
        on(asked.kind.input, self.choose_kind, [asked.kind], [asked.choices, *everything], **quiet)
        on(self.bars.click, self.open_clip, outputs=[self.card, shared.player], notice=self.notice)
        on(shared.video_changed.change, self.other_video, outputs=everything, **quiet)

    def explain(
        self, session: Session, what: str, said: str, listed: str, wanted: str | None, other: str | None, how: str, sorted_how: str, *settings: Any
    ) -> Updates:  # fmt: skip
        choices = Question.written(CHOICE, said, listed).texts
        predictor, given, path = self.shared.engine.predictor(), sampling(settings), session.current_video()
        _, planned, _ = predictor.plan_clips(path, **_sampled(given))
        video = predictor.encode(path, **_sampled(given))
        clips = tuple(next(clip for clip in planned if torch.equal(clip.times, times)) for times in video.times)
        found, left_out = _attributions(predictor, video, what, said, choices, wanted, other, how, given.aggregation, given.seed)
        likeliest = gr.Dropdown(choices=_likeliest(predictor, video, said, choices, given.aggregation) if what != FITS else [])
        explained = Explained(said, choices, what, path, video, clips, found, left_out, predictor.model.name)
        return {**dict.fromkeys(self.asked.answers, likeliest), self.card: ""} | self.show(session, explained, sorted_how)

    def again(self, session: Session, wanted: str | None, other: str | None, how: str, sorted_how: str, *settings: Any) -> Updates:
        """Another answer, method or pooling of the text explained before: no model runs."""
        before = session.results.get("attribution")
        if before is None:
            return {}
        predictor, given = self.shared.engine.predictor(), sampling(settings)
        found, left_out = _attributions(
            predictor, before.video, before.kind, before.text, before.choices, wanted, other, how, given.aggregation, given.seed
        )
        return self.show(session, replace(before, found=found, left_out=left_out), sorted_how)

    def resort(self, session: Session, sorted_how: str) -> Updates:
        return self.show(session, _last(session), sorted_how) if "attribution" in session.results else {}

    def show(self, session: Session, explained: Explained, sorted_how: str) -> Updates:
        from clipbert.viz.figures import to_table

        session.results["attribution"] = explained
        chart = explained.chart()
        drawn = bars_html(chart, by_value=sorted_how == BY_VALUE, notices=explained.video.notices)
        return {
            self.bars: drawn + completeness_html(explained.found), self.result: gr.Column(visible=True),
            self.table: to_table(chart.rows, caption=f"{chart.title}. {chart.subtitle}"),
        }  # fmt: skip

    def choose_kind(self, session: Session, what: str) -> Updates:
        session.results.pop("attribution", None)
        target, versus = self.asked.answers
        shown = {self.asked.choices: gr.Textbox(visible=what != FITS)}
        return shown | {target: gr.Dropdown(visible=what != FITS), versus: gr.Dropdown(visible=what == WHY_NOT), **self.cleared()}

    def open_clip(self, session: Session, event: Any) -> Updates:
        last, n = _last(session), int(event.clip)
        clip = last.clips[n]
        return {self.card: clip_card(last.path, last.video.policy, n, clip), **self.shared.seek(clip.start)}

    def other_video(self, session: Session) -> Updates:
        return {**dict.fromkeys(self.asked.answers, gr.Dropdown(choices=[], value=None)), **self.cleared()}

    def cleared(self) -> Updates:
        return {self.bars: "", self.card: "", self.result: gr.Column(visible=False), self.table: ""}


def _answers(label: str, name: str, visible: bool = True) -> gr.Dropdown:
    return gr.Dropdown([], value=None, label=label, allow_custom_value=True, visible=visible, elem_id=name)


def _sampled(given: Any) -> dict[str, Any]:
    return {"num_clips": given.num_clips, "num_frames": given.num_frames, "fps": given.fps, "policy": given.policy, "seed": given.seed}


def _attributions(
    predictor: "Predictor", video: "EncodedVideo", kind: str, text: str, choices: tuple[str, ...], target: str | None, versus: str | None,
    method: str, aggregation: str, seed: int,
) -> "tuple[Attribution, Attribution]":  # fmt: skip
    """By the method wanted, and by leaving one clip out.  Raises ValueError where "why not" lacks the other answer."""
    from clipbert.attribution import attribute

    if kind == WHY_NOT and not versus:
        raise ValueError("name the other answer: why this one, rather than which?")
    wanted = {"target": target or None, "versus": versus if kind == WHY_NOT else None, "choices": choices or None}
    score: dict[str, Any] = {"task": "match"} if kind == FITS else wanted
    found, left_out = (
        attribute(predictor, video, text, method=name, aggregation=aggregation, seed=seed, **score) for name in (METHODS[method], METHODS[LEFT_OUT])
    )
    return found, left_out


def _likeliest(predictor: "Predictor", video: "EncodedVideo", question: str, choices: tuple[str, ...], aggregation: str) -> list[str]:
    """The likeliest answers, best first."""
    found = predictor.answer(video, question, choices=choices or None, aggregation=aggregation)
    return [found.candidates[j] for j in found.scores.argsort(descending=True)[:ANSWERS_LISTED].tolist()]


def _last(session: Session) -> Explained:
    if "attribution" not in session.results:
        raise ValueError("nothing is explained yet; press Explain first.")
    return session.results["attribution"]


def _write(session: Session, path: Path) -> None:
    from clipbert.viz.figures import save

    save(_last(session).chart(), path)
