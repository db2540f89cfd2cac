"""One picture and one table of an answer and its attribution: what a notebook keeps for readers without a kernel."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from clipbert.attribution import METHODS, attribute
from clipbert.predict import Predictor
from clipbert.session import SessionResult
from clipbert.types import Attribution
from clipbert.viz import figures
from clipbert.viz.chart import Chart, Row
from clipbert.viz.strip import COLUMNS, png, strip
from clipbert.viz.style import time_range

DPI = 110
PAGE_WIDTH, COLUMN_WIDTH = round(6.9 * DPI), round(3.3 * DPI)
LARGEST_FRAME = 112
COLORS = 256  # of the picture's palette: a third of the bytes


@dataclass(frozen=True, eq=False)
class Explained:
    """An attribution with what drawing it needs."""

    attribution: Attribution
    left_out: Tensor | None = None
    """float[N]: what the score loses without each clip; of an attribution of clips."""
    pixels: Tensor | None = None
    """uint8[3, H, W]: the explained clip's first frame, at the source's size; of an attribution of cells."""


def explain(predictor: Predictor, result: SessionResult, path: Path, *, method: str, target: str = "", clip: int = 0) -> Explained:
    """What a method says of an answer about the video in `path`: of `target`, or the answer itself.

    Methods of frames, cells and words look into `clip`, counted from 1; 0: the one that contributed most.  Raises ValueError.
    """
    session = result.session
    video = predictor.encode(
        path, num_clips=session.num_clips, num_frames=session.num_frames, fps=session.fps, policy=session.policy, seed=session.seed
    )
    text, task = (session.question, "answer") if session.task != "match" else (result.answer, "match")
    asked: dict[str, Any] = {
        "task": task, "target": target.strip() or None, "choices": session.candidates if session.task == "choices" else None,
        "aggregation": session.aggregation, "seed": session.seed,
    }  # fmt: skip
    if METHODS[method].level == "clips":
        left_out = attribute(predictor, video, text, method="clip_leave_one_out", **asked).clips
        return Explained(attribute(predictor, video, text, method=method, **asked), left_out)
    index = clip - 1 if clip else int(result.contribution.argmax())
    found = attribute(predictor, video, text, method=method, clips=[index], file=path, **asked)
    return Explained(found, pixels=predictor.clip_frames(path, video, index)[0] if found.level == "cells" else None)


def snapshot(result: SessionResult, explained: Explained | None = None) -> bytes:
    """A PNG: the frames that the model saw, each clip's vote under them; the answers; each clip in time; the attribution."""
    votes = [result.candidates[n] for n in result.clip_logits.argmax(dim=1).tolist()]
    num_frames = result.times.shape[1]
    columns = max(1, min(len(result.times), COLUMNS, 16 // num_frames))
    side = min(LARGEST_FRAME, (PAGE_WIDTH - 8 * columns - 8) // (columns * num_frames) - 1)
    parts = [strip(result.seen, result.spans, side=side, captions=votes), *_beside(_answer_charts(result))]
    if explained is not None:
        parts.append(_drawn(attribution_chart(result, explained), "page"))
    page = Image.new("RGB", (PAGE_WIDTH, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return png(page.quantize(COLORS))


def snapshot_rows(result: SessionResult, explained: Explained | None = None) -> list[Row]:
    """A line for each clip: when it is, what it says alone, what it contributed; and its value, if clips are what is explained."""
    own = result.clip_logits.softmax(dim=-1)
    values = explained.attribution.clips if explained is not None else None
    rows: list[Row] = []
    for n, (start, end) in enumerate(result.spans.tolist()):
        vote = int(own[n].argmax())
        row: Row = {
            "clip": n + 1, "time": time_range(start, end), "its own answer": result.candidates[vote],
            "contribution (nats)": round(float(result.contribution[n]), 3),
        }  # fmt: skip
        if explained is not None and values is not None:
            row |= {f"{explained.attribution.method} for “{explained.attribution.target}”": round(float(values[n]), 3)}
        rows.append(row)
    return rows


def _answer_charts(result: SessionResult) -> list[Chart]:
    model = result.session.model
    if result.session.task == "match":
        return [figures.match_bars(result.candidates, result.scores, model=model)]
    prediction = result.prediction
    return [
        figures.answer_bars(prediction, model=model),
        figures.clip_contributions(prediction, result.spans, model=model, duration=result.duration),
    ]


def attribution_chart(result: SessionResult, explained: Explained) -> Chart:
    """The picture of an attribution, of whichever level."""
    found = explained.attribution
    if found.level == "clips":
        assert explained.left_out is not None
        about, unit = METHODS[found.method].about, METHODS[found.method].unit
        model, duration = result.session.model, result.duration
        return figures.clip_values(found, explained.left_out, result.spans, model=model, duration=duration, about=about, unit=unit)
    if found.level == "cells":
        assert explained.pixels is not None
        return figures.cell_overlay(found, explained.pixels)
    return figures.frame_values(found) if found.level == "frames" else figures.token_chips(found)


def _beside(charts: list[Chart]) -> list[Image.Image]:
    """One chart over the page's width, or two beside each other."""
    if len(charts) == 1:
        return [_drawn(charts[0], "page")]
    left, right = (_drawn(chart, "column") for chart in charts)
    both = Image.new("RGB", (PAGE_WIDTH, max(left.height, right.height)), "white")
    both.paste(left, (0, 0))
    both.paste(right, (PAGE_WIDTH - right.width, 0))
    return [both]


def _drawn(chart: Chart, width: str) -> Image.Image:
    with Image.open(io.BytesIO(figures.print_bytes(chart, "png", width=width, dpi=DPI))) as image:
        return image.convert("RGB")
