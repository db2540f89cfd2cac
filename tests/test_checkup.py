"""All checks of a map in one go, tests of several methods that share what was asked, and maps of clips put together."""

from typing import Any

import pytest
import torch
from inside_case import QUESTION, TARGETS

from clipbert.attribution import METHODS, attribute, joined
from clipbert.checkup import Checkup, checkup, num_maps, other_maps, other_methods, rank_agreements
from clipbert.faithfulness import expected_seconds, faithfulness, rank_agreement
from clipbert.faithfulness_checks import infidelity, sensitivity, sign_violations
from clipbert.faithfulness_curves import measure, sets_needed
from clipbert.predict import Predictor
from clipbert.randomisation import randomisation_check
from clipbert.types import Attribution, EncodedVideo


def explained(predictor: Predictor, video: EncodedVideo, method: str, **wanted: Any) -> Attribution:
    return attribute(
        predictor, video, QUESTION, method=method, clips=None if METHODS[method].level == "clips" else [1], **(wanted or {"target": "red"})
    )


@pytest.mark.parametrize("method", ["cell_occlusion", "token_ablation"])
def test_a_checkup_says_what_each_check_says_by_itself(predictor: Predictor, video: EncodedVideo, method: str) -> None:
    own, told = explained(predictor, video, method), []
    given = (predictor, video, QUESTION, own)
    found = checkup(*given, target="red", progress=lambda stage, done, total: told.append((stage, done, total)))
    assert found.infidelity == infidelity(*given, target="red")
    assert found.sensitivity == pytest.approx(sensitivity(*given, target="red"))
    assert found.signs == sign_violations(*given, target="red")
    assert found.randomisation == randomisation_check(*given, target="red") and not found.left_out
    assert {stage for stage, _, _ in told} == {"infidelity", "sensitivity", "randomisation"} and all(done <= total for _, done, total in told)
    ends = {stage: (done, total) for stage, done, total in told}
    assert all(done == total for done, total in ends.values())
    assert num_maps(predictor, own.level) == sum(ends[stage][1] for stage in ("sensitivity", "randomisation"))


def test_a_check_that_does_not_fit_says_why(predictor: Predictor, video: EncodedVideo) -> None:
    relative = checkup(predictor, video, QUESTION, explained(predictor, video, "cell_grad_cam"), target="red")
    assert relative.infidelity is None and "cell_grad_cam does not say by how many nats" in relative.left_out["infidelity"]
    clips = checkup(predictor, video, QUESTION, explained(predictor, video, "clip_leave_one_out"), target="red")
    assert clips.sensitivity is None and "compares clips by their logits" in clips.left_out["sensitivity"]
    assert [row["metric"] for row in clips.rows()][:2] == ["infidelity, normalised", "sign violations"]


def test_a_checkup_of_another_attribution_is_refused_and_stops_when_told(predictor: Predictor, video: EncodedVideo) -> None:
    own = explained(predictor, video, "cell_occlusion")
    with pytest.raises(ValueError, match="the attribution explains 'red'"):
        checkup(predictor, video, QUESTION, own, target="blue")

    def stop(*_: Any) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        checkup(predictor, video, QUESTION, own, target="red", progress=stop)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("wanted", TARGETS.values(), ids=TARGETS)
def test_other_maps_are_those_of_the_other_methods_for_the_same_score(predictor: Predictor, video: EncodedVideo, wanted: dict[str, Any]) -> None:
    own = explained(predictor, video, "token_ablation", **wanted)
    maps, without = other_maps(predictor, video, QUESTION, own, **wanted)
    assert [found.method for found in maps] + list(without) == other_methods("token_ablation")
    assert all(found.target == own.target and found.clip_index == own.clip_index for found in maps)


def test_methods_agree_in_pairs_as_two_do(predictor: Predictor, video: EncodedVideo) -> None:
    maps = [explained(predictor, video, method) for method in ("cell_occlusion", "cell_relevance", "cell_rollout")]
    pairs = {(pair.first, pair.second): pair.rho for pair in rank_agreements(maps)}
    assert len(pairs) == 3 and pairs["cell_occlusion", "cell_rollout"] == rank_agreement(maps[0], maps[2])
    flat = Attribution("red", "flat", "", cells=torch.ones(1, 3, 3), clip_index=(1,))
    assert [pair.rho for pair in rank_agreements([maps[0], flat])] == [None]


def test_a_second_method_is_tested_as_by_itself_but_asks_for_its_own_sets_alone(predictor: Predictor, video: EncodedVideo) -> None:
    known: dict[bytes, float] = {}
    asked: list[int] = []
    first, second = (explained(predictor, video, method) for method in ("cell_occlusion", "cell_relevance"))
    faithfulness(predictor, video, QUESTION, first, target="red", known=known)
    beside = faithfulness(predictor, video, QUESTION, second, target="red", known=known, progress=lambda _stage, _done, total: asked.append(total))
    alone = faithfulness(predictor, video, QUESTION, second, target="red")
    assert max(asked, default=0) < alone.num_runs / 4 and beside.verdict == alone.verdict
    assert beside.summary() == pytest.approx(alone.summary(), abs=1e-5)
    assert torch.allclose(beside.deletion.random, alone.deletion.random, atol=1e-5)


def test_the_sets_that_are_needed_are_those_that_are_asked_for() -> None:
    values, asked = torch.randn(8, generator=torch.Generator().manual_seed(0)), []

    def value(kept: torch.Tensor) -> torch.Tensor:
        asked.append(kept)
        return kept.double().sum(dim=1)

    measure(value, values)
    assert torch.equal(torch.cat(asked), sets_needed(values))


def test_what_a_test_will_take_is_told_by_a_few_sets_that_are_then_known(predictor: Predictor, video: EncodedVideo) -> None:
    own, known = explained(predictor, video, "cell_occlusion"), {}
    settings = {"target": "red", "known": known}
    num_sets, seconds = expected_seconds(predictor, video, QUESTION, own, **settings)
    assert num_sets == len(sets_needed(own.values.flatten())) and 0 < seconds < 60 and 0 < len(known) < num_sets
    faithfulness(predictor, video, QUESTION, own, **settings)
    assert expected_seconds(predictor, video, QUESTION, own, **settings) == (0, 0.0)


@pytest.mark.parametrize("method", ["cell_integrated_gradients", "frame_leave_one_out"])
def test_clips_explained_one_by_one_and_joined_are_those_explained_at_once(predictor: Predictor, video: EncodedVideo, method: str) -> None:
    together = attribute(predictor, video, QUESTION, method=method, target="red")
    parts = [attribute(predictor, video, QUESTION, method=method, target="red", clips=[n]) for n in range(video.num_clips)]
    found = joined(parts)
    torch.testing.assert_close(found.values, together.values)
    assert found.clip_index == together.clip_index == (0, 1, 2) and found.gap == pytest.approx(together.gap)
    assert (found.gaps is None) == (together.gaps is None)
    if found.gaps is not None and together.gaps is not None:
        torch.testing.assert_close(found.gaps, together.gaps)


def test_a_map_without_a_positive_value_violates_no_sign_and_a_row_says_so() -> None:
    from clipbert.faithfulness_checks import SignViolations

    found = Checkup("m", 0, None, None, SignViolations(0, 0, 9, 3), (), None, {})
    (row,) = found.rows()
    assert row["value"] is None and row["random"] == pytest.approx(1 / 3)
