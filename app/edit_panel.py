"""What if?  A pinned answer beside the answer to an edited video: clips left out, another order, pixels, time or video."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.asking import ask_footage
from app.clip_bars import CLICK_CLIP
from app.editing import MEAN_FUSION, ORDER_FREE, Version, asked_again, followed, history_html, pinned, versus_html
from app.gallery import gallery_of
from app.pictures import Picture
from app.shared import Shared, Updates, notice_html
from app.state import Session
from app.views import cards_to_drop_html

if TYPE_CHECKING:
    from clipbert.edits import Footage

Edit = Callable[["Footage"], "Footage"]
ABOUT = (
    '<p class="soft">Pin an answer, change one thing, and see what becomes of it. To change the words or the settings, ask again while the answer is '
    "pinned.</p>"
)


def edit_panel(shared: Shared) -> None:
    """Build it below the answer; `session.results["versions"]` are its steps."""
    with gr.Accordion("What if? Pin this answer, then change one thing", open=False, elem_id="whatif"):
        _EditPanel(shared)


class _Controls:
    """The buttons of the edits, shown while an answer is pinned."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="save"):
            self.mirror, self.grey = _button("Mirror", "edit-mirror"), _button("Grey", "edit-grey")
            self.reverse, self.shuffle = _button("Reverse the clips", "edit-reverse"), _button("Shuffle frames in clips", "edit-shuffle")
        with gr.Row(elem_classes="edit-row"):
            self.start, self.end = _seconds("From (s)", "edit-start"), _seconds("to (s)", "edit-end")
            self.trim = _button("Trim", "edit-trim")
        with gr.Row(elem_classes="edit-row"):
            self.at = _seconds("Frame at (s)", "edit-at")
            self.freeze = _button("Freeze on it", "edit-freeze")
        with gr.Row(elem_classes="edit-row"):
            self.other = gr.Dropdown([], label="Another video", scale=3, min_width=200, elem_id="edit-other")
            self.swap = _button("Swap it in", "edit-swap")
            self.upload = gr.UploadButton("Swap in a file", size="sm", min_width=120, scale=1, elem_id="edit-upload")
        self.values = [self.start, self.end, self.at, self.other]

    def filled(self, duration: float, videos: Sequence[str]) -> Updates:
        others = gr.Dropdown(choices=list(videos), value=videos[0] if videos else None)
        return {self.start: 0.0, self.end: round(duration, 1), self.at: round(duration / 2, 1), self.other: others}


class _EditPanel:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        gr.HTML(ABOUT)
        with gr.Row(elem_classes="save"):
            self.pin, self.undo = _button("Pin this answer", "pin"), _button("Undo", "edit-undo")
            self.stop, self.unpin = _button("Stop", "edit-stop"), _button("Unpin", "unpin")
        self.notice = gr.HTML(elem_id="edit-notice")
        with gr.Column(visible=False, elem_id="edits") as self.box:
            self.controls = _Controls()
            self.state = gr.HTML(elem_id="edit-state")
            self.versus = gr.HTML(elem_id="edit-versus")
            self.bars = Picture(shared, "edit-changes", self.notice)
            self.history = gr.HTML(elem_id="edit-history")
            self.cards = gr.HTML(elem_id="edit-clips", js_on_load=CLICK_CLIP)
        self.outputs = [self.box, self.state, self.versus, *self.bars.outputs, self.history, self.cards]
        self.wire()
        self.wire_edits()

    def wire(self) -> None:
        on, quiet = self.shared.on, {"notice": self.notice, "show_progress": "hidden"}
        self.shared.stops(self.stop)
        on(self.pin.click, self.pins, outputs=[*self.controls.values, *self.outputs], **quiet)
        on(self.unpin.click, self.unpins, outputs=self.outputs, **quiet)
        on(self.undo.click, self.undoes, outputs=self.outputs, **quiet)
        on(self.shared.answered.change, self.follow, outputs=self.outputs, **quiet)
        self.shared.when_video_changes(self.unpins, outputs=self.outputs, notice=self.notice)

    def wire_edits(self) -> None:
        given, on = self.controls, self.shared.on
        running = {"outputs": self.outputs, "notice": self.notice, "concurrency_id": "model", "show_progress_on": [self.state]}
        at_once = {"outputs": self.outputs, "notice": self.notice, "show_progress": "hidden"}
        on(given.mirror.click, self.mirrors, **running)
        on(given.grey.click, self.greys, **running)
        on(given.trim.click, self.trims, [given.start, given.end], **running)
        on(given.freeze.click, self.freezes, [given.at], **running)
        on(given.shuffle.click, self.shuffles, **running)
        on(given.swap.click, self.swaps, [given.other], **running)
        on(given.upload.upload, self.uploads, [given.upload], **running)
        on(given.reverse.click, self.reverses, **at_once)
        on(self.cards.click, self.drops, **at_once)

    def edit(self, session: Session, change: Edit, same_because: str = "") -> Iterator[Updates]:
        """The newest version, changed and asked again, clip by clip."""
        session.stop.clear()
        versions = _versions(session)
        shown = change(versions[-1].footage)
        yield {self.state: '<p class="state" role="status">looking at the edited clips …</p>'}
        with closing(ask_footage(self.shared.engine.predictor(), shown, versions[-1].asked.question)) as steps:
            for asked in steps:
                if session.results.get("versions") is not versions:  # unpinned, undone or another video meanwhile
                    return
                if session.stop.is_set() and not asked.finished:
                    told = f"stopped after {asked.num_done} of {asked.num_planned} clips; the edit was not made."
                    yield {self.state: "", self.notice: notice_html(told, "note")}
                    return
                if asked.finished:
                    yield self.show(session, followed(versions, Version(shown.edits[-1], asked, same_because)))
                else:
                    yield {self.state: f'<p class="state" role="status">after {asked.num_done}/{asked.num_planned} clips</p>'}

    def mirrors(self, session: Session) -> Iterator[Updates]:
        from clipbert.edits import mirrored

        yield from self.edit(session, mirrored)

    def greys(self, session: Session) -> Iterator[Updates]:
        from clipbert.edits import grey

        yield from self.edit(session, grey)

    def reverses(self, session: Session) -> Iterator[Updates]:
        from clipbert.edits import reversed_clips

        yield from self.edit(session, reversed_clips, ORDER_FREE)

    def shuffles(self, session: Session) -> Iterator[Updates]:
        from clipbert.edits import shuffled_frames

        yield from self.edit(session, shuffled_frames, MEAN_FUSION if self.shared.engine.predictor().model.averages_frames else "")

    def trims(self, session: Session, start: float | None, end: float | None) -> Iterator[Updates]:
        from clipbert.edits import trimmed

        yield from self.edit(session, partial(trimmed, start=_given(start), end=_given(end)))

    def freezes(self, session: Session, at: float | None) -> Iterator[Updates]:
        from clipbert.edits import frozen

        yield from self.edit(session, partial(frozen, seconds=_given(at)))

    def swaps(self, session: Session, name: str | None) -> Iterator[Updates]:
        path = next((path for path, known in gallery_of(session).names.items() if known == name), None)
        if path is None:
            raise ValueError("choose the video to swap in first.")
        yield from self.swapped(session, path)

    def uploads(self, session: Session, path: str) -> Iterator[Updates]:
        session.uploads.add(Path(path))
        yield from self.swapped(session, Path(path))

    def swapped(self, session: Session, path: Path) -> Iterator[Updates]:
        from clipbert.edits import swapped

        yield from self.edit(session, partial(swapped, video=path))

    def drops(self, session: Session, event: Any) -> Iterator[Updates]:
        from clipbert.edits import without_clip

        yield from self.edit(session, partial(without_clip, index=int(event.clip)))

    def pins(self, session: Session) -> Updates:
        versions = pinned(session.results.get("ask"))
        gallery = gallery_of(session)
        gallery.refresh(session, self.shared.examples)
        others = [name for path, name in gallery.names.items() if session.video is None or path != session.video.resolve()]
        video = versions[0].asked.video
        assert video is not None
        return self.controls.filled(video.duration, others) | self.show(session, versions)

    def follow(self, session: Session) -> Updates:
        """A question asked, or pooled otherwise, while an answer is pinned becomes the newest version."""
        versions, asked = session.results.get("versions"), session.results.get("ask")
        if versions is None or asked is None or asked.video is None or not asked.finished:
            return {}
        return self.show(session, followed(versions, Version(asked_again(versions[-1].asked, asked), asked)))

    def undoes(self, session: Session) -> Updates:
        versions = _versions(session)
        if len(versions) == 1:
            raise ValueError("there is no edit to undo.")
        return self.show(session, versions[:-1])

    def unpins(self, session: Session) -> Updates:
        session.results.pop("versions", None)
        return {self.box: gr.Column(visible=False)}

    def show(self, session: Session, versions: tuple[Version, ...]) -> Updates:
        session.results["versions"] = versions
        drawn = {self.versus: versus_html(versions), self.history: history_html(versions), self.cards: cards_to_drop_html(versions[-1].asked)}
        return {self.box: gr.Column(visible=True), self.state: "", **drawn, **self.changed(session, versions)}

    def changed(self, session: Session, versions: Sequence[Version]) -> Updates:
        from clipbert.edits import changes
        from clipbert.viz.figures import answer_changes

        found = changes(versions[0].asked.prediction, versions[-1].asked.prediction)
        if len(versions) == 1 or not found:
            return self.bars.clear()
        made = ", then ".join(version.name for version in versions[1:])
        return self.bars.show(session, answer_changes(found, model=versions[-1].asked.model, edit=made))


def _versions(session: Session) -> tuple[Version, ...]:
    if "versions" not in session.results:
        raise ValueError("no answer is pinned; press Pin this answer first.")
    return session.results["versions"]


def _given(seconds: float | None) -> float:
    if seconds is None:
        raise ValueError("a time is empty; give it in seconds.")
    return float(seconds)


def _button(label: str, name: str) -> gr.Button:
    return gr.Button(label, size="sm", min_width=120, scale=0, elem_id=name)


def _seconds(label: str, name: str) -> gr.Number:
    return gr.Number(0, label=label, minimum=0, step=0.1, min_width=90, scale=1, elem_id=name)
