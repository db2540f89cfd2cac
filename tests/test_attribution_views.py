"""What the Attribution tab shows, as HTML: escaped text, ranks, hatched padding, and the sentences that keep a map honest."""

import html
import json
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hf_models import write_clip
from PIL import Image
from test_predict import make_predictor

from app.attribution.cell_views import Canvas, cell_rows, cells_of, overlay_html
from app.attribution.checks_panel import agreement_rows, rationale_rows, tables_html
from app.attribution.explained import LEVELS, Look, Standing
from app.attribution.faithfulness_panel import areas_html
from app.attribution.heads_view import _readable, heads_html
from app.attribution.lines import completeness_html, conclusion_html, padding_html, standing_html, verdict_html
from app.attribution.method_names import about_html, is_signed, method_choices, method_label
from app.attribution.watched import Finished, Step, told, watched
from app.attribution.word_views import words_html
from app.clip_bars import bars_html
from clipbert.attention_heads import HeadAttention
from clipbert.attribution import METHODS
from clipbert.cell_grid import CellGrid
from clipbert.checkup import Agreement, Checkup
from clipbert.faithfulness_checks import SignViolations
from clipbert.faithfulness_curves import measure
from clipbert.predict import Predictor
from clipbert.types import Attribution
from clipbert.viz.figures import clip_values

WIDE = CellGrid((100, 200), (96, 192), 64.0, (3, 3))  # rows 0 and 1 show the frame (1 in part), row 2 padding alone
WEIGHTS = torch.tensor([3.0, -1.0, 2.0, 0.5, 1.0, 0.0, -2.0, 4.0, 0.25], dtype=torch.float64)
HOSTILE = '<img src=x onerror="alert(1)">'


def cells(values: list[list[float]], method: str = "cell_occlusion") -> Attribution:
    return Attribution("red", method, "log p(red | one clip)", cells=torch.tensor([values]), clip_index=(0,), grid=WIDE)


CELLS = cells([[0.1, 0.5, 0.0], [-0.2, 0.5, 0.0], [0.0, 0.0, 0.3]])


def test_cells_are_ranked_from_the_highest_value_and_equal_ones_share_the_better_rank() -> None:
    assert CELLS.cells is not None
    ranks = {(cell.row, cell.column): cell.rank for cell in cells_of(CELLS.cells[0], WIDE)}
    assert ranks[1, 2] == ranks[2, 2] == 1 and ranks[3, 3] == 3 and ranks[1, 1] == 4 and ranks[2, 1] == 9


def test_a_cell_says_its_place_its_value_its_rank_and_its_pixels() -> None:
    drawn = overlay_html(CELLS, 0, Image.new("RGB", (200, 100)), "")
    assert 'aria-label="row 1, column 2: +0.5000 nats, rank 1 of 9; pixels x 67–133, y 0–67"' in drawn
    assert 'aria-label="row 3, column 3: +0.3000 nats, rank 3 of 9; padding alone"' in drawn
    assert len(re.findall('tabindex="0"', drawn)) == 1  # one stop for Tab, arrows for the rest


def test_cells_on_padding_alone_are_hatched_and_no_others() -> None:
    drawn = overlay_html(CELLS, 0, Image.new("RGB", (200, 100)), "")
    hatched = re.findall(r'class="cell padding" data-row="(\d)"', drawn)
    assert hatched == ["3", "3", "3"] and drawn.count('class="cell"') == 6 and "padding alone" in drawn


def test_the_frame_keeps_its_shape_and_cells_lie_where_the_grid_says() -> None:
    canvas = Canvas(WIDE)
    rows, columns = canvas.edges(0), canvas.edges(1)
    for row in range(2):
        for column in range(3):
            box = WIDE.box(row, column)
            assert box is not None and (columns[column], rows[row]) == pytest.approx(box[:2]) and columns[column + 1] == pytest.approx(box[2])
    height, width = canvas.size
    assert width == pytest.approx(200) and 100 < height < 200  # padding is drawn, but smaller


def test_signed_maps_are_striped_against_and_unsigned_ones_are_not() -> None:
    assert 'class="against" style="--share:0.400"' in overlay_html(CELLS, 0, Image.new("RGB", (200, 100)), "")
    unsigned = overlay_html(cells([[0.0, 0.5, 0.0]] * 3, "cell_rollout"), 0, Image.new("RGB", (200, 100)), "")
    assert "against" not in unsigned and 'class="unsigned"' in unsigned


def test_a_table_has_every_cell_with_its_pixels() -> None:
    rows = cell_rows(CELLS, 0)
    assert len(rows) == 9 and rows[0]["value"] == 0.5 and rows[0]["left_px"] == pytest.approx(66.67, abs=0.01)
    assert [row["on_padding_alone"] for row in rows].count(True) == 3


def test_weight_on_padding_is_a_warning_and_its_absence_is_not() -> None:
    told = padding_html(CELLS)
    assert "18.8 % of |attribution| on padding (3 of 9 cells" in told and "doubtful" in told
    clean = padding_html(cells([[0.1, 0.5, 0.0], [-0.2, 0.5, 0.0], [0.0, 0.0, 0.0]]))
    assert "0.0 % of |attribution| on padding" in clean and "doubtful" not in clean


def test_a_gap_is_shown_as_a_share_of_the_whole() -> None:
    found = Attribution("red", "clip_shapley", "log p", clips=torch.tensor([1.5, 0.5]), gap=-0.01)
    assert "add up: sum 2.000, whole 2.010 nats above the guess, gap 0.5 %" in completeness_html(found)
    assert "need not add up" in completeness_html(replace(found, gap=None))


def test_a_large_gap_of_integrated_gradients_says_to_raise_the_steps() -> None:
    found = replace(cells([[1.0, 1.0, 0.0]] * 3, "cell_integrated_gradients"), gap=0.6, gaps=torch.tensor([0.6]))
    told = completeness_html(found, 0, Look(found.method, 0, "grey", 8))
    assert "do not add up" in told and "gap 11.1 %" in told and "raise steps (now 8)" in told and "above a grey clip" in told
    assert "doubtful" not in completeness_html(replace(found, gaps=torch.tensor([0.1])), 0, Look(found.method, 0, "grey", 8))


def test_values_that_are_no_parts_of_a_score_have_no_sum_to_check() -> None:
    assert "no sum to check" in completeness_html(cells([[0.0, 0.5, 0.0]] * 3, "cell_attention"))


def test_a_map_that_is_not_better_than_random_says_not_to_read_it() -> None:
    weights = torch.arange(10.0)
    true = measure(lambda kept: (kept * weights).sum(dim=1) / 45, weights)
    false = measure(lambda kept: (kept * weights).sum(dim=1) / 45, -weights)
    assert "do not read this map" in verdict_html(false) and "doubtful" in verdict_html(false)
    assert "better than random at deletion and insertion" in verdict_html(true) and "good" in verdict_html(true)
    assert "Not tested" in verdict_html(None)
    assert "do not read this map" in conclusion_html(CELLS, 0, "cell", false)


def test_the_conclusion_names_the_strongest_unit_or_that_none_speaks_for_the_score() -> None:
    assert "row 1, column 2 (+0.500 nats)" in conclusion_html(CELLS, 0, "cell", None)
    assert "No cell speaks for the score" in conclusion_html(cells([[-0.1, -0.2, 0.0]] * 3), 0, "cell", None)


@pytest.mark.parametrize(
    ("standing", "doubtful", "said"),
    [
        (Standing("cat", 0.6, "dog", 0.2, True, ("cat",)), False, "This is right."),
        (Standing("dog", 0.6, "cat", 0.2, True, ("cat",)), True, "right is cat"),
        (Standing("cat", 0.42, "dog", 0.38, True, ()), True, "4.0 percentage points ahead of <b>dog</b>"),
        (Standing("cat", 0.6, "dog", 0.2, False, ()), True, "not sure"),
        (Standing("cat", 0.6, "dog", 0.2, True, ()), False, "40.0 percentage points"),
    ],
    ids=["right", "wrong", "close", "unsure", "sure"],
)
def test_a_wrong_or_unsure_answer_stands_out_beside_its_runner_up(standing: Standing, doubtful: bool, said: str) -> None:
    told = standing_html(standing)
    assert said in told and ("doubtful" in told) == doubtful and (f'data-versus="{standing.runner_up}"' in told) == doubtful


def test_users_text_is_inert() -> None:
    told = standing_html(Standing(HOSTILE, 0.4, HOSTILE, 0.3, False, (HOSTILE,)))
    found = Attribution("x", "token_ablation", "log p", tokens=torch.tensor([[0.5]]), clip_index=(0,), pieces=(HOSTILE,))
    for drawn in (told, words_html(found), conclusion_html(found, 0, "word", None)):
        assert "<img" not in drawn and "&lt;img" in drawn


def test_word_chips_show_piece_value_and_rank() -> None:
    found = Attribution("x", "token_ablation", "log p", tokens=torch.tensor([[0.5, -0.25, 0.0]]), clip_index=(0,), pieces=("what", "##ever", "?"))
    drawn = words_html(found)
    assert "<b>what</b><small>+0.500</small>" in drawn and 'title="rank 3 of 3"' in drawn and 'class="against" style="--share:0.500"' in drawn


def test_a_head_carries_the_cells_that_its_share_is_of() -> None:
    cells = torch.rand(2, 3, 3, 3)
    share = cells.flatten(2).sum(dim=-1)
    found = HeadAttention(share, share, 1 - share, 1 - share, {"text to image": cells}, 1, "what?", "m", WIDE)
    drawn = heads_html(found, Image.new("RGB", (200, 100)))
    maps = json.loads(html.unescape(re.search(r'data-maps="([^"]*)"', drawn)[1]))  # pyright: ignore[reportOptionalSubscript]
    assert torch.allclose(torch.tensor(maps["text to image"]), cells.flatten(2), atol=1e-5)
    assert drawn.count("<table") == 4 and drawn.count(" hidden>") == 3 and drawn.count('<i class="unsigned"') == 9
    assert f'aria-label="layer 2, head 3: {100 * share[1, 2]:.1f} %"' in drawn


@pytest.mark.parametrize(("color", "readable"), [("rgb(0, 32, 76)", "#fff"), ("rgb(253, 231, 55)", "#000"), ("rgb(124, 123, 120)", "#000")])
def test_a_number_stands_out_from_its_colour(color: str, readable: str) -> None:
    assert _readable(color) == readable


def test_other_methods_stand_below_the_tested_one_and_each_says_whether_it_beats_random() -> None:
    tests = [
        replace(measure(lambda kept: kept.double() @ WEIGHTS, values), method=method, level="cells", measured="p(red)")
        for method, values in (("cell_occlusion", WEIGHTS), ("cell_relevance", -WEIGHTS))
    ]
    rows = re.findall(r"<tr>(.*?)</tr>", areas_html(tests[0], tests[1:]))[1:]
    assert [row.count("yes (p") for row in rows] == [2, 0, 0, 0] and [row.count("no (p") for row in rows] == [0, 2, 0, 0]
    assert "Occlusion" in rows[0] and "Relevance" in rows[1] and "random orders" in rows[2] and "reverse order of Occlusion" in rows[3]


def test_the_tables_of_more_metrics_say_what_is_left_out_and_escape_it() -> None:
    test = replace(measure(lambda kept: kept.double() @ WEIGHTS, WEIGHTS), method="cell_occlusion", level="cells", measured="p(red)")
    pairs = (Agreement("cell_occlusion", "cell_relevance", 0.25), Agreement("cell_occlusion", "cell_rollout", None))
    pairs += (Agreement("cell_relevance", "cell_rollout", None),)
    checked = Checkup("cell_occlusion", 0, None, 0.125, SignViolations(0, 0, 9, 3), pairs, None, {"infidelity": HOSTILE})
    drawn = tables_html(test, checked, ["Attention: no attention leads to this score"])
    assert "none is positive" in drawn and "0.125" in drawn and "<img" not in drawn and "no attention leads" in drawn
    assert agreement_rows(checked)[0] == {"method": "Occlusion", "Occlusion": 1.0, "Relevance (gradient × attention)": 0.25, "Rollout": None}
    assert rationale_rows(test)[0]["10%"] == pytest.approx(float(WEIGHTS.max()))


def test_a_told_computation_is_a_line_of_its_progress_and_its_result() -> None:
    line: Any = object()

    def run(progress: Any) -> str:
        progress("maps", 1, 2)
        return "found"

    steps = told(run, threading.Event(), line, "{stage}:")
    assert "maps: 1 of 2" in next(steps)[line]
    with pytest.raises(StopIteration) as ended:
        next(steps)
    assert ended.value.value == "found"
    stopped = threading.Event()
    stopped.set()
    assert [update[line] for update in told(run, stopped, line, "maps:")] == [
        '<p class="state partial">stopped: maps: 0 of ?; nothing is concluded from a part.</p>'
    ]


def test_of_another_model_than_clipbert_each_level_offers_what_reads_no_layers(tmp_path: Path) -> None:
    other = Predictor.from_pretrained(f"hf:{write_clip(tmp_path)}", device="cpu").model
    assert [method_choices(level, other)[0][1] for level in LEVELS] == ["clip_shapley", "frame_shapley", "cell_occlusion", "token_ablation"]
    assert [name for _, name in method_choices("cells", other)] == ["cell_occlusion"]


def test_every_method_of_the_package_can_be_chosen_at_its_level() -> None:
    listed = [name for level in LEVELS for _, name in method_choices(level, make_predictor().model)]
    assert sorted(listed) == sorted(METHODS)
    assert method_label("cell_attention").endswith("(not an explanation)") and is_signed("cell_occlusion") and not is_signed("cell_rollout")
    assert "transformer run" in about_html("cell_rollout") and "<abbr" in about_html("cell_rollout")


def test_a_clips_bar_says_its_value_and_what_is_lost_without_it() -> None:
    found = Attribution("red", "clip_shapley", "log p(red | clips)", clips=torch.tensor([0.5, -0.25]), clip_index=(0, 1))
    spans = torch.tensor([[0.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    chart = clip_values(found, torch.tensor([0.75, 0.125]), spans, model="m", duration=2.0, about="mean gain", unit="nats")
    for by_value in (False, True):
        drawn = bars_html(chart, by_value=by_value, notices=(), selected=0)
        assert "clip 1, 00:00.0–00:01.0: +0.500 nats; without it the score falls by +0.750 nats" in drawn
        assert drawn.count("data-clip=") == 2 and drawn.count('class="selected"') == 1


def test_a_watched_computation_tells_its_steps_and_returns() -> None:
    def count(progress: Any) -> str:
        for done in range(1, 4):
            progress("", done, 3)
        return "done"

    assert list(watched(count, threading.Event())) == [Step(1, 3), Step(2, 3), Step(3, 3), Finished("done")]


def test_a_stopped_computation_ends_at_its_next_step() -> None:
    stop, ran = threading.Event(), []

    def forever(progress: Any) -> None:
        while True:
            ran.append(len(ran))
            progress("", len(ran), 1000)
            time.sleep(0.01)

    steps = watched(forever, stop)
    next(steps)
    stop.set()
    assert not any(isinstance(step, Finished) for step in steps)
    counted = len(ran)
    time.sleep(0.05)
    assert len(ran) == counted  # its thread is over


def test_an_abandoned_computation_ends_too() -> None:
    ran = []

    def forever(progress: Any) -> None:
        while True:
            ran.append(len(ran))
            progress("", len(ran), 1000)
            time.sleep(0.01)

    steps = watched(forever, threading.Event())
    next(steps)
    steps.close()
    counted = len(ran)
    time.sleep(0.05)
    assert len(ran) == counted


def test_what_a_watched_computation_raises_is_raised() -> None:
    def fail(progress: Any) -> None:
        raise ValueError("too few units")

    with pytest.raises(ValueError, match="too few units"):
        list(watched(fail, threading.Event()))
