"""Which clips, frames, cells and words moved the score of an answer.

attribute(predictor, "a.mp4", "what colour is the car?")                      # why this answer: clips
attribute(predictor, "a.mp4", "what colour is the car?", versus="blue")       # why this answer and not blue
attribute(predictor, "a.mp4", "a car drives by", task="match")                # why this text
attribute(predictor, "a.mp4", "what colour is the car?", method="cell_occlusion", clips=[3])  # where in the fourth clip

An attribution says which inputs move this model's score, not whether the
model is right.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipbert.attribution_cells import CELL_METHODS
from clipbert.attribution_clips import CLIP_METHODS
from clipbert.attribution_frames import FRAME_METHODS
from clipbert.attribution_target import Inside, Method, Target, Values, find_target, inside
from clipbert.attribution_tokens import TOKEN_METHODS
from clipbert.config import check_known
from clipbert.covering import GRID, frame_grid
from clipbert.per_clip import ClipBertPerClip, PerClipModel
from clipbert.predict import Predictor
from clipbert.types import Attribution, EncodedVideo

INSIDE_METHODS = FRAME_METHODS | CELL_METHODS | TOKEN_METHODS
METHODS: dict[str, Method] = {name: method for name, (method, _) in (*CLIP_METHODS.items(), *INSIDE_METHODS.items())}
STEPS = 32


def attribute(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, *, method: str = "clip_shapley", task: str = "answer",
    target: str | None = None, versus: str | None = None, choices: Sequence[str] | None = None, aggregation: str | None = None, seed: int = 0,
    clips: Sequence[int] | None = None, baseline: str | None = None, steps: int | None = None, file: str | Path | None = None,
) -> Attribution:  # fmt: skip
    """What each clip did for a score, or each frame, cell or word piece for a clip's own score; a path is encoded as the model samples it.

    With task "answer" `text` is a question, and the score is the
    log-probability of `target` (default: the answer the model gives), or its
    log-odds over another answer, `versus`.  With task "match" `text` is a
    caption, and the score is its match log-odds.  `METHODS` has the methods.
    Below the level of clips each of `clips` (counted from 0; default: all) is
    explained by itself, so that `aggregation` has no part in it; where each
    choice is a text of its own, the words are those of the target's.
    `baseline` is one of the method's, `steps` are of integrated gradients
    (default 32), `seed` is of random orders: of more than 16 clips or 8 frames.
    `file` is what an encoded `video` was encoded from: cells of a model whose
    features have none (CLIP, say) are covered in the pixels, on a 7 x 7 grid
    with the clip's mean colour, and the frames encoded again.
    Raises ValueError for a method, task, answer or clip that does not exist,
    for a setting without effect, and as `Predictor.answer` and
    `Predictor.match` do.
    """
    check_known("method", method, tuple(METHODS))
    check_known("task", task, ("answer", "match"))
    about = METHODS[method]
    _check_settings(method, clips, baseline, steps)
    encoded = video if isinstance(video, EncodedVideo) else predictor.encode(video)
    wanted = find_target(predictor, encoded, text, task, target, versus, choices, aggregation)
    place: dict[str, Any] = {"spans": encoded.spans, "times": encoded.times, "text": text, "model": predictor.model.name}
    if about.level == "clips":
        values = CLIP_METHODS[method][1](wanted, seed)
        return _attribution(wanted, method, wanted.value_function, values, clip_index=tuple(range(encoded.num_clips)), **place)
    _check_model(predictor.model, method)
    rows = _check_clips(clips, encoded.num_clips)
    chosen = baseline or (about.baselines[0] if about.baselines else "")
    case = inside(predictor, encoded, wanted, rows, baseline=chosen, steps=steps or STEPS, seed=seed, file=file or video)
    measured = wanted.clip_value_function + (f", less that of the baseline {chosen}" if chosen else "")
    if about.level == "cells" and case.cells is None:
        measured += f", cells of a {GRID[0]} x {GRID[1]} grid covered with the clip's mean colour"
    return _attribution(wanted, method, measured, _look_inside(method, case), clip_index=rows, **place, **_geometry(about.level, case, encoded))


def joined(parts: Sequence[Attribution]) -> Attribution:
    """One attribution of all the clips that `parts`, which are alike in all else, explain one by one."""
    first = parts[0]
    per_clip = [name for name in (first.level, "gaps", "standard_error") if getattr(first, name) is not None]
    rows = {name: torch.cat([getattr(part, name) for part in parts]) for name in per_clip}
    gap = max((part.gap for part in parts if part.gap is not None), key=abs, default=None)
    return replace(first, **rows, gap=gap, clip_index=tuple(clip for part in parts for clip in part.clip_index))


def _check_settings(method: str, clips: Sequence[int] | None, baseline: str | None, steps: int | None) -> None:
    about = METHODS[method]
    if about.level == "clips" and clips is not None:
        raise ValueError(
            f"clips picks the clips to look into, and {method} compares all clips; leave it out, or take a method of frames, cells or tokens."
        )
    if baseline is not None and not about.baselines:
        raise ValueError(f"{method} needs no baseline; leave it out.")
    if baseline is not None:
        check_known(f"baseline of {method}", baseline, about.baselines)
    if steps is not None and not method.endswith("integrated_gradients"):
        raise ValueError(f"{method} makes no steps; steps are of integrated gradients.")
    if steps is not None and not 1 <= steps <= 1000:
        raise ValueError(f"steps must be between 1 and 1000, got {steps}.")


def methods_for(model: PerClipModel) -> tuple[str, ...]:
    """Those that can explain a model: all of ClipBERT, otherwise those that read none of its layers."""
    return tuple(name for name, about in METHODS.items() if isinstance(model, ClipBertPerClip) or about.level == "clips" or about.any_model)


def _check_model(model: PerClipModel, method: str) -> None:
    if method not in (known := methods_for(model)):
        raise ValueError(f"{method} reads the layers of ClipBERT, and model {model.name} is another; use one of {', '.join(known)}.")


def _check_clips(clips: Sequence[int] | None, num_clips: int) -> tuple[int, ...]:
    rows = tuple(range(num_clips)) if clips is None else tuple(clips)
    if not rows:
        raise ValueError("clips names no clip to look into; leave it out for all.")
    if wrong := [n for n in rows if not 0 <= n < num_clips]:
        raise ValueError(f"the clips are numbered 0 to {num_clips - 1} here, so there is no clip {wrong[0]}.")
    return rows


def _look_inside(method: str, case: Inside) -> Values:
    with case.score.evaluating():
        return INSIDE_METHODS[method][1](case)


def _geometry(level: str, case: Inside, video: EncodedVideo) -> dict[str, Any]:
    """What the values of a level belong to."""
    if level == "tokens":
        return {"pieces": case.score.pieces}
    if level == "cells" and video.frame_size is not None:
        return {"grid": case.score.per_clip.cell_grid(video.frame_size, case.features) or frame_grid(video.frame_size)}
    return {}


def _attribution(target: Target, method: str, measured: str, found: Values, **about: Any) -> Attribution:
    gaps = found.gaps.detach().double().cpu() if found.gaps is not None else None
    worst = float(gaps[gaps.abs().argmax()]) if gaps is not None else None
    error = found.standard_error
    values: dict[str, Tensor] = {METHODS[method].level: found.values.detach().cpu().float()}
    return Attribution(
        target=target.name, method=method, value_function=measured, gap=worst, gaps=gaps if METHODS[method].level != "clips" else None,
        standard_error=error.float() if isinstance(error, torch.Tensor) else None, **values, **about,
    )  # fmt: skip
