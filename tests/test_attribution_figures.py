"""Pictures of attributions and of their tests."""

from dataclasses import replace

import pytest
import torch

from clipbert.faithfulness_curves import Faithfulness, measure
from clipbert.viz import figures
from clipbert.viz.chart import Lines

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
