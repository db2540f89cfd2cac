"""One question about one video with all that decides its answer: the same object behind app, command, notebooks and API.

The same session gives the same logits wherever it runs (checked to 1e-5 on one
kind of processor).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from clipbert import __version__
from clipbert.aggregation import AGGREGATIONS
from clipbert.attribution import attribute
from clipbert.config import SamplingConfig, check_known
from clipbert.encoding import Progress
from clipbert.predict import Predictor
from clipbert.sampling import POLICIES
from clipbert.tasks import check_choices, require_text
from clipbert.types import Prediction
from clipbert.viz.strip import SeenFrames

VERSION = 1
TASKS = ("open", "choices", "match")
SAME_LOGITS = 1e-5


@dataclass(frozen=True)
class ExplorerSession:
    """What was asked of what, and how the video was looked at."""

    video: str
    """The file's name, without folders."""
    video_hash: str
    """SHA-256 of all of the file."""
    question: str
    """Empty for "match"."""
    task: str
    """"open" (the model's own answers), "choices" (among `candidates`) or "match" (a score for each of `candidates`)."""
    candidates: tuple[str, ...]
    """Choices, or texts to match; empty for "open"."""
    num_clips: int
    num_frames: int
    fps: float
    policy: str
    seed: int
    aggregation: str
    model: str
    fingerprint: str
    """Of the model's weights and settings."""
    code_version: str = __version__
    """Of the package that made the session; others may read it."""

    def __post_init__(self) -> None:
        check_known("task of a session", self.task, TASKS)
        check_known("policy", self.policy, tuple(POLICIES))
        check_known("aggregation", self.aggregation, AGGREGATIONS)
        SamplingConfig(self.num_clips, self.num_frames, self.fps, self.policy, self.aggregation, self.seed)
        if self.task == "open" and self.candidates:
            raise ValueError(f'a session of task "open" has no candidates, got {len(self.candidates)}; use task "choices".')
        if self.task == "choices":
            check_choices(self.candidates)
        if self.task == "match":
            if not self.candidates or self.question:
                raise ValueError('a session of task "match" has candidates, the texts to match, and no question.')
            for text in self.candidates:
                require_text(text, "text")
        else:
            require_text(self.question, "question")

    @classmethod
    def of(
        cls, predictor: Predictor, video: str | Path, question: str = "", *, task: str = "open", candidates: Sequence[str] = (),
        num_clips: int | None = None, num_frames: int | None = None, fps: float | None = None, policy: str | None = None,
        seed: int | None = None, aggregation: str | None = None,
    ) -> "ExplorerSession":  # fmt: skip
        """The session of a question; settings not given are the model's own.  Raises ValueError."""
        given = {"num_clips": num_clips, "num_frames": num_frames, "fps": fps, "policy": policy, "seed": seed, "aggregation": aggregation}
        settings = replace(predictor.sampling, **{name: value for name, value in given.items() if value is not None})
        return cls(
            video=Path(video).name, video_hash=video_hash(video), question=question, task=task, candidates=tuple(candidates),
            model=predictor.model.name, fingerprint=predictor.model.fingerprint, **asdict(settings),
        )  # fmt: skip

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ExplorerSession":
        """The session that `to_json` wrote.  Raises ValueError for anything else, naming what is wrong."""
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"a session must be JSON: {error}.") from error
        if not isinstance(values, dict):
            raise ValueError(f"a session must be a JSON object, got a {type(values).__name__}.")
        version = values.pop("version", None)
        if version != VERSION:
            raise ValueError(f"this package reads sessions of version {VERSION}, got {version!r}; a newer package may read it.")
        names = tuple(f.name for f in fields(cls))
        for name in values:
            check_known("key of a session", name, names)
        if missing := [name for name in names if name not in values]:
            raise ValueError(f"the session lacks {', '.join(missing)}.")
        return cls(**{f.name: _typed(f.name, values[f.name], f.type) for f in fields(cls)})

    def run(self, predictor: Predictor, video: str | Path, *, progress: Progress | None = None) -> "SessionResult":
        """Asked (again): of the video and the model that the session names.

        Raises ValueError if either is another one, and as `Predictor.encode` and `answer` do.
        """
        if predictor.model.fingerprint != self.fingerprint:
            raise ValueError(
                f"the session was made with model {self.model} ({self.fingerprint}), this is {predictor.model.name} ({predictor.model.fingerprint}); "
                "load that model, or start a new session with this one."
            )
        if video_hash(video) != self.video_hash:
            raise ValueError(f"the session is about {self.video}, and {Path(video).name} has other content; give that file.")
        encoded = predictor.encode(
            video, num_clips=self.num_clips, num_frames=self.num_frames, fps=self.fps, policy=self.policy, seed=self.seed, progress=progress
        )
        seen = SeenFrames(*predictor.clip_pictures(video, encoded))
        about = {"session": self, "times": encoded.times, "spans": encoded.spans, "duration": encoded.duration, "seen": seen}
        if self.task == "match":
            scores = predictor.match(encoded, self.candidates, aggregation=self.aggregation)
            best = int(scores.argmax())
            share = attribute(predictor, encoded, self.candidates[best], task="match", aggregation=self.aggregation, seed=self.seed).clips
            assert share is not None
            return SessionResult(
                answer=self.candidates[best], candidates=self.candidates, scores=scores, clip_logits=predictor.clip_match(encoded, self.candidates).T,
                contribution=share, sure=True,
                notices=(*encoded.notices, *predictor.text_notices(self.candidates)), **about,
            )  # fmt: skip
        choices = self.candidates if self.task == "choices" else None
        prediction = predictor.answer(encoded, self.question, choices=choices, aggregation=self.aggregation, seed=self.seed)
        return SessionResult(
            answer=prediction.answer, candidates=prediction.candidates, scores=prediction.scores, clip_logits=prediction.clip_logits,
            contribution=prediction.contribution, sure=prediction.sure, notices=prediction.notices, **about,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class SessionResult:
    """What the model said in a session, with the frames it saw.

    `scores` are probabilities over the candidates; for "match" log-odds of each.
    `clip_logits[n]` is clip n's own vote; `contribution` its Shapley value for `answer`, in nats.
    """

    session: ExplorerSession
    answer: str
    candidates: tuple[str, ...]
    scores: Tensor  # float[K]
    clip_logits: Tensor  # float[N, K]
    contribution: Tensor  # float[N]
    times: Tensor  # float64[N, T]
    spans: Tensor  # float64[N, 2]
    duration: float
    sure: bool
    notices: tuple[str, ...]
    seen: SeenFrames = field(repr=False)

    def __post_init__(self) -> None:
        num_clips, num_frames = self.times.shape
        shapes = (self.scores.shape, self.clip_logits.shape, self.contribution.shape, self.spans.shape, self.seen.frames.shape[:2])
        num_candidates = len(self.candidates)
        if shapes != ((num_candidates,), (num_clips, num_candidates), (num_clips,), (num_clips, 2), (num_clips, num_frames)):
            raise ValueError(f"the parts of a result do not fit {num_clips} clips of {num_frames} frames and {num_candidates} candidates: {shapes}.")
        if self.answer not in self.candidates:
            raise ValueError(f"answer {self.answer!r} is not among the {num_candidates} candidates.")

    @property
    def prediction(self) -> Prediction:
        """For pictures of an answer.  Raises ValueError for "match", which has scores and no answer."""
        if self.session.task == "match":
            raise ValueError("a match has a score for each text and no answer; read `scores`.")
        return Prediction(
            self.answer,
            self.candidates,
            self.scores,
            self.clip_logits,
            self.contribution,
            self.times,
            self.session.aggregation,
            self.sure,
            self.notices,
        )

    def difference(self, other: "SessionResult") -> float:
        """Largest difference of a clip logit: below SAME_LOGITS for two runs of a session on one kind of processor."""
        if self.clip_logits.shape != other.clip_logits.shape:
            raise ValueError(f"results of different size cannot be compared: {tuple(self.clip_logits.shape)} and {tuple(other.clip_logits.shape)}.")
        return float((self.clip_logits - other.clip_logits).abs().max())


def video_hash(video: str | Path) -> str:
    """SHA-256 of all of a file, whatever its name and dates.  Raises ValueError if it cannot be read."""
    try:
        with Path(video).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"cannot read {Path(video).name}: {error.strerror or error}.") from error


_KINDS = {str: (str, "text"), int: (int, "a whole number"), float: ((int, float), "a number"), tuple[str, ...]: (list, "a list of texts")}


def _typed(name: str, value: Any, kind: Any) -> Any:
    wanted, words = _KINDS[kind]
    if isinstance(value, bool) or not isinstance(value, wanted) or (isinstance(value, list) and not all(isinstance(text, str) for text in value)):
        raise ValueError(f"{name} of a session must be {words}, got {value!r:.80}.")
    return tuple(value) if isinstance(value, list) else float(value) if kind is float else value
