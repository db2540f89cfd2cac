"""An answer as a session zip and back: the page shows a reopened one from its own frames, until its video is asked again."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.asking import CHOICE, FRAMES_SHOWN, MATCH, OPEN, Asked, Question, embedded
from clipbert.sampling_config import SamplingConfig

if TYPE_CHECKING:
    from clipbert.predict import Predictor
    from clipbert.session import ExplorerSession, SessionResult
    from clipbert.types import Prediction

MODES = {"open": OPEN, "choices": CHOICE, "match": MATCH}  # a session's task -> what the page calls it


@dataclass(frozen=True)
class Saved:
    """A reopened session: what the page shows of it, and what an answer to it is compared with."""

    session: "ExplorerSession"
    asked: Asked


def session_of(predictor: "Predictor", asked: Asked, video: Path) -> "ExplorerSession":
    """The session that gives this answer again.  Raises ValueError for an answer that is not whole."""
    from clipbert.session import ExplorerSession

    if not asked.finished:
        raise ValueError(f"the answer is of {asked.num_done} of {asked.num_planned} clips; ask again, let it finish, then save it.")
    task = next(task for task, mode in MODES.items() if mode == asked.question.mode)
    question = "" if task == "match" else asked.question.text
    return ExplorerSession.of(predictor, video, question, task=task, candidates=asked.question.texts, **vars(asked.sampling))


def reopened(path: Path, folder: Path, *, largest_bytes: float = math.inf) -> tuple[Saved, Path | None]:
    """The session in a zip, and its video, if the zip has it, written to `folder`.

    Raises ValueError for any other file, and for a video that is not the session's or of more than `largest_bytes`.
    """
    from clipbert.session import video_hash
    from clipbert.session_file import extract_video, load_session
    from clipbert.source import source_of

    saved = shown(load_session(path))
    video = extract_video(path, folder, largest_bytes=largest_bytes)
    if video is not None:
        if video_hash(video) != saved.session.video_hash:
            video.unlink()
            raise ValueError(f"the video in {path.name} is not {saved.session.video}, which its session is about; make the zip again.")
        source_of(video, None).timeline()
    return saved, video


def shown(result: "SessionResult") -> Saved:
    """The result as the page shows it."""
    session, seen = result.session, result.seen
    num_clips, num_frames = result.times.shape
    height, width = seen.size
    side = seen.frames.shape[-1]
    pictures = tuple(
        tuple(embedded(seen.image(n, t).crop((0, 0, width, height)), side) for t in range(min(num_frames, FRAMES_SHOWN))) for n in range(num_clips)
    )
    question = Question(MODES[session.task], session.question, session.candidates)
    settings = SamplingConfig(session.num_clips, session.num_frames, session.fps, session.policy, session.aggregation, session.seed)
    asked = Asked(
        question, None, result.spans, _prediction(result), pictures, session.model, settings, num_clips, num_clips, 0,
        origin=f"From the saved session about {session.video}",
    )  # fmt: skip
    return Saved(session, asked)


def is_about(saved: Saved, video: Path | None) -> bool:
    """Whether the page may show the saved session with this video: its own, or none."""
    from clipbert.session import video_hash

    return video is None or video_hash(video) == saved.session.video_hash


def advice(saved: Saved, fingerprint: str, here: bool) -> str:
    """What the user can do with a reopened session, given the loaded model and whether its video is `here`."""
    if fingerprint != saved.session.fingerprint:
        return f"the session was made with other weights (model {saved.session.model}); asked again, this model may give another answer."
    return "its video is here: Ask runs it again." if here else f"to ask it again, or another question, open {saved.session.video}."


def compared(saved: Saved, session: "ExplorerSession", prediction: "Prediction") -> str:
    """A sentence on how a new answer differs from the saved one; "" where something else was asked, or in another way."""
    from clipbert.session import SAME_LOGITS

    ours, theirs = ({k: v for k, v in vars(each).items() if k not in ("video", "code_version", "model")} for each in (session, saved.session))
    if ours != theirs:
        return ""
    difference = float((prediction.clip_logits - saved.asked.prediction.clip_logits).abs().max())
    verdict = "The same as in the saved session" if difference <= SAME_LOGITS else "Not the same as in the saved session"
    return f"{verdict}: the clips' logits differ by at most {difference:.1g}"


def _prediction(result: "SessionResult") -> "Prediction":
    """Of captions too, whose log-odds become each one's own probability, as `Predictor.match_prediction` has it."""
    from clipbert.types import Prediction

    scores = result.scores.sigmoid() if result.session.task == "match" else result.scores
    return Prediction(
        result.answer, result.candidates, scores, result.clip_logits, result.contribution, result.times, result.session.aggregation, result.sure,
        result.notices,
    )  # fmt: skip
