"""Attribution: which clips moved the score of an answer, of one answer rather than another, or of a caption."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import torch

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
    "**not whether the model is right**. Clips are the only level so far: values of single frames, image cells and words are not built yet."
)


@dataclass(frozen=True)
class Explained:
    """An attribution with what drawing it, and asking for another of the same text, needs."""

    text: str
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
    kind = gr.Radio((WHY, WHY_NOT, FITS), value=WHY, show_label=False, container=False, elem_id="attribution-kind")
    with gr.Row(equal_height=True):
        text = gr.Textbox(label="Question, or caption", max_length=2000, scale=6, min_width=200, elem_id="attribution-text")
        go = gr.Button("Explain", variant="primary", scale=1, min_width=80, elem_id="explain")
    with gr.Row():
        target = _answers("Answer to explain (empty: the model's own)", "attribution-target")
        versus = _answers("rather than", "attribution-versus", visible=False)
    with gr.Row():
        method = gr.Radio(
            list(METHODS), value=SHAPLEY, label="Method", elem_id="attribution-method",
            info="Shapley: a clip's mean gain over all orders in which clips could come. Leave one out: the loss without it.",
        )  # fmt: skip
        order = gr.Radio((BY_TIME, BY_VALUE), value=BY_TIME, label="Sorted", elem_id="attribution-order")
    shared.follows_question(text)
    notice = gr.HTML(elem_id="attribution-notice")
    bars = gr.HTML(elem_id="attribution-bars", js_on_load=CLICK_CLIP)
    card = gr.HTML(elem_id="attribution-clip")
    with gr.Column(visible=False, elem_id="attribution-result") as result:
        save_buttons(shared, "attribution", notice, dict.fromkeys(("png", "svg", "csv"), _write))
        with gr.Accordion("View as table", open=False, elem_id="attribution-as-table"):
            table = gr.HTML(elem_classes="scrolls")
    shown = [bars, card, result, table]

    def show(session: Session, explained: Explained, sorted_how: str) -> Updates:
        from clipbert.viz.figures import to_table

        session.results["attribution"] = explained
        chart = explained.chart()
        drawn = bars_html(chart, by_value=sorted_how == BY_VALUE, notices=explained.video.notices)
        return {
            bars: drawn + completeness_html(explained.found), result: gr.Column(visible=True),
            table: to_table(chart.rows, caption=f"{chart.title}. {chart.subtitle}"),
        }  # fmt: skip

    def explain(
        session: Session, what: str, said: str, wanted: str | None, other: str | None, how: str, sorted_how: str, *settings: Any
    ) -> Updates:  # fmt: skip
        predictor, given, path = shared.engine.predictor(), sampling(settings), session.current_video()
        _, planned, _ = predictor.plan_clips(path, **_sampled(given))
        video = predictor.encode(path, **_sampled(given))
        clips = tuple(next(clip for clip in planned if torch.equal(clip.times, times)) for times in video.times)
        found, left_out = _attributions(predictor, video, what, said, wanted, other, how, given.aggregation, given.seed)
        listed = _likeliest(predictor, video, said, given.aggregation) if what != FITS else []
        explained = Explained(said, what, path, video, clips, found, left_out, predictor.model.name)
        return {target: gr.Dropdown(choices=listed), versus: gr.Dropdown(choices=listed), card: ""} | show(session, explained, sorted_how)

    def again(session: Session, wanted: str | None, other: str | None, how: str, sorted_how: str, *settings: Any) -> Updates:
        """Another answer, method or pooling of the text explained before: no model runs."""
        before = session.results.get("attribution")
        if before is None:
            return {}
        predictor, given = shared.engine.predictor(), sampling(settings)
        found, left_out = _attributions(predictor, before.video, before.kind, before.text, wanted, other, how, given.aggregation, given.seed)
        explained = Explained(before.text, before.kind, before.path, before.video, before.clips, found, left_out, before.model)
        return show(session, explained, sorted_how)

    def resort(session: Session, sorted_how: str) -> Updates:
        return show(session, _last(session), sorted_how) if "attribution" in session.results else {}

    def choose_kind(session: Session, what: str) -> Updates:
        session.results.pop("attribution", None)
        return {target: gr.Dropdown(visible=what != FITS), versus: gr.Dropdown(visible=what == WHY_NOT), **cleared()}

    def open_clip(session: Session, event: Any) -> Updates:
        last, n = _last(session), int(event.clip)
        clip = last.clips[n]
        return {card: clip_card(last.path, last.video.policy, n, clip), **shared.seek(clip.start)}

    def cleared() -> Updates:
        return {bars: "", card: "", result: gr.Column(visible=False), table: ""}

    def other_video(session: Session) -> Updates:
        return {target: gr.Dropdown(choices=[], value=None), versus: gr.Dropdown(choices=[], value=None), **cleared()}

    answers = [target, versus]
    shared.on([go.click, text.submit], explain, [kind, text, *answers, method, order, *shared.settings], [*answers, *shown], notice=notice,
              concurrency_id="model", show_progress_on=[bars])  # fmt: skip
    shared.on([target.input, versus.input, method.input, shared.settings[AGGREGATION].input], again, [*answers, method, order, *shared.settings],
              shown, notice=notice, trigger_mode="always_last", show_progress="hidden")  # fmt: skip
    shared.on(order.input, resort, [order], shown, notice=notice, show_progress="hidden")
    shared.on(kind.input, choose_kind, [kind], [*answers, *shown], notice=notice, show_progress="hidden")
    shared.on(bars.click, open_clip, outputs=[card, shared.player], notice=notice)
    shared.on(shared.video_changed.change, other_video, outputs=[*answers, *shown], notice=notice, show_progress="hidden")


def _answers(label: str, name: str, visible: bool = True) -> gr.Dropdown:
    return gr.Dropdown([], value=None, label=label, allow_custom_value=True, visible=visible, elem_id=name)


def _sampled(given: Any) -> dict[str, Any]:
    return {"num_clips": given.num_clips, "num_frames": given.num_frames, "fps": given.fps, "policy": given.policy, "seed": given.seed}


def _attributions(
    predictor: "Predictor", video: "EncodedVideo", kind: str, text: str, target: str | None, versus: str | None, method: str, aggregation: str,
    seed: int,
) -> "tuple[Attribution, Attribution]":  # fmt: skip
    """By the method wanted, and by leaving one clip out.  Raises ValueError where "why not" lacks the other answer."""
    from clipbert.attribution import attribute

    if kind == WHY_NOT and not versus:
        raise ValueError("name the other answer: why this one, rather than which?")
    score: dict[str, Any] = {"task": "match"} if kind == FITS else {"target": target or None, "versus": versus if kind == WHY_NOT else None}
    found, left_out = (
        attribute(predictor, video, text, method=name, aggregation=aggregation, seed=seed, **score) for name in (METHODS[method], METHODS[LEFT_OUT])
    )
    return found, left_out


def _likeliest(predictor: "Predictor", video: "EncodedVideo", question: str, aggregation: str) -> list[str]:
    """The likeliest answers, best first."""
    found = predictor.answer(video, question, aggregation=aggregation)
    return [found.candidates[j] for j in found.scores.argsort(descending=True)[:ANSWERS_LISTED].tolist()]


def _last(session: Session) -> Explained:
    if "attribution" not in session.results:
        raise ValueError("nothing is explained yet; press Explain first.")
    return session.results["attribution"]


def _write(session: Session, path: Path) -> None:
    from clipbert.viz.figures import save

    save(_last(session).chart(), path)
