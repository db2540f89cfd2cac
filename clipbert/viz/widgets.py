"""The explorer in a notebook: core ipywidgets, which JupyterLab 4, Notebook 7 and VS Code draw alike.

    ex = Explorer(Predictor.from_pretrained("real"), "a.mp4", "what animal is it?")
    ex                                    # the last line of a cell: controls, a picture, a table
    ex.result.answer, ex.attribution      # plain Python objects, always those on show

The picture and the table are ordinary outputs of the cell, renewed with every
answer, so they stay when the kernel is gone: on GitHub, in nbviewer, after
nbconvert, in a reopened notebook.  A change is asked 0.3 s after the last one;
what was under way for an older one is dropped, and never shown.
"""

import html
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import ipywidgets as widgets
from IPython.display import HTML, DisplayHandle, Image, display

from clipbert.config import check_known
from clipbert.encoding import Progress
from clipbert.predict import Predictor
from clipbert.session import ExplorerSession, SessionResult
from clipbert.session_file import extract_video, load_session, save_session
from clipbert.types import Attribution
from clipbert.viz.clip_timeline import lane_name
from clipbert.viz.controls import ROWS, SETTINGS, controls_for, named_videos, upload_button, values_of
from clipbert.viz.export import to_table
from clipbert.viz.snapshot import Explained, explain, snapshot, snapshot_rows
from clipbert.viz.style import plain

DEBOUNCE_SECONDS = 0.3
NO_KERNEL = "The explorer's controls need a running kernel; below stands what they last showed."
BUSY, DONE, WRONG = "#9a6700", "#1a7f37", "#cf222e"


class Stopped(Exception):
    """The question under way is no longer wanted."""


class Explorer:
    """A question about a video with all that decides its answer, to be changed by hand.

    `videos` is a file, several, or name -> file.  `choices` make the question
    multiple choice; without a question they are texts to match.  `method` is one
    of `clipbert.attribution.METHODS`; those of frames, cells and words look into
    `clip` (counted from 1; 0: the one that contributed most).  Settings not given
    are the model's own.  `controls` are the widgets by name; setting their
    `value` asks again, and `wait()` returns once that is answered.  The first
    question is asked at once, unless `result` has its answer.  Raises ValueError
    as `Predictor.answer` and `attribute` do.
    """

    def __init__(
        self, predictor: Predictor, videos: str | Path | Iterable[str | Path] | Mapping[str, str | Path], question: str = "", *,
        choices: Iterable[str] = (), method: str = "clip_shapley", target: str = "", clip: int = 0, result: SessionResult | None = None,
        **settings: Any,
    ) -> None:  # fmt: skip
        for name in settings:
            check_known("setting", name, SETTINGS)
        self.predictor, self.result, self.explained = predictor, result, None
        self.message, self._videos, self._folder = "", named_videos(videos), Path(tempfile.mkdtemp(prefix="clipbert-explorer-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        asked = {"question": question, "choices": "\n".join(choices), "method": method, "target": target, "clip": clip}
        self.controls = controls_for(list(self._videos), {**vars(predictor.sampling), **settings, **asked})
        self._handles: list[DisplayHandle] = []
        self._timelines: list[Any] = []
        self._request, self._timer, self._working, self._idle = 0, None, threading.Lock(), threading.Event()
        self._state, self._stop = widgets.HTML(), widgets.Button(description="Stop", disabled=True, icon="stop")
        self._save, self._open = widgets.Button(description="Save session", icon="save"), upload_button()
        if result is None:
            self._ask(self._request)
        elif self._has_video():
            self.explained = self._explain(result)
        self._show()
        self._idle.set()
        self._listen()

    def _listen(self) -> None:
        for control in self.controls.values():
            control.observe(self._changed, "value")
        self._stop.on_click(lambda _: self.stop())
        self._save.on_click(lambda _: self._try(self._save_beside))
        self._open.observe(lambda change: self._try(lambda: self._opened(change["new"])), "value")

    @property
    def session(self) -> ExplorerSession | None:
        """Of the answer on show."""
        return self.result.session if self.result else None

    @property
    def attribution(self) -> Attribution | None:
        """On show beside the answer; None where a reopened session has no video to look into."""
        return self.explained.attribution if self.explained else None

    @classmethod
    def load(cls, path: str | Path, *, predictor: Predictor | None = None, video: str | Path | None = None, **about: Any) -> "Explorer":
        """A session zip, of this explorer or of the app.

        Without `predictor` the model is loaded by its name.  Without `video` the
        one in the zip is used; where there is none, the saved answer is shown,
        and asking anew says so.  `about` is as of the class (`method`, ...).
        Raises ValueError for a file that is no session, and for another model.
        """
        result, folder = load_session(path), Path(tempfile.mkdtemp(prefix="clipbert-session-"))
        session = result.session
        predictor = predictor or Predictor.from_pretrained(session.model)
        try:
            if video := video or extract_video(path, folder):
                result = session.run(predictor, video)
            settings = values_of(session)
            choices = settings.pop("choices").splitlines()
            explorer = cls(predictor, {session.video: video or ""}, **settings, choices=choices, **about, result=result)
        except BaseException:
            shutil.rmtree(folder)
            raise
        weakref.finalize(explorer, shutil.rmtree, folder, ignore_errors=True)
        return explorer

    def save(self, path: str | Path, *, with_video: bool = False) -> None:
        """The answer on show as a session zip, which `load` and the app open.  Raises ValueError where it cannot be written."""
        assert self.result is not None
        save_session(self.result, path, video=self._path() if with_video else None)

    def to_app(self, address: str = "http://127.0.0.1:7860") -> str:
        """The link at which a running app (`make app`) is set to ask the same; the video is to be opened there."""
        session = self.session
        assert session is not None
        short = {"num_clips": "n", "num_frames": "t"}
        pairs = [(short.get(name, name), str(getattr(session, name))) for name in SETTINGS]
        asked = [("task", session.task), ("question", session.question), *(("text", text) for text in session.candidates)]
        return f"{address}/?{urlencode([(name, value) for name, value in pairs + asked if value])}"

    def timeline(self) -> widgets.DOMWidget:
        """The app's clip timeline, for a cell of its own: a clip of the policy in use is looked into when chosen.  Needs the package anywidget."""
        from clipbert.viz.timeline_widget import ClipTimeline

        timeline = ClipTimeline()
        timeline.observe(lambda change: self._look_into(*change["new"]), "chosen")
        self._timelines.append(timeline)
        self._draw(timeline)
        return timeline

    def _draw(self, timeline: Any) -> None:
        if self.session is not None and self._has_video():
            timeline.draw(self.session, self._path())

    def _look_into(self, lane: str, index: int) -> None:
        if self.session is not None and lane == lane_name(self.session.policy, self.session.seed):
            self.controls["clip"].value = index + 1

    def stop(self) -> None:
        """Give up the question under way, within one clip; the answer on show stays."""
        self._request += 1
        if self._timer is not None:
            self._timer.cancel()
        self._say("stopped", DONE)
        self._idle.set()

    def wait(self, seconds: float = 60.0) -> bool:
        """Whether nothing is under way any more, within this time."""
        return self._idle.wait(seconds)

    def _changed(self, _: Any) -> None:
        self._request += 1
        if self._timer is not None:
            self._timer.cancel()
        self._idle.clear()
        self._say("waiting for the last change", BUSY)
        self._timer = threading.Timer(DEBOUNCE_SECONDS, self._work, (self._request,))
        self._timer.daemon = True
        self._timer.start()

    def _work(self, number: int) -> None:
        with self._working:
            self._try(lambda: self._answer(number), number)
            if number == self._request:
                self._idle.set()

    def _answer(self, number: int) -> None:
        self._ask(number)
        self._show()

    def _try(self, work: Callable[[], None], number: int | None = None) -> None:
        """Do it; what goes wrong is told in the widget, and not at all where a newer question has come."""
        try:
            work()
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  whoever looks at the widget must be told, and its thread has no other reader
            if number in (None, self._request):
                self._say(str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}", WRONG)

    def _ask(self, number: int) -> None:
        """The answer to what the controls say, kept unless a newer question has come.  Raises ValueError, or Stopped."""
        value, path = {name: control.value for name, control in self.controls.items()}, self._path()
        choices = tuple(line.strip() for line in value["choices"].splitlines() if line.strip())
        question = value["question"].strip()
        session = ExplorerSession.of(
            self.predictor, path, question, task="open" if not choices else "choices" if question else "match", candidates=choices,
            **{name: value[name] for name in SETTINGS},
        )  # fmt: skip
        result = session.run(self.predictor, path, progress=self._progress(number))
        explained = self._explain(result)
        if number != self._request:
            raise Stopped
        self.result, self.explained = result, explained

    def _explain(self, result: SessionResult) -> Explained:
        """What the chosen method says of an answer.  Raises ValueError."""
        return explain(self.predictor, result, self._path(), **{name: self.controls[name].value for name in ("method", "target", "clip")})

    def _progress(self, number: int) -> Progress:
        def heard(stage: str, done: int, total: int) -> None:
            if number != self._request:
                raise Stopped
            self._say(f"{stage}: {done} of {total}", BUSY)

        return heard

    def _has_video(self) -> bool:
        return self._videos[self.controls["video"].value] != Path()

    def _path(self) -> Path:
        if not self._has_video():
            raise ValueError("this session came without its video; open it again with video=, or open the video here.")
        return self._videos[self.controls["video"].value]

    def _opened(self, files: Any) -> None:
        """A video joins the list and is asked about; a session zip takes the place of what is on show."""
        for file in files:
            path = self._folder / Path(file["name"]).name
            path.write_bytes(file["content"])
            if path.suffix == ".zip":
                loaded = Explorer.load(path, predictor=self.predictor)
                self._videos |= loaded._videos
                self._set(loaded.result, loaded.explained)
                self._show()
            else:
                self._videos[path.name] = path
                self.controls["video"].options = list(self._videos)
                self.controls["video"].value = path.name

    def _set(self, result: SessionResult | None, explained: Explained | None) -> None:
        """Show an answer, and what was asked for it, without asking."""
        assert result is not None
        values = {**values_of(result.session), "video": result.session.video}
        for name, control in self.controls.items():
            control.unobserve(self._changed, "value")
            if name == "video":
                control.options = list(self._videos)
            control.value = values.get(name, control.value)
            control.observe(self._changed, "value")
        self.result, self.explained = result, explained

    def _save_beside(self) -> None:
        assert self.result is not None
        path = Path(f"{Path(self.result.session.video).stem}-session.zip")
        self.save(path)
        self._say(f"wrote {path.resolve()}", DONE)

    def _say(self, text: str, color: str) -> None:
        self.message = plain(text)
        self._state.value = f'<span role="status" style="color:{color}">{html.escape(self.message)}</span>'
        self._stop.disabled = color != BUSY

    def _show(self) -> None:
        """Renew the picture and the table, and say what was answered."""
        assert self.result is not None
        best = float(self.result.scores[self.result.candidates.index(self.result.answer)])
        score = f"{best:+.2f} log-odds" if self.result.session.task == "match" else f"{100 * best:.0f} %"
        doubt = "" if self.result.sure else "not sure; perhaps: "
        self._say("; ".join((f"{doubt}{self.result.answer} ({score}, model {self.result.session.model})", *self.result.notices)), DONE)
        if self._handles:
            for handle, shown in zip(self._handles, self._shown(), strict=True):
                handle.update(shown)
        for timeline in self._timelines:
            self._draw(timeline)

    def _shown(self) -> tuple[Image, HTML]:
        assert self.result is not None
        asked = self.result.session.question or "Which text describes the video?"
        caption = f"{asked} {self.result.answer} (model {self.result.session.model})"
        picture = Image(data=snapshot(self.result, self.explained), format="png", alt=caption)
        return picture, HTML(to_table(snapshot_rows(self.result, self.explained), caption))

    def _ipython_display_(self) -> None:
        lines = [widgets.HBox([self.controls[name] for name in row]) for row in ROWS]
        box = widgets.VBox([*lines, widgets.HBox([self._stop, self._save, self._open]), self._state])
        display((box._repr_mimebundle_() or {}) | {"text/plain": NO_KERNEL}, raw=True)
        self._handles = [handle for shown in self._shown() if (handle := display(shown, display_id=True))]
