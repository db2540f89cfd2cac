"""The left column: the player with its upload and webcam, and the examples."""

import time
from pathlib import Path
from typing import Any

import gradio as gr

from app.links import READ_ADDRESS, read_link
from app.preview import preview
from app.shared import Shared, Updates, notice_html
from app.state import Session
from clipbert.viz.style import clock

LONG_SECONDS = 600


class VideoChooser:
    """The player, upload and examples; each choice becomes the session's video and fires `shared.video_changed.change`."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        shared.video_changed, shared.address = gr.State(""), gr.Textbox(visible="hidden")
        shared.player = gr.Video(label="Video", sources=["upload", "webcam"], height=300, elem_id="player", buttons=[])
        self.notice = gr.HTML(elem_id="video-notice")
        self.other = gr.UploadButton("Open a GIF, a picture or another format", file_types=None, size="sm", elem_id="open-file")
        self.limit = gr.HTML(elem_id="limit")
        self.gallery = gr.Gallery(
            label="Examples", columns=3, height="auto", object_fit="cover", allow_preview=False, elem_id="examples", buttons=[], interactive=False,
        )  # fmt: skip
        self.wire([shared.player, shared.video_changed])

    def wire(self, outputs: list[Any]) -> None:
        shared, on, notice = self.shared, self.shared.on, self.notice
        on([shared.player.upload, shared.player.stop_recording], self.open_own, [shared.player], outputs, notice=notice)
        on(self.other.upload, self.open_own, [self.other], outputs, notice=notice)
        on(shared.player.clear, self.clear, outputs=outputs, notice=notice)
        on(self.gallery.select, self.open_example, outputs=outputs, notice=notice)
        on(shared.page.load, self.start, [shared.address], js=READ_ADDRESS, outputs=[self.gallery, self.limit, *outputs], notice=notice,
           show_progress="hidden")  # fmt: skip

    def open_own(self, session: Session, path: str | None) -> Updates:
        if path is None:
            return self.clear(session)
        from clipbert.source import source_of

        source_of(path, None).timeline()
        session.choose(Path(path), Path(path).name)
        return self.show(session)

    def open_example(self, session: Session, event: Any) -> Updates:
        self.choose(session, event.index)
        return self.show(session)

    def clear(self, session: Session) -> Updates:
        session.choose(None, "")
        return {self.shared.video_changed: f"{time.time_ns()}"}

    def start(self, session: Session, address: str) -> Updates:
        """A page that opens shows the example that its address names, or the first, unless the user has been quicker."""
        examples = self.shared.examples
        posters = [(examples.poster(example), example.case) for example in examples.all()]
        shown = {self.gallery: posters, self.limit: limit_html(self.shared.page.max_file_size)}
        if session.video is not None:
            return shown
        names = tuple(example.name for example in examples.all())
        try:
            session.link, told = read_link(address, names), {}
        except ValueError as error:
            session.link, told = None, {self.notice: notice_html(f"this link cannot be followed, the page starts as usual: {error}")}
        self.choose(session, names.index(session.link.video) if session.link and session.link.video else 0)
        return shown | self.show(session) | told

    def choose(self, session: Session, index: int) -> None:
        """Make an example the session's video."""
        chosen = self.shared.examples.all()[index]
        session.choose(chosen.path, chosen.path.name, chosen.name)

    def show(self, session: Session) -> Updates:
        video = session.current_video()
        playable = preview(video, self.shared.sessions.uploads / "previews")
        shown = {self.shared.player: str(playable) if playable else None, self.shared.video_changed: f"{time.time_ns()}"}
        told = advice(video)
        if playable is None:
            told = [f"your browser cannot play {session.name}; the model can still look at it, and shows its clips.", *told]
        if told:
            shown[self.notice] = notice_html(" ".join(told), "note")
        return shown


def advice(video: Path) -> list[str]:
    """Sentences on what of a video suits the model badly; an unusual shape, an unusual length.

    Raises VideoError.
    """
    from clipbert.processing import shape_notice
    from clipbert.source import source_of

    found, source = [], source_of(video, None)
    if (seconds := source.timeline()[0].duration) > LONG_SECONDS:
        found.append(f"This video lasts {clock(seconds)}, and the clips see little of it: the Sampling tab tells how much.")
        found.append("Trim it to the part you ask about.")
    return [*found, *(f"{told[0].upper()}{told[1:]}." for told in shape_notice(*source.frame_size()))]


def limit_html(max_bytes: float | None) -> str:
    """What a visitor may send, who can raise it, and what becomes of it."""
    size = f"Files up to {max_bytes / 1024**2:.0f} MB (the server's --max-file-size). " if max_bytes else ""
    return f'<p class="soft">{size}Sound is not used. Your files are deleted when you close the page.</p>'
