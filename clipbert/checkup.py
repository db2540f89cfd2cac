"""All that can be asked of a map besides its curves, in one go.

maps, why_not = other_maps(predictor, video, question, found)       # by the other methods of its level
checkup(predictor, video, question, found, others=maps).rows()

Infidelity, sensitivity, signs, agreement of methods in pairs, and the map of
models with random layers; each is also a function of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from clipbert.attribution import METHODS, attribute
from clipbert.encoding import Progress
from clipbert.faithfulness import rank_agreement
from clipbert.faithfulness_checks import Infidelity, SignViolations, infidelity, sensitivity, sign_violations
from clipbert.faithfulness_units import row_of, values_of
from clipbert.per_clip import ClipBertPerClip
from clipbert.predict import Predictor
from clipbert.randomisation import Randomisation, num_stages, randomisation_check
from clipbert.types import Attribution, EncodedVideo

NUM_CHANGES = 10  # of the features, for sensitivity
NUM_MODELS = 3  # with random layers


@dataclass(frozen=True)
class Agreement:
    """Spearman's rho of two methods' maps; None where one gives all units the same value, which ranks nothing."""

    first: str
    second: str
    rho: float | None


@dataclass(frozen=True)
class Checkup:
    """What was found; a check that does not fit the map is None, and `left_out` says why."""

    method: str
    clip: int | None  # counted from 0; None: all clips together
    infidelity: Infidelity | None
    sensitivity: float | None
    signs: SignViolations
    agreements: tuple[Agreement, ...]  # of every two of the methods
    randomisation: Randomisation | None
    left_out: dict[str, str]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each number: its value, what is good, and what a map that knows nothing would have, where that is known."""
        rows: list[dict[str, Any]] = []
        if self.infidelity is not None:
            rows.append(_row("infidelity, normalised", self.infidelity.unexplained, "0", 1.0))
        if self.sensitivity is not None:
            rows.append(_row("sensitivity_max", self.sensitivity, "low", None))
        rows.append(_row("sign violations", self.signs.rate, "0", self.signs.random_rate))
        if self.randomisation is not None:
            agreements = self.randomisation.agreements()
            rows += [_row(f"rank agreement, random down to {stage}", agreement, "near 0", None) for stage, agreement in agreements.items()]
        return rows


def _row(metric: str, value: float | None, good: str, random: float | None) -> dict[str, Any]:
    return {"metric": metric, "value": value, "good": good, "random": random}


def checkup(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, attribution: Attribution, *, others: Sequence[Attribution] = (),
    clip: int | None = None, seed: int = 0, baseline: str | None = None, steps: int | None = None, perturbation: str = "mask",
    file: str | Path | None = None, progress: Progress | None = None, **wanted: Any,
) -> Checkup:  # fmt: skip
    """Every check that fits the map, of one clip or of all.

    `others` are maps of the same units by other methods, to be compared in
    pairs; `wanted`, `baseline` and `steps` are what `attribute` was told, the
    rest is as in `faithfulness`.  `progress` is told the check and how far it
    is, and may raise to stop.  Raises ValueError where the settings are not the
    attribution's.
    """
    encoded = video if isinstance(video, EncodedVideo) else predictor.encode(video)
    given = (predictor, encoded, text, attribution)
    path = file if file is not None or isinstance(video, EncodedVideo) else video
    away: dict[str, Any] = wanted | {"clip": clip, "perturbation": perturbation, "file": path}
    made: dict[str, Any] = wanted | {"clip": clip, "baseline": baseline, "steps": steps, "seed": seed}
    signs = sign_violations(*given, **away)  # raises for settings that are not the attribution's
    checks = {
        "infidelity": lambda tell: infidelity(*given, seed=seed, progress=tell, **away),
        "sensitivity": lambda tell: sensitivity(*given, num_samples=NUM_CHANGES, progress=tell, **made),
        "randomisation": lambda tell: randomisation_check(*given, num_models=NUM_MODELS, progress=tell, **made),
    }
    found: dict[str, Any] = dict.fromkeys(checks)
    left_out: dict[str, str] = {}
    for name, check in checks.items():
        try:
            found[name] = check(_named(name, progress))
        except ValueError as error:
            left_out[name] = str(error)
    agreements = rank_agreements([attribution, *others], clip=clip)
    index = None if attribution.level == "clips" else attribution.clip_index[row_of(attribution, clip)]
    return Checkup(attribution.method, index, signs=signs, agreements=agreements, left_out=left_out, **found)


def num_maps(predictor: Predictor, level: str) -> int:
    """How often `checkup` makes the map again."""
    changed = 0 if level == "clips" else NUM_CHANGES + 1
    return changed + (NUM_MODELS * num_stages(predictor.model.model) if isinstance(predictor.model, ClipBertPerClip) else 0)


def rank_agreements(found: Sequence[Attribution], *, clip: int | None = None) -> tuple[Agreement, ...]:
    """Of every two of the maps.  Raises ValueError for maps of different units."""

    def ranks(one: Attribution) -> bool:
        return len(values_of(one, row_of(one, clip)).unique()) > 1

    pairs = combinations(found, 2)
    return tuple(Agreement(a.method, b.method, rank_agreement(a, b, clip=clip) if ranks(a) and ranks(b) else None) for a, b in pairs)


def other_maps(
    predictor: Predictor, video: EncodedVideo, text: str, attribution: Attribution, *, clip: int | None = None, progress: Progress | None = None,
    **wanted: Any,
) -> tuple[list[Attribution], dict[str, str]]:  # fmt: skip
    """The same units' maps by every other method of the level, and why a method has none; settings as in `checkup`."""
    names = other_methods(attribution.method)
    clips = None if attribution.level == "clips" else [attribution.clip_index[row_of(attribution, clip)]]
    maps, why_not = [], {}
    for done, name in enumerate(names, 1):
        try:
            maps.append(attribute(predictor, video, text, method=name, clips=clips, **wanted))
        except ValueError as error:
            why_not[name] = str(error)
        if progress is not None:
            progress("maps of other methods", done, len(names))
    return maps, why_not


def other_methods(method: str) -> list[str]:
    """Of the same level."""
    return [name for name, about in METHODS.items() if about.level == METHODS[method].level and name != method]


def _named(check: str, progress: Progress | None) -> Progress | None:
    return None if progress is None else lambda _stage, done, total: progress(check, done, total)
