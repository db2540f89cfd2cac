"""Infidelity, sensitivity and signs of attributions: laws, references, what makes no sense."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from inside_case import QUESTION

from clipbert.attribution import INSIDE_METHODS, METHODS, attribute
from clipbert.faithfulness_checks import infidelity, sensitivity, sign_violations
from clipbert.faithfulness_units import Units
from clipbert.predict import Predictor
from clipbert.types import Attribution, EncodedVideo


def explained(predictor: Predictor, video: EncodedVideo, method: str, **settings: Any) -> Attribution:
    return attribute(predictor, video, QUESTION, method=method, target="red", clips=None if METHODS[method].level == "clips" else [1], **settings)


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """In place of the model's score: the sum of nine weights."""
    weight = torch.randn(9, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(Units, "scores", lambda self, kept: (kept.double() * weight).sum(dim=1))
    return weight


def cells(own: Attribution, values: torch.Tensor) -> Attribution:
    return replace(own, cells=values.reshape(1, 3, 3))


def test_values_of_a_linear_score_explain_all_of_it_up_to_one_factor(predictor: Predictor, video: EncodedVideo, linear: torch.Tensor) -> None:
    own = explained(predictor, video, "cell_occlusion")
    for factor in (1.0, 7.0, -0.5):
        found = infidelity(predictor, video, QUESTION, cells(own, factor * linear), target="red")
        assert found.unexplained == pytest.approx(0, abs=1e-5) and found.of_nothing > 0.1
    assert infidelity(predictor, video, QUESTION, cells(own, linear.roll(1)), target="red").unexplained > 0.3
    assert infidelity(predictor, video, QUESTION, cells(own, 0 * linear), target="red").unexplained == 1


def test_infidelity_is_the_unexplained_part_counted_by_hand(predictor: Predictor, video: EncodedVideo, linear: torch.Tensor) -> None:
    values = linear + 0.5
    found = infidelity(predictor, video, QUESTION, cells(explained(predictor, video, "cell_occlusion"), values), target="red", num_samples=20000)
    # E over a chance c uniform in [0, 1] of the products of presences: 1/2 on the diagonal, 1/3 off it
    moment = torch.full((9, 9), 1 / 3) + torch.eye(9) / 6
    lost, said, both = (float(a @ moment @ b) for a, b in ((linear, linear), (values, values), (linear, values)))
    assert found.of_nothing == pytest.approx(lost, rel=0.05)
    assert found.unexplained == pytest.approx(1 - both**2 / (said * lost), rel=0.1)


@pytest.mark.parametrize("method", [name for name, about in METHODS.items() if about.unit == "nats"])
def test_infidelity_is_of_every_method_in_nats(predictor: Predictor, video: EncodedVideo, method: str) -> None:
    found = infidelity(predictor, video, QUESTION, explained(predictor, video, method), target="red", num_samples=32)
    again = infidelity(predictor, video, QUESTION, explained(predictor, video, method), target="red", num_samples=32)
    assert 0 <= found.unexplained <= 1.001 and found == again


@pytest.mark.parametrize("method", [name for name, about in METHODS.items() if about.unit != "nats"])
def test_shares_and_relative_values_cannot_add_up(predictor: Predictor, video: EncodedVideo, method: str) -> None:
    with pytest.raises(ValueError, match=f"{method} does not say by how many nats"):
        infidelity(predictor, video, QUESTION, explained(predictor, video, method), target="red")


@pytest.mark.parametrize("method", INSIDE_METHODS)
def test_sensitivity_is_of_every_method_inside_a_clip_and_grows_with_the_change(predictor: Predictor, video: EncodedVideo, method: str) -> None:
    own = explained(predictor, video, method, **({"steps": 4} if "integrated" in method else {}))
    settings = {"target": "red", "num_samples": 3, **({"steps": 4} if "integrated" in method else {})}
    still, little, much = (sensitivity(predictor, video, QUESTION, own, radius=radius, **settings) for radius in (0.0, 0.01, 0.5))
    assert still == pytest.approx(0, abs=1e-5) and still <= little < much
    assert torch.is_grad_enabled()


def test_clips_have_no_features_to_change(predictor: Predictor, video: EncodedVideo) -> None:
    with pytest.raises(ValueError, match="clip_shapley compares clips by their logits"):
        sensitivity(predictor, video, QUESTION, explained(predictor, video, "clip_shapley"), target="red")


def test_signs_of_a_linear_score_are_kept_and_the_opposite_always_violated(predictor: Predictor, video: EncodedVideo, linear: torch.Tensor) -> None:
    own = explained(predictor, video, "cell_occlusion")
    right = sign_violations(predictor, video, QUESTION, cells(own, linear), target="red")
    wrong = sign_violations(predictor, video, QUESTION, cells(own, -linear), target="red")
    negative = int((linear < 0).sum())
    assert right.rate == 0 and wrong.rate == 1 and right.positive == 9 - negative == 9 - wrong.positive
    assert right.random_rate == wrong.random_rate == pytest.approx(negative / 9)
    assert sign_violations(predictor, video, QUESTION, cells(own, linear.clamp(max=0) - 1), target="red").rate is None


@pytest.mark.parametrize("method", ["clip_leave_one_out", "frame_leave_one_out", "cell_occlusion", "token_ablation"])
def test_what_takes_units_away_one_by_one_violates_no_sign(predictor: Predictor, video: EncodedVideo, method: str) -> None:
    assert sign_violations(predictor, video, QUESTION, explained(predictor, video, method), target="red").violated == 0


def test_settings_of_another_attribution_are_refused(predictor: Predictor, video: EncodedVideo) -> None:
    own = explained(predictor, video, "cell_occlusion")
    for check in (infidelity, sensitivity, sign_violations):
        with pytest.raises(ValueError, match="the attribution explains 'red'"):
            check(predictor, video, QUESTION, own, target="blue")
