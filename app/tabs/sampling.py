"""Sampling: where each policy looks, what it leaves out, and how much the answer depends on it.  Moves without a model run."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.clip_card import clip_card, write_reel
from app.pictures import Picture, save_buttons
from app.settings import sampling
from app.shared import Shared, Updates
from app.state import Session
from app.timeline import clip_rows, count, counts_html, num_cells, timeline_component, warnings, warnings_html
from clipbert.checks import require_text
from clipbert.sampling_config import RANDOM_POLICIES, SamplingConfig
from clipbert.viz.clip_timeline import lane_name, policy_lanes, timeline_html

if TYPE_CHECKING:
    from clipbert.sampling import ClipTimes
    from clipbert.types import Timeline

TITLE, PLACE = "Sampling", 2
OWN_SIZE = "the model's own"
NUM_SEEDS, SEED_SIZES = 20, (1, 2, 4)
STEP_SECONDS = 0.8
LAST_STEP = 120  # a page that is left alone stops playing
REDRAW_EVERY = 4
AGGREGATION = 4  # its place among the settings, and the one that moves no clip


def build(shared: Shared) -> None:
    _Timeline(shared)
    _TrainView(shared)
    _seed_variance(shared)


class _Timeline:
    """Where each policy looks, what that costs and leaves out, and the clip that was clicked."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.notice = shared, gr.HTML(elem_id="sampling-notice")
        self.chips, self.counters = gr.HTML(elem_id="sampling-warnings"), gr.HTML(elem_id="sampling-counts")
        self.timeline = timeline_component("timeline")
        with gr.Row():
            size = gr.Dropdown(
                [OWN_SIZE, "224", "448", "768", "1000"], value=OWN_SIZE, label="Image size L (pixels), for the counters", elem_id="sampling-size",
                info="Changes only the numbers above: how many image cells a clip would cost at that size.",
            )  # fmt: skip
        save_buttons(shared, "timeline", self.notice, {"svg": _write_chart, "png": _write_chart, "csv": _write_rows, "gif": _write_reel})
        with gr.Accordion("View as table", open=False, elem_id="timeline-as-table"):
            self.table = gr.HTML(elem_classes="scrolls", elem_id="timeline-table")
        self.card = gr.HTML(elem_id="clip-card")
        self.wire(size)

    def wire(self, size: gr.Dropdown) -> None:
        shared, on, quiet = self.shared, self.shared.on, {"notice": self.notice, "show_progress": "hidden"}
        inputs, views = [size, *shared.settings], [self.timeline, self.counters, self.chips, self.table]
        changes = [size.change, *(setting.change for setting in shared.settings if setting is not shared.settings[AGGREGATION])]
        on(changes, self.look, inputs, views, trigger_mode="always_last", **quiet)
        # of its own: the cells of a clip are the model's, which may still be loading
        on(shared.video_changed.change, self.other_video, inputs, [*views, self.card], **quiet)
        on(shared.answered.change, self.answered, inputs, views, **quiet)
        on(self.timeline.select, self.open_clip, outputs=[self.card, shared.player], notice=self.notice)

    def look(self, session: Session, image_size: str, *settings: Any) -> Updates:
        wanted, times = sampling(settings), _times(session)
        given = {"num_clips": wanted.num_clips, "num_frames": wanted.num_frames, "fps": wanted.fps}
        lanes = session.results["lanes"] = policy_lanes(times, policy=wanted.policy, seed=wanted.seed, **given)
        chosen = lane_name(wanted.policy, wanted.seed)
        counts = count(lanes[chosen], times, num_frames=wanted.num_frames, fps=wanted.fps, num_cells=_cells(self.shared, image_size))
        damaged = session.results.get("damaged", frozenset())
        return {
            self.timeline: timeline_html(lanes, times, chosen=chosen, damaged=damaged), self.counters: counts_html(counts),
            self.table: _table(clip_rows({chosen: lanes[chosen]}, times), chosen),
            self.chips: warnings_html(warnings(lanes[chosen], times, num_frames=wanted.num_frames, fps=wanted.fps, policy=wanted.policy)),
        }  # fmt: skip

    def other_video(self, session: Session, *values: Any) -> Updates:
        if session.video is None:
            return dict.fromkeys((self.timeline, self.counters, self.chips, self.table, self.card), "")
        return {self.card: "", **self.look(session, *values)}

    def answered(self, session: Session, *values: Any) -> Updates:
        """Clips that the answer had to leave out are hatched, in every lane."""
        asked = session.results.get("ask")
        damaged = undecodable(session.current_video(), asked.left_out()) if asked is not None and asked.left_out() else frozenset()
        if damaged == session.results.get("damaged", frozenset()):
            return {}
        session.results["damaged"] = damaged
        return self.look(session, *values)

    def open_clip(self, session: Session, event: Any) -> Updates:
        lane, n = event.index
        clip = _lanes(session)[lane][n]
        return {self.card: clip_card(session.current_video(), lane, n, clip), **self.shared.seek(clip.start)}


class _TrainView:
    """Random clips redrawn at each step, as training sees them, and where a thousand draws fall."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        with gr.Accordion("What training sees: random clips, drawn anew at each step", open=False, elem_id="train-view"):
            self.notice = gr.HTML(elem_id="train-notice")
            with gr.Row(equal_height=True):
                num_train = gr.Slider(
                    1, 16, 1, step=1, precision=0, label="Clips per step (N_train)", elem_id="num-train", scale=3,
                    info="The paper trains on one to a few random clips of each video; T and fps are those of the settings.",
                )  # fmt: skip
                play, stop = gr.Button("Play", elem_id="train-play", min_width=80), gr.Button("Stop", elem_id="train-stop", min_width=80)
            self.drawn = timeline_component("train-timeline")
            self.timer = gr.Timer(STEP_SECONDS, active=False)
            self.histogram = Picture(shared, "train-histogram", self.notice)
        self.wire(num_train, play, stop)

    def wire(self, num_train: gr.Slider, play: gr.Button, stop: gr.Button) -> None:
        on, inputs, steps, quiet = self.shared.on, [num_train, *self.shared.settings], [self.drawn, self.timer], {"show_progress": "hidden"}
        on(play.click, self.start, inputs, steps, notice=self.notice, **quiet)
        on(self.timer.tick, self.tick, inputs, steps, notice=self.notice, **quiet)
        on(stop.click, self.halt, outputs=[self.timer], notice=self.notice, **quiet)
        on([play.click, num_train.release], self.thousand, inputs, self.histogram.outputs, notice=self.notice, trigger_mode="always_last")
        on(self.drawn.select, self.open_clip, outputs=[self.shared.player], notice=self.notice)
        self.shared.when_video_changes(self.other_video, outputs=[*steps, *self.histogram.outputs], notice=self.notice)

    def step(self, session: Session, num_clips: int, *settings: Any) -> Updates:
        wanted, times = sampling(settings), _times(session)
        number = session.results["step"] = session.results.get("step", 0) + 1
        lanes = session.results["step lanes"] = {f"step {number}": _draw(times, wanted, num_clips, wanted.seed + number)}
        return {self.drawn: timeline_html(lanes, times, chosen=f"step {number}")}

    def start(self, session: Session, *values: Any) -> Updates:
        return {**self.step(session, *values), self.timer: gr.Timer(active=True)}

    def tick(self, session: Session, *values: Any) -> Updates:
        updates = self.step(session, *values)
        return updates if session.results["step"] % LAST_STEP else {**updates, **self.halt(session)}

    def halt(self, session: Session) -> Updates:
        return {self.timer: gr.Timer(active=False)}

    def thousand(self, session: Session, num_clips: int, *settings: Any) -> Updates:
        from clipbert.viz.figures import draw_positions, training_draws

        wanted, times = sampling(settings), _times(session)
        draws = training_draws(times, num_clips=num_clips, num_frames=wanted.num_frames, fps=wanted.fps, seed=wanted.seed)
        return self.histogram.show(session, draw_positions(draws))

    def other_video(self, session: Session) -> Updates:
        return {self.drawn: "", **self.halt(session), **self.histogram.clear()}

    def open_clip(self, session: Session, event: Any) -> Updates:
        lane, n = event.index
        return self.shared.seek(session.results["step lanes"][lane][n].start)


def _seed_variance(shared: Shared) -> None:
    """The same question over many random draws: how far a few clips suffice."""
    with gr.Accordion(f"Does the answer depend on the draw? {NUM_SEEDS} random draws of 1, 2 and 4 clips", open=False, elem_id="seed-variance"):
        notice = gr.HTML(elem_id="seeds-notice")
        with gr.Row(equal_height=True):
            question = gr.Textbox(label="Question", max_length=2000, scale=5, elem_id="seeds-question")
            run, stop = gr.Button("Run", variant="primary", elem_id="seeds", min_width=80), gr.Button("Stop", elem_id="seeds-stop", min_width=80)
        said = gr.HTML(elem_id="seeds-said")
        strip = Picture(shared, "seeds-strip", notice)
    shared.follows_question(question)

    def draws(session: Session, text: str, *settings: Any) -> Iterator[Updates]:
        from clipbert.viz.figures import SeedAnswer, seed_variance

        require_text(text, "question")
        session.stop.clear()
        wanted, predictor, answers = sampling(settings), shared.engine.predictor(), []
        policy = wanted.policy if wanted.policy in RANDOM_POLICIES else "random"
        for size in SEED_SIZES:
            for seed in range(wanted.seed, wanted.seed + NUM_SEEDS):
                video = predictor.encode(
                    session.current_video(), num_clips=size, num_frames=wanted.num_frames, fps=wanted.fps, policy=policy, seed=seed
                )  # fmt: skip
                prediction = predictor.answer(video, text, aggregation=wanted.aggregation)
                answers.append(SeedAnswer(size, seed, prediction.answer, float(prediction.scores.max())))
                if session.stop.is_set() or len(answers) % REDRAW_EVERY == 0:
                    chart = seed_variance(answers, model=predictor.model.name, policy=policy)
                    yield {said: _agreement(answers, NUM_SEEDS * len(SEED_SIZES)), **strip.show(session, chart)}
                if session.stop.is_set():
                    return

    def other_video(session: Session) -> Updates:
        return {said: "", **strip.clear()}

    shared.on(run.click, draws, [question, *shared.settings], [said, *strip.outputs], notice=notice, concurrency_id="model")
    shared.when_video_changes(other_video, outputs=[said, *strip.outputs], notice=notice)
    shared.stops(stop)


def _agreement(answers: Sequence[Any], planned: int) -> str:
    """How many draws of each size agree, beside what the paper claims."""
    lines = []
    for size in dict.fromkeys(answer.num_clips for answer in answers):
        given = [answer.answer for answer in answers if answer.num_clips == size]
        usual = max(dict.fromkeys(given), key=given.count)
        lines.append(f"<li>{size} clip{'s' * (size > 1)}: {given.count(usual)} of {len(given)} draws agree on <b>{html.escape(usual)}</b></li>")
    so_far = "" if len(answers) == planned else f" ({len(answers)} of {planned} draws so far)"
    return f"<p>The paper's claim is that a few clips suffice. Here{so_far}:</p><ul>{''.join(lines)}</ul>"


def _times(session: Session) -> "Timeline":
    """When the current video's frames are shown.  Raises VideoError."""
    from clipbert.source import source_of

    return source_of(session.current_video(), None).timeline()[0]


def undecodable(video: Path, clips: "Sequence[ClipTimes]") -> frozenset[int]:
    """Which source frames of the clips cannot be decoded.  Raises VideoError."""
    from clipbert.source import source_of

    with source_of(video, None).open() as opened:
        _, missing = opened.decode({int(i) for clip in clips for i in clip.frame_index})
    return frozenset(missing)


def _draw(timeline: "Timeline", wanted: SamplingConfig, num_clips: int, seed: int) -> "tuple[ClipTimes, ...]":
    import torch

    from clipbert.sampling import sample_clips

    generator = torch.Generator().manual_seed(seed)
    return sample_clips(timeline, num_clips=num_clips, num_frames=wanted.num_frames, fps=wanted.fps, policy="random", generator=generator)


def _cells(shared: Shared, image_size: str) -> int:
    """Image cells of a clip at a size, for the grid encoder of the model."""
    model = shared.engine.predictor().model
    if (num_patches := getattr(model, "num_patches", None)) is not None:  # another model than ClipBERT, whose size is its own
        return num_patches
    processor, config = getattr(model, "processor", None), getattr(getattr(model, "model", None), "config", None)
    size = int(getattr(processor, "image_size", 448)) if image_size == OWN_SIZE else int(image_size)
    return num_cells(size, getattr(config, "grid_encoder", "conv-pool"))


def _lanes(session: Session) -> "dict[str, tuple[ClipTimes, ...]]":
    if "lanes" not in session.results:
        raise ValueError("there is no timeline yet; choose a video first.")
    return session.results["lanes"]


def _table(rows: Sequence[dict[str, Any]], lane: str) -> str:
    from clipbert.viz.figures import to_table

    return to_table(rows, caption=f"Frames the model is fed, policy {lane}")


def _write_chart(session: Session, path: Path) -> None:
    from clipbert.viz.figures import sampling_timeline, save

    timeline = _times(session)
    save(sampling_timeline(_lanes(session), timeline), path)


def _write_rows(session: Session, path: Path) -> None:
    from clipbert.viz.figures import to_csv

    timeline = _times(session)
    path.write_text(to_csv(clip_rows(_lanes(session), timeline)), encoding="utf-8", newline="")


def _write_reel(session: Session, path: Path) -> None:
    """The clips of the chosen policy, whose lane is the first."""
    write_reel(session.current_video(), next(iter(_lanes(session).values())), path)
