"""The model-randomisation check: the copy, the stages, maps that follow the model and maps that do not."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from inside_case import QUESTION, TARGETS

from clipbert.attribution import attribute
from clipbert.predict import Predictor
from clipbert.randomisation import Randomisation, RandomisedMap, randomisation_check
from clipbert.types import EncodedVideo

STAGES = ["head", "pooler", "layer 2", "layer 1", "embeddings"]


@pytest.mark.parametrize("wanted", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("method", ["clip_leave_one_out", "cell_occlusion", "token_ablation"])
def test_every_stage_has_a_row_for_every_random_model(predictor: Predictor, video: EncodedVideo, method: str, wanted: dict[str, Any]) -> None:
    clips = None if method.startswith("clip") else [1]
    own = attribute(predictor, video, QUESTION, method=method, clips=clips, **wanted)
    found = randomisation_check(predictor, video, QUESTION, own, num_models=2, seed=5, **wanted)
    assert [(row.down_to, row.seed) for row in found.rows] == [(stage, seed) for seed in (5, 6) for stage in STAGES]
    assert list(found.agreements()) == STAGES and all(-1 <= row.agreement <= 1 for row in found.rows)


def test_the_model_and_its_caches_stay_as_they_were(predictor: Predictor, video: EncodedVideo) -> None:
    model: Any = predictor.model
    before, logits = {name: value.clone() for name, value in model.model.state_dict().items()}, predictor.answer(video, QUESTION).clip_logits
    own = attribute(predictor, video, QUESTION, method="cell_occlusion", clips=[1])
    state = torch.random.get_rng_state()
    first = randomisation_check(predictor, video, QUESTION, own, num_models=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.model.state_dict().items())
    assert torch.equal(predictor.answer(video, QUESTION).clip_logits, logits)
    assert randomisation_check(predictor, video, QUESTION, own, num_models=1) == first, "equal seeds give equal models"
    assert randomisation_check(predictor, video, QUESTION, own, num_models=1, seed=1) != first


def test_a_map_of_attention_does_not_see_the_head_and_one_of_occlusion_does(predictor: Predictor, video: EncodedVideo) -> None:
    agreements = {}
    for method in ("cell_rollout", "cell_occlusion"):
        own = attribute(predictor, video, QUESTION, method=method, clips=[0])
        agreements[method] = randomisation_check(predictor, video, QUESTION, own, num_models=2).agreements()
    assert agreements["cell_rollout"]["head"] == agreements["cell_rollout"]["pooler"] == pytest.approx(1)
    assert agreements["cell_occlusion"]["head"] < 0.95


def test_the_verdict_goes_by_the_last_stage() -> None:
    def check(*last: float) -> Randomisation:
        rows = (RandomisedMap(stage, n, value) for n, value in enumerate(last) for stage, value in (("head", 1.0), ("embeddings", value)))
        return Randomisation("cell_rollout", 0, tuple(rows))

    assert check(0.9, 0.6).verdict.startswith("the map hardly depends on what the model has learned: do not read it (rank agreement +0.75, +0.60")
    assert check(0.9, -0.1).verdict.startswith("the map depends on what the model has learned (rank agreement +0.40")


def test_settings_that_cannot_be_are_said(predictor: Predictor, video: EncodedVideo) -> None:
    own = attribute(predictor, video, QUESTION, method="cell_occlusion", clips=[1], target="red")
    with pytest.raises(ValueError, match="gives all 9 units the same value, which ranks nothing"):
        randomisation_check(predictor, video, QUESTION, replace(own, cells=torch.ones(1, 3, 3)), target="red")
    with pytest.raises(ValueError, match="num_models must be at least 1, got 0"):
        randomisation_check(predictor, video, QUESTION, own, num_models=0, target="red")
    with pytest.raises(ValueError, match="the attribution explains 'red'"):
        randomisation_check(predictor, video, QUESTION, own, target="blue")
