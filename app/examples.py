"""The bundled examples: real footage that packages of the lock ship, one for each kind of question, answered in advance."""

import logging
import shutil
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from app.asking import MATCH, OPEN, Asked, Question, ask_stream
from app.engine import HEAD_START_SECONDS

if TYPE_CHECKING:
    from clipbert.predict import Predictor

log = logging.getLogger(__name__)
GIF_SIZE = (180, 320)  # width, height: portrait


@dataclass(frozen=True)
class Example:
    """A video with a question, or with captions to choose the fitting one from."""

    name: str
    case: str
    path: Path
    question: str
    captions: tuple[str, ...] = ()
    poster_at: float = 0.5  # of its duration
    answers: tuple[str, ...] = ()  # right ones, as anybody can see; none where a caption is asked for

    @property
    def asks(self) -> Question:
        return Question(MATCH if self.captions else OPEN, self.question, self.captions)


class Examples:
    """The examples, written to `folder` in the background when first waited for, and their results once `answer_all` has run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._wanted = folder, threading.Event()
        self._prepared: Future[tuple[Example, ...]] = Future()
        self._answered: dict[str, Asked] = {}
        self.why_not: dict[str, ValueError] = {}
        """Of examples that the model cannot answer."""
        self._finished = False
        self._news = threading.Condition()
        threading.Thread(target=self._prepare, name="make examples", daemon=True).start()

    def _prepare(self) -> None:
        self._wanted.wait(HEAD_START_SECONDS)
        try:
            self._prepared.set_result(_examples(self.folder))
        except Exception as error:  # noqa: BLE001  whoever asks for the examples is told
            self._prepared.set_exception(error)

    def all(self) -> tuple[Example, ...]:
        """The examples, waited for.  Raises ValueError where their footage is missing."""
        self._wanted.set()
        return self._prepared.result()

    def named(self, name: str) -> Example:
        return next(example for example in self.all() if example.name == name)

    def poster(self, example: Example) -> Path:
        """The picture that stands for the example."""
        return self.folder / f"{example.name}.jpg"

    def answer_all(self, predictor: "Predictor") -> None:
        """Answer each example in turn; afterwards a click shows its result at once."""
        try:
            for example in self.all():
                self._answer(predictor, example)
        finally:
            with self._news:
                self._finished = True
                self._news.notify_all()

    def _answer(self, predictor: "Predictor", example: Example) -> None:
        try:
            *_, asked = ask_stream(predictor, example.path, example.asks)
        except ValueError as error:  # as of a model that needs choices, for an open question
            log.warning("the example %s is not answered in advance: %s", example.name, error)
            with self._news:
                self.why_not[example.name] = error
                self._news.notify_all()
            return
        with self._news:
            self._answered[example.name] = asked
            self._news.notify_all()

    def answered(self, name: str, *, within_seconds: float) -> Asked | None:
        """The example's result, waited for; None where there will be none."""
        with self._news:
            self._news.wait_for(lambda: self._finished or name in self._answered or name in self.why_not, within_seconds)
            return self._answered.get(name)


def _examples(folder: Path) -> tuple[Example, ...]:
    """The examples, with files and posters that exist in `folder` afterwards."""
    from clipbert.data.footage import demo_videos, pan, photo

    street, reel, car = demo_videos(folder / "made")
    long, gif = folder / "made" / "long.mp4", folder / "made" / "cat.gif"
    if not long.is_file():
        others = ("coffee.png", "rocket.jpg", "coins.png", "hubble_deep_field.jpg", "motorcycle_left.png")
        pan([photo(name) for name in (*others, "chelsea.png", *others)], long, seconds_each=8.0, frames_per_second=5)
    if not gif.is_file():
        _portrait(gif)
    captions = ("a cat", "a man riding a bicycle", "a man in a car", "children on a beach")
    examples = (
        Example("street", "action", street.path, street.question, answers=("bike", "bicycle")),
        Example("reel", "seen only once", reel.path, reel.question, answers=("cat",)),
        Example("car", "one frame tells", car.path, car.question, answers=("suit", "jacket", "tie", "bow tie")),
        Example("captions", "which caption fits", reel.path, "which caption fits?", captions, poster_at=0.9),
        Example("long", "long: 88 s", long, "what animal is it?", poster_at=0.02, answers=("cat",)),
        Example("gif", "portrait GIF", gif, "what animal is it?", answers=("cat",)),
    )
    return tuple(_kept(example, folder) for example in examples)


def _kept(example: Example, folder: Path) -> Example:
    """The example with its file and its poster in `folder`, where the server may serve them from."""
    from clipbert.video import Video
    from clipbert.viz.strip import frame_image

    path = folder / f"{example.name}{example.path.suffix}"
    if not path.is_file():
        shutil.copyfile(example.path, path)
    poster = folder / f"{example.name}.jpg"
    if not poster.is_file():
        with Video.open(path) as video:
            frame = video.frames_at([example.poster_at * video.duration]).frames[0]
        frame_image(frame).save(poster, quality=85)
    return replace(example, path=path)


def _portrait(path: Path) -> None:
    from clipbert.data.footage import photo, window

    with Image.open(photo("chelsea.png")) as opened:
        cat = opened.convert("RGB")
    frames = [window(cat, step / 29, GIF_SIZE) for step in range(30)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)
