"""Deletion and insertion: how a probability moves as units leave and come in the order of their values, in its reverse, and in random orders.

Knows no model: `value` says the probability of any set of units.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from clipbert.encoding import Progress

Known = dict[bytes, float]  # the probability of each set of units that was asked for, by its `set_key`
Coalitions = Callable[[Bool[Tensor, "C U"]], Float[Tensor, " C"]]  # the probability when of U units only those set are there
CHEFER_STEPS = (0.0, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Shares removed in Chefer 2021 (arXiv 2103.15679), by its code, lxmert/perturbation.py."""
RATIONALE_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Of DeYoung 2020 (ERASER, arXiv 1911.03429), section 4.2."""
SIGNIFICANCE = 0.05
MIN_ORDERS = 19  # with fewer, p = 1 / (orders + 1) at best is above 0.05
MIN_UNITS = 5  # 4 units have 24 orders, so that random ones often are the one to test
NOISE = 1e-5  # of the largest probability: what float32 leaves open


@dataclass(frozen=True, eq=False)
class Curve:
    """A number at each of K shares of the units, for three kinds of order."""

    attributed: Float64[Tensor, " K"]
    reversed: Float64[Tensor, " K"]
    random: Float64[Tensor, "O K"]

    def mean(self) -> Float64[Tensor, " K"]:
        """Over the random orders."""
        return self.random.mean(dim=0)

    def band(self) -> tuple[Float64[Tensor, " K"], Float64[Tensor, " K"]]:
        """2.5th and 97.5th percentile of the random orders at each share, interpolated; with 20 orders nearly the smallest and the largest."""
        low, high = self.random.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
        return low, high


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Whether the probability of a target follows an attribution's order of units, beside random orders.

    `deletion` is p(without the first k units) and `insertion` p(the first k
    units alone), at each k in `counts`, 0 to all (Petsiuk 2018, RISE, arXiv
    1806.07421, section 3.3: the faster they fall and rise, the better).
    `comprehensiveness` is p(all) - p(without the first k) and `sufficiency`
    p(all) - p(the first k alone), at each k in `rationale_counts` (DeYoung
    2020, equations 1 and 2): high and low are good.  `order` holds units,
    highest value first; equal values stand in random order.  Insertion by the
    reverse order is deletion read backwards.
    """

    order: Int[Tensor, " U"]
    counts: tuple[int, ...]
    deletion: Curve
    insertion: Curve
    rationale_counts: tuple[int, ...]
    comprehensiveness: Curve
    sufficiency: Curve
    num_runs: int  # sets of units whose probability was asked
    seed: int = 0
    method: str = ""
    target: str = ""
    level: str = ""
    measured: str = ""  # what the probability is of
    perturbation: str = "mask"
    clip: int | None = None  # counted from 0; None: all clips together

    @property
    def num_units(self) -> int:
        return len(self.order)

    @property
    def deletion_p(self) -> float:
        """Chance that a random order's curve encloses as small an area: (1 + random orders with at most this area) / (1 + random orders)."""
        return _p_value(self._areas(self.deletion), self._noise())

    @property
    def insertion_p(self) -> float:
        """Chance that a random order's curve encloses as large an area, counted in the same way."""
        return _p_value({kind: -areas for kind, areas in self._areas(self.insertion).items()}, self._noise())

    @property
    def beats_random(self) -> bool | None:
        """Whether both curves are better than those of random orders, each with p <= 0.05; None where the units are too few to tell."""
        return None if self.num_units < MIN_UNITS else max(self.deletion_p, self.insertion_p) <= SIGNIFICANCE

    @property
    def verdict(self) -> str:
        """In words; of two tests at 5 % a random map passes one at least in up to 10 % of cases, so one alone is called weak."""
        num_orders = len(self.deletion.random)
        tests = {"deletion": self.deletion_p, "insertion": self.insertion_p}
        said = ", ".join(f"{name} p = {p:.3f}" for name, p in tests.items())
        about = f"({said}; with {num_orders} random orders p cannot be below {1 / (1 + num_orders):.3f})"
        if self.beats_random is None:
            return f"{self.num_units} units have only {math.factorial(self.num_units)} orders: too few to compare with random ones {about}."
        passed = [name for name, p in tests.items() if p <= SIGNIFICANCE]
        if not passed:
            return f"not better than random: do not read this map {about}."
        if len(passed) == 1:
            return f"better than random at {passed[0]} only, which is weak evidence: read this map with care {about}."
        return f"better than random at deletion and insertion {about}."

    def summary(self) -> dict[str, float]:
        """Areas under both curves by kind of order, p-values, and comprehensiveness and sufficiency at their shares beside the random mean."""
        found: dict[str, float] = {}
        for name, curve in (("deletion", self.deletion), ("insertion", self.insertion)):
            found |= {f"{name}_area_{kind}": float(areas.mean()) for kind, areas in self._areas(curve).items()}
        found |= {"deletion_p": self.deletion_p, "insertion_p": self.insertion_p}
        for name, curve in (("comprehensiveness", self.comprehensiveness), ("sufficiency", self.sufficiency)):
            for share, own, chance in zip(RATIONALE_SHARES, curve.attributed.tolist(), curve.mean().tolist(), strict=True):
                found |= {f"{name}_{share:.0%}": own, f"{name}_{share:.0%}_random": chance}
        return found

    def rows(self) -> list[dict[str, Any]]:
        """A row for each curve, kind of order and number of units; `low` and `high` are the random band, empty for single orders."""
        curves = (("deletion", self.deletion, self.counts), ("insertion", self.insertion, self.counts))
        rationales = (
            ("comprehensiveness", self.comprehensiveness, self.rationale_counts),
            ("sufficiency", self.sufficiency, self.rationale_counts),
        )
        return [row for name, curve, counts in curves + rationales for row in self._rows(name, curve, counts)]

    def _rows(self, name: str, curve: Curve, counts: tuple[int, ...]) -> list[dict[str, Any]]:
        low, high = (end.tolist() for end in curve.band())
        nothing: list[float | None] = [None] * len(counts)
        lines = (
            ("attributed", curve.attributed, nothing, nothing), ("reversed", curve.reversed, nothing, nothing), ("random", curve.mean(), low, high),
        )  # fmt: skip
        return [
            {"curve": name, "order": kind, "units": k, "share": k / self.num_units, "value": y, "low": a, "high": b}
            for kind, values, lows, highs in lines
            for k, y, a, b in zip(counts, values.tolist(), lows, highs, strict=True)
        ]

    def _areas(self, curve: Curve) -> dict[str, Float64[Tensor, " O"]]:
        """By trapezoids over shares 0 to 1, for each order of each kind."""
        shares = torch.tensor(self.counts, dtype=torch.float64) / self.num_units
        kinds = {"attributed": curve.attributed[None], "reversed": curve.reversed[None], "random": curve.random}
        return {kind: torch.trapezoid(values, shares, dim=1) for kind, values in kinds.items()}

    def _noise(self) -> float:
        return NOISE * float(max(self.deletion.random.abs().max(), self.insertion.random.abs().max()))


def _p_value(areas: dict[str, Tensor], noise: float) -> float:
    at_least_as_good = int((areas["random"] <= areas["attributed"] + noise).sum())
    return (1 + at_least_as_good) / (1 + len(areas["random"]))


def measure(
    value: Coalitions, values: Float[Tensor, " U"], *, steps: int | Sequence[float] = 10, num_orders: int = 20, seed: int = 0, batch_size: int = 64,
    known: Known | None = None, progress: Progress | None = None,
) -> Faithfulness:  # fmt: skip
    """Curves of U units with an attribution's `values`; each set of units that several orders share is asked for once.

    `steps` equal ones, or the shares of units at which to look, from 0 to 1;
    both are rounded to whole units, and of a rationale at least 1.  Sets in
    `known` are not asked for, and those that are come into it: equal seeds
    have equal random orders.  `progress` is told after each batch of sets, and
    may raise to stop.  Raises ValueError for fewer than 2 units, values that
    are not finite, or steps or orders out of range.
    """
    needed = _Needed.of(values, steps, num_orders, seed)
    shape = (2, len(needed.orders), len(needed.taken))
    without, alone = _in_batches(value, needed.sets, batch_size, known if known is not None else {}, progress)[needed.place].reshape(shape)
    on_curve, on_rationale = ([needed.taken.index(k) for k in chosen] for chosen in (needed.counts, needed.rationale))
    whole = without[:, :1]  # k = 0
    return Faithfulness(
        needed.orders[0], needed.counts, _curve(without[:, on_curve]), _curve(alone[:, on_curve]), needed.rationale,
        _curve(whole - without[:, on_rationale]), _curve(whole - alone[:, on_rationale]), len(needed.sets), seed,
    )  # fmt: skip


def sets_needed(values: Float[Tensor, " U"], *, steps: int | Sequence[float] = 10, num_orders: int = 20, seed: int = 0) -> Bool[Tensor, "C U"]:
    """The sets of units that `measure` asks for.  Raises ValueError as it does."""
    return _Needed.of(values, steps, num_orders, seed).sets


def set_key(kept: Bool[Tensor, " U"]) -> bytes:
    """What a set of units is found by in `known`."""
    return kept.numpy().tobytes()


@dataclass(frozen=True, eq=False)
class _Needed:
    """The orders, the numbers of units at which curves and rationales look, and the sets of units that this takes."""

    orders: Int[Tensor, "O U"]
    counts: tuple[int, ...]
    rationale: tuple[int, ...]
    taken: list[int]
    sets: Bool[Tensor, "C U"]
    place: Int[Tensor, " P"]  # of (without, alone) x orders x taken among the sets

    @classmethod
    def of(cls, values: Float[Tensor, " U"], steps: int | Sequence[float], num_orders: int, seed: int) -> "_Needed":
        num_units = len(values)
        counts = _counts(num_units, steps)
        if num_orders < MIN_ORDERS or num_orders > 1000:
            raise ValueError(f"num_orders must be between {MIN_ORDERS} and 1000, got {num_orders}; with fewer p cannot reach {SIGNIFICANCE}.")
        rationale = tuple(max(1, round(share * num_units)) for share in RATIONALE_SHARES)
        orders = _orders(values, num_orders, seed)
        taken = sorted({*counts, *rationale})
        first = orders.argsort(dim=1)[:, None] < torch.tensor(taken)[:, None]  # [2 + O, K, U]: the first k units of each order
        sets, place = torch.stack([~first, first]).flatten(0, 2).unique(dim=0, return_inverse=True)
        return cls(orders, counts, rationale, taken, sets, place)


def _counts(num_units: int, steps: int | Sequence[float]) -> tuple[int, ...]:
    """Units gone or come at each point of a curve; steps that fall on the same count are one."""
    if num_units < 2:
        raise ValueError(f"an order needs at least 2 units, got {num_units}; there is nothing to compare.")
    if isinstance(steps, int):
        if not 1 <= steps <= 1000:
            raise ValueError(f"steps must be between 1 and 1000, got {steps}.")
        return tuple(sorted({round(k * num_units / steps) for k in range(steps + 1)}))
    shares = list(steps)
    if len(shares) < 2 or shares[0] != 0 or shares[-1] != 1 or shares != sorted(shares):
        raise ValueError(f"steps as shares must ascend from 0 to 1, got {shares}; for example CHEFER_STEPS.")
    return tuple(sorted({round(share * num_units) for share in shares}))


def _orders(values: Float[Tensor, " U"], num_orders: int, seed: int) -> Int[Tensor, "O U"]:
    """Highest value first, the reverse, then random orders; a random order settles ties, lest the first rows of a grid be preferred."""
    if not bool(values.isfinite().all()):
        raise ValueError("an attribution with values that are not finite has no order; compute it again in float32.")
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(values), generator=generator)
    own = shuffled[values[shuffled].argsort(descending=True, stable=True)]
    return torch.stack([own, own.flip(0), *(torch.randperm(len(values), generator=generator) for _ in range(num_orders))])


def _in_batches(value: Coalitions, kept: Bool[Tensor, "C U"], size: int, known: Known, progress: Progress | None) -> Float64[Tensor, " C"]:
    keys = [set_key(row) for row in kept]
    new = [n for n, key in enumerate(keys) if key not in known]
    for start in range(0, len(new), size):
        asked = new[start : start + size]
        found = value(kept[asked]).detach().double().cpu().tolist()
        known.update(zip((keys[n] for n in asked), found, strict=True))
        if progress is not None:
            progress("sets of units", min(start + size, len(new)), len(new))
    return torch.tensor([known[key] for key in keys], dtype=torch.float64)


def _curve(scores: Float64[Tensor, "O K"]) -> Curve:
    return Curve(scores[0], scores[1], scores[2:])
