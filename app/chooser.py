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


def video_chooser(shared: Shared) -> None:
    """Build the player, upload, examples; each choice becomes the session's video and fires `shared.video_changed.change`."""
    shared.video_changed, shared.address = gr.State(""), gr.Textbox(visible="hidden")
    shared.player = gr.Video(label="Video", sources=["upload", "webcam"], height=300, elem_id="player", buttons=[])
    notice = gr.HTML(elem_id="video-notice")
    other = gr.UploadButton("Open a GIF, a picture or another format", file_types=None, size="sm", elem_id="open-file")
    limit = gr.HTML(elem_id="limit")
    gallery = gr.Gallery(
        label="Examples", columns=3, height="auto", object_fit="cover", allow_preview=False, elem_id="examples", buttons=[], interactive=False,
    )  # fmt: skip
    outputs = [shared.player, shared.video_changed]

    def show(session: Session) -> Updates:
        video = session.current_video()
        playable = preview(video, shared.sessions.uploads / "previews")
        shown = {shared.player: str(playable) if playable else None, shared.video_changed: f"{time.time_ns()}"}
        told = advice(video)
        if playable is None:
            told = [f"your browser cannot play {session.name}; the model can still look at it, and shows its clips.", *told]
        if told:
            shown[notice] = notice_html(" ".join(told), "note")
        return shown

    def own(session: Session, path: str | None) -> Updates:
        if path is None:
            return gone(session)
        from clipbert.source import source_of

        source_of(path, None).timeline()
        session.choose(Path(path), Path(path).name)
        return show(session)

    def gone(session: Session) -> Updates:
        session.choose(None, "")
        return {shared.video_changed: f"{time.time_ns()}"}

    def example(session: Session, event: Any) -> Updates:
        pick(session, event.index)
        return show(session)

    def pick(session: Session, index: int) -> None:
        chosen = shared.examples.all()[index]
        session.choose(chosen.path, chosen.path.name, chosen.name)

    shared.on([shared.player.upload, shared.player.stop_recording], own, [shared.player], outputs, notice=notice)
    shared.on(other.upload, own, [other], outputs, notice=notice)
    shared.on(shared.player.clear, gone, outputs=outputs, notice=notice)
    shared.on(gallery.select, example, outputs=outputs, notice=notice)

    def start(session: Session, address: str) -> Updates:
        """A page that opens shows the example that its address names, or the first, unless the user has been quicker."""
        posters = [(shared.examples.poster(example), example.case) for example in shared.examples.all()]
        shown = {gallery: posters, limit: limit_html(shared.page.max_file_size)}
        if session.video is not None:
            return shown
        names = tuple(example.name for example in shared.examples.all())
        try:
            session.link, told = read_link(address, names), {}
        except ValueError as error:
            session.link, told = None, {notice: notice_html(f"this link cannot be followed, the page starts as usual: {error}")}
        pick(session, names.index(session.link.video) if session.link and session.link.video else 0)
        return shown | show(session) | told

    shared.on(shared.page.load, start, [shared.address], js=READ_ADDRESS, outputs=[gallery, limit, *outputs], notice=notice, show_progress="hidden")


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
