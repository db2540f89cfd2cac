"""Results as plain values for JSON: what the commands print and the app's endpoints return, made in one place."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipbert.config import SamplingConfig
    from clipbert.predict import Predictor, SweepRow
    from clipbert.types import Attribution, EncodedVideo, Prediction


def answer_result(predictor: "Predictor", video: "EncodedVideo", prediction: "Prediction", question: str, seed: int) -> dict[str, Any]:
    """The answer with every candidate's score and every clip's own vote and contribution."""
    own = prediction.clip_logits.softmax(dim=-1)
    clips = [
        {
            "start": round(float(start), 6),
            "end": round(float(end), 6),
            "times": video.times[n].tolist(),
            "answer": prediction.candidates[int(own[n].argmax())],
            "scores": own[n].tolist(),
            "contribution": float(prediction.contribution[n]),
            "shortened": video.shortened[n],
        }
        for n, (start, end) in enumerate(video.spans.tolist())
    ]
    return {
        "answer": prediction.answer,
        "candidates": list(prediction.candidates),
        "scores": prediction.scores.tolist(),
        "aggregation": prediction.aggregation,
        "sure": prediction.sure,
        "model": predictor.model.name,
        "clips": clips,
        "question": question,
        "policy": video.policy,
        "seed": seed,
        "duration": video.duration,
        "partial": video.partial,
        "notices": list(prediction.notices),
    }


def attribution_result(predictor: "Predictor", video: "EncodedVideo", found: "Attribution", question: str) -> dict[str, Any]:
    """Each clip's value, and how far the values are from adding up to the whole score (None for a method that does not promise it)."""
    from clipbert.attribution import METHODS

    assert found.clips is not None
    spans = [{"start": round(start, 6), "end": round(end, 6)} for start, end in video.spans.tolist()]
    return {
        "question": question,
        "target": found.target,
        "method": found.method,
        "unit": METHODS[found.method].unit,
        "value_function": found.value_function,
        "gap": found.gap,
        "model": predictor.model.name,
        "clips": [span | {"value": value} for span, value in zip(spans, found.clips.tolist(), strict=True)],
        "notices": list(video.notices),
    }


def sample_result(video: str, settings: "SamplingConfig", *, backend: str | None = None) -> dict[str, Any]:
    """The clips and source frames that the settings pick from a video file.  Raises VideoError."""
    import torch

    from clipbert.sampling import sample_clips
    from clipbert.video import Video

    with Video.open(video, backend=backend) as opened:
        timeline, notices = opened.timeline, list(opened.notices)
    clips = sample_clips(
        timeline, num_clips=settings.num_clips, num_frames=settings.num_frames, fps=settings.fps, policy=settings.policy,
        generator=torch.Generator().manual_seed(settings.seed),
    )  # fmt: skip
    rows = [
        {"start": clip.start, "end": clip.end, "times": clip.times.tolist(), "frames": clip.frame_index.tolist(), "shortened": bool(clip.shortened)}
        for clip in clips
    ]
    return {
        "clips": rows,
        "duration": timeline.duration,
        "fps": timeline.fps,
        "num_frames": timeline.num_frames,
        "policy": settings.policy,
        "seed": settings.seed,
        "notices": notices,
    }


def sweep_result(predictor: "Predictor", question: str, rows: "Sequence[SweepRow]", note: str) -> dict[str, Any]:
    """The answer and score at each N_test x aggregation."""
    return {"question": question, "model": predictor.model.name, "rows": [vars(row) for row in rows], "note": note}
