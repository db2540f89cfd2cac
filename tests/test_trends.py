"""Trends of smaller runs against the paper, by rows made by hand."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from clipbert.paper import table_part
from clipbert.trends import CurveTrend, curve_trends, read_rows, table_trends

TABLE_4 = {"Dense Uniform, 16": 15.5, "Sparse Random, 1": 12.7, "Sparse Random, 2": 15.5, "Sparse Random, 4": 15.7}


def row(seed: int, cells: dict[str, float], table: str = "4", **changes: Any) -> dict[str, Any]:
    found = [{"table": table, "row": name.split(", "), "column": "R1", "value": value} for name, value in cells.items()]
    return {"run": "0", "seed": seed, "scale": "small", "paper_cells": found, "figure_points": [], **changes}


def curve(seed: int, series: str = "T=1", **values: float) -> dict[str, Any]:
    """Accuracies as mean_1=..., lse_16=..."""
    points = [
        {"figure": 4, "series": series, "x": int(name.split("_")[1]), "aggregation": name.split("_")[0], "column": "Accuracy", "value": value}
        for name, value in values.items()
    ]
    return row(seed, {}, figure_points=points)


def test_the_papers_own_numbers_have_its_order() -> None:
    (trend,) = table_trends(table_part("4"), [row(1, TABLE_4)])
    assert (trend.column, trend.scale, trend.num_rows, trend.seeds, trend.tau, trend.tau_by_seed) == ("R1", "small", 4, (1,), 1.0, (1.0,))


def test_the_reverse_order_is_an_honest_no_only_where_rows_are_many() -> None:
    (few,) = table_trends(table_part("6"), [row(1, {"no, no": 3.0, "no, yes": 2.0, "yes, yes": 1.0}, table="6")])
    assert few.tau == -1.0 and few.p_value == pytest.approx(2 / 6) and few.verdict == "unclear"
    cells = {", ".join(cell.row): -(cell.value or 0.0) for cell in table_part("3").cells if cell.column == "R1"}
    (many,) = table_trends(table_part("3"), [row(1, cells, table="3")])
    assert many.tau == -1.0 and many.p_value < 1e-3 and many.verdict == "no"


def test_chance_is_counted_over_all_orders() -> None:
    rows = [("random", "random"), ("TSN, K700", "BERT-base"), ("ImageNet", "BERT-base"), ("grid-feat", "BERT-base")]
    paper = [table_part("5").cell("R1", *one).value or 0.0 for one in rows]
    ours = [1.0, 3.0, 2.0, 4.0]

    def tau(values: tuple[float, ...] | list[float]) -> float:
        pairs = list(itertools.combinations(range(4), 2))
        return sum(1 if (paper[i] - paper[j]) * (values[i] - values[j]) > 0 else -1 for i, j in pairs) / len(pairs)

    cells = [{"table": "5", "row": list(one), "column": "R1", "value": value} for one, value in zip(rows, ours, strict=True)]
    (trend,) = table_trends(table_part("5"), [row(1, {}, paper_cells=cells)])
    assert trend.num_rows == 4 and trend.tau == pytest.approx(tau(ours))
    assert trend.p_value == pytest.approx(sum(abs(tau(order)) >= abs(tau(ours)) - 1e-9 for order in itertools.permutations(ours)) / 24)


def test_seeds_are_averaged_and_shown_alone_where_they_have_all_rows() -> None:
    other = {"Dense Uniform, 16": 30.0, "Sparse Random, 4": 10.0}
    (trend,) = table_trends(
        table_part("4"), [row(1, {"Dense Uniform, 16": 10.0, "Sparse Random, 4": 50.0}), row(2, other), row(3, {"Dense Uniform, 16": 1.0})]
    )
    assert trend.tau == 1.0 and trend.tau_by_seed == (1.0, -1.0) and trend.seeds == (1, 2, 3)


def test_a_tie_of_the_paper_orders_nothing() -> None:
    assert table_trends(table_part("4"), [row(1, {"Dense Uniform, 16": 1.0, "Sparse Random, 2": 2.0})]) == []


def test_scales_stay_apart() -> None:
    rows = [row(1, TABLE_4), row(1, {name: -value for name, value in TABLE_4.items()}, scale="other")]
    assert {trend.scale: trend.tau for trend in table_trends(table_part("4"), rows)} == {"small": 1.0, "other": -1.0}


def test_more_clips_that_help_and_then_saturate_agree_with_figure_4() -> None:
    rows = [curve(seed, mean_1=20.0, mean_4=30.0 + seed, mean_16=35.0) for seed in (1, 2, 3)]
    told = {trend.says: trend for trend in curve_trends(rows)}
    assert told.keys() == {"16 clips beat one, averaged", "averaged, 4 clips add more to one than 16 to 4"}
    assert told["16 clips beat one, averaged"].differences == (15.0, 15.0, 15.0)
    assert told["averaged, 4 clips add more to one than 16 to 4"].differences == (7.0, 9.0, 11.0)


def test_poolings_of_one_model_are_compared_seed_by_seed() -> None:
    rows = [curve(1, mean_16=50.0, lse_16=80.0, max_16=81.0), curve(2, mean_16=50.0, lse_16=82.0, max_16=81.0)]
    told = {trend.says: trend.differences for trend in curve_trends(rows)}
    assert told == {"LogSumExp beats mean pooling of 16 clips": (30.0, 32.0), "LogSumExp beats max pooling of 16 clips": (-1.0, 1.0)}


@pytest.mark.parametrize(
    ("differences", "p", "verdict"),
    [
        ((1.0,), 1.0, "unclear"),
        ((1.0, 2.0, 3.0), 0.25, "unclear"),
        ((1.0,) * 6, 0.03125, "yes"),
        ((-1.0,) * 6, 0.03125, "no"),
        ((0.0, 0.0), 1.0, "unclear"),
    ],
)
def test_three_seeds_prove_nothing_and_six_that_agree_do(differences: tuple[float, ...], p: float, verdict: str) -> None:
    trend = CurveTrend("", "", "", "", differences)
    assert trend.p_value == pytest.approx(p) and trend.verdict == verdict


def test_rows_are_read_from_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "ablations-a.jsonl").write_text(json.dumps(row(1, TABLE_4)) + "\n")
    (tmp_path / "other.jsonl").write_text("{}\n")
    assert read_rows(tmp_path) == read_rows(tmp_path / "ablations-a.jsonl") == [row(1, TABLE_4)]
    for wrong in ("{", "[]", "{}"):
        (tmp_path / "ablations-a.jsonl").write_text(json.dumps(row(1, TABLE_4)) + "\n" + wrong)
        with pytest.raises(ValueError, match="line 2 is no row"):
            read_rows(tmp_path)
