"""The part of Retrieve that measures: captions with a known video, R@1/5/10, median rank, and every query's result."""

import csv
import functools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.gallery import gallery_of
from app.pictures import Picture, save_buttons
from app.preview import preview
from app.retrieval_views import gallery_html, indexing_html, metrics_html, why_html
from app.settings import sampling
from app.shared import Shared, Updates, notice_html
from app.slice_panel import SlicePanel
from app.state import Session

if TYPE_CHECKING:
    from torch import Tensor

    from app.ground_truth import Pairs

PLACES = ("its video", "the first")
EXPLAIN = """(caption) => {
  const kind = () => [...document.querySelectorAll("#attribution-kind input")].at(-1);
  let held = 0;
  const timer = setInterval(() => {  // the new video's own updates may still be under way: go on once the caption has stayed
    const box = document.querySelector("#attribution-text textarea, #attribution-text input");
    if (!box?.offsetParent) return;
    if (!kind().checked) kind().click();
    if (box.value === caption) held += 1;
    else {
      held = 0;
      box.value = caption;
      box.dispatchEvent(new Event("input", { bubbles: true }));
    }
    if (held < 3) return;
    clearInterval(timer);
    document.querySelector("#explain").click();
  }, 200);
}"""
COLUMNS = ("rank", "caption", "its video", "score (log-odds)", "ranked first", "its score")
ABOUT = (
    'With captions whose video is known, every caption is scored with every video of the gallery: `{"video": "a.mp4", "caption": "…"}`, '
    "a line each, or a published annotation file. R@k: the share of captions whose video is among the first k; equal scores count as in random order."
)


def measure_section(shared: Shared, num_clips: gr.Slider, gallery_view: gr.HTML) -> None:
    with gr.Accordion("Measure: how often is the first one right?", open=False, elem_id="retrieve-measure"):
        gr.Markdown(ABOUT, elem_classes="soft")
        with gr.Row(equal_height=False):
            file = gr.File(label="Captions (JSON lines, JSON, CSV)", file_types=[".jsonl", ".json", ".csv"], height=110, elem_id="retrieve-truth")
            with gr.Column(min_width=160):
                num_videos = gr.Slider(4, 60, 20, step=1, precision=0, label="Synthetic videos", elem_id="retrieve-synthetic-count")
                drawn = gr.Button("Measure on synthetic videos", size="sm", elem_id="retrieve-synthetic")
                stop = gr.Button("Stop", size="sm", variant="stop", elem_id="retrieve-measure-stop")
        state = gr.HTML(elem_id="retrieve-measure-state")
        notice = gr.HTML(elem_id="retrieve-measure-notice")
        measured = _Measured(shared, state, notice)

    def from_file(session: Session, path: str | None, clips: int, *settings: Any) -> Iterator[Updates]:
        from app.ground_truth import read_pairs

        if path is None:
            return
        session.uploads.add(Path(path))
        gallery = gallery_of(session)
        gallery.refresh(session, shared.examples)
        yield from measured.run(session, read_pairs(Path(path), gallery), clips, settings)

    def synthetic(session: Session, wanted: int, clips: int, *settings: Any) -> Iterator[Updates]:
        from app.ground_truth import synthetic_pairs

        gallery = gallery_of(session)
        yield {state: '<p class="state" role="status">drawing videos</p>'}
        names, pairs = synthetic_pairs(shared.examples.folder / "synthetic", wanted)
        gallery.own |= names
        gallery.refresh(session, shared.examples)
        yield {gallery_view: gallery_html(gallery)}
        yield from measured.run(session, pairs, clips, settings)

    run = [num_clips, *shared.settings]
    shared.on(file.upload, from_file, [file, *run], measured.outputs, notice=notice, concurrency_id="model")
    shared.on(drawn.click, synthetic, [num_videos, *run], [*measured.outputs, gallery_view], notice=notice, concurrency_id="model")
    shared.stops(stop)


class _Measured:
    """Recall, the histogram of ranks, and every caption's own result; a click on one opens why."""

    def __init__(self, shared: Shared, state: gr.HTML, notice: gr.HTML) -> None:
        self.shared, self.state = shared, state
        self.table = gr.HTML(elem_id="retrieve-metrics")
        self.slices = SlicePanel(shared, notice)
        self.picture = Picture(shared, "retrieve-ranks", notice)
        self.queries = gr.Dataframe(
            headers=list(COLUMNS), interactive=False, visible=False, wrap=True, max_height=400, elem_id="retrieve-queries",
            label="Every caption: click a header to sort, a row to see why its video stands there",
        )  # fmt: skip
        self.why = _Why(shared, notice)
        with gr.Column(visible=False) as self.saving:
            save_buttons(shared, "retrieve-measured", notice, {"csv": _write_csv, "json": _write_json})
        self.outputs = [state, self.table, *self.slices.outputs, self.queries, self.saving, *self.why.outputs, *self.picture.outputs]
        shared.on(self.queries.select, self.why.show, outputs=self.why.outputs, notice=notice, concurrency_id="model")

    def run(self, session: Session, pairs: "Pairs", clips: int, settings: tuple[Any, ...]) -> Iterator[Updates]:
        from app.ground_truth import score_all

        session.stop.clear()
        gallery, predictor, chosen = gallery_of(session), self.shared.engine.predictor(), sampling(settings)
        for progress in gallery.index_all(predictor, clips, chosen):
            yield {self.state: indexing_html(progress, stopped=session.stop.is_set())}
            if session.stop.is_set():
                return
        assert gallery.index is not None
        total = len(gallery.index)
        for done, scores in score_all(gallery, predictor, pairs, chosen.aggregation):
            told = f"{len(pairs.captions)} captions with {done}/{total} videos"
            if session.stop.is_set() and done < total:
                yield {self.state: f'<p class="state" role="status"><b class="partial">Stopped</b> after {told}; no numbers without all of them</p>'}
                return
            yield {self.state: f'<p class="state" role="status"><progress value="{done}" max="{total}"></progress> {told}</p>'}
            if done == total:
                yield self.show(session, pairs, scores)

    def show(self, session: Session, pairs: "Pairs", scores: "Tensor") -> Updates:
        from app.ground_truth import judged
        from app.slices import measured_table
        from clipbert.viz.figures import rank_histogram

        gallery = gallery_of(session)
        assert gallery.index is not None
        metrics, rows = judged(gallery, pairs, scores)
        model, total = gallery.index.model["name"], len(gallery.index)
        session.kept["measured"] = {"model": model, "videos": total, "settings": gallery.index.settings, "metrics": metrics, "queries": rows}
        session.kept["pairs"] = pairs
        left = notice_html(f"{pairs.left_out} captions name videos that are not in the gallery; they are not counted.", "note")
        values = [[row.rank, row.caption, row.video, round(row.score, 3), row.first, round(row.first_score, 3)] for row in rows]
        chart = rank_histogram([row.rank for row in rows], num_videos=total, model=model)
        return {
            self.state: left if pairs.left_out else "", self.table: metrics_html(metrics, len(rows), total, model),
            **self.slices.show(session, measured_table(gallery, pairs, scores)), **self.picture.show(session, chart),
            self.saving: gr.Column(visible=True), self.queries: gr.Dataframe(value=values, visible=True), **self.why.clear(),
        }  # fmt: skip


class _Why:
    """One caption's own video beside the one that stands first, clip by clip on the same scale."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared = shared
        with gr.Column(visible=False, elem_id="retrieve-why") as self.box:
            self.view = gr.HTML(elem_id="retrieve-why-view")
            with gr.Row():
                buttons = [gr.Button(f"Explain {which} in Attribution", size="sm", elem_id=f"retrieve-explain-{n}") for n, which in enumerate(PLACES)]
        self.caption = gr.Textbox(visible="hidden", elem_id="retrieve-why-caption")
        self.outputs = [self.box, self.view, self.caption]
        for place, button in enumerate(buttons):
            opened = shared.on(
                button.click, functools.partial(self.explain, place=place), outputs=[shared.player, shared.video_changed, shared.tabs], notice=notice
            )
            opened.then(fn=None, js=EXPLAIN, inputs=[self.caption], api_visibility="private")

    def show(self, session: Session, event: Any) -> Updates:
        values = event.row_value
        query = next(row for row in session.kept["measured"]["queries"] if (row.caption, row.video) == (values[COLUMNS.index("caption")], values[2]))
        gallery, pairs = gallery_of(session), session.kept["pairs"]
        assert gallery.index is not None
        hits = [gallery.index.hit(path, query.caption) for path in (query.video_path, query.first_path)]
        session.kept["why"] = query
        return {self.box: gr.Column(visible=True), self.view: why_html(query, hits, pairs.captions_of(query.first_path)), self.caption: query.caption}

    def explain(self, session: Session, *, place: int) -> Updates:
        """Its video, or the first one, with the caption in the Attribution tab."""
        query = session.kept["why"]
        path = Path((query.video_path, query.first_path)[place])
        return chosen_video(self.shared, session, path) | {self.shared.tabs: gr.Tabs(selected="attribution")}

    def clear(self) -> Updates:
        return {self.box: gr.Column(visible=False)}


def chosen_video(shared: Shared, session: Session, path: Path) -> Updates:
    """The updates that make a video of the gallery the current one."""
    session.choose(path, gallery_of(session).named(str(path)))
    return {shared.player: str(preview(path, shared.sessions.uploads / "previews")), shared.video_changed: f"{time.time_ns()}"}


def _write_json(session: Session, path: Path) -> None:
    measured = session.kept["measured"]
    path.write_text(json.dumps(measured | {"queries": [row.shown() for row in measured["queries"]]}, ensure_ascii=False, indent=1), encoding="utf-8")


def _write_csv(session: Session, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((row.rank, row.caption, row.video, row.score, row.first, row.first_score) for row in session.kept["measured"]["queries"])
