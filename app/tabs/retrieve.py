"""Retrieve: which video of a gallery fits a text, which text fits a video, and how often that is right."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.gallery import Gallery, gallery_of
from app.pictures import Picture, save_buttons
from app.preview import preview
from app.retrieval_views import CLICK_HIT, COST, captions_html, gallery_html, indexing_html, ranking_html
from app.settings import sampling
from app.shared import Shared, Updates
from app.state import Session
from app.tabs.retrieve_measure import measure_section
from clipbert.results import search_result
from clipbert.tasks import require_text
from clipbert.viz.figures import Ranked, retrieval_ranking

if TYPE_CHECKING:
    from clipbert.config import SamplingConfig
    from clipbert.retrieval import Ranking

TITLE, PLACE = "Retrieve", 5
SENTENCE, PARAGRAPH, CAPTIONS = "Find a video by a sentence", "… by a paragraph", "Find the caption of the current video"
SHOWN, EVERY_SECONDS = 12, 0.3
HINTS = {
    SENTENCE: ("Query", "a cat looks at the camera", 1),
    PARAGRAPH: ("Query: its sentences are joined, as for ActivityNet and DiDeMo", "a man gets on a bicycle\nhe rides down the street", 4),
    CAPTIONS: ("Captions, one a line", "a cat\na man riding a bicycle\nchildren on a beach", 4),
}


def build(shared: Shared) -> None:
    gr.Markdown(COST, elem_classes="soft")
    gallery_view = gr.HTML(elem_id="retrieve-gallery")
    with gr.Row():
        add = gr.UploadButton("Add videos", file_count="multiple", file_types=None, size="sm", min_width=110, elem_id="retrieve-add")
        index = gr.Button("Index", size="sm", min_width=90, elem_id="retrieve-index")
        stop = gr.Button("Stop", size="sm", variant="stop", min_width=90, elem_id="retrieve-stop")
    with gr.Accordion("Settings of the search", open=False):
        num_clips = gr.Slider(
            1, 16, 4, step=1, precision=0, label="Clips per video (N_test)", info="Other settings are those of the left column.",
            elem_id="retrieve-clips",
        )  # fmt: skip
        refine = gr.Slider(
            1, 100, 20, step=1, precision=0, label="Videos to refine", elem_id="retrieve-refine",
            info="All are read with one clip first; so many of the best are then read with all of theirs.",
        )  # fmt: skip
    state = gr.HTML(elem_id="retrieve-state")
    notice = gr.HTML(elem_id="retrieve-notice")
    mode = gr.Radio([SENTENCE, PARAGRAPH, CAPTIONS], value=SENTENCE, label="What to find", elem_id="retrieve-mode")
    with gr.Row(equal_height=False):
        query = gr.Textbox(label=HINTS[SENTENCE][0], placeholder=HINTS[SENTENCE][1], max_length=5000, scale=5, elem_id="retrieve-query")
        search = gr.Button("Search", variant="primary", scale=1, min_width=90, elem_id="retrieve-search")
    player = gr.Video(label="From the best clip", visible=False, height=300, interactive=False, buttons=[], elem_id="retrieve-player")
    use = gr.Button("Use this video in the other tabs", size="sm", visible=False, elem_id="retrieve-use")
    hits = gr.HTML(elem_id="retrieve-hits", js_on_load=CLICK_HIT)
    picture = Picture(shared, "retrieve-ranking", notice)
    with gr.Column(visible=False) as saving:
        save_buttons(shared, "retrieve", notice, {"json": _write_json})

    def list_videos(session: Session) -> Updates:
        gallery = gallery_of(session)
        gallery.refresh(session, shared.examples)
        return {gallery_view: gallery_html(gallery)}

    def add_videos(session: Session, paths: list[str]) -> Updates:
        gallery = gallery_of(session)
        session.uploads |= {Path(path) for path in paths}
        gallery.add([Path(path) for path in paths])
        return list_videos(session)

    def indexed(session: Session, clips: int, settings: "SamplingConfig") -> Iterator[Updates]:
        gallery = gallery_of(session)
        gallery.refresh(session, shared.examples)
        for progress in gallery.index_all(shared.engine.predictor(), clips, settings):
            stopped = session.stop.is_set()
            yield {state: indexing_html(progress, stopped=stopped)}
            if stopped:
                return
        assert gallery.index is not None
        if gallery.index.report.unreadable:
            named = "; ".join(f"{gallery.named(path)}: {why}" for path, why in gallery.index.report.unreadable.items())
            raise ValueError(f"{len(gallery.index.report.unreadable)} of {len(gallery.names)} videos could not be indexed: {named}")

    def make_index(session: Session, clips: int, *settings: Any) -> Iterator[Updates]:
        session.stop.clear()
        yield from indexed(session, clips, sampling(settings))

    def find(session: Session, how: str, text: str, clips: int, wanted: int, *settings: Any) -> Iterator[Updates]:
        session.stop.clear()
        chosen = sampling(settings)
        if how == CAPTIONS:
            yield captions(session, text, clips, chosen)
            return
        text = require_text(" ".join(text.split()), "query")
        yield from indexed(session, clips, chosen)
        if not session.stop.is_set():
            yield from ranked(session, text, wanted, chosen)

    def ranked(session: Session, text: str, wanted: int, chosen: "SamplingConfig") -> Iterator[Updates]:
        gallery = gallery_of(session)
        assert gallery.index is not None
        if not len(gallery.index):
            raise ValueError("the gallery holds no video; add some.")
        model, start, shown, ranking = gallery.index.model["name"], time.perf_counter(), 0.0, None
        yield {state: f'<p class="state">{estimate(session, gallery, wanted)}</p>', picture.box: gr.Column(visible=False)}
        for ranking in gallery.index.search_stream(text, top_k=SHOWN, refine=wanted, aggregation=chosen.aggregation):
            now, stopped = time.perf_counter(), session.stop.is_set()
            session.kept["hits"] = ranking.hits
            last = stopped or (ranking.stage == "all clips" and ranking.done == ranking.total)
            if last or now - shown > EVERY_SECONDS:
                shown = now
                yield {hits: ranking_html(ranking, gallery, text, model, seconds=now - start, stopped=stopped)}
            if stopped:
                break
        else:
            session.kept["seconds per pass"] = (time.perf_counter() - start) / passes(gallery, wanted)
        assert ranking is not None
        yield finished(session, gallery, text, ranking)

    def finished(session: Session, gallery: Gallery, text: str, ranking: "Ranking") -> Updates:
        assert gallery.index is not None
        result = search_result(gallery.index, text, ranking.hits, {str(path): name for path, name in gallery.names.items()})
        session.kept["retrieve"] = result | {"partial": ranking.partial}
        chart = retrieval_ranking(
            [Ranked(gallery.named(hit.path), hit.score, hit.start, hit.end) for hit in ranking.hits], text, model=gallery.index.model["name"]
        )
        notices = f"<p class=soft>{'; '.join(result['notices'])}</p>" if result["notices"] else ""
        return {state: notices, saving: gr.Column(visible=True), **picture.show(session, chart)}

    def captions(session: Session, text: str, clips: int, chosen: "SamplingConfig") -> Updates:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        require_text("".join(lines), "caption")
        video, predictor = session.current_video(), shared.engine.predictor()
        encoded = predictor.encode(video, num_clips=clips, num_frames=chosen.num_frames, fps=chosen.fps, policy=chosen.policy, seed=chosen.seed)
        scores = predictor.match(encoded, lines, aggregation=chosen.aggregation).tolist()
        best = sorted(zip(lines, scores, strict=True), key=lambda pair: -pair[1])
        session.kept["hits"] = ()
        session.kept["retrieve"] = {
            "video": session.name, "model": predictor.model.name, "captions": [{"text": line, "score": score} for line, score in best]
        }  # fmt: skip
        return {hits: captions_html(best, session.name, predictor.model.name), saving: gr.Column(visible=True), state: "", **picture.clear()}

    def play(session: Session, event: Any) -> Updates:
        hit = session.kept["hits"][event.hit]
        playable = preview(Path(hit.path), shared.sessions.uploads / "previews")
        if playable is None:
            raise ValueError(f"your browser cannot play {gallery_of(session).named(hit.path)}; its best clip starts at {hit.start:.1f} s.")
        session.kept["playing"] = Path(hit.path)
        label = f"{gallery_of(session).named(hit.path)} from {hit.start:.1f} s"
        shown = gr.Video(value=str(playable), playback_position=hit.start, visible=True, label=label, autoplay=True)
        return {player: shown, use: gr.Button(visible=True)}

    def use_video(session: Session) -> Updates:
        path = session.kept["playing"]
        session.choose(path, gallery_of(session).named(str(path)))
        return {shared.player: str(preview(path, shared.sessions.uploads / "previews")), shared.video_changed: f"{time.time_ns()}"}

    def other_mode(how: str) -> Any:
        label, hint, lines = HINTS[how]
        return gr.Textbox(label=label, placeholder=hint, lines=lines)

    outputs = [state, hits, saving, *picture.outputs]
    asked = [mode, query, num_clips, refine, *shared.settings]
    shared.on(shared.video_changed.change, list_videos, outputs=[gallery_view], notice=notice, show_progress="hidden")
    shared.on(add.upload, add_videos, [add], [gallery_view], notice=notice)
    shared.on(index.click, make_index, [num_clips, *shared.settings], [state], notice=notice, concurrency_id="model")
    shared.on([search.click, query.submit], find, asked, outputs, notice=notice, concurrency_id="model")
    shared.on(hits.click, play, outputs=[player, use], notice=notice)
    shared.on(use.click, use_video, outputs=[shared.player, shared.video_changed], notice=notice)
    mode.change(other_mode, mode, query, api_visibility="private", show_progress="hidden")
    shared.stops(stop)
    measure_section(shared, num_clips, gallery_view)


def passes(gallery: Gallery, refine: int) -> int:
    """Clips that a search reads with the query: one of every video, then all of the best `refine`."""
    assert gallery.index is not None
    videos = len(gallery.index)
    return videos + min(refine, videos) * int(gallery.index.settings["num_clips"])


def estimate(session: Session, gallery: Gallery, refine: int) -> str:
    """What the search will read, and how long that takes by the last one's speed."""
    known = session.kept.get("seconds per pass")
    told = f"; est. {known * passes(gallery, refine):.1f} s" if known else ""
    return f"reading the query with {passes(gallery, refine)} clips{told}"


def _write_json(session: Session, path: Path) -> None:
    path.write_text(json.dumps(session.kept["retrieve"], ensure_ascii=False, indent=1), encoding="utf-8")
