"""Retrieve: which video of a gallery fits a text, which text fits a video, and how often that is right."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.asking import one_a_line
from app.gallery import Gallery, gallery_of
from app.pictures import Picture, save_buttons
from app.preview import preview
from app.retrieval_views import CLICK_HIT, captions_html, cost_html, gallery_html, indexing_html, ranking_html
from app.settings import sampling
from app.shared import Shared, Updates
from app.state import Session
from app.tabs.retrieve_measure import chosen_video, measure_section
from clipbert.checks import require_text
from clipbert.results import search_result

if TYPE_CHECKING:
    from clipbert.retrieval import Ranking
    from clipbert.sampling_config import SamplingConfig

TITLE, PLACE = "Retrieve", 5
SENTENCE, PARAGRAPH, CAPTIONS = "Find a video by a sentence", "… by a paragraph", "Find the caption of the current video"
SHOWN, EVERY_SECONDS = 12, 0.3
HINTS = {
    SENTENCE: ("Query", "a cat looks at the camera", 1),
    PARAGRAPH: ("Query: its sentences are joined, as for ActivityNet and DiDeMo", "a man gets on a bicycle\nhe rides down the street", 4),
    CAPTIONS: ("Captions, one a line", "a cat\na man riding a bicycle\nchildren on a beach", 4),
}


def build(shared: Shared) -> None:
    notice = gr.HTML(elem_id="retrieve-notice", render=False)
    videos = _Videos(shared, notice)
    notice.render()
    mode = gr.Radio([SENTENCE, PARAGRAPH, CAPTIONS], value=SENTENCE, label="What to find", elem_id="retrieve-mode")
    with gr.Row(equal_height=False):
        query = gr.Textbox(label=HINTS[SENTENCE][0], placeholder=HINTS[SENTENCE][1], max_length=5000, scale=5, elem_id="retrieve-query")
        search = gr.Button("Search", variant="primary", scale=1, min_width=90, elem_id="retrieve-search")
    playing = _Playing(shared, notice)
    results = _Results(shared, videos, notice)

    def other_mode(how: str) -> Any:
        label, hint, lines = HINTS[how]
        return gr.Textbox(label=label, placeholder=hint, lines=lines)

    asked = [mode, query, videos.num_clips, videos.refine, *shared.settings]
    shared.on([search.click, query.submit], results.find, asked, results.outputs, notice=notice, concurrency_id="model")
    shared.on(results.hits.click, playing.play, outputs=playing.outputs, notice=notice)
    mode.change(other_mode, mode, query, api_visibility="private", show_progress="hidden")
    measure_section(shared, videos.num_clips, videos.view)


class _Videos:
    """The gallery's cards, what a search of it costs, and the buttons that add and index videos."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared = shared
        self.cost, self.view = gr.HTML(elem_id="retrieve-cost"), gr.HTML(elem_id="retrieve-gallery")
        with gr.Row():
            add = gr.UploadButton("Add videos", file_count="multiple", file_types=None, size="sm", min_width=110, elem_id="retrieve-add")
            index = gr.Button("Index", size="sm", min_width=90, elem_id="retrieve-index")
            stop = gr.Button("Stop", size="sm", variant="stop", min_width=90, elem_id="retrieve-stop")
        with gr.Accordion("Settings of the search", open=False):
            self.num_clips = gr.Slider(
                1, 16, 4, step=1, precision=0, label="Clips per video (N_test)", info="Other settings are those of the left column.",
                elem_id="retrieve-clips",
            )  # fmt: skip
            self.refine = gr.Slider(
                1, 100, 20, step=1, precision=0, label="Videos to refine", elem_id="retrieve-refine",
                info="All are read with one clip first; so many of the best are then read with all of theirs.",
            )  # fmt: skip
        self.state = gr.HTML(elem_id="retrieve-state")
        changed = shared.video_changed.change
        shared.on(changed, self.list_videos, outputs=[self.view], notice=notice, show_progress="hidden")
        shared.on(changed, self.tell_cost, outputs=[self.cost], notice=notice, show_progress="hidden")
        shared.on(add.upload, self.add_videos, [add], [self.view], notice=notice)
        shared.on(index.click, self.make_index, [self.num_clips, *shared.settings], [self.state], notice=notice, concurrency_id="model")
        shared.stops(stop)

    def list_videos(self, session: Session) -> Updates:
        gallery = gallery_of(session)
        gallery.refresh(session, self.shared.examples)
        return {self.view: gallery_html(gallery)}

    def tell_cost(self, session: Session) -> Updates:
        return {self.cost: cost_html(self.shared.engine.predictor())}

    def add_videos(self, session: Session, paths: list[str]) -> Updates:
        session.uploads |= {Path(path) for path in paths}
        gallery_of(session).add([Path(path) for path in paths])
        return self.list_videos(session)

    def make_index(self, session: Session, clips: int, *settings: Any) -> Iterator[Updates]:
        session.stop.clear()
        yield from self.indexed(session, clips, sampling(settings))

    def indexed(self, session: Session, clips: int, settings: "SamplingConfig") -> Iterator[Updates]:
        """Index what is missing, telling how far it is.  Raises ValueError where a video could not be."""
        gallery = gallery_of(session)
        gallery.refresh(session, self.shared.examples)
        for progress in gallery.index_all(self.shared.engine.predictor(), clips, settings):
            stopped = session.stop.is_set()
            yield {self.state: indexing_html(progress, stopped=stopped)}
            if stopped:
                return
        assert gallery.index is not None
        if gallery.index.report.unreadable:
            named = "; ".join(f"{gallery.named(path)}: {why}" for path, why in gallery.index.report.unreadable.items())
            raise ValueError(f"{len(gallery.index.report.unreadable)} of {len(gallery.names)} videos could not be indexed: {named}")


class _Results:
    """The ranking for a query as it grows: videos for a text, or captions for the current video."""

    def __init__(self, shared: Shared, videos: _Videos, notice: gr.HTML) -> None:
        self.shared, self.videos, self.state = shared, videos, videos.state
        self.hits = gr.HTML(elem_id="retrieve-hits", js_on_load=CLICK_HIT)
        self.picture = Picture(shared, "retrieve-ranking", notice)
        with gr.Column(visible=False) as self.saving:
            save_buttons(shared, "retrieve", notice, {"json": _write_json})
        self.outputs = [self.state, self.hits, self.saving, *self.picture.outputs]

    def find(self, session: Session, how: str, text: str, clips: int, wanted: int, *settings: Any) -> Iterator[Updates]:
        session.stop.clear()
        chosen = sampling(settings)
        if how == CAPTIONS:
            yield self.captions(session, text, clips, chosen)
            return
        text = require_text(" ".join(text.split()), "query")
        yield from self.videos.indexed(session, clips, chosen)
        if not session.stop.is_set():
            yield from self.ranked(session, text, wanted, chosen)

    def ranked(self, session: Session, text: str, wanted: int, chosen: "SamplingConfig") -> Iterator[Updates]:
        gallery = gallery_of(session)
        assert gallery.index is not None
        if not len(gallery.index):
            raise ValueError("the gallery holds no video; add some.")
        model, start, shown, ranking = gallery.index.model["name"], time.perf_counter(), 0.0, None
        yield {self.state: f'<p class="state">{estimate(session, gallery, wanted)}</p>', self.picture.box: gr.Column(visible=False)}
        for ranking in gallery.index.search_stream(text, top_k=SHOWN, refine=wanted, aggregation=chosen.aggregation):
            now, stopped = time.perf_counter(), session.stop.is_set()
            session.kept["hits"] = ranking.hits
            last = stopped or (ranking.stage == "all clips" and ranking.done == ranking.total)
            if last or now - shown > EVERY_SECONDS:
                shown = now
                yield {self.hits: ranking_html(ranking, gallery, text, model, seconds=now - start, stopped=stopped)}
            if stopped:
                break
        else:
            session.kept["seconds per pass"] = (time.perf_counter() - start) / passes(gallery, wanted)
        assert ranking is not None
        yield self.finished(session, gallery, text, ranking)

    def finished(self, session: Session, gallery: Gallery, text: str, ranking: "Ranking") -> Updates:
        from clipbert.viz.figures import Ranked, retrieval_ranking

        assert gallery.index is not None
        result = search_result(gallery.index, text, ranking.hits, {str(path): name for path, name in gallery.names.items()})
        session.kept["retrieve"] = result | {"partial": ranking.partial}
        chart = retrieval_ranking(
            [Ranked(gallery.named(hit.path), hit.score, hit.start, hit.end) for hit in ranking.hits], text, model=gallery.index.model["name"]
        )
        notices = f"<p class=soft>{'; '.join(result['notices'])}</p>" if result["notices"] else ""
        return {self.state: notices, self.saving: gr.Column(visible=True), **self.picture.show(session, chart)}

    def captions(self, session: Session, text: str, clips: int, chosen: "SamplingConfig") -> Updates:
        lines = one_a_line(text)
        require_text("".join(lines), "caption")
        video, predictor = session.current_video(), self.shared.engine.predictor()
        encoded = predictor.encode(video, num_clips=clips, num_frames=chosen.num_frames, fps=chosen.fps, policy=chosen.policy, seed=chosen.seed)
        scores = predictor.match(encoded, lines, aggregation=chosen.aggregation).tolist()
        best = sorted(zip(lines, scores, strict=True), key=lambda pair: -pair[1])
        session.kept["hits"] = ()
        session.kept["retrieve"] = {
            "video": session.name, "model": predictor.model.name, "captions": [{"text": line, "score": score} for line, score in best]
        }  # fmt: skip
        ranked = captions_html(best, session.name, predictor.model.name)
        return {self.hits: ranked, self.saving: gr.Column(visible=True), self.state: "", **self.picture.clear()}


class _Playing:
    """The hit that was clicked, from its best clip, and the button that takes it to the other tabs."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared = shared
        self.player = gr.Video(label="From the best clip", visible=False, height=300, interactive=False, buttons=[], elem_id="retrieve-player")
        self.use = gr.Button("Use this video in the other tabs", size="sm", visible=False, elem_id="retrieve-use")
        self.outputs = [self.player, self.use]
        shared.on(self.use.click, self.use_video, outputs=[shared.player, shared.video_changed], notice=notice)

    def play(self, session: Session, event: Any) -> Updates:
        hit = session.kept["hits"][event.hit]
        playable = preview(Path(hit.path), self.shared.sessions.uploads / "previews")
        if playable is None:
            raise ValueError(f"your browser cannot play {gallery_of(session).named(hit.path)}; its best clip starts at {hit.start:.1f} s.")
        session.kept["playing"] = Path(hit.path)
        label = f"{gallery_of(session).named(hit.path)} from {hit.start:.1f} s"
        shown = gr.Video(value=str(playable), playback_position=hit.start, visible=True, label=label, autoplay=True)
        return {self.player: shown, self.use: gr.Button(visible=True)}

    def use_video(self, session: Session) -> Updates:
        return chosen_video(self.shared, session, session.kept["playing"])


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
