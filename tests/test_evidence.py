"""Scores against planted evidence: geometry, ties, random baselines by brute force, degenerate cases, planted videos."""

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from inside_case import QUESTION
from tiny import tiny_model, tiny_processor

from clipbert.attribution import attribute
from clipbert.cell_grid import CellGrid
from clipbert.data.shapes import box
from clipbert.data.stories import make_story
from clipbert.data.story_video import write_video
from clipbert.data.synthetic import rows
from clipbert.evidence import Evidence, EvidenceScore, evidence_scores, planted_clips
from clipbert.predict import Predictor
from clipbert.types import Attribution

GRID = CellGrid(frame_size=(120, 160), content_size=(96, 128), cell_size=32.0, shape=(4, 4))  # cells of 40 source pixels; the last row is padding
TIMES = torch.tensor([[0.0, 0.5], [1.0, 1.5], [2.0, 2.5], [3.0, 3.5]], dtype=torch.float64)
SPANS = torch.tensor([[0.0, 1], [1, 2], [2, 3], [3, 4]], dtype=torch.float64)


def evidence(*boxes: tuple[int, int, int, int], seconds: tuple[float, float] = (1.0, 3.0), words: tuple[str, ...] = ("red", "circle")) -> Evidence:
    frames = round(10 * seconds[0]), round(10 * seconds[1])
    return Evidence(seconds, frames, dict.fromkeys(range(*frames), boxes) if boxes else {}, words)


def cells(values: torch.Tensor, clip: int = 1) -> Attribution:
    return Attribution("red", "cell_occlusion", "", cells=values[None], clip_index=(clip,), times=TIMES, spans=SPANS, grid=GRID)


def clips(values: list[float]) -> Attribution:
    return Attribution("red", "clip_shapley", "", clips=torch.tensor(values), clip_index=(0, 1, 2, 3), times=TIMES, spans=SPANS)


def spot(row: int, col: int) -> torch.Tensor:
    values = torch.full((4, 4), -1.0)
    values[row, col] = 2.0
    return values


def test_the_highest_cell_hits_where_its_own_box_shares_pixels_with_a_planted_one() -> None:
    planted = evidence((70, 45, 100, 75))  # rows 1, columns 1 (40..80) and 2 (80..120)
    hits = [[evidence_scores(cells(spot(row, col)), planted)["pointing"].value for col in range(4)] for row in range(4)]
    assert hits == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert evidence_scores(cells(spot(1, 1)), planted)["pointing"] == EvidenceScore(1.0, 2 / 16, 1.0)
    touching = evidence((80, 40, 100, 60))
    assert evidence_scores(cells(spot(1, 1)), touching)["pointing"].value == 0, "an edge in common is no pixel in common"


def test_the_strict_game_asks_for_the_centre_and_says_where_no_map_can_win() -> None:
    assert evidence_scores(cells(spot(1, 1)), evidence((50, 50, 65, 65)))["pointing_centre"] == EvidenceScore(1.0, 1 / 16, 1.0)
    assert evidence_scores(cells(spot(1, 1)), evidence((41, 41, 55, 55)))["pointing_centre"] == EvidenceScore(0.0, 0.0, 0.0)


def test_energy_is_spread_evenly_over_a_cells_own_box() -> None:
    values = torch.zeros(4, 4)
    values[1, 1], values[0, 0], values[3, 3] = 3.0, 1.0, -5.0
    found = evidence_scores(cells(values), evidence((50, 40, 80, 60)))["energy"]  # 30 x 20 of a cell of 40 x 40
    assert found.value == pytest.approx(0.75 * 600 / 1600) and found.best == pytest.approx(600 / 1600)
    assert found.random == pytest.approx(600 / 1600 / 16)
    whole = evidence_scores(cells(values), evidence((0, 0, 160, 120)))["energy"]
    assert whole.value == 1 and whole.random == 12 / 16, "padding holds nothing"
    assert evidence_scores(cells(-torch.ones(4, 4)), evidence((0, 0, 9, 9)))["energy"].value == 0


def test_overlapping_boxes_count_once_and_energy_of_fractional_cells_is_exact() -> None:
    grid = CellGrid(frame_size=(10, 10), content_size=(8, 8), cell_size=3.0, shape=(3, 3))  # cells of 3.75 source pixels
    found = Attribution("red", "", "", cells=torch.ones(1, 3, 3), clip_index=(1,), times=TIMES, spans=SPANS, grid=grid)
    score = evidence_scores(found, evidence((0, 0, 5, 10), (0, 0, 5, 10)))["energy"]
    columns = [1, 1.25 / 3.75, 0]  # shares of the columns of cells left of x = 5
    assert score.value == pytest.approx(sum(columns) / 3) and score.best == pytest.approx(1)


def test_a_map_with_all_values_equal_scores_as_a_random_one() -> None:
    planted = evidence((50, 40, 80, 60))
    for name, score in evidence_scores(cells(torch.ones(4, 4)), planted).items():
        assert score.value == pytest.approx(score.random), name
    assert evidence_scores(clips([1.0] * 4), planted)["pointing"] == EvidenceScore(0.5, 0.5, 1.0)


def test_random_baselines_are_means_over_random_maps() -> None:
    planted, generator = evidence((50, 40, 100, 90)), torch.Generator().manual_seed(0)
    drawn = [evidence_scores(cells(torch.rand(4, 4, generator=generator)), planted) for _ in range(300)]
    for name in drawn[0]:
        values = torch.tensor([scores[name].value for scores in drawn])
        assert float(values.mean()) == pytest.approx(drawn[0][name].random, abs=4 * float(values.std()) / 300**0.5 + 1e-9), name


def test_temporal_iou_is_of_the_run_that_reaches_half_the_highest_value() -> None:
    planted = evidence()
    assert evidence_scores(clips([0.1, 2.0, 1.0, 0.9]), planted)["temporal_iou"].value == 1
    assert evidence_scores(clips([0.1, 2.0, 0.9, 1.5]), planted)["temporal_iou"].value == pytest.approx(1 / 2), "a run ends at its first low clip"
    assert evidence_scores(clips([2.0, 1.0, 1.0, 1.0]), planted)["temporal_iou"].value == pytest.approx(2 / 4)
    assert evidence_scores(clips([-1.0, -3.0, -2.0, -2.0]), planted)["temporal_iou"].value == 0
    assert evidence_scores(clips([0.1, 2.0, 0.9, 1.5]), planted)["temporal_iou_at_0.5"].value == 1


def test_the_random_temporal_iou_is_the_mean_over_orders() -> None:
    values, planted = [0.1, 2.0, 1.0, 0.9], evidence()
    every = [evidence_scores(clips([values[n] for n in order]), planted)["temporal_iou"].value for order in permutations(range(4))]
    found = evidence_scores(clips(values), planted)["temporal_iou"]
    assert found.random == pytest.approx(sum(every) / 24, abs=0.05) and found.best == 1
    assert found == evidence_scores(clips(values), planted)["temporal_iou"]


def test_clips_in_any_order_are_read_by_their_time() -> None:
    order = [2, 0, 3, 1]
    mixed = Attribution(
        "red", "clip_shapley", "", clips=torch.tensor([0.1, 2.0, 1.0, 0.9])[order], clip_index=(0, 1, 2, 3), times=TIMES[order], spans=SPANS[order]
    )
    assert evidence_scores(mixed, evidence())["temporal_iou"].value == 1 and evidence_scores(mixed, evidence())["pointing"].value == 1


def words(values: list[float], *pieces: str) -> Attribution:
    return Attribution("red", "token_ablation", "", tokens=torch.tensor([values], dtype=torch.float32), clip_index=(0,), pieces=pieces)


def test_the_highest_piece_hits_where_its_whole_word_names_the_evidence() -> None:
    text = ("what", "does", "the", "red", "cir", "##cle", "do", "?")
    assert evidence_scores(words([0, 0, 0, 0, 0, 1, 0, 0], *text), evidence())["pointing"] == EvidenceScore(1.0, 3 / 8, 1.0)
    assert evidence_scores(words([0, 1, 0, 0, 0, 0, 0, 0], *text), evidence())["pointing"].value == 0
    assert evidence_scores(words([0, 1, 0], "red", "##dish", "circle"), evidence())["pointing"].value == 0, "reddish is another word"


def test_values_of_single_frames_are_summed() -> None:
    values = torch.zeros(2, 4, 4)
    values[0, 0, 0], values[:, 1, 1] = 1.0, 0.7
    found = Attribution("red", "", "", cells=values[None], clip_index=(1,), times=TIMES, spans=SPANS, grid=GRID)
    assert evidence_scores(found, evidence((50, 50, 60, 60)))["pointing"].value == 1


def test_where_nothing_planted_is_to_be_found_is_said() -> None:
    later = evidence((0, 0, 9, 9), seconds=(7.0, 9.0))
    with pytest.raises(ValueError, match=r"between 7.00 and 9.00 s, and clip 1 \(counted from 0, frames at 1.00, 1.50 s\) shows no box of it"):
        evidence_scores(cells(spot(0, 0)), later)
    with pytest.raises(ValueError, match="none of the 4 clips shows it; sample more clips"):
        evidence_scores(clips([1.0] * 4), later)
    with pytest.raises(ValueError, match=r"none of the words that name the evidence \(red, circle\)"):
        evidence_scores(words([1.0], "what"), later)
    with pytest.raises(ValueError, match="where its cells lie"):
        evidence_scores(Attribution("red", "", "", cells=torch.ones(1, 2, 2), clip_index=(0,), times=TIMES, spans=SPANS), later)
    with pytest.raises(ValueError, match="does not say when its clips are"):
        evidence_scores(Attribution("red", "", "", clips=torch.ones(2)), later)
    with pytest.raises(ValueError, match="must have seconds, frames, boxes and words"):
        Evidence.read({"seconds": [0, 1]})
    with pytest.raises(ValueError, match="must end after it begins"):
        evidence(seconds=(2.0, 2.0))


@pytest.mark.parametrize("index", [1, 3, 5, 8, 11], ids=lambda index: make_story(3, "test", index).variant)
def test_boxes_are_found_by_the_time_of_every_frame_of_a_written_video(index: int, tmp_path: Path) -> None:
    story = make_story(3, "test", index)
    path = tmp_path / Path(story.path).name
    write_video(story, path)
    model = tiny_model()
    predictor = Predictor(model, tiny_processor(model), name="tiny")
    video = predictor.encode(path, num_clips=16, num_frames=4, fps=5.0)
    assert video.frame_size == story.size[::-1]
    scene = story.scene("slide")
    row: Any = rows(story)["direction"][0]
    planted = Evidence.read(row["evidence"])
    for t in video.times.flatten().tolist():
        frame = round(t * story.fps)
        inside = scene.acting_frames[0] <= frame < scene.acting_frames[1]
        assert planted.shown_at(t) == inside and planted.boxes_at(t) == ((box(scene.lead, frame),) if inside else ())
    clip = int(planted_clips(video.times, planted, boxed=True).int().argmax())
    found = attribute(predictor, video, QUESTION, method="cell_occlusion", clips=[clip])
    assert set(evidence_scores(found, planted)) == {"pointing", "pointing_centre", "energy"}
