"""Attribution inside a clip: laws of the methods, their targets, the planted cell, and nothing left behind."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from conftest import GOLDEN
from inside_case import QUESTION, TARGETS
from tiny import tiny_model, tiny_processor

from clipbert.attribution import INSIDE_METHODS, METHODS, attribute
from clipbert.attribution_attention import rollout
from clipbert.attribution_cells import CELL_METHODS
from clipbert.attribution_frames import coalition_scores, frame_leave_one_out, frame_shapley
from clipbert.attribution_target import Inside, answer_target, inside, match_target
from clipbert.attribution_tokens import TOKEN_METHODS
from clipbert.clip_score import ClipScore, Goal
from clipbert.faithfulness_units import find_units
from clipbert.matching import HeadReading
from clipbert.predict import Predictor
from clipbert.transformer import _RECORD, Shown
from clipbert.types import EncodedVideo


def case_of(predictor: Predictor, video: EncodedVideo, **wanted: Any) -> Inside:
    if wanted.get("task") == "match":
        target = match_target(predictor, video, QUESTION, None)
    else:
        target = answer_target(predictor, video, QUESTION, wanted.get("target"), wanted.get("versus"), wanted.get("choices"), None)
    return inside(predictor, video, target, range(video.num_clips), baseline="mean", steps=8, seed=0)


class Reads(ClipScore):
    """A score whose truth is known: a weighted sum of the first feature of cells, of frames added up."""

    weight: torch.Tensor

    def __call__(self, features: torch.Tensor, cell_mask: torch.Tensor | None = None) -> torch.Tensor:
        seen = features[..., 0].sum(dim=1) if cell_mask is None else features[..., 0].sum(dim=1) * cell_mask
        return (seen * self.weight).sum(dim=(1, 2))


def linear_case(predictor: Predictor, features: torch.Tensor, weight: torch.Tensor) -> Inside:
    score = Reads(predictor.model, (HeadReading("qa", ("what?",), columns=(0, 1)),), Goal(0))  # type: ignore[arg-type]
    object.__setattr__(score, "weight", weight)
    return Inside(score, features, None, "mean", 4, 0)


@pytest.mark.parametrize("wanted", TARGETS.values(), ids=TARGETS)
def test_the_score_of_a_clip_is_what_the_predictor_says_of_it(predictor: Predictor, video: EncodedVideo, wanted: dict[str, Any]) -> None:
    case = case_of(predictor, video, **wanted)
    if wanted.get("task") == "match":
        expected = predictor.clip_match(video, [QUESTION])[0]
    else:
        candidates, logits = predictor.candidate_logits(video, QUESTION, wanted.get("choices"))
        pick = candidates.index(wanted["target"])
        expected = logits[:, pick] - logits[:, candidates.index(wanted["versus"])] if "versus" in wanted else logits.log_softmax(1)[:, pick]
    torch.testing.assert_close(case.score(case.features).detach(), expected, atol=1e-4, rtol=1e-4)
    ids, _ = case.score.tokens()
    by_words = [case.score.of_words(clip, case.score.word_vectors(ids)).item() for clip in case.features]
    assert by_words == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("head", ["qa", "choice", "match", "count", "contrast"])
def test_a_masked_cell_has_no_part_in_any_head(head: str) -> None:
    model, generator = tiny_model(), torch.Generator().manual_seed(3)
    features = torch.randn(1, 2, 2, 2, 2, 16, generator=generator)
    ids, mask = torch.randint(1000, 2000, (1, 5), generator=generator), torch.ones(1, 5, dtype=torch.bool)
    cells = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    torch.testing.assert_close(model.score(features, ids, mask, head=head, shown=Shown(cells)), model.score(features, ids, mask, head=head))
    cells[0, :, 0, 1] = False
    other = features.clone()
    other[:, :, :, 0, 1] += 7
    masked = model.score(features, ids, mask, head=head, shown=Shown(cells))
    torch.testing.assert_close(masked, model.score(other, ids, mask, head=head, shown=Shown(cells)))
    assert not torch.allclose(masked, model.score(features, ids, mask, head=head))


@pytest.mark.parametrize("wanted", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("method", [name for name, about in METHODS.items() if about.complete and about.level != "clips"])
def test_complete_methods_share_the_whole(predictor: Predictor, video: EncodedVideo, method: str, wanted: dict[str, Any]) -> None:
    found = attribute(predictor, video, QUESTION, method=method, **wanted)
    assert found.gaps is not None and found.gap is not None and abs(found.gap) == float(found.gaps.abs().max())
    assert float(found.gaps.abs().max()) < (1e-5 if method == "frame_shapley" else 0.3)


def test_more_steps_leave_a_smaller_gap(predictor: Predictor, video: EncodedVideo) -> None:
    few, many = (attribute(predictor, video, QUESTION, method="cell_integrated_gradients", steps=steps, clips=[0]).gap for steps in (2, 64))
    assert few is not None and many is not None and abs(many) < abs(few)


def test_the_gap_of_integrated_gradients_is_sum_less_difference(predictor: Predictor, video: EncodedVideo) -> None:
    found = attribute(predictor, video, QUESTION, method="cell_integrated_gradients", target="red", baseline="mean", steps=4)
    case = case_of(predictor, video, target="red")
    mean = case.features.mean(dim=(1, 2, 3), keepdim=True).expand_as(case.features)
    whole = (case.score(case.features) - case.score(mean)).detach()
    assert found.cells is not None and found.gaps is not None
    torch.testing.assert_close(found.cells.sum(dim=(1, 2, 3)) - whole, found.gaps.float(), atol=1e-4, rtol=1e-3)


def test_frame_values_are_the_mean_over_all_orders(predictor: Predictor, video: EncodedVideo) -> None:
    clip = torch.randn(3, 3, 3, 16, generator=torch.Generator().manual_seed(1))
    case = replace(case_of(predictor, video, target="red"), features=clip[None])
    gains = torch.zeros(3, dtype=torch.float64)
    for order in permutations(range(3)):
        for k, frame in enumerate(order):
            kept = torch.zeros(2, 3, dtype=torch.bool)
            kept[:, list(order[:k])] = True
            kept[1, frame] = True
            without, with_frame = coalition_scores(case.score, clip, kept)
            gains[frame] += (with_frame - without) / 6
    torch.testing.assert_close(frame_shapley(case).values[0], gains, atol=1e-5, rtol=1e-5)


def test_equal_frames_have_equal_values(predictor: Predictor, video: EncodedVideo) -> None:
    clip = torch.randn(3, 3, 3, 16, generator=torch.Generator().manual_seed(1))
    clip[2] = clip[0]
    values = frame_shapley(replace(case_of(predictor, video), features=clip[None])).values[0]
    assert float(values[0]) == pytest.approx(float(values[2]), abs=1e-5) and float(values[0]) != pytest.approx(float(values[1]), abs=1e-5)


@pytest.mark.parametrize("num_frames", [3, 10], ids=["exact", "sampled"])
def test_frames_of_an_additive_score_get_what_they_add_and_a_dummy_nothing(predictor: Predictor, num_frames: int) -> None:
    features = torch.zeros(1, num_frames, 2, 2, 4)
    features[0, :, 1, 0, 0] = torch.arange(num_frames) - 1.0  # frame 1 adds nothing
    case = linear_case(predictor, features, torch.ones(2, 2))
    for method in (frame_shapley, frame_leave_one_out):
        torch.testing.assert_close(method(case).values[0], torch.arange(num_frames).double() - 1, check_dtype=False)


def test_sampled_frames_share_the_whole_and_say_how_sure_they_are(predictor: Predictor, video: EncodedVideo) -> None:
    clip = torch.randn(1, 9, 3, 3, 16, generator=torch.Generator().manual_seed(1))
    one = replace(video, features=clip, times=torch.arange(9.0).double()[None], spans=video.spans[:1], clip_keys=(), key="nine", shortened=(False,))
    found = attribute(predictor, one, QUESTION, method="frame_shapley")
    assert found.standard_error is not None and found.standard_error.shape == (1, 9) and float(found.standard_error.max()) > 0
    assert found.gap == pytest.approx(0, abs=1e-5)
    low, high = found.interval()
    assert bool((low <= found.values).all() and (found.values <= high).all())


@pytest.mark.parametrize("kind", ["mean", "conv3d", "conv2plus1d"])
def test_all_frames_are_the_clip_itself_however_frames_are_fused(kind: str) -> None:
    model = tiny_model(temporal_fusion=kind)
    predictor = Predictor(model, tiny_processor(model, num_frames=3, num_clips=1), name="tiny")
    video = predictor.encode(GOLDEN / "video_a30.mp4")
    case = case_of(predictor, video)
    kept = torch.tensor([[True] * 3, [True, False, True]])
    scores = coalition_scores(case.score, case.features[0], kept)
    alone = case.score.of_many(case.features[:, [0, 2]])
    assert scores.tolist() == pytest.approx([float(case.score.of_many(case.features)), float(alone)], abs=1e-5)


@pytest.mark.parametrize("method", ["cell_occlusion", "cell_integrated_gradients", "cell_gradient_x_activation", "cell_grad_cam"])
def test_a_planted_cell_lights_up_at_its_row_column_and_time(predictor: Predictor, method: str) -> None:
    features, weight = torch.zeros(2, 3, 2, 4, 5), torch.zeros(2, 4)
    features[1, 2, 1, 3, 0], weight[1, 3] = 5.0, 2.0
    cells = CELL_METHODS[method][1](linear_case(predictor, features, weight)).values
    assert float(cells[0].abs().max()) == pytest.approx(0, abs=1e-6)
    expected = (1, 3) if cells.ndim == 3 else (2, 1, 3)
    assert tuple(int(i) for i in torch.unravel_index(cells[1].argmax(), cells[1].shape)) == expected
    assert float(cells[1].flatten().sort().values[-2]) < 0.2 * float(cells[1].max())


def test_integrated_gradients_of_a_linear_score_are_gradient_times_distance(predictor: Predictor) -> None:
    generator = torch.Generator().manual_seed(0)
    features, weight = torch.randn(2, 2, 3, 3, 4, generator=generator), torch.randn(3, 3, generator=generator)
    case = linear_case(predictor, features, weight)
    found = CELL_METHODS["cell_integrated_gradients"][1](case)
    mean = features.mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(found.values, (features - mean)[..., 0] * weight, atol=1e-5, rtol=1e-5)
    assert found.gaps is not None and float(found.gaps.abs().max()) < 1e-4
    torch.testing.assert_close(CELL_METHODS["cell_gradient_x_activation"][1](case).values, features[..., 0] * weight)
    torch.testing.assert_close(CELL_METHODS["cell_occlusion"][1](case).values, features[..., 0].sum(dim=1) * weight, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", CELL_METHODS)
def test_a_value_moves_with_the_content_of_its_cell(method: str, video: EncodedVideo) -> None:
    model = tiny_model(image_size=192)
    torch.nn.init.zeros_(model.clipbert.fusion.visual.row_embeddings.weight)
    torch.nn.init.zeros_(model.clipbert.fusion.visual.col_embeddings.weight)
    case = case_of(Predictor(model, tiny_processor(model), name="tiny"), video, target="red")
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    moved = case.features.flatten(2, 3)[:, :, order].unflatten(2, (3, 3))
    before, after = (CELL_METHODS[method][1](replace(case, features=features)).values for features in (case.features, moved))
    torch.testing.assert_close(before.flatten(-2)[..., order], after.flatten(-2), atol=1e-5, rtol=1e-3)


def test_what_takes_cells_away_is_captums_feature_ablation(predictor: Predictor, video: EncodedVideo) -> None:
    from captum.attr import FeatureAblation

    own = attribute(predictor, video, QUESTION, method="cell_occlusion", target="red", clips=[1])
    units = find_units(predictor, video, QUESTION, own, target="red")
    method = FeatureAblation(lambda kept: units.scores(kept > 0.5).float())
    torch.testing.assert_close(method.attribute(torch.ones(1, 9))[0], own.values.flatten(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["clip_shapley", "frame_shapley"])
def test_exact_shapley_values_are_what_captum_finds_by_all_orders(predictor: Predictor, video: EncodedVideo, method: str) -> None:
    from captum.attr import ShapleyValues

    clips = {} if method == "clip_shapley" else {"clips": [1]}
    own = attribute(predictor, video, QUESTION, method=method, target="red", **clips)
    units = find_units(predictor, video, QUESTION, own, target="red")
    found = ShapleyValues(lambda kept: units.scores(kept > 0.5).float()).attribute(torch.ones(1, own.values.numel()))
    torch.testing.assert_close(found[0], own.values.flatten().float(), atol=1e-5, rtol=1e-4)


def test_rolled_out_attention_shares_one_among_all_tokens(predictor: Predictor, video: EncodedVideo) -> None:
    shares = rollout(case_of(predictor, video))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))
    assert float(shares.min()) >= 0


def test_relevance_is_zero_where_the_gradient_is(predictor: Predictor, video: EncodedVideo) -> None:
    case = case_of(predictor, video, target="red", versus="blue")
    nothing = replace(case, score=replace(case.score, goal=Goal(0, versus=0)))
    assert float(CELL_METHODS["cell_relevance"][1](case).values.max()) > 0
    assert float(CELL_METHODS["cell_relevance"][1](nothing).values.abs().max()) == 0


def test_ablation_is_the_loss_of_the_score_without_the_word(predictor: Predictor, video: EncodedVideo) -> None:
    found = attribute(predictor, video, QUESTION, method="token_ablation", target="red")
    assert found.pieces == predictor.model.pieces(QUESTION).pieces and found.tokens is not None and found.tokens.shape == (3, 3)
    case = case_of(predictor, video, target="red")
    ids, _ = case.score.tokens()
    words, kept = case.score.word_vectors(ids), torch.tensor([[True, True, False, True, True]])
    with torch.no_grad():
        lost = case.score.of_words(case.features[0], words) - case.score.of_words(case.features[0], words + 9 * ~kept[..., None], kept)
    assert float(found.tokens[0, 1]) == pytest.approx(float(lost), abs=1e-5)


@pytest.mark.parametrize("baseline", ["mask", "pad"])
def test_a_word_that_is_its_own_baseline_has_no_value(predictor: Predictor, video: EncodedVideo, baseline: str) -> None:
    text = f"what [{baseline.upper()}] colour"
    found = attribute(predictor, video, text, method="token_integrated_gradients", baseline=baseline)
    assert found.tokens is not None and f"baseline {baseline}" in found.value_function
    at = found.pieces.index(f"[{baseline.upper()}]")
    assert float(found.tokens[:, at].abs().max()) == 0 and float(found.tokens.abs().max()) > 0


def test_clips_are_explained_by_themselves(predictor: Predictor, video: EncodedVideo) -> None:
    every = attribute(predictor, video, QUESTION, method="cell_occlusion", target="red")
    some = attribute(predictor, video, QUESTION, method="cell_occlusion", target="red", clips=[2, 0])
    assert some.clip_index == (2, 0) and every.cells is not None and some.cells is not None
    torch.testing.assert_close(some.cells, every.cells[[2, 0]], atol=1e-5, rtol=1e-4)


@pytest.fixture
def clean(predictor: Predictor) -> Iterator[None]:
    """Fails if the test left a hook, a gradient, a recorder or another mode behind."""
    yield
    model = predictor.model.model  # type: ignore[attr-defined]
    hooks = [h for m in model.modules() for h in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks, m._backward_pre_hooks)]
    assert not any(hooks) and not any(p.grad is not None for p in model.parameters())
    assert not model.training and _RECORD.get() is None and torch.is_grad_enabled()


@pytest.mark.parametrize("method", INSIDE_METHODS)
@pytest.mark.usefixtures("clean")
def test_nothing_is_left_after_success(predictor: Predictor, video: EncodedVideo, method: str) -> None:
    logits = predictor.model.score(video.features, [QUESTION], "qa")
    found = attribute(predictor, video, QUESTION, method=method, clips=[0])
    assert found.values.dtype == torch.float32 and not found.values.requires_grad and bool(found.values.isfinite().all())
    torch.testing.assert_close(predictor.model.score(video.features, [QUESTION], "qa"), logits, atol=0, rtol=0)


@pytest.mark.parametrize("method", INSIDE_METHODS)
@pytest.mark.usefixtures("clean")
def test_nothing_is_left_after_an_error(predictor: Predictor, video: EncodedVideo, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = predictor.model
    predictor.candidate_logits(video, QUESTION)  # so that only the explanation runs the model
    mlp = model.model.heads["qa"].mlp
    monkeypatch.setattr(mlp, "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attribute(predictor, video, QUESTION, method=method, clips=[0])


def test_a_model_in_training_is_explained_without_dropout_and_goes_on_training(video: EncodedVideo) -> None:
    model = tiny_model(image_size=192)
    predictor = Predictor(model, tiny_processor(model), name="tiny")
    predictor.candidate_logits(video, QUESTION)
    model.train()
    twice = [attribute(predictor, video, QUESTION, method="cell_occlusion", clips=[0]).values for _ in range(2)]
    torch.testing.assert_close(*twice, atol=0, rtol=0)
    assert model.training


def test_values_are_float32_whatever_the_predictor_computes_in(video: EncodedVideo) -> None:
    model = tiny_model(image_size=192)
    full, half = (Predictor(model, tiny_processor(model), name="tiny", dtype=dtype) for dtype in ("float32", "bfloat16"))
    values = [attribute(p, video, QUESTION, method="cell_occlusion", target="red", clips=[0]).values for p in (full, half)]
    torch.testing.assert_close(*values, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "cell_occlusion", "clips": [3]}, "numbered 0 to 2 here, so there is no clip 3"),
        ({"method": "cell_occlusion", "clips": []}, "no clip to look into"),
        ({"method": "clip_shapley", "clips": [0]}, "compares all clips"),
        ({"method": "cell_occlusion", "baseline": "grey"}, "needs no baseline"),
        ({"method": "token_integrated_gradients", "baseline": "grey"}, "must be one of mask, pad"),
        ({"method": "cell_occlusion", "steps": 3}, "makes no steps"),
        ({"method": "cell_integrated_gradients", "steps": 0}, "between 1 and 1000"),
        ({"method": "cell_relevanse"}, "did you mean 'cell_relevance'"),
    ],
)
def test_settings_that_cannot_be_are_said(predictor: Predictor, video: EncodedVideo, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(predictor, video, QUESTION, **settings)


@pytest.mark.parametrize("method", ["cell_relevance", "cell_rollout", "cell_attention", "token_relevance"])
def test_a_score_without_attention_says_so(video: EncodedVideo, method: str) -> None:
    model = tiny_model(image_size=192)
    model.config.heads["match"]["match_weight"] = 0.0
    predictor = Predictor(model, tiny_processor(model), name="tiny")
    with pytest.raises(ValueError, match=r"no attention leads to this score \(heads: contrast\)"):
        attribute(predictor, video, QUESTION, method=method, task="match", clips=[0])


def test_every_method_says_what_it_is() -> None:
    assert set(METHODS) > set(INSIDE_METHODS) > set(CELL_METHODS) | set(TOKEN_METHODS)
    assert all(name.startswith(about.level.removesuffix("s")) and about.about and about.cost and about.unit for name, about in METHODS.items())
    assert "not an explanation" in METHODS["cell_attention"].about


@pytest.mark.parametrize("method", ["cell_attention", "cell_rollout", "cell_relevance", "token_relevance"])
def test_methods_that_read_attention_say_what_they_cannot_see(method: str) -> None:
    assert "blind to what goes past attention (a contrastive head, the pooled path" in METHODS[method].about
