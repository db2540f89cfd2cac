"""Is an attribution true to the model, and do two attributions agree?

found = attribute(predictor, video, question, method="cell_occlusion", clips=[3])
faithfulness(predictor, video, question, found).verdict     # "better than random at deletion and insertion (...)"
rank_agreement(found, other)                                # Spearman's rho

Being true to the model is not being right, nor the only cause: units that are
taken away leave an input the model was not trained on, which favours smooth
maps (arXiv 2304.13836); hence the random and reverse orders beside it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from einops import repeat
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from clipbert.attribution_frames import coalition_scores
from clipbert.attribution_target import Inside, Target, find_target, inside
from clipbert.clip_score import ROWS_AT_ONCE, Goal
from clipbert.config import check_known
from clipbert.encoding import Progress
from clipbert.faithfulness_curves import Faithfulness, measure
from clipbert.predict import Predictor
from clipbert.types import Attribution, EncodedVideo

PERTURBATIONS = ("mask", "mean")


def faithfulness(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, attribution: Attribution, *, clip: int | None = None, task: str = "answer",
    target: str | None = None, versus: str | None = None, choices: Sequence[str] | None = None, aggregation: str | None = None,
    steps: int | Sequence[float] = 10, num_orders: int = 20, perturbation: str = "mask", seed: int = 0, progress: Progress | None = None,
) -> Faithfulness:  # fmt: skip
    """Deletion and insertion curves of one clip's cells, frames or word pieces, or of a video's clips.

    `text`, `task`, `target`, `versus`, `choices` and `aggregation` are those
    that `attribute` was given.  The curves show p(target), or p(target) /
    (p(target) + p(versus)), or p(match).
    `clip` (counted from 0; default: the only one) is a clip that `attribution`
    explains.  Cells are those of the fused grid; values of single frames are
    summed over frames.  `perturbation` "mask" hides a unit from attention (a
    frame or clip is left out); "mean", for cells, puts the clip's mean feature
    in its place.  `steps` are equal, or shares of units: `CHEFER_STEPS`.
    `progress` is told after each batch and may raise to stop.  The CNN does not
    run on an encoded video.  Raises ValueError where the settings are not the
    attribution's, and as `measure` and `attribute` do.
    """
    level = attribution.level
    check_known("perturbation", perturbation, PERTURBATIONS)
    if perturbation == "mean" and level != "cells":
        raise ValueError(f'perturbation "mean" is of cells, and {attribution.method} explains {level}; take "mask".')
    row = _row(attribution, clip)
    values = _units(attribution, row)
    encoded = video if isinstance(video, EncodedVideo) else predictor.encode(video)
    wanted = find_target(predictor, encoded, text, task, target, versus, choices, aggregation)
    _check_same(attribution, predictor, encoded, text, wanted)
    curves = partial(measure, values=values, steps=steps, num_orders=num_orders, seed=seed, progress=progress)
    kind = "p(match" if task == "match" else f"p({wanted.name}"
    about = {"method": attribution.method, "target": wanted.name, "level": level, "perturbation": perturbation}
    if level == "clips":
        return replace(curves(lambda kept: _of_clips(wanted, kept)), measured=f"{kind} | clips)", **about)
    index = attribution.clip_index[row]
    case = inside(predictor, encoded, wanted, [index], baseline="", steps=1, seed=seed)
    with case.score.evaluating(), torch.no_grad():
        found = curves(lambda kept: _of_units(case, level, perturbation, kept), batch_size=max(1, ROWS_AT_ONCE // case.score.num_texts))
    return replace(found, clip=index, measured=f"{kind} | one clip)", **about)


def rank_agreement(first: Attribution, second: Attribution, *, clip: int | None = None) -> float:
    """Spearman's rank correlation of the values that two attributions give the same units: 1 same order, -1 the reverse.

    Equal values share their mean rank (Spearman 1904).  Below the level of
    clips, of one clip, as in `faithfulness`.  Raises ValueError for attributions
    of different units, or with all values equal, which rank nothing.
    """
    if first.level != second.level:
        raise ValueError(f"only attributions of one level can be compared, got {first.level} and {second.level}.")
    rows = [_row(found, clip) for found in (first, second)]
    if first.level != "clips" and first.clip_index[rows[0]] != second.clip_index[rows[1]]:
        raise ValueError(f"the attributions explain different clips, {first.clip_index[rows[0]]} and {second.clip_index[rows[1]]}; say clip=.")
    values = [_units(found, row) for found, row in zip((first, second), rows, strict=True)]
    if len(values[0]) != len(values[1]):
        raise ValueError(f"the attributions have {len(values[0])} and {len(values[1])} units; compare those of one video, text and model.")
    for found, units in zip((first, second), values, strict=True):
        if bool((units == units[0]).all()):
            raise ValueError(f"{found.method} gives all {len(units)} units the same value, which ranks nothing.")
    return float(torch.corrcoef(torch.stack([_ranks(units) for units in values]))[0, 1])


def _ranks(values: Float[Tensor, " U"]) -> Float64[Tensor, " U"]:
    """From 0, with the mean of their ranks for equal values."""
    less = (values[None] < values[:, None]).sum(dim=1).double()
    equal = (values[None] == values[:, None]).sum(dim=1).double()
    return less + (equal - 1) / 2


def _row(attribution: Attribution, clip: int | None) -> int:
    """Where a clip stands in the attribution; at the level of clips, which has no rows, 0."""
    index = attribution.clip_index
    if attribution.level == "clips":
        if clip is not None:
            raise ValueError(f"{attribution.method} compares all clips; leave clip out.")
        return 0
    if clip is None and len(index) != 1:
        raise ValueError(f"the attribution explains {len(index)} clips; say which one, as in clip={index[0]}.")
    if clip is not None and clip not in index:
        raise ValueError(f"the attribution explains no clip {clip}; it explains {', '.join(map(str, index))} (counted from 0).")
    return 0 if clip is None else index.index(clip)


def _units(attribution: Attribution, row: int) -> Float[Tensor, " U"]:
    if attribution.level == "clips":
        return attribution.values
    values = attribution.values[row]
    return (values.sum(dim=0) if attribution.level == "cells" and values.ndim == 3 else values).flatten()


def _check_same(attribution: Attribution, predictor: Predictor, video: EncodedVideo, text: str, wanted: Target) -> None:
    measured = wanted.value_function if attribution.level == "clips" else wanted.clip_value_function
    if attribution.text != text or attribution.model != predictor.model.name:
        raise ValueError(
            f"the attribution is of {attribution.text!r} by {attribution.model}, got {text!r} by {predictor.model.name}; pass what it explains."
        )
    if attribution.target != wanted.name or not attribution.value_function.startswith(measured):
        raise ValueError(
            f"the attribution explains {attribution.target!r} ({attribution.value_function}), and these settings mean {wanted.name!r} ({measured}); "
            "pass the task, target, versus, choices and aggregation that attribute was given."
        )
    if attribution.spans is not None and not torch.equal(attribution.spans, video.spans):
        raise ValueError("the attribution is of other clips than this video's; encode the video as it was then.")


def _probability(goal: Goal, score: Float[Tensor, " C"]) -> Float64[Tensor, " C"]:
    """From a log-probability, or from log-odds."""
    return score.double().sigmoid() if goal.is_match or goal.versus is not None else score.double().exp()


def _of_clips(wanted: Target, kept: Bool[Tensor, "C N"]) -> Float64[Tensor, " C"]:
    return _probability(wanted.goal, torch.tensor([wanted.value(clips) for clips in kept], dtype=torch.float64))


def _of_units(case: Inside, level: str, perturbation: str, kept: Bool[Tensor, "C U"]) -> Float64[Tensor, " C"]:
    of = {"cells": _of_masked_cells if perturbation == "mask" else _of_mean_cells, "frames": _of_frames, "tokens": _of_tokens}[level]
    return _probability(case.score.goal, of(case, kept.to(case.features.device)))


def _of_masked_cells(case: Inside, kept: Bool[Tensor, "C U"]) -> Float[Tensor, " C"]:
    clip = case.features[0]
    return case.score.of_many(clip.expand(len(kept), *clip.shape), kept.unflatten(1, clip.shape[1:3]))


def _of_mean_cells(case: Inside, kept: Bool[Tensor, "C U"]) -> Float[Tensor, " C"]:
    clip = case.features[0]
    there = repeat(kept, "c (h w) -> c 1 h w 1", h=clip.shape[1])
    return case.score.of_many(torch.where(there, clip, clip.mean(dim=(0, 1, 2))))


def _of_frames(case: Inside, kept: Bool[Tensor, "C U"]) -> Float[Tensor, " C"]:
    return coalition_scores(case.score, case.features[0], kept)


def _of_tokens(case: Inside, kept: Bool[Tensor, "C U"]) -> Float[Tensor, " C"]:
    input_ids, _ = case.score.tokens()
    ends = torch.ones(len(kept), 1, dtype=torch.bool, device=kept.device)  # [CLS] carries the score, [SEP] is no word
    words = case.score.word_vectors(input_ids).expand(len(kept), -1, -1)
    return case.score.of_words(case.features[0], words, torch.cat([ends, kept, ends], dim=1))
