"""The cells of all clips as a moving picture: a file that takes a while, with its progress and a Stop."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from app.attribution.explained import CELLS
from app.attribution.exports import open_map
from app.attribution.watched import told
from app.pictures import HAND_OVER, new_file
from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from clipbert.encoding import Progress

ANIMATIONS = ("gif", "mp4")
NAME = "attribution-sequence"
LABEL = "All clips in motion (computes the cells of every clip)"


def sequence_files(shared: Shared, notice: gr.HTML) -> None:
    """Build the buttons here."""
    with gr.Row(elem_classes="save"):
        gr.HTML(f"<span class=soft>{LABEL}</span>")
        buttons = {suffix: gr.Button(suffix.upper(), size="sm", min_width=56, scale=0, elem_id=f"{NAME}-{suffix}") for suffix in ANIMATIONS}
        shared.stops(gr.Button("Stop", size="sm", min_width=56, scale=0, elem_id=f"{NAME}-stop"))
        file = gr.DownloadButton(visible="hidden", elem_id=f"{NAME}-file")
    state = gr.HTML(elem_id=f"{NAME}-state")
    for suffix, button in buttons.items():
        saved = shared.on(
            button.click, _saver(shared, suffix, file, state), outputs=[file, state], notice=notice, concurrency_id="model", show_progress="hidden"
        )
        saved.then(fn=None, js=HAND_OVER, inputs=[file], api_visibility="private")


def _saver(shared: Shared, suffix: str, file: gr.DownloadButton, state: gr.HTML) -> Callable[[Session], Iterator[Updates]]:
    def save(session: Session) -> Iterator[Updates]:
        session.stop.clear()
        yield {file: gr.DownloadButton(value=None), state: ""}
        path = new_file(session, f"{NAME}.{suffix}")
        written = yield from told(lambda progress: _write(shared, session, path, progress), session.stop, state, "{stage}", left="no file is made")
        if written is not None:
            yield {file: gr.DownloadButton(value=str(written)), state: ""}

    return save


def _write(shared: Shared, session: Session, path: Path, progress: "Progress") -> Path:
    """The file, after each clip's cells, which are known from then on, and then its picture."""
    from clipbert.attribution import joined
    from clipbert.source import source_of
    from clipbert.viz.animation import save_animation

    shown, look, _ = open_map(session, CELLS)
    predictor, source, total = shared.engine.predictor(), source_of(shown.path, None), shown.video.num_clips
    parts = []
    for clip in range(total):
        parts.append(shown.map(predictor, replace(look, clip=clip)))
        progress("clips explained:", clip + 1, total)
    drawn = iter(range(total))

    def frames(clip: int) -> "UInt8[Tensor, 'T 3 H W']":
        progress("clips drawn:", next(drawn), total)
        return predictor.pictures(source, shown.clips[clip])

    save_animation(joined(parts), frames, path)
    return path
