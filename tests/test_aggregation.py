"""Laws of pooling and of clip credit, and the original's losses from its own clip logits."""

import json
import math
import time
from itertools import combinations, permutations

import pytest
import torch
from conftest import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from clipbert.aggregation import AGGREGATIONS, aggregate, match_shapley, responsibility, shapley, soft_aggregate

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
hows = st.sampled_from(AGGREGATIONS)


@st.composite
def clip_logits(draw, max_clips: int = 6, max_answers: int = 5) -> Tensor:
    """float64[N, K]"""
    n, k = draw(st.integers(1, max_clips)), draw(st.integers(1, max_answers))
    numbers = draw(st.lists(st.floats(-30, 30), min_size=n * k, max_size=n * k))
    return torch.tensor(numbers, dtype=torch.float64).reshape(n, k)


def pool(logits: Tensor, how: str) -> Tensor:
    """float64[N, K] -> [K]"""
    return aggregate(logits[None], how)[0]


@given(clip_logits(), hows, st.randoms())
def test_the_order_of_clips_does_not_matter(logits: Tensor, how: str, random) -> None:
    order = random.sample(range(len(logits)), len(logits))
    torch.testing.assert_close(pool(logits[order], how), pool(logits, how))


@given(clip_logits(max_clips=1), hows)
def test_one_clip_is_its_own_aggregate(logits: Tensor, how: str) -> None:
    assert torch.equal(pool(logits, how), logits[0])


@given(clip_logits())
def test_lse_lies_between_max_and_max_plus_log_n_and_above_mean(logits: Tensor) -> None:
    mean, top, lse = (pool(logits, how) for how in AGGREGATIONS)
    assert bool((top <= lse + 1e-9).all() and (lse <= top + math.log(len(logits)) + 1e-9).all() and (mean <= top + 1e-9).all())


@given(clip_logits(), hows)
def test_repeating_every_clip_leaves_the_probabilities(logits: Tensor, how: str) -> None:
    torch.testing.assert_close(pool(logits.repeat(2, 1), how).softmax(dim=0), pool(logits, how).softmax(dim=0))


@given(clip_logits())
def test_lse_is_equation_5_of_the_paper(logits: Tensor) -> None:
    summed = logits.exp().sum(dim=0)
    torch.testing.assert_close(pool(logits, "lse").softmax(dim=0), summed / summed.sum())


@given(clip_logits(), st.data())
def test_cross_entropy_of_lse_is_the_original_loss(logits: Tensor, data) -> None:
    label = data.draw(st.integers(0, logits.shape[1] - 1))
    original = logits.flatten().logsumexp(dim=0) - logits[:, label].logsumexp(dim=0)
    torch.testing.assert_close(F.cross_entropy(pool(logits, "lse"), torch.tensor(label)), original)


@given(clip_logits(), hows)
def test_aggregates_are_differentiable(logits: Tensor, how: str) -> None:
    logits.requires_grad_()
    pool(logits, how).sum().backward()
    assert logits.grad is not None and bool(logits.grad.isfinite().all())


GOLDEN_LOGITS = [(name, how) for name in ("qa_open", "qa_mc", "retrieval_ce") for how in AGGREGATIONS]
GOLDEN_LOGITS += [(name, how) for name in ("retrieval_rank", "regression") for how in ("mean", "max")]


@pytest.mark.parametrize(("name", "how"), GOLDEN_LOGITS)
def test_aggregated_logits_equal_the_original(name: str, how: str) -> None:
    recorded = load_file(GOLDEN / f"{name}.safetensors")
    pooled = aggregate(recorded["out.clip_logits"].transpose(0, 1), how)
    torch.testing.assert_close(pooled, recorded[f"out.agg_logits.{how}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "how"), [(name, how) for name in ("qa_open", "qa_mc", "retrieval_ce") for how in AGGREGATIONS])
def test_cross_entropy_of_aggregated_logits_equals_the_original_loss(name: str, how: str) -> None:
    recorded = load_file(GOLDEN / f"{name}.safetensors")
    loss = F.cross_entropy(aggregate(recorded["out.clip_logits"].transpose(0, 1), how), recorded["in.labels"], reduction="none")
    torch.testing.assert_close(loss, recorded[f"out.train_loss_per_example.{how}"].flatten(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(loss.mean(), recorded[f"out.train_loss.{how}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_match_probability_equals_the_original_inference(how: str) -> None:
    recorded = load_file(GOLDEN / "retrieval_ce.safetensors")
    pooled = aggregate(recorded["out.clip_logits"].transpose(0, 1), how)
    torch.testing.assert_close(pooled.softmax(dim=1)[:, 1], recorded[f"out.match_prob.{how}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_squared_error_of_aggregated_counts_equals_the_original_loss(how: str) -> None:
    recorded = load_file(GOLDEN / "regression.safetensors")
    pooled = aggregate(recorded["out.clip_logits"].transpose(0, 1), how)[:, 0]
    torch.testing.assert_close(F.mse_loss(pooled, recorded["in.labels"]), recorded[f"out.train_loss.{how}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_rank_loss_of_aggregated_logits_equals_the_original(how: str) -> None:
    recorded, about = load_file(GOLDEN / "retrieval_rank.safetensors"), json.loads((GOLDEN / "retrieval_rank.json").read_text())
    probability = aggregate(recorded["out.clip_logits"].transpose(0, 1), how).sigmoid().reshape(about["B"], -1)
    loss = (about["config"]["margin"] + probability[:, 1:] - probability[:, :1]).clamp(min=0)
    torch.testing.assert_close(loss, recorded[f"out.train_loss_per_example.{how}"], rtol=1e-5, atol=1e-6)


def shapley_by_orders(logits: Tensor, value, value_of_none: float) -> list[float]:
    """The definition: mean over all N! orders of what a clip adds to those before it."""
    shares, orders = [0.0] * len(logits), list(permutations(range(len(logits))))
    for order in orders:
        before = value_of_none
        for place, clip in enumerate(order):
            after = float(value(logits[list(order[: place + 1])]))
            shares[clip] += (after - before) / len(orders)
            before = after
    return shares


@given(clip_logits(max_clips=4), hows, st.data())
def test_shapley_equals_the_mean_over_all_orders(logits: Tensor, how: str, data) -> None:
    answer = data.draw(st.integers(0, logits.shape[1] - 1))
    expected = shapley_by_orders(logits, lambda part: pool(part, how).log_softmax(dim=0)[answer], -math.log(logits.shape[1]))
    share = shapley(logits, answer, how)
    assert share.values.tolist() == pytest.approx(expected, abs=1e-9)
    assert share.standard_error.tolist() == [0.0] * len(logits)


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("spread", [1.0, 400.0])
def test_shapley_of_nine_clips_equals_the_sum_over_coalitions_pooled_one_by_one(how: str, spread: float) -> None:
    logits = spread * torch.randn(9, 286, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def value(clips: tuple[int, ...]) -> float:
        return float(pool(logits[list(clips)], how).log_softmax(dim=0)[7]) if clips else -math.log(286)

    expected = [0.0] * 9
    for clip in range(9):
        for size in range(9):
            for others in combinations([n for n in range(9) if n != clip], size):
                expected[clip] += (value((*others, clip)) - value(others)) / (9 * math.comb(8, size))
    assert shapley(logits, 7, how).values.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-9)


@given(clip_logits(max_clips=4, max_answers=2), hows)
def test_match_shapley_equals_the_mean_over_all_orders(logits: Tensor, how: str) -> None:
    pair = logits if logits.shape[1] == 2 else torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = shapley_by_orders(pair, lambda part: pool(part, how).diff(), 0.0)
    assert match_shapley(logits, how).values.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("num_clips", [1, 2, 7, 16, 17, 40])
def test_shares_sum_to_the_gain_over_a_guess(num_clips: int, how: str) -> None:
    logits = torch.randn(num_clips, 30, generator=torch.Generator().manual_seed(num_clips)) * 4
    gain = pool(logits.double(), how).log_softmax(dim=0)[7] + math.log(30)
    assert float(shapley(logits, 7, how).values.sum()) == pytest.approx(float(gain), abs=1e-9)


@given(clip_logits(), hows, st.randoms(), st.data())
def test_shares_move_with_their_clips(logits: Tensor, how: str, random, data) -> None:
    answer = data.draw(st.integers(0, logits.shape[1] - 1))
    order = random.sample(range(len(logits)), len(logits))
    torch.testing.assert_close(shapley(logits[order], answer, how).values, shapley(logits, answer, how).values[order])


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_equal_clips_share_equally(how: str) -> None:
    share = shapley(torch.tensor([[1.0, 0.0, -2.0]]).repeat(5, 1), 0, how).values
    torch.testing.assert_close(share, share.mean().expand(5))


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_adding_a_constant_to_all_logits_changes_no_share(how: str) -> None:
    logits = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shapley(logits + 5, 2, how).values, shapley(logits, 2, how).values)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_clips_thousands_of_nats_apart_do_not_underflow(how: str) -> None:
    logits = torch.tensor([[0.0, -4000.0, 5.0], [-4000.0, 0.0, -3000.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    expected = shapley_by_orders(logits, lambda part: pool(part, how).log_softmax(dim=0)[1], -math.log(3))
    assert shapley(logits, 1, how).values.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_sampled_shares_agree_with_exact_ones_within_their_error(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(10, 20, generator=torch.Generator().manual_seed(3)) * 3
    exact = shapley(logits, 0, how)
    monkeypatch.setattr("clipbert.aggregation.MAX_EXACT_CLIPS", 9)
    sampled = shapley(logits, 0, how)
    assert bool((sampled.standard_error > 0).all())
    assert bool(((sampled.values - exact.values).abs() < 4 * sampled.standard_error).all())
    torch.testing.assert_close(sampled.values.sum(), exact.values.sum())


def test_sampled_shares_follow_the_generator() -> None:
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    first, again, other = (shapley(logits, 0, "mean", generator=torch.Generator().manual_seed(seed)).values for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_all_coalitions_of_sixteen_clips_and_1500_answers_take_seconds_at_most(how: str) -> None:
    logits = torch.randn(16, 1500, generator=torch.Generator().manual_seed(0))
    start = time.process_time()
    shapley(logits, 0, how)
    assert time.process_time() - start < 3  # 0.01 to 0.2 s on one core


def test_an_unknown_aggregation_names_the_nearest() -> None:
    with pytest.raises(ValueError, match='aggregation must be one of mean, max, lse, got "lme"; did you mean "lse"'):
        aggregate(torch.zeros(1, 1, 1), "lme")


def test_no_clip_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs at least 1 clip, got 0"):
        aggregate(torch.zeros(2, 0, 3), "mean")


def test_shapley_of_a_missing_answer_or_nan_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"answer_index must lie in \[0, 3\), got 3"):
        shapley(torch.zeros(2, 3), 3, "mean")
    with pytest.raises(ValueError, match="clip_logits must be finite"):
        shapley(torch.full((2, 3), math.nan), 0, "mean")
    with pytest.raises(ValueError, match="a match has 1 or 2 logits per clip, got 3"):
        match_shapley(torch.zeros(2, 3), "mean")


@given(clip_logits())
def test_soft_aggregation_at_sharpness_one_is_lse_less_log_n(logits: Tensor) -> None:
    expected = aggregate(logits[None], "lse")[0] - math.log(len(logits))
    torch.testing.assert_close(soft_aggregate(logits, 1.0), expected)


@given(clip_logits())
def test_soft_aggregation_goes_from_mean_to_max(logits: Tensor) -> None:
    logits = logits.double()
    torch.testing.assert_close(soft_aggregate(logits, 1e-7), aggregate(logits[None], "mean")[0], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(soft_aggregate(logits, 1e7), aggregate(logits[None], "max")[0], atol=1e-3, rtol=1e-4)


@given(clip_logits(), st.sampled_from([0.1, 1.0, 5.0]))
def test_responsibility_is_the_derivative_of_the_soft_aggregate(logits: Tensor, sharpness: float) -> None:
    logits = logits.detach().double()
    step = 1e-5
    for n in range(len(logits)):
        bumped = logits.clone()
        bumped[n] += step
        slope = (soft_aggregate(bumped, sharpness) - soft_aggregate(logits, sharpness)) / step
        torch.testing.assert_close(slope, responsibility(logits, sharpness)[n], atol=1e-3, rtol=1e-3)


def test_a_sharpness_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r'sharpness must be positive, got 0.0; for 0 use aggregate\(logits, "mean"\)'):
        soft_aggregate(torch.zeros(2, 3), 0.0)
