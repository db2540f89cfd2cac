"""A score that is being explained: what was asked, what was found at each level, and what testing it said."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.attribution.method_names import makes_steps
from app.state import Session

if TYPE_CHECKING:
    from clipbert.checkup import Checkup
    from clipbert.encoding import Progress
    from clipbert.faithfulness_curves import Faithfulness, Known
    from clipbert.predict import Predictor
    from clipbert.sampling import ClipTimes
    from clipbert.types import Attribution, EncodedVideo

WHY, WHY_NOT, FITS = "Why this answer", "Why not another answer", "Why this caption fits"
CLIPS, FRAMES, CELLS, TOKENS = LEVELS = ("clips", "frames", "cells", "tokens")
STEPS = 32  # of integrated gradients, until another number is set
TENTHS, CHEFER = "every tenth", "as Chefer 2021: 25, 50, 75, 80 … 95 %"
CLOSE_POINTS = 10  # of a percentage: an answer that leads by less is called unsure


@dataclass(frozen=True)
class Score:
    """Which score is explained: of an answer, of one rather than another, or of a caption."""

    kind: str
    text: str
    choices: tuple[str, ...]  # empty: the model's own answers
    target: str | None  # None: the model's own answer
    versus: str | None
    aggregation: str
    seed: int

    def settings(self) -> dict[str, Any]:
        """What `attribute` and `faithfulness` are given.  Raises ValueError where "why not" lacks the other answer."""
        how = {"aggregation": self.aggregation, "seed": self.seed}
        if self.kind == FITS:
            return how | {"task": "match"}
        if self.kind == WHY_NOT and not self.versus:
            raise ValueError("name the other answer: why this one, rather than which?")
        versus = self.versus if self.kind == WHY_NOT else None
        return how | {"target": self.target or None, "versus": versus, "choices": self.choices or None}


@dataclass(frozen=True)
class Standing:
    """How the model's answer stands among the others.  `known` are right answers, where they are known."""

    answer: str
    probability: float
    runner_up: str
    runner_up_probability: float
    sure: bool
    known: tuple[str, ...]

    @property
    def margin_points(self) -> float:
        """Percentage points by which the answer leads."""
        return 100 * (self.probability - self.runner_up_probability)

    @property
    def right(self) -> bool | None:
        return self.answer in self.known if self.known else None

    @property
    def doubtful(self) -> bool:
        """Wrong, or if nobody knows, unsure or close."""
        return not self.right if self.known else not self.sure or self.margin_points < CLOSE_POINTS


@dataclass(frozen=True)
class Look:
    """One attribution: by which method, of which clip (counted from 0; None: all clips together), from which baseline, in how many steps."""

    method: str
    clip: int | None = None
    baseline: str | None = None
    steps: int | None = None


def look_of(method: str, clip: int | None, baseline: str | None = None, steps: float | None = None) -> Look:
    """An attribution by a method, with its defaults where a setting is not given, and without those that it does not have."""
    from clipbert.attribution import METHODS

    known = METHODS[method].baselines
    return Look(method, clip, baseline if baseline in known else next(iter(known), None), int(steps or STEPS) if makes_steps(method) else None)


@dataclass(frozen=True)
class Way:
    """How a map is tested: what is done to a unit that is taken away, and at which shares of the units one looks."""

    perturbation: str = "mask"
    chefer: bool = False  # at those of Chefer 2021 rather than at every tenth

    def settings(self) -> dict[str, Any]:
        from clipbert.faithfulness_curves import CHEFER_STEPS

        return {"perturbation": self.perturbation, **({"steps": CHEFER_STEPS} if self.chefer else {})}


@dataclass(frozen=True, eq=False)
class Explained:
    """A score of a video with all that was found of it so far; what was found before is not computed again."""

    score: Score
    path: Path
    video: "EncodedVideo"
    clips: "tuple[ClipTimes, ...]"
    model: str
    standing: Standing | None  # None for a caption
    likeliest: tuple[str, ...]  # answers, best first
    sampled: dict[str, Any] = field(default_factory=dict)  # how the clips were chosen
    maps: "dict[tuple[Score, Look], Attribution]" = field(default_factory=dict)
    seconds: dict[tuple[Score, Look], float] = field(default_factory=dict)  # that a map took
    tests: "dict[tuple[Score, Look, Way], Faithfulness]" = field(default_factory=dict)
    known: "dict[tuple[Score, str, int | None, str], Known]" = field(default_factory=dict)  # sets of units that tests have asked for
    checks: "dict[tuple[Score, Look, Way], Checkup]" = field(default_factory=dict)

    def of(self, score: Score) -> "Explained":
        """The same video and text, with another score to explain."""
        return replace(self, score=score)

    def by(self, predictor: "Predictor") -> "Explained":
        """The same score of the same clips by another model."""
        video = predictor.encode(self.path, **self.sampled)
        return Explained(self.score, self.path, video, self.clips, predictor.model.name, None, (), self.sampled)

    def map(self, predictor: "Predictor", look: Look) -> "Attribution":
        """Raises ValueError as `attribute` does."""
        from clipbert.attribution import attribute

        if (self.score, look) not in self.maps:
            clips, started = None if look.clip is None else [look.clip], time.perf_counter()
            self.maps[self.score, look] = attribute(
                predictor, self.video, self.score.text, method=look.method, clips=clips, baseline=look.baseline, steps=look.steps,
                file=self.path, **self.score.settings(),
            )  # fmt: skip
            self.seconds[self.score, look] = time.perf_counter() - started
        return self.maps[self.score, look]

    def known_map(self, look: Look) -> "Attribution | None":
        return self.maps.get((self.score, look))

    def test(self, predictor: "Predictor", look: Look, way: Way, progress: "Progress | None" = None) -> "Faithfulness":
        """Raises ValueError as `faithfulness` does."""
        from clipbert.faithfulness import faithfulness

        key = (self.score, look, way)
        if key not in self.tests:
            self.tests[key] = faithfulness(*self._tested(predictor, look), progress=progress, **self._away(look, way))
        return self.tests[key]

    def expected(self, predictor: "Predictor", look: Look, way: Way) -> tuple[int, float]:
        """How many sets of units the test of a map still has to ask for, and how many seconds that takes."""
        from clipbert.faithfulness import expected_seconds

        return expected_seconds(*self._tested(predictor, look), **self._away(look, way))

    def other_looks(self, look: Look) -> list[Look]:
        """The same units by every other method, each with its defaults."""
        from clipbert.checkup import other_methods

        return [look_of(name, look.clip) for name in other_methods(look.method)]

    def check(self, predictor: "Predictor", look: Look, way: Way, progress: "Progress | None" = None) -> "Checkup":
        """Beside the maps of other methods that were computed.  Raises ValueError as `checkup` does."""
        from clipbert.checkup import checkup

        key = (self.score, look, way)
        if key not in self.checks:
            others = [self.maps[self.score, other] for other in self.other_looks(look) if (self.score, other) in self.maps]
            settings = self._away(look, way) | {"baseline": look.baseline, "steps": look.steps}
            del settings["known"]
            self.checks[key] = checkup(*self._tested(predictor, look), others=others, progress=progress, **settings)
        return self.checks[key]

    def _tested(self, predictor: "Predictor", look: Look) -> "tuple[Predictor, EncodedVideo, str, Attribution]":
        return predictor, self.video, self.score.text, self.map(predictor, look)

    def _away(self, look: Look, way: Way) -> dict[str, Any]:
        """How units are taken away."""
        from clipbert.attribution import METHODS

        known = self.known.setdefault((self.score, METHODS[look.method].level, look.clip, way.perturbation), {})
        return {**way.settings(), "file": self.path, "known": known, **self.score.settings()}

    def tested(self, look: Look) -> "Faithfulness | None":
        """What the last test of a map found."""
        found = [test for (score, of, _), test in self.tests.items() if (score, of) == (self.score, look)]
        return found[-1] if found else None


@dataclass
class Opened:
    """What of it the page shows: the clip and the frame that were clicked (counted from 0), and the attribution at each level."""

    clip: int | None = None
    frame: int | None = None
    looks: dict[str, Look] = field(default_factory=dict)


def explained(session: Session) -> Explained:
    """Raises ValueError where nothing is explained."""
    if "attribution" not in session.results:
        raise ValueError("nothing is explained yet; press Explain first.")
    return session.results["attribution"]


def opened(session: Session) -> Opened:
    return session.results.setdefault("attribution-opened", Opened())


def standing_of(
    predictor: "Predictor", video: "EncodedVideo", score: Score, known: Sequence[str], listed: int
) -> tuple[Standing | None, tuple[str, ...]]:
    """How the answer stands, and the likeliest answers, best first.  A caption has neither."""
    if score.kind == FITS:
        return None, ()
    found = predictor.answer(video, score.text, choices=score.choices or None, aggregation=score.aggregation)
    ranked = found.scores.argsort(descending=True)[:listed].tolist()
    first, second = ranked[0], ranked[1] if len(ranked) > 1 else ranked[0]
    standing = Standing(
        found.candidates[first], float(found.scores[first]), found.candidates[second], float(found.scores[second]), found.sure, tuple(known)
    )
    return standing, tuple(found.candidates[j] for j in ranked)
