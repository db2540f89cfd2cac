"""An answer's clips as files: one picture of what the model saw, and every clip's logits as a table."""

from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from app.asking import Asked
from app.pictures import save_buttons
from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from clipbert.predict import Predictor
    from clipbert.viz.chart import Row


class ClipFiles:
    """The buttons, hidden until there is an answer; `box` belongs among the outputs."""

    def __init__(self, shared: Shared, notice: gr.HTML) -> None:
        self.shared = shared
        with gr.Column(visible=False, elem_id="clip-files") as self.box:
            save_buttons(shared, "clips", notice, {"png": self._write_strip, "csv": self._write_logits})

    def shown(self) -> Updates:
        return {self.box: gr.Column(visible=True)}

    def hidden(self) -> Updates:
        return {self.box: gr.Column(visible=False)}

    def _write_strip(self, session: Session, path: Path) -> None:
        path.write_bytes(strip_png(self.shared.engine.predictor(), session.current_video(), session.results["ask"]))

    def _write_logits(self, session: Session, path: Path) -> None:
        from clipbert.viz.figures import to_csv

        path.write_text(to_csv(logit_rows(session.results["ask"])), encoding="utf-8", newline="")


def strip_png(predictor: "Predictor", video: Path, asked: Asked) -> bytes:
    """Every clip with all its frames as the model gets them, its seconds and its own vote.  Raises ValueError for a reopened answer."""
    from clipbert.viz.strip import SeenFrames, png, strip

    if asked.video is None:
        raise ValueError("this answer comes from a saved session, whose report (HTML) has its clips; ask its video again to save them.")
    seen = SeenFrames(*predictor.clip_pictures(video, asked.video))
    return png(strip(seen, asked.spans, captions=[f"{vote} {100 * share:.0f} %" for vote, share in asked.own_votes()]))


def logit_rows(asked: Asked) -> "list[Row]":
    """A row for each clip: its seconds, its contribution, and its logit for each candidate."""
    found = asked.prediction
    return [
        {
            "clip": n + 1, "start_seconds": start, "end_seconds": end, "contribution_nats": float(found.contribution[n]),
            **{f"logit {name}": float(logit) for name, logit in zip(found.candidates, found.clip_logits[n], strict=True)},
        }
        for n, (start, end) in enumerate(asked.spans.tolist())
    ]  # fmt: skip
