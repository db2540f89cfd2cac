"""Do an attribution's values add up, hold still, and keep their sign?

infidelity(predictor, video, question, found).unexplained     # 0 of values that add up, 1 of values that say nothing
sensitivity(predictor, video, question, found)                # largest relative change of the map as the features change a little
sign_violations(predictor, video, question, found).rate       # of units said to raise the score, those whose absence raises it

The first two are Captum's.  `wanted` is what `attribute` was told of the target:
task, target, versus, choices and aggregation.  All raise ValueError where that
is not the attribution's, as `faithfulness` does.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipbert.attribution import INSIDE_METHODS, METHODS, STEPS
from clipbert.encoding import Progress
from clipbert.faithfulness_units import Units, find_units
from clipbert.predict import Predictor
from clipbert.types import Attribution, EncodedVideo

NOISE = 1e-5  # nats: what float32 leaves open


@dataclass(frozen=True)
class Infidelity:
    """Mean squared difference, in nats², of what values say and the score does; `of_nothing` is that of values all 0."""

    value: float
    of_nothing: float

    @property
    def unexplained(self) -> float:
        """Their ratio: 1 - R² of a line through the origin; 0 where nothing moves the score."""
        return self.value / self.of_nothing if self.of_nothing > 0 else 0.0


@dataclass(frozen=True)
class SignViolations:
    """Units with a positive value, and how many of them raise the score when they alone are taken away; the same for all units."""

    positive: int
    violated: int
    num_units: int
    raising: int

    @property
    def rate(self) -> float | None:
        """None where no value is positive."""
        return self.violated / self.positive if self.positive else None

    @property
    def random_rate(self) -> float:
        """What a random choice of units would have."""
        return self.raising / self.num_units


def infidelity(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, attribution: Attribution, *, clip: int | None = None,
    num_samples: int = 100, seed: int = 0, perturbation: str = "mask", file: str | Path | None = None, progress: Progress | None = None,
    **wanted: Any,
) -> Infidelity:  # fmt: skip
    """Captum's `infidelity(normalize=True)` (Yeh 2019, arXiv 1901.09392): the summed values of random units against the score lost without them.

    Each sample takes units away with a chance that is itself random, so that
    few and many go; values are first scaled by the one factor that fits best.
    Of methods in nats alone, at every level: values of the others (shares of
    attention, Grad-CAM, relevance) do not say by how much the score falls.
    `progress` is told of the samples and may raise to stop.  Raises ValueError
    for methods that are not in nats.
    """
    from captum.metrics import infidelity as of_captum

    if METHODS[attribution.method].unit != "nats":
        raise ValueError(f"{attribution.method} does not say by how many nats the score falls, so its values cannot add up; use a method in nats.")
    units = find_units(predictor, video, text, attribution, clip=clip, perturbation=perturbation, file=file, **wanted)

    samples = _Told("samples", progress, 2 * num_samples)

    def value(values: Tensor, normalize: bool) -> float:
        generator = torch.Generator().manual_seed(seed)

        def take_away(present: Tensor) -> tuple[Tensor, Tensor]:
            samples.more(len(present))
            chance = torch.rand(len(present), 1, generator=generator)
            gone = (torch.rand(present.shape, generator=generator) < chance).float()
            return gone, present - gone

        return float(
            of_captum(
                lambda present: units.scores(present > 0.5).float(), take_away, torch.ones(1, len(values)), values[None], normalize=normalize,
                n_perturb_samples=num_samples, max_examples_per_batch=min(units.batch_size, num_samples),
            )
        )  # fmt: skip

    found = units.values.float().cpu()
    of_nothing = value(torch.zeros_like(found), normalize=False)
    return Infidelity(value(found, normalize=True) if bool(found.any()) else of_nothing, of_nothing)


def sensitivity(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, attribution: Attribution, *, clip: int | None = None,
    radius: float = 0.02, num_samples: int = 10, seed: int = 0, baseline: str | None = None, steps: int | None = None,
    progress: Progress | None = None, **wanted: Any,
) -> float:  # fmt: skip
    """Captum's `sensitivity_max` (Yeh 2019): the largest relative change of a clip's map as its features change by up to `radius` deviations.

    `baseline` and `steps` are those that `attribute` was given.  The map is
    made `num_samples` + 1 times.  Of every method inside a clip, which is a
    function of the clip's features; clips are compared by logits alone, and
    have no features here.  `progress` is told after each map and may raise to
    stop.  Raises ValueError for clips.
    """
    from captum.metrics import sensitivity_max

    if attribution.level == "clips":
        raise ValueError(f"{attribution.method} compares clips by their logits, which are no features to change; take a method inside a clip.")
    encoded = video if isinstance(video, EncodedVideo) else predictor.encode(video)
    if attribution.level == "cells" and predictor.model.cells(encoded.features) is None:
        raise ValueError(f"cells of model {predictor.model.name} are covered in the pixels, and these are no features; take a method of frames.")
    case = find_units(predictor, encoded, text, attribution, clip=clip, **wanted).case
    assert case is not None
    baselines = METHODS[attribution.method].baselines
    case = replace(case, baseline=baseline or (baselines[0] if baselines else ""), steps=steps or STEPS, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    reach = radius * float(case.features.std())
    maps = _Told("maps", progress, num_samples + 1)

    def change(features: Tensor) -> Tensor:
        return features + reach * (2 * torch.rand(features.shape, generator=generator).to(features.device) - 1)

    def explain(features: Tensor | tuple[Tensor, ...]) -> Tensor:
        inputs = features[0] if isinstance(features, tuple) else features
        with torch.enable_grad():
            found = INSIDE_METHODS[attribution.method][1](replace(case, features=inputs)).values.detach().contiguous()
        maps.more(1)
        return found

    with case.score.evaluating():
        return float(sensitivity_max(explain, case.features, perturb_func=change, n_perturb_samples=num_samples, max_examples_per_batch=1))


def sign_violations(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, attribution: Attribution, *, clip: int | None = None,
    perturbation: str = "mask", file: str | Path | None = None, **wanted: Any,
) -> SignViolations:  # fmt: skip
    """Whether units with a positive value support the target: each is taken away alone (Liu 2022, arXiv 2201.12114, calls it polarity).

    Of all methods: one without signs says that every unit supports it.
    """
    units = find_units(predictor, video, text, attribution, clip=clip, perturbation=perturbation, file=file, **wanted)
    raises = _changes(units) > NOISE
    positive = units.values.cpu() > 0
    return SignViolations(int(positive.sum()), int((raises & positive).sum()), len(raises), int(raises.sum()))


class _Told:
    """Counts what is done, and tells it."""

    def __init__(self, stage: str, progress: Progress | None, total: int) -> None:
        self.stage, self.progress, self.total, self.done = stage, progress, total, 0

    def more(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.stage, min(self.done, self.total), self.total)


def _changes(units: Units) -> Tensor:
    """Of the score, as each unit alone is taken away."""
    num_units = len(units.values)
    kept = torch.cat([torch.ones(1, num_units, dtype=torch.bool), ~torch.eye(num_units, dtype=torch.bool)])
    scores = torch.cat([units.scores(part) for part in kept.split(units.batch_size)])
    return scores[1:] - scores[0]
