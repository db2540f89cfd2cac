"""A long computation that tells how far it is and can be stopped between two steps."""

import html
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.shared import Updates

if TYPE_CHECKING:
    from clipbert.encoding import Progress


class Stopped(Exception):
    """Raised inside the computation when it is to end."""


@dataclass(frozen=True)
class Step:
    """How far it is with what it is at."""

    done: int
    total: int
    stage: str = ""


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
        news.put(Step(done, total, stage))

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


def told(
    run: "Callable[[Progress], Any]", stop: threading.Event, line: gr.HTML, what: str, *, left: str = "nothing is concluded from a part"
) -> Generator[Updates, None, Any]:  # fmt: skip
    """Updates of `line` with how far `run` is, "WHAT 3 of 7", where WHAT may hold {stage}; returns the result, or after `stop` None.

    The line then says how far it came, and what is `left` of it.
    """
    last = Step(0, 0)
    with closing(watched(run, stop)) as steps:
        for step in steps:
            if isinstance(step, Finished):
                return step.result
            last = step
            yield {line: state_html(f"{what.format(stage=step.stage)} {step.done} of {step.total}", (step.done, step.total))}
    yield {line: f'<p class="state partial">stopped: {what.format(stage=last.stage)} {last.done} of {last.total or "?"}; {left}.</p>'}
    return None


def state_html(text: str, done: tuple[int, int] = (0, 0)) -> str:
    """A line that says what is going on, with a bar where it is known how far it is."""
    bar = f'<progress value="{done[0]}" max="{done[1]}" aria-label="Progress"></progress> ' if done[1] else ""
    return f'<p class="state" role="status">{bar}{html.escape(text)}</p>'
