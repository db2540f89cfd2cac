"""Is an attribution true to the model, and do two attributions agree?

found = attribute(predictor, video, question, method="cell_occlusion", clips=[3])
faithfulness(predictor, video, question, found).verdict     # "better than random at deletion and insertion (...)"
rank_agreement(found, other)                                # Spearman's rho

Being true to the model is not being right, nor the only cause: units that are
taken away leave an input the model was not trained on, which favours smooth
maps (arXiv 2304.13836); hence the random and reverse orders beside it.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from clipbert.encoding import Progress
from clipbert.faithfulness_curves import Faithfulness, Known, measure, set_key, sets_needed
from clipbert.faithfulness_units import find_units, row_of, values_of
from clipbert.predict import Predictor
from clipbert.types import Attribution, EncodedVideo

SETS_TRIED = 8  # to see how long one takes


def faithfulness(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, attribution: Attribution, *, clip: int | None = None, task: str = "answer",
    target: str | None = None, versus: str | None = None, choices: Sequence[str] | None = None, aggregation: str | None = None,
    steps: int | Sequence[float] = 10, num_orders: int = 20, perturbation: str = "mask", file: str | Path | None = None, seed: int = 0,
    known: Known | None = None, progress: Progress | None = None,
) -> Faithfulness:  # fmt: skip
    """Deletion and insertion curves of one clip's cells, frames or word pieces, or of a video's clips.

    `text`, `task`, `target`, `versus`, `choices` and `aggregation` are those
    that `attribute` was given.  The curves show p(target), or p(target) /
    (p(target) + p(versus)), or p(match).
    `clip` (counted from 0; default: the only one) is a clip that `attribution`
    explains.  Cells are those of the fused grid; values of single frames are
    summed over frames.  `perturbation` "mask" hides a unit from attention (a
    frame or clip is left out); "mean", for cells, puts the clip's mean feature
    in its place; "blur", for cells and frames, blurs its pixels, which `file`
    gives where `video` is encoded: for cells the CNN then runs on T frames for
    each of the `num_runs` sets (model real, 49 cells, T=2: some 0.06 s of CPU
    each, half a minute in all), otherwise not at all on an encoded video.
    `steps` are equal, or shares of units: `CHEFER_STEPS`.
    `known`, an empty dictionary that is passed again with maps of other methods
    in the same settings, saves them the sets that are asked for already: with
    equal seeds the random orders are the same.
    `progress` is told after each batch and may raise to stop.  Raises
    ValueError where the settings are not the attribution's, and as `measure`
    and `attribute` do.
    """
    units = find_units(
        predictor, video, text, attribution, clip=clip, perturbation=perturbation, file=file, task=task, target=target, versus=versus,
        choices=choices, aggregation=aggregation,
    )  # fmt: skip
    found = measure(
        units.probabilities, units.values, steps=steps, num_orders=num_orders, seed=seed, batch_size=units.batch_size, known=known, progress=progress
    )
    return replace(
        found, method=attribution.method, target=units.target, level=attribution.level, measured=units.measured, perturbation=perturbation,
        clip=units.clip,
    )  # fmt: skip


def expected_seconds(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, attribution: Attribution, *, clip: int | None = None,
    steps: int | Sequence[float] = 10, perturbation: str = "mask", file: str | Path | None = None, seed: int = 0, known: Known | None = None,
    **wanted: Any,
) -> tuple[int, float]:  # fmt: skip
    """How many sets of units `faithfulness` will ask for in the same settings, and how long that takes here.

    By the time of the first few, which come into `known`; `wanted` are task,
    target, versus, choices and aggregation.  Raises ValueError as `faithfulness` does.
    """
    units = find_units(predictor, video, text, attribution, clip=clip, perturbation=perturbation, file=file, **wanted)
    first = sets_needed(units.values, steps=steps, seed=seed)
    new = [row for row in first if known is None or set_key(row) not in known]
    if not new:
        return 0, 0.0
    tried = torch.stack(new[:SETS_TRIED])
    units.probabilities(tried[:1])  # what is made once, such as blurred frames, is no part of the rest
    started = time.perf_counter()
    found = units.probabilities(tried).tolist()
    seconds = time.perf_counter() - started
    if known is not None:
        known.update(zip(map(set_key, tried), found, strict=True))
    return len(new), seconds / len(tried) * len(new)


def rank_agreement(first: Attribution, second: Attribution, *, clip: int | None = None) -> float:
    """Spearman's rank correlation of the values that two attributions give the same units: 1 same order, -1 the reverse.

    Equal values share their mean rank (Spearman 1904).  Below the level of
    clips, of one clip, as in `faithfulness`.  Raises ValueError for attributions
    of different units, or with all values equal, which rank nothing.
    """
    if first.level != second.level:
        raise ValueError(f"only attributions of one level can be compared, got {first.level} and {second.level}.")
    rows = [row_of(found, clip) for found in (first, second)]
    if first.level != "clips" and first.clip_index[rows[0]] != second.clip_index[rows[1]]:
        raise ValueError(f"the attributions explain different clips, {first.clip_index[rows[0]]} and {second.clip_index[rows[1]]}; say clip=.")
    values = [values_of(found, row) for found, row in zip((first, second), rows, strict=True)]
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
