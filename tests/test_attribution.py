"""Attribution over clips: values that add up, targets, errors."""

import math

import pytest
import torch
from conftest import GOLDEN
from tiny import tiny_model, tiny_processor

import clipbert
from clipbert.aggregation import AGGREGATIONS, aggregate
from clipbert.attribution import attribute
from clipbert.attribution_target import LogProbability
from clipbert.predict import Predictor

VIDEO = GOLDEN / "video_a30.mp4"


@pytest.fixture
def predictor() -> Predictor:
    model = tiny_model()
    return Predictor(model, tiny_processor(model), name="tiny")


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_shapley_values_are_the_contributions_of_the_answer(predictor: Predictor, how: str) -> None:
    video = predictor.encode(VIDEO)
    found = attribute(predictor, video, "what colour?", aggregation=how)
    answer = predictor.answer(video, "what colour?", aggregation=how)
    assert found.target == answer.answer and found.clips is not None
    torch.testing.assert_close(found.clips, answer.contribution.float())
    assert found.gap == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_the_log_odds_of_two_answers_are_shared_among_clips(predictor: Predictor, how: str) -> None:
    video = predictor.encode(VIDEO)
    found = attribute(predictor, video, "what colour?", target="red", versus="blue", aggregation=how)
    candidates, logits = predictor.candidate_logits(video, "what colour?")
    pooled = aggregate(logits[None], how)[0]
    odds = float(pooled[candidates.index("red")] - pooled[candidates.index("blue")])
    assert found.clips is not None and float(found.clips.sum()) == pytest.approx(odds, abs=1e-5)
    turned = attribute(predictor, video, "what colour?", target="blue", versus="red", aggregation=how)
    torch.testing.assert_close(turned.clips, -found.clips)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_the_match_score_is_shared_among_clips(predictor: Predictor, how: str) -> None:
    video = predictor.encode(VIDEO)
    found = attribute(predictor, video, "a red square", task="match", aggregation=how)
    whole = float(predictor.match(video, ["a red square"], aggregation=how)[0])
    assert found.clips is not None and float(found.clips.sum()) == pytest.approx(whole, abs=1e-4)
    assert found.gap == pytest.approx(0, abs=1e-9)


def test_leaving_a_clip_out_costs_its_value(predictor: Predictor) -> None:
    video = predictor.encode(VIDEO)
    found = attribute(predictor, video, "what colour?", method="clip_leave_one_out", target="red")
    candidates, logits = predictor.candidate_logits(video, "what colour?")
    red = candidates.index("red")
    values = [float(aggregate(part[None].double(), "lse")[0].log_softmax(0)[red]) for part in (logits, logits[1:])]
    assert found.clips is not None and float(found.clips[0]) == pytest.approx(values[0] - values[1], abs=1e-6)
    assert found.gap is None, "leave-one-out is not complete"


@pytest.mark.parametrize("method", ["clip_shapley", "clip_leave_one_out"])
def test_a_single_clip_takes_all(predictor: Predictor, method: str) -> None:
    video = predictor.encode(VIDEO, num_clips=1)
    found = attribute(predictor, video, "what colour?", method=method, target="red")
    candidates, logits = predictor.candidate_logits(video, "what colour?")
    whole = float(logits[0].double().log_softmax(0)[candidates.index("red")]) + math.log(len(candidates))
    assert found.clips is not None and float(found.clips[0]) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize(("how", "expected"), [("lse", [0.25, 0.75]), ("max", [0.0, 1.0]), ("mean", [0.5, 0.5])])
def test_responsibility_is_the_derivative_of_the_pooled_logit(predictor: Predictor, how: str, expected: list[float]) -> None:
    logits = torch.tensor([[0.0, 1.0], [math.log(3.0), 5.0]])
    assert LogProbability(logits, 0).responsibility(how).tolist() == pytest.approx(expected)
    video = predictor.encode(VIDEO)
    for settings in ({}, {"target": "red", "versus": "blue"}, {"task": "match"}):
        found = attribute(predictor, video, "what colour?", method="clip_responsibility", aggregation=how, **settings)
        assert float(found.values.sum()) == pytest.approx(1, abs=1e-6) and found.gap is None


def test_above_16_clips_other_orders_give_values_within_the_error_that_is_stated(predictor: Predictor) -> None:
    video = predictor.encode(VIDEO, num_clips=17)
    found = attribute(predictor, video, "a red square", task="match", aggregation="mean")
    low, high = found.interval()
    assert found.standard_error is not None and found.gap == pytest.approx(0, abs=1e-9) and bool((low <= high).all())
    again = attribute(predictor, video, "a red square", task="match", aggregation="mean", seed=1)
    assert bool(((found.values - again.values).abs() <= 4 * (found.standard_error + again.standard_error) + 1e-7).all())


def test_a_path_is_encoded_first(predictor: Predictor) -> None:
    found = attribute(predictor, VIDEO, "what colour?")
    assert found.clips is not None and len(found.clips) == 4


def test_it_is_a_public_name() -> None:
    assert clipbert.attribute is attribute


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "clip_shapely"}, "did you mean 'clip_shapley'"),
        ({"target": "purple"}, "target 'purple' is none of the 4 possible answers; the nearest are"),
        ({"target": "red", "versus": "purple"}, "versus 'purple' is none of the 4"),
        ({"target": "red", "versus": "red"}, "another answer than the target"),
        ({"task": "match", "target": "red"}, "leave out target"),
    ],
)
def test_what_does_not_exist_is_said(predictor: Predictor, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(predictor, VIDEO, "what colour?", **settings)
