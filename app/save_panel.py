"""Save the answer as a session zip or as a page, and reopen a zip."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder

from app.link_row import link_row
from app.pictures import HAND_OVER, new_file
from app.preview import preview
from app.saving import reopened, session_of
from app.settings import shown_settings
from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from clipbert.session import SessionResult

Writer = Callable[["SessionResult", Path, "Path | None"], None]  # result, where to, video to include


def save_panel(shared: Shared, asking: Sequence[Any]) -> None:
    """Build it; a reopened session becomes `session.saved` and fires `shared.video_changed.change`.

    `asking` are the controls of the question: mode, text, list.
    """
    with gr.Accordion("Save or share this answer, or reopen a saved one", open=False, elem_id="saving"):
        with gr.Row(elem_classes="save"):
            as_zip = gr.Button("Save session (ZIP)", size="sm", min_width=150, scale=0, elem_id="save-session")
            as_page = gr.Button("Save report (HTML)", size="sm", min_width=150, scale=0, elem_id="save-report")
            opened = gr.UploadButton("Reopen a session (ZIP)", size="sm", min_width=170, scale=0, elem_id="reopen")
            file = gr.DownloadButton(visible="hidden", elem_id="saving-file")
        with_video = gr.Checkbox(False, label="put the video into the ZIP", container=False, elem_id="with-video")
        gr.HTML(
            '<p class="soft">A session holds the question, the settings, the answer and the frames that the model saw. It reopens here, with '
            "<code>ExplorerSession</code> in Python, and without a network. The report is one page for reading, which needs no program.</p>"
        )
        notice = gr.HTML(elem_id="saving-notice")
        link_row(shared, asking, notice)

    def saver(ending: str, write: Writer) -> Callable[..., Iterator[Updates]]:
        def save(session: Session, include: bool) -> Iterator[Updates]:
            yield {file: gr.DownloadButton(value=None)}  # so that an error hands over nothing, rather than the file before
            asked = session.results.get("ask")
            if asked is None:
                raise ValueError("there is no answer to save; ask about the video first.")
            if asked.video is None:
                raise ValueError("this answer comes from a saved session, which you have; ask its video again to save another.")
            predictor, video = shared.engine.predictor(), session.current_video()
            result = session_of(predictor, asked, video).run(predictor, video)
            path = new_file(session, ending)
            write(result, path, video if include else None)
            yield {file: gr.DownloadButton(value=str(path))}

        return save

    def reopen(session: Session, path: str) -> Updates:
        uploads = Path(get_upload_folder())
        uploads.mkdir(parents=True, exist_ok=True)
        saved, video = reopened(Path(path), Path(tempfile.mkdtemp(dir=uploads)), largest_bytes=shared.page.max_file_size or math.inf)
        playable = preview(video, shared.sessions.uploads / "previews") if video else None
        session.choose(video, saved.session.video)
        session.saved = saved
        settings = dict(zip(shared.settings, shown_settings(saved.asked.sampling), strict=True))
        return {shared.player: str(playable) if playable else None, shared.video_changed: f"{time.time_ns()}", **settings}

    for button, ending, write in ((as_zip, "session.zip", _write_zip), (as_page, "report.html", _write_page)):
        saved = shared.on(button.click, saver(ending, write), [with_video], [file], notice=notice, concurrency_id="model")
        saved.then(fn=None, js=HAND_OVER, inputs=[file], api_visibility="private")
    shared.on(opened.upload, reopen, [opened], [shared.player, shared.video_changed, *shared.settings], notice=notice)


def _write_zip(result: "SessionResult", path: Path, video: Path | None) -> None:
    from clipbert.session_file import save_session

    save_session(result, path, video=video)


def _write_page(result: "SessionResult", path: Path, _: Path | None) -> None:
    from clipbert.viz.report import save_report

    save_report(result, path)
