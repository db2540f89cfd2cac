"""A question being answered clip by clip, with what the page shows of it."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

    from clipbert.edits import Footage
    from clipbert.predict import Predictor
    from clipbert.sampling import ClipTimes
    from clipbert.sampling_config import SamplingConfig
    from clipbert.types import EncodedVideo, Prediction

OPEN, CHOICE, MATCH = "Open question", "Multiple choice", "Caption match"
MODES = (OPEN, CHOICE, MATCH)
FRAMES_SHOWN = 2


@dataclass(frozen=True)
class Question:
    """What is asked: `texts` are the choices or the captions."""

    mode: str
    text: str
    texts: tuple[str, ...] = ()

    @classmethod
    def written(cls, mode: str, text: str | None, listed: str | None) -> "Question":
        """Of what stands in the page's boxes, where `listed` has a text on each line."""
        return cls(mode, text or "", () if mode == OPEN else tuple(one_a_line(listed)))

    def answer(self, predictor: "Predictor", video: "EncodedVideo", aggregation: str, seed: int) -> "Prediction":
        """The prediction; where every clip's logits are known it runs no model.  Raises ValueError like Predictor's methods."""
        if self.mode == MATCH:
            if not self.texts:
                raise ValueError("there is no caption; write one on each line.")
            return predictor.match_prediction(video, self.texts, aggregation=aggregation, seed=seed)
        choices = list(self.texts) if self.mode == CHOICE else None
        return predictor.answer(video, self.text, choices=choices, aggregation=aggregation, seed=seed)

    def same_as(self, other: "Question") -> bool:
        """Whether the model is asked the same."""
        return (self.mode, self.spoken()) == (other.mode, other.spoken())

    def spoken(self) -> tuple[str, ...]:
        """The texts whose pieces the model reads."""
        return self.texts if self.mode == MATCH else (self.text, *self.texts)


@dataclass(frozen=True)
class Asked:
    """A question's result so far.  `pictures[n]` are clip n's frames as the model sees them, as images for the page.

    One read from a saved session has no `video` and no `footage`.  `origin` is a sentence on
    where a finished result comes from.
    """

    question: Question
    video: "EncodedVideo | None"
    spans: "Tensor"  # float64[N, 2]
    prediction: "Prediction"
    pictures: tuple[tuple["Picture", ...], ...]
    model: str
    sampling: "SamplingConfig"
    num_done: int
    num_planned: int
    num_reused: int
    stopped: bool = False
    origin: str = ""
    footage: "Footage | None" = None

    @property
    def finished(self) -> bool:
        return self.num_done == self.num_planned and not self.stopped

    def left_out(self) -> "tuple[ClipTimes, ...]":
        """The clips that were tried and could not be decoded."""
        if self.video is None or self.footage is None:
            return ()
        seen = {tuple(times) for times in self.video.times.tolist()}
        return tuple(clip for clip in self.footage.clips[: self.num_done] if tuple(clip.times.tolist()) not in seen)

    def own_votes(self) -> list[tuple[str, float]]:
        """Each clip's own answer with its probability; for captions, how likely the one that fits the video best fits this clip."""
        found, match = self.prediction, self.question.mode == MATCH
        own = found.clip_logits.sigmoid() if match else found.clip_logits.softmax(dim=-1)
        places = [found.candidates.index(found.answer)] * len(own) if match else own.argmax(dim=-1).tolist()
        return [(found.candidates[j], float(clip[j])) for j, clip in zip(places, own, strict=True)]


@dataclass(frozen=True)
class Picture:
    """A frame at the model's resolution, and the shares of its square that are not padding."""

    source: str
    width: float
    height: float


def ask_stream(predictor: "Predictor", path: Path, question: Question, **settings: Any) -> Iterator[Asked]:
    """The result after each clip; settings (num_clips, ..., aggregation, seed) not given are the model's own.

    Closing the iterator ends the work.  Raises VideoError and ValueError.
    """
    from clipbert.edits import footage

    yield from ask_footage(predictor, footage(predictor, path, **settings), question)


def ask_footage(predictor: "Predictor", shown: "Footage", question: Question) -> Generator[Asked]:
    """`ask_stream` of clips as they may have been edited."""
    sampling = shown.sampling
    image_size = predictor.model.image_size
    pictures: list[tuple[Picture, ...]] = []
    for step in shown.stream(predictor):
        if step.frames is not None:
            pictures.append(tuple(picture(frame, image_size) for frame in step.frames[:FRAMES_SHOWN]))
        prediction = question.answer(predictor, step.video, sampling.aggregation, sampling.seed)
        yield Asked(
            question, step.video, step.video.spans, prediction, tuple(pictures), predictor.model.name, sampling, step.num_done, step.num_planned,
            step.num_reused, footage=shown,
        )  # fmt: skip


def picture(frame: "Tensor", image_size: int) -> Picture:
    """The frame as the model sees it: scaled so that the longer side is `image_size`, padded right or below."""
    from clipbert.processing import resized
    from clipbert.viz.strip import frame_image

    height, width = resized(frame.shape[-2], frame.shape[-1], image_size)
    return embedded(frame_image(frame, (width, height)), image_size)


def embedded(image: Image.Image, image_size: int) -> Picture:
    """An image that has the model's resolution already, for the page."""
    from clipbert.viz.strip import data_url

    return Picture(data_url(image), image.width / image_size, image.height / image_size)


def one_a_line(text: str | None) -> list[str]:
    """The texts of a box that has one on each line."""
    return [line.strip() for line in (text or "").splitlines() if line.strip()]
