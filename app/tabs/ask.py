"""Ask: the answer, how sure, and which seconds of the video made it."""

from typing import Any

import gradio as gr

from app.examples import Answered
from app.settings import sampling
from app.shared import Shared, Updates
from app.state import Session
from app.views import answer_html, clips_html
from clipbert.tasks import require_text

TITLE, PLACE = "Ask", 1
FIRST_ANSWER_SECONDS = 120


def build(shared: Shared) -> None:
    with gr.Row():
        question = gr.Textbox(label="Question", placeholder="what is the man riding?", max_length=2000, scale=5, elem_id="question")
        ask = gr.Button("Ask", variant="primary", scale=1, min_width=90, elem_id="ask")
    shared.question = question
    notice = gr.HTML(elem_id="ask-notice")
    answer = gr.HTML(elem_id="answer")
    clips = gr.HTML(elem_id="clips")
    outputs = [answer, clips]

    def show(session: Session, result: Answered) -> Updates:
        session.results["ask"] = result.prediction
        return {answer: answer_html(result.prediction, shared.engine.predictor().model.name), clips: clips_html(result.video, result.prediction)}

    def run(session: Session, text: str, *settings: Any) -> Updates:
        require_text(text, "question")
        wanted = sampling(settings)
        predictor = shared.engine.predictor()
        video = predictor.encode(
            session.current_video(), num_clips=wanted.num_clips, num_frames=wanted.num_frames, fps=wanted.fps, policy=wanted.policy, seed=wanted.seed
        )
        return show(session, Answered(video, predictor.answer(video, text, aggregation=wanted.aggregation, seed=wanted.seed)))

    def other_video(session: Session) -> Updates:
        """An example comes with its question and answer; for the user's own video the page is cleared."""
        name = session.example
        if not name:
            return {answer: "", clips: ""}
        example = shared.examples.named(name)
        result = shared.examples.answered(name, within_seconds=FIRST_ANSWER_SECONDS)
        return {question: example.question, **(show(session, result) if result is not None and session.example == name else {})}

    shared.on([ask.click, question.submit], run, [question, *shared.settings], outputs, notice=notice, concurrency_id="model")
    shared.on(shared.video_changed.change, other_video, outputs=[question, *outputs], notice=notice)
