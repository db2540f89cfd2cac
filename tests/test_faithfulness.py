"""Faithfulness of attributions: laws of the curves, the test against random orders, what is asked of the model, errors."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from inside_case import QUESTION, TARGETS
from tiny import tiny_model, tiny_processor

from clipbert.attribution import attribute
from clipbert.faithfulness import faithfulness, rank_agreement
from clipbert.faithfulness_curves import CHEFER_STEPS, Faithfulness, measure
from clipbert.predict import Predictor
from clipbert.types import Attribution, EncodedVideo

METHODS = ("clip_shapley", "frame_shapley", "cell_occlusion", "cell_gradient_x_activation", "token_ablation")


def explained(predictor: Predictor, video: EncodedVideo, method: str, **settings: Any) -> Attribution:
    clips = {} if method.startswith("clip_") else {"clips": [1]}
    return attribute(predictor, video, QUESTION, method=method, **clips, **settings)


def linear(weight: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda kept: (kept * weight).sum(dim=1)


def weights(num_units: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def area(found: Faithfulness, name: str) -> float:
    return found.summary()[f"{name}_area_attributed"]


@pytest.mark.parametrize("wanted", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_order_leads_from_all_to_nothing(predictor: Predictor, video: EncodedVideo, method: str, wanted: dict[str, Any]) -> None:
    found = faithfulness(predictor, video, QUESTION, explained(predictor, video, method, **wanted), **wanted)
    if wanted.get("task") == "match":
        log_odds = predictor.match(video, [QUESTION])[0] if found.clip is None else predictor.clip_match(video, [QUESTION])[0, 1]
        full = float(log_odds.sigmoid())
    else:
        clips = replace(video, features=video.features[1:2], times=video.times[1:2], spans=video.spans[1:2], clip_keys=("random 1",), key="one")
        answer = predictor.answer(video if found.clip is None else clips, QUESTION, choices=wanted.get("choices"))
        scores = dict(zip(answer.candidates, answer.scores.tolist(), strict=True))
        full = scores[wanted["target"]]
        full = full / (full + scores[wanted["versus"]]) if "versus" in wanted else full
    for curve in (found.deletion, found.insertion):
        ends = torch.cat([torch.stack([curve.attributed, curve.reversed]), curve.random])
        first, last = (0, -1) if curve is found.deletion else (-1, 0)
        assert ends[:, first].tolist() == pytest.approx([full] * 22, abs=1e-4)
        assert ends[:, last].tolist() == pytest.approx([float(found.deletion.attributed[-1])] * 22, abs=1e-9)
    assert found.counts[0] == 0 and found.counts[-1] == found.num_units and found.level == explained(predictor, video, method, **wanted).level


def test_without_cells_the_probability_is_that_of_the_text_alone(predictor: Predictor, video: EncodedVideo) -> None:
    own = explained(predictor, video, "cell_occlusion", target="red")
    found = faithfulness(predictor, video, QUESTION, own, target="red")
    other = replace(video, features=-video.features, key="other", clip_keys=())
    elsewhere = faithfulness(predictor, other, QUESTION, own, target="red")
    assert float(found.deletion.attributed[-1]) == pytest.approx(float(elsewhere.deletion.attributed[-1]), abs=1e-6)
    assert float(found.deletion.attributed[0]) != pytest.approx(float(elsewhere.deletion.attributed[0]), abs=1e-4)


def test_the_first_step_of_occlusion_is_its_value(predictor: Predictor, video: EncodedVideo) -> None:
    own = explained(predictor, video, "cell_occlusion", target="red")
    found = faithfulness(predictor, video, QUESTION, own, target="red", steps=9)
    log_p = found.deletion.attributed.log()
    assert found.counts == tuple(range(10)) and float(log_p[0] - log_p[1]) == pytest.approx(float(own.values.max()), abs=1e-4)


def test_cells_of_the_mean_feature_change_nothing_in_an_even_clip(predictor: Predictor, video: EncodedVideo) -> None:
    even = replace(video, features=video.features.mean(dim=(1, 2, 3), keepdim=True).expand_as(video.features), key="even", clip_keys=())
    own = explained(predictor, even, "cell_occlusion", target="red")
    found = faithfulness(predictor, even, QUESTION, own, target="red", perturbation="mean")
    assert found.deletion.random.flatten().tolist() == pytest.approx([float(found.deletion.attributed[0])] * found.deletion.random.numel(), rel=1e-5)
    assert found.beats_random is False and (found.deletion_p, found.insertion_p) == (1, 1), "equal areas are as good"
    masked = faithfulness(predictor, even, QUESTION, own, target="red")
    assert float((masked.deletion.attributed - masked.deletion.attributed[0]).abs().max()) > 1e-4


def test_the_order_of_a_linear_score_has_the_smallest_area_of_all_orders_and_is_found_better() -> None:
    weight = weights(6)
    best = measure(linear(weight), weight, steps=6)
    for order in permutations(range(6)):
        values = torch.empty(6)
        values[list(order)] = torch.arange(6.0).flip(0)
        other = measure(linear(weight), values, steps=6)
        assert area(best, "deletion") <= area(other, "deletion") + 1e-12 and area(best, "insertion") >= area(other, "insertion") - 1e-12
    assert measure(linear(weights(12)), weights(12)).beats_random is True


def test_a_reversed_attribution_is_worse_and_its_curves_are_the_reverse_order() -> None:
    weight = weights(12)
    best, worst = measure(linear(weight), weight), measure(linear(weight), -weight)
    assert area(worst, "deletion") > area(best, "deletion") and area(worst, "insertion") < area(best, "insertion")
    torch.testing.assert_close(worst.deletion.attributed, best.deletion.reversed)
    assert worst.verdict.startswith("not better than random: do not read this map") and worst.deletion_p == 1


def test_areas_and_rationales_of_a_linear_score_are_what_is_counted_by_hand() -> None:
    weight = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0])
    found = measure(linear(weight), weight, steps=5)
    assert found.deletion.attributed.tolist() == [10, 6, 3, 1, 0, 0] and found.insertion.attributed.tolist() == [0, 4, 7, 9, 10, 10]
    assert area(found, "deletion") == pytest.approx(3.0) and area(found, "insertion") == pytest.approx(7.0)
    assert found.rationale_counts == (1, 1, 1, 1, 2)
    assert found.comprehensiveness.attributed.tolist() == [4, 4, 4, 4, 7] and found.sufficiency.attributed.tolist() == [6, 6, 6, 6, 3]
    assert found.summary()["comprehensiveness_50%"] == 7 and found.summary()["sufficiency_50%"] == 3


def test_random_attributions_are_seldom_better_than_random() -> None:
    found = [measure(linear(weights(16)), weights(16, seed=100 + n), seed=n) for n in range(200)]
    assert sum(one.deletion_p <= 0.05 for one in found) <= 20  # 1 in 21 expected, 9.5 +- 3
    assert sum(one.beats_random is True for one in found) <= 20


def test_an_attribution_without_order_is_ranked_at_random() -> None:
    weight = torch.arange(16.0).flip(0)  # the first units count most, as would favour an order by place
    passed = [measure(linear(weight), torch.zeros(16), seed=n).beats_random is True for n in range(100)]
    assert sum(passed) <= 12


def test_p_is_the_share_of_orders_that_do_as_well_and_never_below_one_of_all() -> None:
    weight = weights(12)
    best = measure(linear(weight), weight, num_orders=39)
    assert best.deletion_p == best.insertion_p == pytest.approx(1 / 40)
    assert "with 39 random orders p cannot be below 0.025" in best.verdict and "better than random at deletion and insertion" in best.verdict
    some = measure(linear(weight), weights(12, seed=5))
    at_least = sum(float(torch.trapezoid(y, torch.tensor(some.counts) / 12)) <= area(some, "deletion") + 1e-4 for y in some.deletion.random)
    assert some.deletion_p == pytest.approx((1 + at_least) / 21)


def test_one_test_of_two_is_called_weak_evidence() -> None:
    found = measure(linear(weights(12)), weights(12))
    only = replace(found, insertion=replace(found.insertion, attributed=found.insertion.reversed))
    assert only.beats_random is False and only.verdict.startswith("better than random at deletion only, which is weak evidence")


def test_few_units_are_not_judged() -> None:
    found = measure(linear(weights(3)), weights(3))
    assert found.beats_random is None and "3 units have only 6 orders: too few" in found.verdict


def test_the_band_holds_the_mean_and_most_random_orders() -> None:
    curve = measure(linear(weights(12)), weights(12)).deletion
    low, high = curve.band()
    assert bool((low <= curve.mean() + 1e-12).all() and (curve.mean() <= high + 1e-12).all())
    assert float(((low <= curve.random + 1e-12) & (curve.random <= high + 1e-12)).double().mean()) >= 0.9


def test_equal_seeds_give_equal_curves_and_others_other_orders(predictor: Predictor, video: EncodedVideo) -> None:
    own = explained(predictor, video, "cell_occlusion")
    same, again, other = (faithfulness(predictor, video, QUESTION, own, seed=seed) for seed in (3, 3, 4))
    assert same.rows() == again.rows() and same.rows() != other.rows()
    torch.testing.assert_close(same.deletion.attributed, other.deletion.attributed)


@pytest.mark.parametrize("method", METHODS)
def test_the_cnn_does_not_run(predictor: Predictor, video: EncodedVideo, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own, model = explained(predictor, video, method), predictor.model.model  # type: ignore[attr-defined]
    monkeypatch.setattr(model.clipbert.backbone, "forward", lambda *_: pytest.fail("the CNN ran"))
    assert faithfulness(predictor, video, QUESTION, own).num_runs > 2


def test_it_can_be_stopped_between_batches_and_leaves_nothing_behind(video: EncodedVideo) -> None:
    model = tiny_model(image_size=192)
    predictor = Predictor(model, tiny_processor(model), name="tiny")
    own, told = explained(predictor, video, "cell_occlusion"), []

    def stop(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))
        raise KeyboardInterrupt

    model.train()
    with pytest.raises(KeyboardInterrupt):
        faithfulness(predictor, video, QUESTION, own, progress=stop)
    assert model.training and torch.is_grad_enabled()
    assert len(told) == 1 and told[0][:2] == ("sets of units", 64) and told[0][2] > 64


def test_sets_that_orders_share_are_asked_once() -> None:
    asked: list[torch.Tensor] = []

    def value(kept: torch.Tensor) -> torch.Tensor:
        asked.append(kept)
        return kept.double().sum(dim=1)

    found = measure(value, weights(6), steps=6, batch_size=5)
    kept = torch.cat(asked)
    assert len(kept) == len(kept.unique(dim=0)) == found.num_runs <= 2**6 and max(map(len, asked)) == 5


def test_values_of_single_frames_are_summed(predictor: Predictor, video: EncodedVideo) -> None:
    own = explained(predictor, video, "cell_gradient_x_activation")
    assert own.cells is not None and own.cells.ndim == 4
    found = faithfulness(predictor, video, QUESTION, own)
    assert found.num_units == 9 and found.order.tolist() == own.cells[0].sum(dim=0).flatten().argsort(descending=True).tolist()


def test_steps_of_chefer_are_its_shares() -> None:
    assert measure(linear(weights(20)), weights(20), steps=CHEFER_STEPS).counts == (0, 5, 10, 15, 16, 17, 18, 19, 20)


def test_rows_are_tidy() -> None:
    found = measure(linear(weights(10)), weights(10))
    rows = found.rows()
    assert len(rows) == 2 * 3 * 11 + 2 * 3 * 5 and len({tuple(row) for row in rows}) == 1
    random = [row for row in rows if row["curve"] == "deletion" and row["order"] == "random"]
    assert [row["value"] for row in random] == pytest.approx(found.deletion.mean().tolist())
    assert [row["share"] for row in random] == pytest.approx([k / 10 for k in range(11)])
    assert all((row["low"] is None) == (row["order"] != "random") for row in rows)


def cells(values: list[float]) -> Attribution:
    return Attribution("red", "cell_occlusion", "", cells=torch.tensor(values, dtype=torch.float32).reshape(1, 2, -1), clip_index=(0,))


@pytest.mark.parametrize(
    ("other", "expected"),
    [([10.0, 20, 30, 40], 1), ([4.0, 3, 2, 1], -1), ([2.0, 1, 4, 3], 0.6), ([0.0, 0, 1, 1], 0.8944272)],
    ids=["any monotone change", "reverse", "1 - 6 * 4 / 60", "ties share their mean rank"],
)
def test_rank_agreement_is_spearmans(other: list[float], expected: float) -> None:
    assert rank_agreement(cells([1, 2, 3, 4]), cells(other)) == pytest.approx(expected)
    assert rank_agreement(cells(other), cells([1, 2, 3, 4])) == pytest.approx(expected)


def test_rank_agreement_says_what_it_cannot_compare(predictor: Predictor, video: EncodedVideo) -> None:
    with pytest.raises(ValueError, match="gives all 4 units the same value"):
        rank_agreement(cells([1, 2, 3, 4]), cells([0, 0, 0, 0]))
    with pytest.raises(ValueError, match="one level can be compared, got cells and clips"):
        rank_agreement(cells([1, 2, 3, 4]), explained(predictor, video, "clip_shapley"))
    with pytest.raises(ValueError, match="explain different clips, 0 and 1"):
        rank_agreement(cells([1, 2, 3, 4]), explained(predictor, video, "cell_occlusion"))
    with pytest.raises(ValueError, match="have 4 and 6 units"):
        rank_agreement(cells([1, 2, 3, 4]), cells([1, 2, 3, 4, 5, 6]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"perturbation": "smear"}, "perturbation must be one of mask, mean, blur"),
        ({"perturbation": "blur"}, "needs the pixels, and an encoded video holds none: pass file="),
        ({"target": "blue"}, "the attribution explains 'red' .* and these settings mean 'blue'"),
        ({"target": "red", "versus": "blue"}, "these settings mean 'red rather than blue'"),
        ({"task": "match"}, "leave out target"),
        ({"clip": 0}, "explains no clip 0; it explains 1"),
        ({"steps": 0}, "steps must be between 1 and 1000, got 0"),
        ({"steps": (0.0, 0.5)}, "must ascend from 0 to 1"),
        ({"num_orders": 18}, "num_orders must be between 19 and 1000, got 18; with fewer p cannot reach 0.05"),
    ],
)
def test_settings_that_cannot_be_are_said(predictor: Predictor, video: EncodedVideo, settings: dict[str, Any], message: str) -> None:
    own = explained(predictor, video, "cell_occlusion", target="red")
    with pytest.raises(ValueError, match=message):
        faithfulness(predictor, video, QUESTION, own, **{"target": "red", **settings})


def test_an_attribution_of_something_else_is_refused(predictor: Predictor, video: EncodedVideo) -> None:
    own = explained(predictor, video, "cell_occlusion", target="red")
    with pytest.raises(ValueError, match=r"is of 'what colour\?' by tiny, got 'what\?' by tiny"):
        faithfulness(predictor, video, "what?", own, target="red")
    with pytest.raises(ValueError, match="of other clips than this video's"):
        faithfulness(predictor, replace(video, spans=video.spans + 1), QUESTION, own, target="red")
    with pytest.raises(ValueError, match='"mean" is of cells, and token_ablation explains tokens'):
        faithfulness(predictor, video, QUESTION, explained(predictor, video, "token_ablation"), perturbation="mean")
    with pytest.raises(ValueError, match="explains 3 clips; say which one, as in clip=0"):
        faithfulness(predictor, video, QUESTION, attribute(predictor, video, QUESTION, method="cell_occlusion"))
    with pytest.raises(ValueError, match="compares all clips; leave clip out"):
        faithfulness(predictor, video, QUESTION, explained(predictor, video, "clip_shapley"), clip=0)
    with pytest.raises(ValueError, match="not finite"):
        faithfulness(predictor, video, QUESTION, replace(own, cells=own.values * float("nan")), target="red")
    with pytest.raises(ValueError, match="at least 2 units, got 1"):
        measure(linear(weights(1)), weights(1))
