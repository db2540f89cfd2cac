"""Work on a file that may hang in C: it runs in a thread, and is given up once it makes no progress."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from clipbert.video_files import VideoError

_Result = TypeVar("_Result")


class Watch:
    """One file's; once it `gave_up`, the thread that hangs is left behind and nothing more may be asked of the file."""

    def __init__(self, path: str, limit_seconds: float) -> None:
        self.path, self.limit_seconds = path, limit_seconds
        self.gave_up = False

    def proceed(self) -> None:
        """Called between packets and frames: tells the watch that work gets on."""
        if self.gave_up:
            raise VideoError(f"cannot read video: {self.path} was given up.")
        self._progressed = True

    def result_of(self, work: Callable[[], _Result]) -> _Result:
        """What `work` returns, or VideoError once it makes no progress for the limit."""
        future: Future[_Result] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - handed to the caller, below
                future.set_exception(error)

        self.proceed()
        threading.Thread(target=run, daemon=True, name="clipbert-video").start()
        left = self.limit_seconds
        try:
            while not future.done() and left > 0:
                self._progressed, turn = False, min(left, 0.1 * self.limit_seconds)
                wait([future], timeout=turn)
                left = self.limit_seconds if self._progressed else left - turn  # not by the clock: that goes on while the process is stopped
        finally:
            self.gave_up = not future.done()
        if self.gave_up:
            limit = f"{self.limit_seconds:g} s"
            raise VideoError(f"cannot read video: {self.path} gave no frame for {limit}; convert it to MP4 or raise time_limit_seconds.")
        return future.result()
