"""The units that an attribution gives values to, and the score of any set of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import repeat
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from clipbert.attribution_frames import coalition_scores
from clipbert.attribution_target import Inside, Target, find_target, inside
from clipbert.clip_score import ROWS_AT_ONCE, Goal
from clipbert.config import check_known
from clipbert.covering import GRID, CoveredClip
from clipbert.per_clip import ClipBertPerClip
from clipbert.predict import Predictor
from clipbert.types import Attribution, EncodedVideo

PERTURBATIONS: dict[str, tuple[str, ...]] = {
    "mask": ("clips", "frames", "cells", "tokens"),
    "mean": ("cells",),
    "blur": ("frames", "cells"),
}
"""Ways to take a unit away, and the levels that know them."""
COVERED_AT_ONCE = 16  # sets of cells in one run of the CNN
Score = Callable[[Bool[Tensor, "C U"]], Float[Tensor, " C"]]


@dataclass(frozen=True, eq=False)
class Units:
    """U units in the order of `values`, and `score` (log-probability or log-odds) of any set of them."""

    values: Float[Tensor, " U"]
    score: Score
    goal: Goal
    target: str
    measured: str
    clip: int | None
    batch_size: int
    case: Inside | None  # None: the units are clips

    @torch.no_grad()
    def scores(self, kept: Bool[Tensor, "C U"]) -> Float64[Tensor, " C"]:
        if self.case is None:
            return self.score(kept).double()
        with self.case.score.evaluating():
            return self.score(kept.to(self.case.features.device)).double().cpu()

    def probabilities(self, kept: Bool[Tensor, "C U"]) -> Float64[Tensor, " C"]:
        """From a log-probability, or from log-odds."""
        scores = self.scores(kept)
        return scores.sigmoid() if self.goal.is_match or self.goal.versus is not None else scores.exp()


def find_units(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, attribution: Attribution, *, clip: int | None = None,
    perturbation: str = "mask", file: str | Path | None = None, task: str = "answer", target: str | None = None, versus: str | None = None,
    choices: Sequence[str] | None = None, aggregation: str | None = None,
) -> Units:  # fmt: skip
    """Settings as in `faithfulness`; raises ValueError where they are not the attribution's."""
    level = attribution.level
    check_perturbation(perturbation, attribution.method, level)
    if perturbation != "mask" and not isinstance(predictor.model, ClipBertPerClip):
        raise ValueError(f'perturbation "{perturbation}" needs the cells of ClipBERT, and this is model {predictor.model.name}; take "mask".')
    row = row_of(attribution, clip)
    values = values_of(attribution, row)
    encoded = video if isinstance(video, EncodedVideo) else predictor.encode(video)
    wanted = find_target(predictor, encoded, text, task, target, versus, choices, aggregation)
    _check_same(attribution, predictor, encoded, text, wanted)
    kind = "p(match" if task == "match" else f"p({wanted.name}"
    if level == "clips":
        return Units(values, _of_clips(wanted), wanted.goal, wanted.name, f"{kind} | clips)", None, ROWS_AT_ONCE, None)
    index = attribution.clip_index[row]
    case = inside(predictor, encoded, wanted, [index], file=file or video)
    batch_size = max(1, ROWS_AT_ONCE // case.score.num_texts)
    if perturbation == "blur" or (level == "cells" and case.cells is None):
        batch_size = min(batch_size, COVERED_AT_ONCE)
    if perturbation == "blur":
        blurred = CoveredClip.blurred(case.score.clipbert, case.frames(0), (case.features.shape[2], case.features.shape[3]))
        score = _of_blurred(case, level, blurred)
    else:
        score = {"cells": _of_masked_cells if perturbation == "mask" else _of_mean_cells, "frames": _of_frames, "tokens": _of_tokens}[level](case)
    return Units(values, score, case.score.goal, wanted.name, f"{kind} | one clip)", index, batch_size, case)


def row_of(attribution: Attribution, clip: int | None) -> int:
    """Where a clip stands in the attribution; at the level of clips, which has no rows, 0.  Raises ValueError for a clip that it does not explain."""
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


def values_of(attribution: Attribution, row: int) -> Float[Tensor, " U"]:
    """Of one clip, or of all clips; of cells in single frames the sum over frames."""
    if attribution.level == "clips":
        return attribution.values
    values = attribution.values[row]
    return (values.sum(dim=0) if attribution.level == "cells" and values.ndim == 3 else values).flatten()


def check_perturbation(perturbation: str, method: str, level: str) -> None:
    """Raises ValueError for one that does not exist, or not at this level."""
    check_known("perturbation", perturbation, tuple(PERTURBATIONS))
    if level not in PERTURBATIONS[perturbation]:
        levels = " and ".join(PERTURBATIONS[perturbation])
        raise ValueError(f'perturbation "{perturbation}" is of {levels}, and {method} explains {level}; take "mask".')


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


def _of_clips(wanted: Target) -> Score:
    return lambda kept: torch.tensor([wanted.value(clips) for clips in kept], dtype=torch.float64)


def _of_masked_cells(case: Inside) -> Score:
    score = case.score_of_cells(0)
    return lambda kept: score(kept.unflatten(1, case.cells or GRID))


def _of_mean_cells(case: Inside) -> Score:
    clip = case.features[0]
    return lambda kept: case.score.of_many(torch.where(repeat(kept, "c (h w) -> c 1 h w 1", h=clip.shape[1]), clip, clip.mean(dim=(0, 1, 2))))


def _of_blurred(case: Inside, level: str, clip: CoveredClip) -> Score:
    if level == "cells":
        return lambda kept: case.score.of_many(clip.without_cells(kept.unflatten(1, (case.features.shape[2], case.features.shape[3]))))
    soft, sharp = clip.frames(), case.features[0]
    return lambda kept: case.score.of_many(torch.where(kept[:, :, None, None, None], sharp, soft))


def _of_frames(case: Inside) -> Score:
    return lambda kept: coalition_scores(case.score, case.features[0], kept)


def _of_tokens(case: Inside) -> Score:
    return lambda kept: case.score.of_pieces(case.features[0], kept)
