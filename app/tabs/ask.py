"""Ask: the answer clip by clip, how sure, and which seconds of the video made it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr

from app.asking import MATCH, MODES, OPEN, Asked, Question, ask_stream
from app.pictures import Picture
from app.save_panel import save_panel
from app.saving import advice, compared, is_about, session_of
from app.settings import sampling
from app.shared import Shared, Updates, notice_html
from app.state import Session
from app.views import CLICK_SECONDS, answer_html, cards_html, pieces_html
from clipbert.tasks import require_text

TITLE, PLACE = "Ask", 1
FIRST_ANSWER_SECONDS = 120
AGGREGATION = 4  # its place among the settings


def build(shared: Shared) -> None:
    mode = gr.Radio(MODES, value=OPEN, label="What to ask", elem_id="mode", show_label=False, container=False)
    with gr.Row(equal_height=True):
        question = gr.Textbox(label="Question", placeholder="what is the man riding?", max_length=2000, scale=6, min_width=200, elem_id="question")
        ask = gr.Button("Ask", variant="primary", scale=1, min_width=80, elem_id="ask")
        stop = gr.Button("Stop", scale=1, min_width=80, elem_id="ask-stop")
    texts = gr.Textbox(label="Answers to choose from, one on each line", lines=4, max_length=4000, visible=False, elem_id="texts")
    pieces = gr.HTML(elem_id="pieces")
    shared.question = question
    notice = gr.HTML(elem_id="ask-notice")
    answer = gr.HTML(elem_id="answer")
    save_panel(shared)
    cards = gr.HTML(elem_id="clips", js_on_load=CLICK_SECONDS)
    line = Picture(shared, "answer-line", notice)
    shown = [answer, cards, *line.outputs]

    def show(session: Session, asked: Asked) -> Updates:
        session.results["ask"] = asked
        ended = asked.stopped or asked.finished
        return {answer: answer_html(asked), cards: cards_html(asked)} | (settled(session, asked) if ended else {})

    def settled(session: Session, asked: Asked) -> Updates:
        """How the answer settled; for captions, whose probabilities do not compete, nothing."""
        from clipbert.viz.figures import answer_over_clips

        if asked.question.mode == MATCH:
            return line.clear()
        return line.show(session, answer_over_clips(asked.prediction, model=asked.model))

    def run(session: Session, how: str, text: str, listed: str, *settings: Any) -> Iterator[Updates]:
        session.stop.clear()
        wanted, asking = sampling(settings), _question(how, text, listed)
        path = session.current_video()
        yield {answer: '<p class="state" role="status">looking at the first clip …</p>', cards: ""} | line.clear()
        predictor = shared.engine.predictor()
        steps = ask_stream(
            predictor, path, asking, aggregation=wanted.aggregation, seed=wanted.seed, num_clips=wanted.num_clips, num_frames=wanted.num_frames,
            fps=wanted.fps, policy=wanted.policy,
        )  # fmt: skip
        with closing(steps):
            for asked in steps:
                if session.video != path:  # another video was chosen meanwhile
                    return
                stopped = session.stop.is_set() and asked.num_done < asked.num_planned
                if asked.finished and session.saved is not None:
                    asked = replace(asked, origin=compared(session.saved, session_of(predictor, asked, path), asked.prediction))
                yield show(session, replace(asked, stopped=stopped))
                if stopped:
                    return

    def repool(session: Session, how: str) -> Updates:
        """The same votes, pooled in another way: no model runs."""
        asked = session.results.get("ask")
        if asked is None:
            return {}
        if asked.video is None:
            raise ValueError(f"a saved answer stays as it was pooled, by {asked.prediction.aggregation}; to pool it by {how}, ask its video again.")
        prediction = asked.question.answer(shared.engine.predictor(), asked.video, how, asked.sampling.seed)
        return show(session, replace(asked, prediction=prediction, sampling=replace(asked.sampling, aggregation=how), origin=""))

    def from_saved(session: Session) -> Updates:
        """The reopened session, until a video is chosen that is not its own."""
        saved = session.saved
        assert saved is not None
        told = advice(saved, shared.engine.predictor().model.fingerprint, session.video is not None)
        fields = {mode: saved.asked.question.mode, question: saved.asked.question.text, texts: "\n".join(saved.asked.question.texts)}
        return fields | show(session, saved.asked) | {notice: notice_html(told, "note")}

    def other_video(session: Session, how: str) -> Updates:
        """An example comes with its question and answer; for the user's own video the page is cleared."""
        if session.saved is not None and is_about(session.saved, session.video):
            return from_saved(session)
        session.saved, name = None, session.example
        cleared = {answer: "", cards: ""} | line.clear()
        if not name:
            return cleared
        example = shared.examples.named(name)
        asked = shared.examples.answered(name, within_seconds=FIRST_ANSWER_SECONDS)
        fields = {mode: MATCH if example.captions else OPEN, question: example.question, texts: "\n".join(example.captions)}
        if asked is None or session.example != name:
            return fields | cleared
        session.results["ask"] = asked
        return fields | repool(session, how)

    def read(session: Session, how: str, text: str, listed: str) -> Updates:
        if shared.engine.state != "ready":
            return {}
        processor = shared.engine.predictor().model.processor  # pyright: ignore[reportAttributeAccessIssue]
        spoken = Question(how, text or "", _lines(how, listed)).spoken()
        return {pieces: pieces_html([(each, processor.pieces(each)) for each in spoken], processor.max_text_length - 2)}

    def choose_mode(session: Session, how: str) -> Updates:
        label = "Captions to compare with the video, one on each line" if how == MATCH else "Answers to choose from, one on each line"
        return {question: gr.Textbox(visible=how != MATCH), texts: gr.Textbox(visible=how != OPEN, label=label)}

    asking = [mode, question, texts]
    shared.on([ask.click, question.submit], run, [*asking, *shared.settings], shown, notice=notice, concurrency_id="model", show_progress="minimal",
              show_progress_on=[answer], validator=_check)  # fmt: skip
    shared.stops(stop)
    shared.on(shared.settings[AGGREGATION].input, repool, [shared.settings[AGGREGATION]], shown, notice=notice, show_progress="hidden")
    shared.on(shared.video_changed.change, other_video, [shared.settings[AGGREGATION]], [*asking, *shown], notice=notice, show_progress="hidden")
    shared.on(mode.change, choose_mode, [mode], [question, texts], notice=notice, show_progress="hidden")
    shared.on([mode.change, question.change, texts.change], read, asking, [pieces], notice=notice, show_progress="hidden",
              trigger_mode="always_last")  # fmt: skip
    shared.on(cards.click, lambda session, event: shared.seek(event.seconds), outputs=[shared.player], notice=notice, show_progress="hidden")


def _check(how: str, text: str, listed: str, *settings: Any) -> list[Any]:
    """One for each input, before the call is queued: an empty question is told at once, below its box."""
    asked = how == MATCH or bool((text or "").strip())
    return [gr.validate(True, ""), gr.validate(asked, "Write a question first."), *(gr.validate(True, "") for _ in (listed, *settings))]


def _question(how: str, text: str, listed: str) -> Question:
    if how != MATCH:
        require_text(text, "question")
    return Question(how, text, _lines(how, listed))


def _lines(how: str, listed: str) -> tuple[str, ...]:
    if how == OPEN:
        return ()
    return tuple(line.strip() for line in (listed or "").splitlines() if line.strip())
