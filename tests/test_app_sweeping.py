"""A sweep in the app equals the package's, pools without the model, and a data set's scores equal `evaluate`'s."""

import re
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN
from test_predict import Counting, make_predictor
from videos import write_video

from app.scoring import ACCURACY, RECALL, Scores, found_first, recall_stream, score_stream, uploaded_set
from app.sweeping import Sweep, matrix_html, sizes_with, sweep_stream
from clipbert.aggregation import AGGREGATIONS, aggregate
from clipbert.config import SamplingConfig
from clipbert.evaluate import evaluate
from clipbert.predict import Predictor

VIDEO, QUESTION = GOLDEN / "video_a30.mp4", "what colour?"
SIZES = (1, 2, 4)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor()


@pytest.fixture(scope="module")
def steps(predictor: Predictor) -> list[Sweep]:
    return list(sweep_stream(predictor, VIDEO, QUESTION, None, SamplingConfig(policy="official"), SIZES))


def test_the_last_step_equals_the_packages_sweep(predictor: Predictor, steps: list[Sweep]) -> None:
    rows, note = predictor.sweep(VIDEO, QUESTION, sizes=SIZES, policy="official", num_frames=2)
    assert [(r.num_clips, r.aggregation, r.answer) for r in steps[-1].rows()] == [(r.num_clips, r.aggregation, r.answer) for r in rows]
    assert [r.score for r in steps[-1].rows()] == pytest.approx([r.score for r in rows], abs=1e-6)
    assert steps[-1].note == note and steps[-1].finished


def test_a_sweep_streams_one_size_after_the_other(steps: list[Sweep]) -> None:
    assert [tuple(step.logits) for step in steps] == [(1,), (1, 2), (1, 2, 4)]
    assert [step.finished for step in steps] == [False, False, True]


def test_a_size_tells_its_seconds_and_the_clips_that_smaller_ones_had_encoded(steps: list[Sweep]) -> None:
    assert [spent.num_reused for spent in steps[-1].spent.values()] == [0, 1, 2]  # the official policy nests
    assert all(spent.seconds > 0 for spent in steps[-1].spent.values())


def test_the_margin_is_over_the_next_answer(steps: list[Sweep]) -> None:
    for row in steps[-1].rows():
        scores = aggregate(steps[-1].logits[row.num_clips][None], row.aggregation)[0].softmax(dim=-1).sort(descending=True).values
        assert row.margin == pytest.approx(float(scores[0] - scores[1]), abs=1e-6)


def test_under_a_policy_that_nests_no_frame_passes_the_cnn_twice() -> None:
    predictor = make_predictor()
    inner = predictor.model
    predictor.model = counting = Counting(inner.model, inner.processor, name="tiny", device="cpu", dtype="float32")
    for sweep in sweep_stream(predictor, VIDEO, QUESTION, None, SamplingConfig(policy="official"), SIZES):
        assert counting.encoded <= 2 * max(sweep.logits)
    scored = counting.scored
    sweep.rows()
    matrix_html(sweep, num_clips=4, aggregation="max")
    assert counting.scored == scored


def test_the_matrix_outlines_what_differs_from_the_chosen_setting(steps: list[Sweep]) -> None:
    rows = steps[-1].rows()
    for chosen in rows:
        page = matrix_html(steps[-1], num_clips=chosen.num_clips, aggregation=chosen.aggregation)
        assert page.count('class="differs ') == sum(row.answer != chosen.answer for row in rows)
        assert len(re.findall(r'class="(?:differs )?setting"', page)) == 1
        assert page.count("data-clips=") == len(rows)


def test_the_chosen_number_of_clips_is_in_the_sweep() -> None:
    assert sizes_with(5) == (1, 2, 4, 5, 8, 16) and sizes_with(16) == (1, 2, 4, 8, 16)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = write_video(tmp_path / "a" / "one.mp4"), write_video(tmp_path / "b" / "two.mp4", num_frames=40)
    rows = tmp_path / "a" / "rows.jsonl"
    rows.write_text(
        "".join(f'{{"video": "{v}", "question": "what colour?", "answer": "{a}"}}\n' for v, a in (("one", "red"), ("two", "blue"), ("two", "green")))
    )
    return [one, two, rows]


def test_scores_of_a_data_set_equal_those_of_evaluate(predictor: Predictor, files: list[Path]) -> None:
    data, wanted = uploaded_set(files), SamplingConfig(num_frames=2, fps=2.0, policy="official")
    *_, scores = score_stream(predictor, data, wanted, sizes=SIZES)
    found = {
        (p.num_clips, p.aggregation): p.metrics["accuracy"]
        for p in evaluate(predictor, data.examples, data.store, "qa", sizes=SIZES, num_frames=2, policy="official")
    }
    for (size, how), accuracy in found.items():
        videos = scores.right[2, size, how]
        assert sum(right for right, _ in videos) / sum(asked for _, asked in videos) == pytest.approx(accuracy)
    assert scores.done == scores.planned == 2


def test_recall_of_a_data_set_equals_that_of_evaluate(predictor: Predictor, files: list[Path]) -> None:
    captions = (("one", "a red ball"), ("two", "a blue box"), ("two", "a dog"))
    files[-1].write_text("".join(f'{{"video": "{video}", "caption": "{caption}"}}\n' for video, caption in captions))
    data, wanted = uploaded_set(files), SamplingConfig(num_frames=2, fps=2.0, policy="official")
    first, last = recall_stream(predictor, data, wanted, sizes=SIZES)
    assert not first.right and "every video" in first.html() and "3 captions" in last.html()
    for found in evaluate(predictor, data.examples, data.store, "retrieval", sizes=SIZES, num_frames=2, policy="official"):
        videos = last.right[2, found.num_clips, found.aggregation]
        assert sum(right for right, _ in videos) / 3 == pytest.approx(found.metrics["text_to_video/recall_at_1"])
        assert [asked for _, asked in videos] == [1, 2]


def test_captions_of_a_video_count_for_it_and_a_tie_as_half() -> None:
    scores = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert found_first(scores, torch.tensor([0, 0, 0])) == [(1.5, 3), (0, 0)]


def test_recall_needs_captions_of_two_videos(predictor: Predictor, files: list[Path]) -> None:
    with pytest.raises(ValueError, match="at least two videos with captions, got 0"):
        next(recall_stream(predictor, uploaded_set(files), SamplingConfig(policy="official")))


@pytest.mark.parametrize(
    ("metric", "measured_on", "known"),
    [
        (ACCURACY, "MSRVTT-QA val", {("T=1", 1, 35.73), ("T=2", 1, 36.02), ("T=1", 16, 36.24)}),
        (RECALL, "MSRVTT val", {("T=1", 1, 10.2), ("T=2", 1, 11.3), ("T=1", 16, 12.7)}),
    ],
)
def test_the_chart_shows_only_the_papers_numbers_that_exist_as_text(metric: str, measured_on: str, known: set[tuple[str, int, float]]) -> None:
    right = {(t, n, how): [(1.0, 1), (0.0, 1)] for t in (1, 2) for n in (1, 16) for how in AGGREGATIONS}
    chart = Scores("a set", "tiny", 1.0, 2, 2, right, metric).chart("lse")
    hollow = {
        (row["series"].removeprefix(f"the paper, {measured_on}, "), row["num_clips"], row["score_percent"])
        for row in chart.rows
        if row["source"] == "the paper"
    }
    assert chart.title == f"{metric} by N_test" and hollow == known
    assert {row["score_percent"] for row in chart.rows if row["source"] != "the paper"} == {50.0}


def test_a_data_set_without_its_rows_is_refused(files: list[Path]) -> None:
    with pytest.raises(ValueError, match=r"one \.jsonl file and its videos, got 0 \.jsonl and 2 other files"):
        uploaded_set(files[:2])


@pytest.mark.parametrize("name", ["../../secret.mp4", "/etc/passwd"])
def test_a_row_reaches_no_file_that_was_not_uploaded(files: list[Path], name: str) -> None:
    files[-1].write_text(f'{{"video": "{name}", "question": "what colour?", "answer": "red"}}\n')
    with pytest.raises(ValueError, match="names its video by the name of an uploaded file"):
        uploaded_set(files)
