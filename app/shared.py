"""What every tab is given: the model, the current video, the settings, and one way to wire events (README.md)."""

import functools
import html
import inspect
import json
import logging
import re
import secrets
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.asking import CHOICE
from app.engine import Engine
from app.examples import Examples
from app.state import Sessions

if TYPE_CHECKING:
    from clipbert.predict import Predictor

log = logging.getLogger(__name__)
SERVER_PATH = re.compile(r"(?<![\w.])(?:/[^\s/:;,'\"]+)+/([^\s/:;,'\"]+)")  # keeps the file's name
Updates = dict[Any, Any]  # component -> new value or update


@dataclass
class Shared:
    """`settings` are components in the order of SamplingConfig's fields.

    `answered` fires `.change` when `session.results["ask"]` is a new answer,
    whole or stopped; for another video there is `when_video_changes`.
    """

    engine: Engine
    sessions: Sessions
    examples: Examples
    others: "Mapping[str, Callable[[], Predictor]]" = field(default_factory=dict)  # models to compare with, each loaded when it is first asked
    page: gr.Blocks = field(init=False)  # its max_file_size is the limit of uploads, in bytes
    address: gr.Textbox = field(init=False)  # takes the page's query from the browser
    player: gr.Video = field(init=False)
    settings: list[Any] = field(init=False)
    video_changed: gr.State = field(init=False)
    answered: gr.State = field(init=False)
    question: gr.Textbox = field(init=False)  # of the Ask tab, as are the next two
    mode: gr.Radio = field(init=False)
    texts: gr.Textbox = field(init=False)
    answer: gr.HTML = field(init=False)  # of the Ask tab; its click event carries `versus`, an answer that was not given
    tabs: gr.Tabs = field(init=False)
    tab: gr.Tab = field(init=False)  # the one being built
    loaded: "dict[str, Predictor]" = field(default_factory=dict)  # of the others, those that were asked
    followers: list[tuple[Callable[..., Updates], list[Any], list[Any]]] = field(default_factory=list)  # of another video: callback, inputs, outputs

    def other(self, name: str) -> "Predictor":
        """Another model, loaded when it is first asked.  Raises ValueError where it cannot be."""
        if name not in self.loaded:
            self.loaded[name] = self.others[name]()
        return self.loaded[name]

    def on(
        self,
        triggers: Any,
        run: Callable[..., Any],
        inputs: Sequence[Any] = (),
        outputs: Sequence[Any] = (),
        *,
        notice: gr.HTML,
        concurrency_id: str | None = None,
        **event: Any,
    ) -> Any:
        """Wire a private event: `run(session, *values)` returns or yields `{component: value}`.

        A parameter of `run` named `event` is given the gr.EventData.  Errors
        are shown in `notice`, which a success clears.  Whatever runs the model
        passes concurrency_id="model".
        """
        return gr.on(
            triggers if isinstance(triggers, list) else [triggers],
            self._guarded(run, notice),
            list(inputs),
            [*outputs, notice],
            api_visibility="private",
            concurrency_id=concurrency_id,
            concurrency_limit=1 if concurrency_id else None,
            **event,
        )

    def when_video_changes(self, run: Callable[..., Updates], inputs: Sequence[Any] = (), outputs: Sequence[Any] = (), *, notice: gr.HTML) -> None:
        """Let `run(session, *values)` clear what was shown of the last video; it is quick, runs no model and waits for none.

        `wire_video_change` makes one event of all: the page handles every event of
        its own by a pass over all components, which made ten of them a second long.
        """
        self.followers.append((self._guarded(run, notice), list(inputs), [*outputs, notice]))

    def wire_video_change(self) -> None:
        """Wire what `when_video_changes` was told, once all tabs are built."""
        inputs = list(dict.fromkeys(part for _, wanted, _ in self.followers for part in wanted))
        outputs = list(dict.fromkeys(part for _, _, changed in self.followers for part in changed))

        def other_video(request: gr.Request, *values: Any) -> Updates:
            given = dict(zip(inputs, values, strict=True))
            return {part: update for run, wanted, _ in self.followers for part, update in run(request, *(given[part] for part in wanted)).items()}

        self.video_changed.change(
            other_video, inputs, outputs, api_visibility="private", concurrency_limit=None, show_progress="hidden"
        )  # fmt: skip

    def after(self, event: Any, run: Callable[..., Any], inputs: Sequence[Any] = (), outputs: Sequence[Any] = (), *, notice: gr.HTML) -> Any:
        """Wire `run(session, *values)` to follow what `on` returned, quietly; the values are those of then."""
        return event.then(
            self._guarded(run, notice), list(inputs), [*outputs, notice], api_visibility="private", concurrency_limit=None, show_progress="hidden"
        )  # fmt: skip

    def stops(self, button: gr.Button) -> None:
        """`button` asks the running callback of its session to stop: it sees `session.stop.is_set()`."""

        def stop(request: gr.Request) -> None:
            self.sessions.get(str(request.session_hash)).stop.set()

        button.click(stop, queue=False, api_visibility="private")

    def seek(self, seconds: float) -> Updates:
        """The update that moves the player to a time."""
        return {self.player: gr.Video(playback_position=seconds)}

    def follows_question(self, box: gr.Textbox) -> None:
        """`box` takes over what is asked in the Ask tab."""
        self.question.change(fn=None, js="(asked) => asked", inputs=[self.question], outputs=[box], api_visibility="private")

    def follows_choices(self, box: gr.Textbox) -> None:
        """`box` takes over the answers to choose from in the Ask tab; it is empty for other kinds of question."""
        choices = f"(mode, texts) => mode == {json.dumps(CHOICE)} ? texts : ''"
        changed = [self.mode.change, self.texts.change]
        gr.on(changed, fn=None, js=choices, inputs=[self.mode, self.texts], outputs=[box], api_visibility="private")

    def _guarded(self, run: Callable[..., Any], notice: gr.HTML) -> Callable[..., Any]:
        wants_event = "event" in inspect.signature(run).parameters

        def call(request: gr.Request, values: tuple[Any, ...]) -> Any:
            session = self.sessions.get(str(request.session_hash))
            return run(session, *values[1:], event=values[0]) if wants_event else run(session, *values)

        def once(request: gr.Request, *values: Any) -> Updates:
            try:
                return {notice: "", **call(request, values)}
            except Exception as error:  # noqa: BLE001  the page must not show a traceback
                return {notice: notice_html(explain(error))}

        def stream(request: gr.Request, *values: Any) -> Iterator[Updates]:
            try:
                for updates in call(request, values):
                    yield {notice: "", **updates}
            except Exception as error:  # noqa: BLE001
                yield {notice: notice_html(explain(error))}

        wrapper = stream if inspect.isgeneratorfunction(inspect.unwrap(run)) else once
        wrapper.__name__ = getattr(run, "__name__", "callback")
        if wants_event:
            _takes_event(wrapper)
        return wrapper


def _takes_event(wrapper: Any) -> None:
    """Let Gradio, which goes by the signature, pass the event as the second argument."""
    signature = inspect.signature(wrapper)
    request, *rest = signature.parameters.values()
    event = inspect.Parameter("event", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.EventData)
    wrapper.__signature__ = signature.replace(parameters=[request, event, *rest])
    wrapper.__annotations__ = {**wrapper.__annotations__, "event": gr.EventData}


def explain(error: Exception) -> str:
    """What the user may read of an error: what, why and what to do, and never a path of the server."""
    if isinstance(error, gr.Error):
        return str(error.message)
    if isinstance(error, ValueError):  # VideoError is one; their messages are written for users
        return SERVER_PATH.sub(r"\1", " ".join(str(error).split()))
    from clipbert.memory import is_out_of_memory

    if is_out_of_memory(error):
        log.error("out of memory", exc_info=error)
        _free_memory(error)
        return "there is not enough memory for this; lower Clips (N_test) or Frames per clip (T) in the settings, then ask again."
    number = secrets.token_hex(4)
    log.error("error %s", number, exc_info=error)
    return f"something went wrong that is not your fault (error {number}); the server's log has the details under this number."


def _free_memory(error: Exception) -> None:
    """Give back what the failed work still holds, so that the next call finds room."""
    import torch

    traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def explained(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for an API endpoint: its errors reach the client as one clear line."""

    @functools.wraps(function)
    def wrapper(*args: Any, **settings: Any) -> Any:
        try:
            return function(*args, **settings)
        except Exception as error:
            raise gr.Error(explain(error), print_exception=False) from error

    return wrapper


def notice_html(text: str, level: str = "bad") -> str:
    """A message in the page: level "bad" (error), "note" or "loading"."""
    label = {"bad": "Not possible", "note": "Note", "loading": "Wait"}[level]
    return f'<div class="notice {level}" role="{"alert" if level == "bad" else "status"}"><b>{label}:</b> {html.escape(text)}</div>'
