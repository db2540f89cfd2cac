"""A long computation that tells how far it is and can be stopped between two steps."""

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipbert.encoding import Progress


class Stopped(Exception):
    """Raised inside the computation when it is to end."""


@dataclass(frozen=True)
class Step:
    """How far it is."""

    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """What it returned."""

    result: Any


def watched(run: "Callable[[Progress], Any]", stop: threading.Event) -> Generator[Step | Finished, None, None]:
    """Each step of `run(progress)`, in a thread of its own, then its result; after `stop` no more, at the end of the step that it is in.

    Closing the iterator stops it too.  What `run` raises is raised here.
    """
    news: queue.Queue[Step | Finished | BaseException] = queue.Queue()
    closed = threading.Event()

    def tell(stage: str, done: int, total: int) -> None:
        if stop.is_set() or closed.is_set():
            raise Stopped
        news.put(Step(done, total))

    def work() -> None:
        try:
            news.put(Finished(run(tell)))
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits for the result
            news.put(error)

    thread = threading.Thread(target=work, name="watched computation", daemon=True)
    thread.start()
    try:
        while True:
            told = news.get()
            if isinstance(told, Stopped):
                return
            if isinstance(told, BaseException):
                raise told
            yield told
            if isinstance(told, Finished):
                return
    finally:
        closed.set()
        thread.join()
