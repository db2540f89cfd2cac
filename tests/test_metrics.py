"""Metrics against brute force, with ties, and against the original's scores without them."""

import json
from itertools import permutations
from statistics import mean, median

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clipbert.metrics import (
    accuracy,
    accuracy_by_type,
    bootstrap_interval,
    mean_rank,
    median_rank,
    recall_at,
    retrieval_metrics,
    vqa_score,
    vqa_score_by_type,
)

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
RECORDED = json.loads((GOLDEN / "optim_metrics.json").read_text())


@st.composite
def rankings(draw) -> tuple[Tensor, Tensor]:
    """Few distinct scores, so that most tie; every query has a relevant item."""
    q, g = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    scores = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, -torch.inf]), min_size=q * g, max_size=q * g))
    relevant = torch.tensor(draw(st.lists(st.booleans(), min_size=q * g, max_size=q * g))).reshape(q, g)
    relevant[torch.arange(q), draw(st.lists(st.integers(0, g - 1), min_size=q, max_size=q))] = True
    return torch.tensor(scores).reshape(q, g), relevant


def ranks_over_orders(scores: list[float], relevant: list[bool]) -> list[int]:
    """Rank of the best relevant item for every order in which ties can be broken."""
    orders = permutations(range(len(scores)))
    return [min(r for r, i in enumerate(sorted(order, key=lambda i: -scores[i]), 1) if relevant[i]) for order in orders]


@given(rankings())
def test_ranking_metrics_are_the_mean_over_all_orders_of_ties(ranking: tuple[Tensor, Tensor]) -> None:
    scores, relevant = ranking
    ranks = [ranks_over_orders(s, r) for s, r in zip(scores.tolist(), relevant.tolist(), strict=True)]
    for k in range(1, 7):
        expected = mean(mean(float(rank <= k) for rank in of_query) for of_query in ranks)
        assert recall_at(scores, relevant, k) == pytest.approx(expected)
    assert mean_rank(scores, relevant) == pytest.approx(mean(mean(of_query) for of_query in ranks))
    assert median_rank(scores, relevant) == pytest.approx(median(mean(of_query) for of_query in ranks))


@given(rankings(), st.randoms())
def test_the_order_of_the_gallery_does_not_matter(ranking: tuple[Tensor, Tensor], random) -> None:
    scores, relevant = ranking
    order = random.sample(range(scores.shape[1]), scores.shape[1])
    assert recall_at(scores[:, order], relevant[:, order], 2) == recall_at(scores, relevant, 2)
    assert mean_rank(scores[:, order], relevant[:, order]) == mean_rank(scores, relevant)


@given(rankings())
def test_only_the_order_of_scores_matters(ranking: tuple[Tensor, Tensor]) -> None:
    scores, relevant = ranking
    assert mean_rank(scores.double().exp() * 3, relevant) == mean_rank(scores, relevant)


def test_a_constant_score_ranks_as_chance() -> None:
    scores, relevant = torch.zeros(100, 100), torch.eye(100, dtype=torch.bool)
    assert recall_at(scores, relevant, 5) == pytest.approx(0.05)
    assert mean_rank(scores, relevant) == median_rank(scores, relevant) == 50.5


def test_scores_that_differ_in_the_sixth_decimal_do_not_tie() -> None:
    assert mean_rank(torch.tensor([[0.500001, 0.5]]), torch.tensor([[True, False]])) == 1


def test_retrieval_equals_the_original_without_ties() -> None:
    recorded = RECORDED["retrieval_metrics"]
    scores = torch.tensor(recorded["scores_vid_by_txt"]).T  # texts by videos
    ours = retrieval_metrics(scores, torch.arange(len(scores)))
    for direction, theirs in (("text_to_video", "text2video"), ("video_to_text", "video2text")):
        expected = recorded["metrics"][theirs]
        for k in (1, 5, 10):
            assert 100 * ours[f"{direction}/recall_at_{k}"] == pytest.approx(expected[f"r{k}"])
        assert ours[f"{direction}/median_rank"] == expected["medianR"]
        assert ours[f"{direction}/mean_rank"] == pytest.approx(expected["meanR"])


def test_a_video_with_several_captions_counts_once_by_its_best() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    ours = retrieval_metrics(scores, torch.tensor([0, 0, 1]))
    assert ours["video_to_text/mean_rank"] == pytest.approx((1 + 2) / 2)
    assert ours["text_to_video/mean_rank"] == pytest.approx((1 + 2 + 1) / 3)


def test_a_video_without_captions_is_a_distractor() -> None:
    ours = retrieval_metrics(np.array([[0.5, 0.9]]), np.array([0]))
    assert (ours["text_to_video/mean_rank"], ours["video_to_text/mean_rank"]) == (2, 1)


def test_qa_accuracy_equals_the_original() -> None:
    recorded = RECORDED["qa_metrics"]
    questions = [recorded["gt"][str(prediction["question_id"])] for prediction in recorded["pred_label"]]
    predictions = [f"a{prediction['answer']}" for prediction in recorded["pred_label"]]
    labels, types = [question["answer"] for question in questions], [question["answer_type"] for question in questions]
    assert accuracy(predictions, labels) == pytest.approx(recorded["metrics"]["overall_acc"])
    by_type = accuracy_by_type(predictions, labels, types)
    for kind in ("what", "who", "how", "where", "when"):
        assert by_type.get(kind, 0) == pytest.approx(recorded["metrics"][f"{kind}_acc"])


def test_qa_accuracy_equals_the_original_validation_of_a_real_model() -> None:
    recorded = RECORDED["genuine_qa_validate"]
    predictions = [f"a{result['answer']}" for result in recorded["results"]]
    labels, types = ([result["data"][key] for result in recorded["results"]] for key in ("answer", "answer_type"))
    assert 100 * accuracy(predictions, labels) == recorded["scores"]["overall_acc"]
    by_type = accuracy_by_type(predictions, labels, types)
    for kind in ("what", "who", "how", "where", "when"):
        assert 100 * by_type.get(kind, 0) == recorded["scores"][f"{kind}_acc"]


def test_vqa_score_equals_the_original() -> None:
    recorded = RECORDED["vqa_metrics"]
    questions = [recorded["gt"][str(prediction["question_id"])] for prediction in recorded["pred"]]
    predictions = torch.tensor([int(prediction["answer"][1:]) for prediction in recorded["pred"]])
    labels = torch.tensor([[question["labels"].get(f"a{j}", 0.0) for j in range(6)] for question in questions], dtype=torch.float64)
    assert vqa_score(predictions, labels) == pytest.approx(recorded["metrics"]["overall_acc"])
    by_type = vqa_score_by_type(predictions, labels, [question["answer_type"] for question in questions])
    for kind in ("yes/no", "number", "other"):
        assert by_type[kind] == pytest.approx(recorded["metrics"][f"{kind}_acc"])


def test_accuracy_takes_tensors_arrays_and_words() -> None:
    assert accuracy(torch.tensor([1, 2]), np.array([1, 3])) == accuracy(["a", "b"], ["a", "c"]) == 0.5


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from("abc")), min_size=1))
def test_accuracy_is_the_mean_over_types_weighted_by_their_size(rows: list[tuple[int, int, str]]) -> None:
    predictions, labels, types = zip(*rows, strict=True)
    by_type = accuracy_by_type(predictions, labels, types)
    weighted = sum(by_type[kind] * types.count(kind) for kind in by_type) / len(rows)
    assert accuracy(predictions, labels) == pytest.approx(weighted)


def test_wrong_inputs_are_named() -> None:
    relevant = torch.eye(2, dtype=torch.bool)
    with pytest.raises(ValueError, match="scores must not be nan, got 1 of 4"):
        recall_at(torch.tensor([[0.0, torch.nan], [0.0, 1.0]]), relevant, 1)
    with pytest.raises(ValueError, match="every query needs a relevant item, 1 of 2 have none"):
        mean_rank(torch.zeros(2, 2), torch.tensor([[True, False], [False, False]]))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        recall_at(torch.zeros(2, 2), relevant, 0)
    with pytest.raises(ValueError, match="one prediction per label and at least one, got 1 for 2"):
        accuracy([1], [1, 2])
    with pytest.raises(ValueError, match="types must name each of 2 questions, got 1"):
        accuracy_by_type([1, 2], [1, 2], ["what"])


def test_a_bootstrap_interval_holds_the_share_and_narrows_with_more_videos() -> None:
    widths = []
    for num_videos in (8, 80, 800):
        right, asked = [float(k % 2) for k in range(num_videos)], [1] * num_videos
        low, high = bootstrap_interval(right, asked)
        assert low <= 0.5 <= high
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]


def test_a_bootstrap_interval_is_that_of_the_binomial() -> None:
    low, high = bootstrap_interval([1.0] * 100 + [0.0] * 300, [1] * 400)
    assert (low, high) == pytest.approx((0.25 - 1.96 * 0.02165, 0.25 + 1.96 * 0.02165), abs=0.006)


def test_questions_of_one_video_are_drawn_together() -> None:
    assert bootstrap_interval([3.0], [4]) == (0.75, 0.75)
    together = bootstrap_interval([4.0, 0.0] * 10, [4] * 20)
    apart = bootstrap_interval([1.0, 0.0] * 40, [1] * 80)
    assert together[1] - together[0] > apart[1] - apart[0]
