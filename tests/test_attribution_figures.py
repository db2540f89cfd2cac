"""Pictures of attributions and of their tests."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from clipbert.attention_heads import HeadAttention
from clipbert.cell_grid import CellGrid
from clipbert.faithfulness_curves import Faithfulness, measure
from clipbert.types import Attribution
from clipbert.viz import figures
from clipbert.viz.attributions import CHIP_LINE
from clipbert.viz.chart import Boxes, Lines, Picture

WIDE = CellGrid(frame_size=(40, 80), content_size=(112, 224), cell_size=32.0, shape=(7, 7))
TIMES = torch.tensor([[0.0, 0.5], [3.0, 3.5]], dtype=torch.float64)
PIXELS = torch.arange(3 * 40 * 80).reshape(3, 40, 80).to(torch.uint8)
UNITS = torch.tensor([3.0, -1.0, 2.0, 0.5, 1.0, 0.0])


def measured(values: torch.Tensor = UNITS, method: str = "cell_occlusion") -> Faithfulness:
    found = measure(lambda kept: (kept * UNITS).sum(dim=1).sigmoid(), values, steps=3)
    return replace(found, method=method, level="cells", measured="p(red | one clip)", clip=1)


def test_curves_are_drawn_beside_the_random_band_and_the_reverse() -> None:
    result = measured()
    chart = figures.faithfulness_curves(result, model="m")
    assert result.verdict in chart.caption and "95 % of 20 random orders" in chart.caption and "cells of clip 2" in chart.caption
    lines = {(row["curve"].split(":")[0], row["order"]): [] for row in chart.rows}
    for row in chart.rows:
        lines[row["curve"].split(":")[0], row["order"]].append(row["probability_percent"])
    for name, curve in (("deletion", result.deletion), ("insertion", result.insertion)):
        assert lines[name, "cell_occlusion"] == pytest.approx((100 * curve.attributed).tolist())
        assert lines[name, "lowest first"] == pytest.approx((100 * curve.reversed).tolist())
        assert lines[name, "random, mean of 20"] == pytest.approx((100 * curve.mean()).tolist())


def test_the_band_reaches_from_low_to_high_on_screen_and_in_print() -> None:
    result = measured()
    chart = figures.faithfulness_curves(result, model="m")
    low, high = ((100 * end).tolist() for end in result.deletion.band())
    around = next(trace for trace in figures.screen_figure(chart).data if trace.fill == "toself")
    assert list(around.y) == pytest.approx(high + low[::-1])
    (filled,) = figures.print_figure(chart).axes[0].collections
    ys = filled.get_paths()[0].vertices[:, 1]
    assert ys.min() == pytest.approx(min(low)) and ys.max() == pytest.approx(max(high))


def test_a_step_names_the_units_that_leave_or_come() -> None:
    chart = figures.faithfulness_curves(measured(), model="m")
    own = [row["newest"] for row in chart.rows if row["curve"].startswith("deletion") and row["order"] == "cell_occlusion"]
    assert own == ["", ": 1, 3", ": 5, 4", ": 6, 2"], "highest value first, counted from 1"


def test_another_method_is_one_line_more_in_each_panel() -> None:
    alone = figures.faithfulness_curves(measured(), model="m")
    both = figures.faithfulness_curves(measured(), model="m", others=[measured(-UNITS, "cell_grad_cam")])
    assert len(both.rows) - len(alone.rows) == 2 * 4 and both.series[-1] == "cell_grad_cam"
    assert isinstance(both.marks[0], Lines) and {row["order"] for row in both.marks[0].rows} == {"random, mean of 20"}


def test_curves_of_other_units_are_not_drawn_on_one_axis() -> None:
    with pytest.raises(ValueError, match="must be of the same units"):
        figures.faithfulness_curves(measured(), model="m", others=[replace(measured(method="cell_grad_cam"), clip=0)])
    with pytest.raises(ValueError, match="of different methods, got cell_occlusion twice"):
        figures.faithfulness_curves(measured(), model="m", others=[measured()])


def frames(standard_error: torch.Tensor | None = None) -> Attribution:
    values = torch.tensor([[0.5, -0.25], [0.0, 0.125]])
    return Attribution(
        "red", "frame_shapley", "log p(red | one clip)", frames=values, standard_error=standard_error, clip_index=(0, 1), times=TIMES, model="m"
    )


def words(values: torch.Tensor, pieces: tuple[str, ...], method: str = "token_ablation") -> Attribution:
    return Attribution("red", method, "log p(red | one clip)", tokens=values[None], clip_index=(1,), pieces=pieces, model="m")


def cells(values: torch.Tensor, method: str = "cell_occlusion", **other: object) -> Attribution:
    about = {"clip_index": (1,), "grid": WIDE, "times": TIMES, "model": "m", "target": "red", "value_function": "log p(red | one clip)"} | other
    return Attribution(method=method, cells=values[None], **about)  # type: ignore[arg-type]


def planted(row: int, col: int, value: float = 1.0) -> torch.Tensor:
    found = torch.zeros(7, 7)
    found[row, col] = value
    return found


def test_frames_of_a_clip_have_their_seconds_and_signs() -> None:
    chart = figures.frame_values(frames(), clip=0)
    assert [(row["place"], row["value_nats"], row["direction"]) for row in chart.rows] == [
        ("frame 1, 00:00.0", 0.5, "raises the score"), ("frame 2, 00:00.5", -0.25, "lowers it"),
    ]  # fmt: skip
    assert chart.x.limits is not None and chart.x.limits[0] < -0.25 and "clip 1" in chart.title


def test_sampled_frames_have_their_interval() -> None:
    chart = figures.frame_values(frames(torch.full((2, 2), 0.1)), clip=0)
    assert chart.rows[0]["label"] == "+0.500 ± 0.196" and chart.rows[0]["low_nats"] == pytest.approx(0.304) and "95 % interval" in chart.caption


def test_a_picture_of_one_clip_asks_which() -> None:
    with pytest.raises(ValueError, match="explains 2 clips; say which one"):
        figures.frame_values(frames())
    with pytest.raises(ValueError, match="this picture is of tokens, and frame_shapley explains frames"):
        figures.token_chips(frames(), clip=0)


def test_chips_stand_in_lines_without_touching() -> None:
    pieces = tuple(f"piece{n}" * (1 + n % 4) for n in range(17))
    rows = figures.token_chips(words(torch.linspace(-1, 2, 17), pieces)).rows
    assert "".join(row["piece"] for row in rows) == "".join(pieces)
    for one, other in pairwise(rows):
        beside, below = other["top"] == one["top"] and other["left"] > one["right"], other["top"] > one["bottom"] and other["left"] == 0
        assert beside or below
    assert max(row["right"] for row in rows) <= CHIP_LINE


@pytest.mark.parametrize("method, low", [("token_ablation", -2.0), ("token_relevance", 0.0)])
def test_chips_are_coloured_around_zero_where_signs_mean_something(method: str, low: float) -> None:
    (scale,) = figures.token_chips(words(torch.tensor([0.5, 2.0]), ("a", "b"), method)).scales
    assert (scale.low, scale.high) == (low, 2.0)


def test_cells_lie_on_the_true_pixels_and_beyond_them_on_hatched_padding() -> None:
    chart = figures.cell_overlay(cells(planted(3, 6)), PIXELS)
    assert chart.picture is not None and chart.picture.size == (80, 80)
    bright = [row for row in chart.rows if row["value"] == 1]
    assert [(row["row"], row["column"], row["rank"]) for row in bright] == [(4, 7, 1)]
    assert [bright[0][side] for side in ("left", "top", "right", "bottom")] == pytest.approx([6 * 80 / 7, 3 * 80 / 7, 80, 4 * 80 / 7])
    assert {row["row"] for row in chart.rows if row["where"] == "padding alone"} == {5, 6, 7}
    image = chart.picture.image
    corner = torch.tensor(list(image.crop((0, 0, 8, 8)).get_flattened_data())).float().mean(dim=0)
    assert corner[2] < 40 and image.getpixel((1279, 1279))[2] > 100, "the frame's own dark corner, and hatching"  # type: ignore[index]


def test_screen_and_print_draw_a_cell_where_it_is() -> None:
    chart = figures.cell_overlay(cells(planted(0, 2, -3.0)), PIXELS)
    bar = figures.screen_figure(chart).data[0]
    n = list(bar.marker.color).index(-3.0)
    left, right = bar.x[n] - bar.width[n] / 2, bar.x[n] + bar.width[n] / 2
    assert (left, right, bar.base[n], bar.base[n] + bar.y[n]) == pytest.approx((160 / 7, 240 / 7, 0, 80 / 7))
    assert list(figures.screen_figure(chart).layout.yaxis.range) == [80, 0], "rows count downwards"
    axes = figures.print_figure(chart).axes[0]
    assert axes.get_ylim() == (80, 0)
    red = [patch for patch in axes.patches if patch.get_facecolor()[0] > 2 * patch.get_facecolor()[1]]
    assert [(patch.get_x(), patch.get_y()) for patch in red] == [pytest.approx((160 / 7, 0))]  # type: ignore[attr-defined]


def test_what_lies_on_padding_is_said() -> None:
    values = planted(0, 0, 3.0) + planted(6, 6, -1.0)
    assert "25.0 % of |values| on the 21 cells that show padding alone" in figures.cell_overlay(cells(values), PIXELS).caption
    square = CellGrid(frame_size=(40, 80), content_size=(224, 224), cell_size=32.0, shape=(7, 7))
    assert "no cell lies on padding alone" in figures.cell_overlay(cells(values, grid=square), PIXELS).caption


def test_a_map_of_single_frames_shows_the_frame_asked_for_on_the_clips_scale() -> None:
    found = cells(torch.stack([planted(0, 0, 4.0), planted(1, 1, -2.0)]), "cell_integrated_gradients")
    chart = figures.cell_overlay(found, PIXELS, frame=1)
    assert min(row["value"] for row in chart.rows) == -2 and chart.scales[0].high == 4 and "frame 2 (00:03.5) of clip 2" in chart.caption
    with pytest.raises(ValueError, match="numbered 0 to 1, so there is no frame 2"):
        figures.cell_overlay(found, PIXELS, frame=2)


def test_pixels_of_another_size_or_no_geometry_are_errors() -> None:
    with pytest.raises(ValueError, match="at the source's size, 40 x 80, got 80 x 40"):
        figures.cell_overlay(cells(planted(0, 0)), PIXELS.transpose(1, 2))
    with pytest.raises(ValueError, match="does not say where its cells lie"):
        figures.cell_overlay(cells(planted(0, 0), grid=None), PIXELS)


def test_attention_says_that_it_is_no_explanation() -> None:
    chart = figures.cell_overlay(cells(planted(0, 0), "cell_attention"), PIXELS)
    assert "not an explanation" in chart.caption and not chart.scales[0].signed


def test_two_maps_share_one_scale_and_have_a_difference() -> None:
    one, other = cells(planted(0, 0, 2.0)), cells(planted(0, 1, -3.0), model="n")
    chart = figures.cell_comparison(one, other, PIXELS)
    assert chart.panel_names() == ["m", "n", "difference"] and chart.model == "m and n"
    shared, change = chart.scales
    assert (shared.low, shared.high, change.high) == (-3, 3, 3) and change.unit == "Δ nats"
    difference = torch.tensor([row["value"] for row in chart.rows if row["map"] == "difference"])
    assert torch.equal(difference.reshape(7, 7), planted(0, 0, 2.0) + planted(0, 1, 3.0))
    assert "rank agreement (Spearman) " in chart.caption
    bars = figures.screen_figure(chart).data
    assert [bar.marker.coloraxis for bar in bars] == ["coloraxis", "coloraxis", "coloraxis2"]


def test_units_that_cannot_be_compared_become_shares() -> None:
    chart = figures.cell_comparison(cells(planted(0, 0, 2.0)), cells(planted(0, 0, 9.0) + planted(1, 0, 1.0), "cell_relevance"), PIXELS)
    values = {(row["map"], row["row"]): row["value"] for row in chart.rows if row["column"] == 1}
    assert values["cell_occlusion", 1] == 100 and values["cell_relevance", 1] == 90 and values["difference", 2] == -10
    assert chart.scales[0].unit == "% of all |values|"


def test_a_flat_map_ranks_nothing_and_says_so() -> None:
    chart = figures.cell_comparison(cells(planted(0, 0)), cells(torch.zeros(7, 7), "cell_grad_cam"), PIXELS)
    assert "no rank agreement, since cell_grad_cam gives all cells the same value" in chart.caption


def test_maps_on_other_grids_are_compared_by_their_share_of_an_area() -> None:
    coarse = CellGrid(frame_size=(40, 80), content_size=(112, 224), cell_size=64.0, shape=(4, 4))
    chart = figures.cell_comparison(cells(planted(0, 0)), cells(torch.ones(4, 4), grid=coarse, model="n"), PIXELS)
    even = (224 / 256) ** 2  # the second map is spread over a larger canvas
    values = {name: [row["value"] for row in chart.rows if row["map"] == name] for name in ("m", "n")}
    assert max(values["m"]) == pytest.approx(49) and values["n"] == pytest.approx([even] * 16)
    pieces = [row for row in chart.rows if row["map"] == "difference"]
    assert sum((row["right"] - row["left"]) * (row["bottom"] - row["top"]) * row["value"] for row in pieces) == pytest.approx(0, abs=1e-2)
    assert pieces[0]["value"] == pytest.approx(49 - even) and {round(row["value"], 4) for row in pieces[1:]} == {round(-even, 4)}
    assert "no rank agreement" in chart.caption and chart.scales[0].unit == "times an even share"
    same = CellGrid(frame_size=(40, 80), content_size=(56, 112), cell_size=16.0, shape=(7, 7))
    assert figures.cell_comparison(cells(planted(0, 0)), cells(planted(0, 0), grid=same, model="n"), PIXELS).scales[0].unit == "nats"


def test_a_box_and_a_picture_are_drawn_in_every_panel() -> None:
    chart = figures.cell_comparison(cells(planted(0, 0, 2.0)), cells(planted(0, 1), model="n"), PIXELS)
    assert len(figures.screen_figure(chart).layout.images) == 3
    printed = [axes for axes in figures.print_figure(chart).axes if axes.images]
    assert len(printed) == 3 and all(len(axes.patches) == 49 for axes in printed)
    assert isinstance(chart.marks[0], Picture) and isinstance(chart.marks[1], Boxes)


def test_strong_cells_hide_more_of_the_frame_than_weak_ones_and_heat_alone_hides_all() -> None:
    for opacity, weakest, strongest in ((0.5, 0.125, 0.5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)):
        bar = figures.screen_figure(figures.cell_overlay(cells(planted(0, 2, -3.0)), PIXELS, opacity=opacity)).data[0]
        assert (min(bar.marker.opacity), max(bar.marker.opacity)) == (weakest, strongest)


def attended() -> HeadAttention:
    to_image, to_text = torch.linspace(0.1, 0.6, 6).reshape(2, 3), torch.linspace(0, 1, 6).reshape(2, 3)
    return HeadAttention(to_image, to_text, 1 - to_image, 1 - to_text, {}, 1, "what colour?", "m")


def test_heads_are_a_matrix_of_layers_for_each_direction_and_no_explanation() -> None:
    chart = figures.attention_heads(attended())
    assert chart.panel_names() == ["text to image", "image to text", "within text", "within image"] and "not an explanation" in chart.caption
    drawn = figures.screen_figure(chart).data
    assert len(drawn) == 4 and drawn[0].z[1][2] == pytest.approx(60) and {trace.coloraxis for trace in drawn} == {"coloraxis"}
    assert chart.scales[0].low == 0 and chart.scales[0].high == 100
