"""Ask: the answer clip by clip, how sure, and which seconds of the video made it."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from app.asking import CHOICE, MATCH, MODES, OPEN, Asked, Question, ask_footage
from app.clip_files import ClipFiles
from app.edit_panel import edit_panel
from app.links import Link
from app.pictures import Picture
from app.save_panel import save_panel
from app.saving import advice, compared, is_about, session_of
from app.settings import sampling
from app.shared import Shared, Updates, explain, notice_html
from app.state import Session
from app.views import CLICK_OTHER, CLICK_SECONDS, answer_html, cards_html, pieces_html, planned_html
from clipbert.checks import require_text
from clipbert.sampling_config import AGGREGATIONS, SamplingConfig

TITLE, PLACE = "Ask", 1
FIRST_ANSWER_SECONDS = 120
AGGREGATION = 4  # its place among the settings
LISTED = {
    CHOICE: "Answers to choose from, one on each line",
    MATCH: "Captions to compare with the video, one on each line",
}


def build(shared: Shared) -> None:
    asking = _Asking(shared)
    notice = gr.HTML(elem_id="ask-notice")
    _Answer(shared, asking, notice)


class _Asking:
    """What is asked: the controls, and how the model reads what is written in them."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.mode = gr.Radio(MODES, value=OPEN, label="What to ask", elem_id="mode", show_label=False, container=False)
        with gr.Row(equal_height=True):
            self.question = gr.Textbox(
                label="Question", placeholder="what is the man riding?", max_length=2000, scale=6, min_width=200, elem_id="question"
            )
            self.ask = gr.Button("Ask", variant="primary", scale=1, min_width=80, elem_id="ask")
            self.stop = gr.Button("Stop", scale=1, min_width=80, elem_id="ask-stop")
        self.texts = gr.Textbox(label=LISTED[CHOICE], lines=4, max_length=4000, visible=False, elem_id="texts")
        self.pieces, self.notice = gr.HTML(elem_id="pieces"), gr.HTML(elem_id="asking-notice")  # of its own: reading must not clear the answer's
        shared.question, shared.mode, shared.texts = self.question, self.mode, self.texts
        self.inputs = [self.mode, self.question, self.texts]

    def wire(self) -> None:
        on, quiet = self.shared.on, {"notice": self.notice, "show_progress": "hidden"}
        self.shared.stops(self.stop)
        on(self.mode.change, self.choose_mode, [self.mode], [self.question, self.texts], **quiet)
        # past the queue, to be quick: the first reply of an event wipes what the page says of its inputs, "Write a question first." too
        on([each.change for each in self.inputs], self.read, self.inputs, [self.pieces], queue=False, trigger_mode="always_last", **quiet)

    def choose_mode(self, session: Session, how: str) -> Updates:
        return {self.question: gr.Textbox(visible=how != MATCH), self.texts: gr.Textbox(visible=how != OPEN, label=LISTED.get(how, ""))}

    def read(self, session: Session, how: str, text: str, listed: str) -> Updates:
        if self.shared.engine.state != "ready":
            return {}
        model = self.shared.engine.predictor().model
        spoken = Question.written(how, text, listed).spoken()
        return {self.pieces: pieces_html([(each, model.pieces(each)) for each in spoken], model.max_pieces)}

    def shown(self, question: Question) -> Updates:
        """The updates that put a question into the controls."""
        return {self.mode: question.mode, self.question: question.text, self.texts: "\n".join(question.texts)}


class _Answer:
    """The answer to it, growing clip by clip."""

    def __init__(self, shared: Shared, asking: _Asking, notice: gr.HTML) -> None:
        self.shared, self.asking, self.notice = shared, asking, notice
        self.answer = shared.answer = gr.HTML(elem_id="answer", js_on_load=CLICK_OTHER)
        save_panel(shared, asking.inputs)
        self.cards = gr.HTML(elem_id="clips", js_on_load=CLICK_SECONDS)
        self.files = ClipFiles(shared, notice)
        self.line = Picture(shared, "answer-line", notice)
        shared.answered = gr.State("")
        edit_panel(shared)
        self.outputs = [self.answer, self.cards, self.files.box, *self.line.outputs, shared.answered]
        self.wire()
        asking.wire()

    def wire(self) -> None:
        shared, asking, on = self.shared, self.asking, self.shared.on
        how, quiet = shared.settings[AGGREGATION], {"notice": self.notice, "show_progress": "hidden"}
        ran = on([asking.ask.click, asking.question.submit], self.run, [*asking.inputs, *shared.settings], self.outputs, notice=self.notice,
                 concurrency_id="model", show_progress="minimal", show_progress_on=[self.answer], validator=_check)  # fmt: skip
        # past the queue, whose turn and stream cost more than pooling; clips and chart, which take longer to draw, come behind
        pooled = on(how.input, self.pool_again, [how], [self.answer], queue=False, trigger_mode="always_last", **quiet)
        shared.after(pooled, self.redraw, outputs=self.outputs, notice=self.notice)
        shared.after(ran, self.settle, [how], self.outputs, notice=self.notice)
        # of its own: it waits for an example's answer, and nothing else should
        on(shared.video_changed.change, self.other_video, [how], [*asking.inputs, *self.outputs], **quiet)
        on(self.cards.click, self.seek, outputs=[shared.player], **quiet)

    def run(self, session: Session, how: str, text: str, listed: str, *settings: Any) -> Iterator[Updates]:
        session.stop.clear()
        wanted, question, path = sampling(settings), _question(how, text, listed), session.current_video()
        for last in ("ask", "pooling"):
            session.results.pop(last, None)
        nothing = {self.answer: "", self.cards: ""} | self.files.hidden() | self.line.clear()
        yield nothing | {self.answer: '<p class="state" role="status">looking at the first clip …</p>'}
        try:
            yield from self.answers(session, path, question, wanted)
        except Exception:
            yield nothing
            raise

    def answers(self, session: Session, path: Path, question: Question, wanted: SamplingConfig) -> Iterator[Updates]:
        """The answer after each clip, pooled as is then chosen, until it is whole, stopped, or of another video than the page's."""
        from clipbert.edits import footage

        predictor = self.shared.engine.predictor()
        shown = footage(predictor, path, **vars(wanted))
        yield {self.cards: planned_html(shown.clips)}
        with closing(ask_footage(predictor, shown, question)) as steps:
            for asked in steps:
                if session.video != path:
                    return
                stopped = session.stop.is_set() and asked.num_done < asked.num_planned
                if (chosen := session.results.get("pooling", wanted.aggregation)) != wanted.aggregation:
                    asked = self.pooled(asked, chosen)
                if asked.finished and session.saved is not None:
                    asked = replace(asked, origin=compared(session.saved, session_of(predictor, asked, path), asked.prediction))
                yield self.show(session, replace(asked, stopped=stopped))
                if stopped:
                    return

    def settle(self, session: Session, how: str) -> Updates:
        """After a run: the pooling that was chosen while it waited for its turn."""
        asked = session.results.get("ask")
        if asked is None or asked.video is None or asked.prediction.aggregation == how:
            return {self.notice: gr.skip()}
        return {self.notice: gr.skip(), **self.show(session, self.pooled(asked, how))}

    def pool_again(self, session: Session, how: str) -> Updates:
        """The answer alone; `redraw` follows.  A run that is under way goes on with this pooling."""
        session.results["pooling"] = how
        asked = self.repooled(session, how)
        if asked is None:
            return {}
        session.results["ask"] = asked
        return {self.answer: self.drawn(asked)}

    def redraw(self, session: Session) -> Updates:
        """All of the answer, unless a question was begun while it was drawn."""
        asked = session.results.get("ask")
        drawn = self.show(session, asked) if asked else {}
        return drawn if session.results.get("ask") is asked else {}

    def repool(self, session: Session, how: str) -> Updates:
        asked = self.repooled(session, how)
        return self.show(session, asked) if asked else {}

    def repooled(self, session: Session, how: str) -> Asked | None:
        """The same votes, pooled in another way: no model runs."""
        asked = session.results.get("ask")
        if asked is None:
            return None
        if asked.video is None:
            raise ValueError(f"a saved answer stays as it was pooled, by {asked.prediction.aggregation}; to pool it by {how}, ask its video again.")
        return self.pooled(asked, how)

    def pooled(self, asked: Asked, how: str) -> Asked:
        assert asked.video is not None
        prediction = asked.question.answer(self.shared.engine.predictor(), asked.video, how, asked.sampling.seed)
        return replace(asked, prediction=prediction, sampling=replace(asked.sampling, aggregation=how), origin="")

    def other_video(self, session: Session, how: str) -> Updates:
        """An example comes with its question and answer; for the user's own video the page is cleared."""
        if session.saved is not None and is_about(session.saved, session.video):
            return self.from_saved(session)
        session.saved, name = None, session.example
        cleared = {self.answer: "", self.cards: ""} | self.files.hidden() | self.line.clear()
        if not name:
            return cleared
        if session.link:
            return cleared | self.from_link(session, session.link)
        fields = self.asking.shown(self.shared.examples.named(name).asks)
        asked = self.shared.examples.answered(name, within_seconds=FIRST_ANSWER_SECONDS)
        if asked is None or session.example != name:
            refused = self.shared.examples.why_not.get(name) if session.example == name else None
            return fields | cleared | ({self.notice: notice_html(explain(refused), "note")} if refused else {})
        session.results["ask"] = asked
        return fields | self.repool(session, how)

    def from_link(self, session: Session, link: Link) -> Updates:
        """What the page's address asks: answered where the answer is known, else left for a press of Ask."""
        session.link, example = None, self.shared.examples.named(session.example)
        predictor = self.shared.engine.predictor()
        question, wanted = link.question or example.asks, link.sampling(predictor.sampling)
        fields, told = self.asking.shown(question), link.advice(predictor.model.name)
        if link.video and question.same_as(example.asks) and replace(wanted, aggregation=predictor.sampling.aggregation) == predictor.sampling:
            asked = self.shared.examples.answered(example.name, within_seconds=FIRST_ANSWER_SECONDS)
            if asked is not None and session.example == example.name:
                session.results["ask"] = asked
                return fields | self.repool(session, wanted.aggregation) | ({self.notice: notice_html(told, "note")} if told else {})
        return fields | {self.notice: notice_html(told or "the link set the question and the settings; press Ask for the answer.", "note")}

    def from_saved(self, session: Session) -> Updates:
        """The reopened session, until a video is chosen that is not its own."""
        saved = session.saved
        assert saved is not None
        told = advice(saved, self.shared.engine.predictor().model.fingerprint, session.video is not None)
        return self.asking.shown(saved.asked.question) | self.show(session, saved.asked) | {self.notice: notice_html(told, "note")}

    def show(self, session: Session, asked: Asked) -> Updates:
        session.results["ask"] = asked
        drawn = {self.answer: self.drawn(asked), self.cards: cards_html(asked)}
        if not (asked.stopped or asked.finished):
            return drawn
        return drawn | self.files.shown() | self.settled(session, asked) | {self.shared.answered: f"{time.time_ns()}"}

    def drawn(self, asked: Asked) -> str:
        """The answer; a whole one that can be pooled anew comes with what the other poolings make of the votes."""
        if not asked.finished or asked.video is None:
            return answer_html(asked)
        return answer_html(asked, [self.pooled(asked, how) for how in AGGREGATIONS if how != asked.prediction.aggregation])

    def settled(self, session: Session, asked: Asked) -> Updates:
        """How the answer settled; for captions, whose probabilities do not compete, nothing."""
        from clipbert.viz.figures import answer_over_clips

        if asked.question.mode == MATCH:
            return self.line.clear()
        return self.line.show(session, answer_over_clips(asked.prediction, model=asked.model))

    def seek(self, session: Session, event: Any) -> Updates:
        return self.shared.seek(event.seconds)


def _check(how: str, text: str, listed: str, *settings: Any) -> list[Any]:
    """One for each input, before the call is queued: an empty question is told at once, below its box."""
    asked = how == MATCH or bool((text or "").strip())
    return [gr.validate(True, ""), gr.validate(asked, "Write a question first."), *(gr.validate(True, "") for _ in (listed, *settings))]


def _question(how: str, text: str, listed: str) -> Question:
    if how != MATCH:
        require_text(text, "question")
    return Question.written(how, text, listed)
