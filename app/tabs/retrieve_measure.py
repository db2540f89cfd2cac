"""The part of Retrieve that measures: captions with a known video, R@1/5/10, median rank, and every query's result."""

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from app.gallery import gallery_of
from app.ground_truth import Pairs, Query, judged, read_pairs, score_all, synthetic_pairs
from app.pictures import Picture, save_buttons
from app.retrieval_views import gallery_html, indexing_html, metrics_html
from app.settings import sampling
from app.shared import Shared, Updates, notice_html
from app.state import Session
from clipbert.viz.figures import rank_histogram

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
        table = gr.HTML(elem_id="retrieve-metrics")
        picture = Picture(shared, "retrieve-ranks", notice)
        queries = gr.Dataframe(
            headers=list(COLUMNS), interactive=False, visible=False, wrap=True, label="Every caption (click a header to sort)", max_height=400,
            elem_id="retrieve-queries",
        )  # fmt: skip
        with gr.Column(visible=False) as saving:
            save_buttons(shared, "retrieve-measured", notice, {"csv": _write_csv, "json": _write_json})

    def from_file(session: Session, path: str | None, clips: int, *settings: Any) -> Iterator[Updates]:
        if path is None:
            return
        session.uploads.add(Path(path))
        gallery = gallery_of(session)
        gallery.refresh(session, shared.examples)
        yield from measured(session, read_pairs(Path(path), gallery), clips, settings)

    def synthetic(session: Session, wanted: int, clips: int, *settings: Any) -> Iterator[Updates]:
        gallery = gallery_of(session)
        yield {state: '<p class="state" role="status">drawing videos</p>'}
        names, pairs = synthetic_pairs(shared.examples.folder / "synthetic", wanted)
        gallery.own |= names
        gallery.refresh(session, shared.examples)
        yield {gallery_view: gallery_html(gallery)}
        yield from measured(session, pairs, clips, settings)

    def measured(session: Session, pairs: Pairs, clips: int, settings: tuple[Any, ...]) -> Iterator[Updates]:
        session.stop.clear()
        gallery, predictor, chosen = gallery_of(session), shared.engine.predictor(), sampling(settings)
        for progress in gallery.index_all(predictor, clips, chosen):
            yield {state: indexing_html(progress, stopped=session.stop.is_set())}
            if session.stop.is_set():
                return
        assert gallery.index is not None
        total = len(gallery.index)
        for done, scores in score_all(gallery, predictor, pairs, chosen.aggregation):
            told = f"{len(pairs.captions)} captions with {done}/{total} videos"
            if session.stop.is_set() and done < total:
                yield {state: f'<p class="state" role="status"><b class="partial">Stopped</b> after {told}; no numbers without all of them</p>'}
                return
            yield {state: f'<p class="state" role="status"><progress value="{done}" max="{total}"></progress> {told}</p>'}
            if done == total:
                yield show(session, pairs, *judged(gallery, pairs, scores))

    def show(session: Session, pairs: Pairs, metrics: dict[str, float], rows: list[Query]) -> Updates:
        gallery = gallery_of(session)
        assert gallery.index is not None
        model, total = gallery.index.model["name"], len(gallery.index)
        session.kept["measured"] = {"model": model, "videos": total, "settings": gallery.index.settings, "metrics": metrics, "queries": rows}
        left = notice_html(f"{pairs.left_out} captions name videos that are not in the gallery; they are not counted.", "note")
        values = [[row.rank, row.caption, row.video, round(row.score, 3), row.first, round(row.first_score, 3)] for row in rows]
        chart = rank_histogram([row.rank for row in rows], num_videos=total, model=model)
        return {
            state: left if pairs.left_out else "", table: metrics_html(metrics, len(rows), total, model), saving: gr.Column(visible=True),
            queries: gr.Dataframe(value=values, visible=True), **picture.show(session, chart),
        }  # fmt: skip

    outputs = [state, table, queries, saving, *picture.outputs]
    run = [num_clips, *shared.settings]
    shared.on(file.upload, from_file, [file, *run], outputs, notice=notice, concurrency_id="model")
    shared.on(drawn.click, synthetic, [num_videos, *run], [*outputs, gallery_view], notice=notice, concurrency_id="model")
    shared.stops(stop)


def _write_json(session: Session, path: Path) -> None:
    measured = session.kept["measured"]
    path.write_text(json.dumps(measured | {"queries": [asdict(row) for row in measured["queries"]]}, ensure_ascii=False, indent=1), encoding="utf-8")


def _write_csv(session: Session, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(asdict(row).values() for row in session.kept["measured"]["queries"])
