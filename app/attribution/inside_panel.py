"""Below the clips: the frames of the clip that was clicked, then the cells of the frame that was clicked and the words of the question."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.attribution.cell_views import OVERLAY, cell_rows, overlay_html, waiting_overlay_html
from app.attribution.compare_panel import ComparePanel
from app.attribution.explained import CELLS, FRAMES, TOKENS, Explained, Look, Opened, explained, opened
from app.attribution.frame_views import CARD_PIXELS, CLICK_FRAME, LARGE_PIXELS, clip_images, frame_rows, frames_html
from app.attribution.heads_panel import HeadsPanel
from app.attribution.level import Level, heading_html
from app.attribution.method_names import about_html
from app.attribution.word_views import word_rows, words_html
from app.shared import Shared, Updates
from app.state import Session
from clipbert.viz.style import clock, time_range

if TYPE_CHECKING:
    from clipbert.predict import Predictor
    from clipbert.types import Attribution

ONE_MAP = "This method looks at all frames of the clip together: the map is one, drawn on each of them."


class InsidePanel:
    """`look` shows what a click asks for; `wire` says when."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared, self.notice = shared, notice
        with gr.Column(visible=False, elem_id="attribution-inside") as self.box:
            self.frames = Level(FRAMES, "frames", js=CLICK_FRAME)
            self.frames.files_and_table(shared, notice)
            with gr.Column(visible=False, elem_id="attribution-deep") as self.deep:
                self.cells = Level(CELLS, "cells", js=OVERLAY)
                self.cells.files_and_table(shared, notice)
                self.compare = ComparePanel(shared, notice)
                self.words = Level(TOKENS, "words")
                self.words.files_and_table(shared, notice)
                self.heads = HeadsPanel(shared, notice)
        self.levels = {level.level: level for level in (self.frames, self.cells, self.words)}
        self.outputs = [
            self.box,
            self.deep,
            *self.compare.picture.outputs,
            *self.heads.outputs,
            *(part for level in self.levels.values() for part in level.outputs),
        ]

    def wire(self, fresh: gr.State, tested_level: gr.Radio) -> None:
        """`fresh` changes when another clip or frame is opened or another score explained; `tested_level` follows what is open."""
        choosers = [chooser for level in self.levels.values() for chooser in level.choosers]
        changed = [chooser.input for chooser in choosers]
        self.fresh, self.tested_level = fresh, tested_level
        for level in self.levels.values():
            level.wire_settings(self.shared, self.notice)
        # one event for all, so that of many quick clicks the last is what remains
        self.shared.on(
            [fresh.change, *changed], self.look, choosers, [*self.outputs, tested_level], notice=self.notice,
            concurrency_id="model", show_progress="hidden", trigger_mode="always_last",
        )  # fmt: skip
        opens = [self.shared.player, fresh]
        self.shared.on(self.frames.view.click, self.open_frame, outputs=opens, notice=self.notice, show_progress="hidden")

    def open_frame(self, session: Session, event: Any) -> Updates:
        place = opened(session)
        if place.clip is None:
            return {}
        place.frame = int(event.frame)
        return self.shared.seek(float(explained(session).video.times[place.clip, place.frame])) | fired(self.fresh)

    def look(self, session: Session, *how: Any) -> Iterator[Updates]:
        """The open clip and frame, each level as soon as it is known."""
        shown, place = session.results.get("attribution"), opened(session)
        if shown is None or place.clip is None:
            yield self.cleared()
            return
        predictor = self.shared.engine.predictor()
        for updates in self._levels(predictor, shown, place, how):
            if session.results.get("attribution") is not shown:  # another video, or another question
                return
            yield updates

    def _levels(self, predictor: "Predictor", shown: Explained, place: Opened, how: tuple[Any, ...]) -> Iterator[Updates]:
        asked = {level: self.levels[level].look(place.clip, *how[3 * k : 3 * k + 3]) for k, level in enumerate(self.levels)}
        assert place.clip is not None
        if shown.video.times.shape[1] == 1:
            place.frame = 0
        yield from self._frames(predictor, shown, place, asked[FRAMES])
        if place.frame is None:
            return
        yield from self._cells(predictor, shown, place, asked[CELLS])
        yield from self._words(predictor, shown, place, asked[TOKENS])

    def _frames(self, predictor: "Predictor", shown: Explained, place: Opened, look: Look) -> Iterator[Updates]:
        level, clip = self.frames, place.clip
        assert clip is not None
        images, known = clip_images(predictor, shown, clip, CARD_PIXELS), shown.known_map(look)
        span = time_range(float(shown.clips[clip].start), float(shown.clips[clip].end))
        yield {
            self.box: gr.Column(visible=True), self.deep: gr.Column(visible=place.frame is not None),
            level.heading: heading_html(f"Frames of clip {clip + 1}, {span}"), level.view: frames_html(shown, clip, images, known, place.frame),
            **({level.lines: ""} if known is None else {}), **(self.heads.cleared() if place.frame is None else {}),
        }  # fmt: skip
        found = shown.map(predictor, look)
        place.looks[FRAMES] = look
        lines = level.lines_html(shown, look, found)
        yield {level.view: frames_html(shown, clip, images, found, place.frame), level.lines: lines,
               level.table: _table(frame_rows(shown, found), f"Frames of clip {clip + 1}, {span}"), self.tested_level: FRAMES}  # fmt: skip

    def _cells(self, predictor: "Predictor", shown: Explained, place: Opened, look: Look) -> Iterator[Updates]:
        level, clip, frame = self.cells, place.clip, place.frame
        assert clip is not None and frame is not None
        image = clip_images(predictor, shown, clip, LARGE_PIXELS)[frame]
        title = f"Where in frame {frame + 1} of clip {clip + 1}, {clock(float(shown.video.times[clip, frame]))}"
        if shown.known_map(look) is None:
            yield {level.heading: heading_html(title), level.view: waiting_overlay_html(image), level.lines: "", self.deep: gr.Column(visible=True)}
        found = shown.map(predictor, look)
        place.looks[CELLS] = look
        yield {
            self.deep: gr.Column(visible=True), **self.compare.cleared(), level.heading: heading_html(title),
            level.view: overlay_html(found, frame, image, _about(found)),
            level.lines: level.lines_html(shown, look, found), level.table: _table(cell_rows(found, frame), title), self.tested_level: CELLS,
        }  # fmt: skip

    def _words(self, predictor: "Predictor", shown: Explained, place: Opened, look: Look) -> Iterator[Updates]:
        level, clip = self.words, place.clip
        assert clip is not None
        title = f"Which words, for clip {clip + 1}"
        if shown.known_map(look) is None:
            yield {level.heading: heading_html(title), level.view: '<p class="state" role="status">computing the words …</p>', level.lines: ""}
        found = shown.map(predictor, look)
        place.looks[TOKENS] = look
        yield {
            level.heading: heading_html(title), level.view: words_html(found), level.lines: level.lines_html(shown, look, found),
            level.table: _table(word_rows(found), title),
        }  # fmt: skip

    def cleared(self) -> Updates:
        updates: Updates = {self.box: gr.Column(visible=False), self.deep: gr.Column(visible=False), **self.compare.cleared(), **self.heads.cleared()}
        for level in self.levels.values():
            updates |= level.cleared()
        return updates


def fired(state: gr.State) -> Updates:
    """The update that fires the state's `change`."""
    return {state: f"{time.time_ns()}"}


def _about(found: "Attribution") -> str:
    assert found.cells is not None
    one = f'<p class="soft">{ONE_MAP}</p>' if found.cells.ndim == 3 and found.times is not None and found.times.shape[1] > 1 else ""
    return about_html(found.method) + one


def _table(rows: list[dict[str, object]], title: str) -> str:
    from clipbert.viz.figures import to_table

    return to_table(rows, caption=title)
