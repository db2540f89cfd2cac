"""Two models asked the same of the same clips: their answers by N_test, and each clip's own vote, side by side."""

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.asking import one_a_line
from app.links import shown_name
from app.pictures import Picture
from app.settings import sampling
from app.shared import Shared, Updates
from app.state import Session
from app.sweeping import Sweep, sizes_with, sweep_stream
from clipbert.checks import require_text

if TYPE_CHECKING:
    from clipbert.sampling import ClipTimes


def model_panel(shared: Shared, question: gr.Textbox, listed: gr.Textbox) -> None:
    """Build it where the server knows another model; the question and the choices are those of the boxes given."""
    if not shared.others:
        return
    with gr.Accordion("Another model on the same clips", open=False, elem_id="models"):
        notice = gr.HTML(elem_id="models-notice")
        names = list(shared.others)
        other = gr.Dropdown(names, value=names[0], label="Beside this page's model", elem_id="models-other")
        with gr.Row():
            run, stop = gr.Button("Compare", variant="primary", elem_id="models-compare"), gr.Button("Stop", elem_id="models-stop")
        said = gr.HTML(elem_id="models-said")
        curves, votes = Picture(shared, "models-curves", notice), gr.HTML(elem_id="models-votes", elem_classes="scrolls")
    shared.stops(stop)

    def compare(session: Session, text: str, choices: str, name: str, *settings: Any) -> Iterator[Updates]:
        from clipbert.viz.figures import ntest_panels

        require_text(text, "question")
        session.stop.clear()
        wanted, video = sampling(settings), session.current_video()
        answers = one_a_line(choices) or None
        yield {said: '<p class="soft" role="status">loading the other model …</p>', votes: "", **curves.clear()}
        own = shared.engine.predictor()
        done: dict[str, Sweep] = {}
        for label, predictor in ((shown_name(own.model.name), own), (f"{shown_name(name)} (the other)", shared.other(name))):
            for sweep in sweep_stream(predictor, video, text, answers, wanted, sizes_with(wanted.num_clips)):
                if session.video != video:
                    return
                done[label] = sweep
                told = f"{label}: N_test {max(sweep.logits)}; model {len(done)} of 2"
                chart = ntest_panels({model: each.rows() for model, each in done.items()}, model=" and ".join(done), panels="model")
                yield {said: f'<p class="soft" role="status">{told}</p>', **curves.show(session, chart)}
                if session.stop.is_set():
                    return
        settings_of_clips = {key: value for key, value in vars(wanted).items() if key != "aggregation"}
        _, clips, _ = own.plan_clips(video, **settings_of_clips)
        yield {said: f'<p role="status">{answers_html(done, wanted.num_clips, wanted.aggregation)}</p>', votes: votes_html(done, clips)}

    inputs, outputs = [question, listed, other, *shared.settings], [said, votes, *curves.outputs]
    shared.on(run.click, compare, inputs, outputs, notice=notice, concurrency_id="model")
    shared.when_video_changes(lambda session: {said: "", votes: "", **curves.clear()}, outputs=outputs, notice=notice)


def answers_html(sweeps: dict[str, Sweep], num_clips: int, aggregation: str) -> str:
    """Each model's pooled answer."""
    told = []
    for model, sweep in sweeps.items():
        row = next(row for row in sweep.rows() if (row.num_clips, row.aggregation) == (num_clips, aggregation))
        told.append(f"{html.escape(model)}: <b>{html.escape(row.answer)}</b>, {100 * row.score:.0f}\u00a0%")
    return f"{'; '.join(told)} (N_test {num_clips}, {aggregation})."


def votes_html(sweeps: dict[str, Sweep], clips: "Sequence[ClipTimes]") -> str:
    """A table of each clip's own answer by each model, ≠ where they differ.  Raises ValueError where a sweep has not seen that many clips."""
    from clipbert.viz.figures import to_table

    rows: list[dict[str, object]] = [{"clip": n, "seconds": f"{clip.start:.1f}\u00a0to\u00a0{clip.end:.1f}"} for n, clip in enumerate(clips, 1)]
    answers: list[list[str]] = []
    for model, sweep in sweeps.items():
        if len(clips) not in sweep.logits:
            raise ValueError(f"the sweep of {model} has no N_test={len(clips)}; it has {', '.join(map(str, sweep.logits))}.")
        own = sweep.logits[len(clips)].softmax(dim=-1).max(dim=-1)
        answers.append([sweep.candidates[best] for best in own.indices.tolist()])
        for row, answer, first, share in zip(rows, answers[-1], answers[0], own.values.tolist(), strict=True):
            row[model] = f"{'≠ ' * (answer != first)}{answer} {100 * share:.0f}\u00a0%"
    alike = sum(len(set(of_clip)) == 1 for of_clip in zip(*answers, strict=True))
    return to_table(rows, caption=f"Each clip's own answer; the models agree on {alike} of {len(clips)} clips")
