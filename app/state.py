"""What the server remembers of each browser tab, apart from every other, and forgets when it closes."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.links import Link
    from app.saving import Saved

SESSIONS_KEPT = 64


@dataclass
class Session:
    """One browser tab's current video, last results by tab, and its wish to stop."""

    video: Path | None = None
    name: str = ""  # of the video, as the user knows it
    example: str = ""  # name of the chosen example, "" for the user's own video
    theme: str = "light"  # of the page: "light" or "dark"
    saved: "Saved | None" = None  # the reopened session, until another video than its own is chosen
    link: "Link | None" = None  # the address the page was opened with, until its question is shown
    results: dict[str, Any] = field(default_factory=dict)  # a tab's last result; no long lists of frames
    kept: dict[str, Any] = field(default_factory=dict)  # what does not depend on the current video
    uploads: set[Path] = field(default_factory=set)  # files of the user's beside the current video
    stop: threading.Event = field(default_factory=threading.Event)

    def current_video(self) -> Path:
        """The video the user chose.  Raises ValueError where there is none (any more)."""
        if self.video is None:
            raise ValueError("no video is chosen; upload one or pick an example on the left.")
        if not self.video.is_file():
            raise ValueError(f"{self.name} is no longer on the server (uploads are kept for a day); upload it again.")
        return self.video

    def choose(self, video: Path | None, name: str, example: str = "") -> None:
        """Make `video` the current one; results of the one before are forgotten."""
        self.stop.set()
        self.video, self.name, self.example = video, name, example
        self.results = {}


class Sessions:
    """Sessions by Gradio's session hash; the longest unused go first."""

    def __init__(self, uploads: Path) -> None:
        self.uploads = uploads.resolve()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_hash: str) -> Session:
        with self._lock:
            session = self._sessions.setdefault(session_hash, Session())
            self._sessions.move_to_end(session_hash)
            dropped = [self._sessions.popitem(last=False)[1] for _ in range(len(self._sessions) - SESSIONS_KEPT)]
        for old in dropped:
            self._forget(old)
        return session

    def close(self, session_hash: str) -> None:
        """End the tab's work, forget it, and delete its uploads unless another tab uses the same file."""
        with self._lock:
            session = self._sessions.pop(session_hash, None)
        if session is not None:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        session.stop.set()
        for video in session.uploads | ({session.video} if session.video else set()):
            if video.resolve().is_relative_to(self.uploads):
                with self._lock:
                    if all(video != other.video and video not in other.uploads for other in self._sessions.values()):
                        video.unlink(missing_ok=True)
