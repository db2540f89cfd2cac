"""The app's clip timeline in a notebook: the same HTML, script and style, as an anywidget; nothing is fetched."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from clipbert.session import ExplorerSession
from clipbert.source import source_of
from clipbert.viz.clip_timeline import STYLE, lane_name, policy_lanes, script, timeline_html

HINT = "Point at a clip, or move with the arrow keys; Enter looks into a clip of the lane on top."
RENDER = """function render({ model, el: element }) {
  const changed = [];
  const watch = (name, react) => changed.push(react);
  const trigger = (name, { index }) => { model.set("chosen", index); model.save_changes(); };
  const draw = () => { element.innerHTML = model.get("value"); changed.forEach((react) => react()); };
  element.classList.add("clipbert-timeline");
  element.dataset.lmSuppressShortcuts = "true";  // else JupyterLab takes the arrow keys
  draw();
  model.on("change:value", draw);
%s
}
export default { render };
"""
COLORS = """.clipbert-timeline { --ink: var(--jp-content-font-color1, #1c2530); --soft: var(--jp-content-font-color2, #57606a);
  --panel: var(--jp-layout-color1, #fff); --track: var(--jp-layout-color2, #e6ebf1); --blue: #0072B2; --orange: #b35900; }
"""


class ClipTimeline(anywidget.AnyWidget):
    """A lane for each policy over the seconds of a video.  `chosen` becomes [lane, clip from 0] when a clip is."""

    _esm = RENDER % script()
    _css = COLORS + STYLE.read_text(encoding="utf-8")
    value = traitlets.Unicode().tag(sync=True)
    chosen: Any = traitlets.List().tag(sync=True)

    def draw(self, session: ExplorerSession, video: Path) -> None:
        """Where the session's policy, on top, and the others look.  Raises VideoError."""
        times, _ = source_of(video, None).timeline()
        settings = {"num_clips": session.num_clips, "num_frames": session.num_frames, "fps": session.fps}
        lanes = policy_lanes(times, **settings, policy=session.policy, seed=session.seed)
        self.value = timeline_html(lanes, times, chosen=lane_name(session.policy, session.seed), hint=HINT)
