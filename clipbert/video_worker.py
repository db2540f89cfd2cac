"""A `Decoder` in a process of its own, so that a file on which FFmpeg crashes or hangs costs that process alone.

`python -m clipbert.video_worker` is that process; it starts in 0.2 s, for it
does not import PyTorch, and reads one video after another, never two at once.
"""

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from clipbert.child_process import Child, ChildEnded, Message, Parent
from clipbert.video_decoder import Decoder, Opened
from clipbert.video_files import VideoError

log = logging.getLogger(__name__)
MOST_IDLE = 2
_idle: list[Child] = []
_lock = threading.Lock()


def start_worker() -> None:
    """Start a process that waits for the first video; returns at once."""
    _give_back(Child("clipbert.video_worker"))


def _take() -> Child:
    """A process for one video, none else's until it is given back."""
    with _lock:
        while _idle:
            worker = _idle.pop()
            if worker.runs():
                return worker
            worker.close()
    return Child("clipbert.video_worker")


def _give_back(worker: Child) -> None:
    with _lock:
        if worker.at_rest and len(_idle) < MOST_IDLE:
            _idle.append(worker)
            return
    worker.close()


@atexit.register
def stop_workers() -> None:
    """End those that wait; the others end with their video, all of them with this process."""
    with _lock:
        while _idle:
            _idle.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # they answer the process that started them


class WorkerDecoder:
    """As a `Decoder`.  After a crash, which is a VideoError, the next call goes to a new process."""

    def __init__(self, path: str, time_limit_seconds: float, proceed: Callable[[], None]) -> None:
        self.path, self.time_limit_seconds, self._proceed = path, time_limit_seconds, proceed
        self.frames_decoded = 0
        self._worker: Child | None = None

    def open(self) -> Opened:
        """Raises VideoError."""
        self._worker = _take()
        [(message, payload)] = self._messages("open", self.path, self.time_limit_seconds)
        times, pts = np.split(payload, 2)
        opened = message["opened"]
        lists = {"size": tuple(opened["size"]), "notices": tuple(opened["notices"])}
        return Opened(**opened | lists | {"times": times.view(np.float64), "pts": pts.view(np.int64)})

    def close(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        if worker.at_rest:
            with contextlib.suppress(ChildEnded):
                worker.tell(["close"])
        _give_back(worker)

    give_up = close

    def key_frames(self) -> list[int]:
        [(message, _)] = self._messages("key_frames")
        return message["key_frames"]

    def pictures(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        for message, payload in self._messages("pictures", list(wanted)):
            if "index" in message:
                yield message["index"], payload.reshape(message["shape"])

    def _messages(self, *request: object) -> Iterator[Message]:
        """The answer, less its signs of progress.  Raises VideoError."""
        if self._worker is None:
            self.open()
        assert self._worker is not None
        try:
            for message, payload in self._worker.answers(request):
                self._proceed()
                self.frames_decoded += message.get("frames_decoded", 0)
                if "error" in message:
                    raise VideoError(message["error"])
                if "index" in message or "done" in message:
                    yield message, payload
        except ChildEnded as ended:
            if self._worker is not None:  # not ended by us
                log.error("the process that decoded %s %s", self.path, ended)
            self.close()
            raise VideoError(f"cannot read video: on {self.path} the decoder {ended}; ask again, or convert it to MP4 (H.264).") from ended


def _answer(parent: Parent, decoder: Decoder, kind: str, *arguments: list[int]) -> None:
    before = decoder.frames_decoded
    answer, arrays = {}, ()
    if kind == "open":
        opened = decoder.open()
        answer, arrays = {"opened": {name: value for name, value in vars(opened).items() if name not in ("times", "pts")}}, (opened.times, opened.pts)
    elif kind == "key_frames":
        answer = {"key_frames": decoder.key_frames()}
    else:
        for index, picture in decoder.pictures(*arguments):
            parent.say({"index": index, "shape": picture.shape}, picture)
    parent.finish(answer | {"frames_decoded": decoder.frames_decoded - before}, *arrays)


def main() -> None:
    parent, decoder = Parent(), None
    for kind, *arguments in parent.requests():
        if kind in ("open", "close") and decoder is not None:
            decoder.close()
            decoder = None
        if kind == "open":
            path, time_limit_seconds = arguments
            decoder, arguments = Decoder(path, time_limit_seconds, parent.proceed), []
        if decoder is not None:
            try:
                _answer(parent, decoder, kind, *arguments)
            except VideoError as error:
                parent.finish({"error": str(error)})


if __name__ == "__main__":
    main()
