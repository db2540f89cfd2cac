"""Trends of smaller runs against the paper, by rows made by hand."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clipbert.cli import main
from clipbert.comparison import Measured
from clipbert.paper import table_part
from clipbert.trends import CurveTrend, curve_trends, read_rows, table_trends

TABLE_4 = {"Dense Uniform, 16": 15.5, "Sparse Random, 1": 12.7, "Sparse Random, 2": 15.5, "Sparse Random, 4": 15.7}


def measured(table: str, cells: dict[str, float], *, seed: int | None = None, scale: str = "small") -> list[Measured]:
    """R@1 of some rows."""
    part = table_part(table)
    rows = {", ".join(cell.row): cell for cell in part.cells if cell.column == "R1"}
    return [Measured(rows[name], value, scale, None, "ablations-x.jsonl", seed) for name, value in cells.items()]


def row(seed: int, points: list[dict[str, Any]]) -> dict[str, Any]:
    return {"run": "0", "seed": seed, "scale": "small", "paper_cells": [], "figure_points": points}


def curve(seed: int, **values: float) -> dict[str, Any]:
    """Accuracies as mean_1=..., lse_16=..."""
    points = [
        {"figure": 4, "series": "T=1", "x": int(name.split("_")[1]), "aggregation": name.split("_")[0], "column": "Accuracy", "value": value}
        for name, value in values.items()
    ]
    return row(seed, points)


def test_the_papers_own_numbers_have_its_order() -> None:
    (trend,) = table_trends(table_part("4"), measured("4", TABLE_4, seed=1))
    assert (trend.column, trend.scale, trend.agreeing, trend.pairs, trend.kendall_tau, trend.tau_by_seed) == ("R1", "small", 5, 5, 1.0, (1.0,))


def test_pairs_that_are_ordered_as_in_the_paper_are_counted() -> None:
    ours = {"Mean Pooling, 16": 40.0, "Max Pooling, 16": 50.0, "LogSumExp, 16": 60.0}  # the paper: 15.2, 12.5, 17.4
    (trend,) = table_trends(table_part("3"), measured("3", ours))
    assert (trend.agreeing, trend.pairs, trend.kendall_tau, trend.tau_by_seed) == (2, 3, pytest.approx(1 / 3), ())


def test_the_reverse_order_is_an_honest_no_only_where_rows_are_many() -> None:
    (few,) = table_trends(table_part("6"), measured("6", {"no, no": 3.0, "no, yes": 2.0, "yes, yes": 1.0}))
    assert few.kendall_tau == -1.0 and few.p_value == pytest.approx(2 / 6) and few.verdict == "unclear"
    reverse = {", ".join(cell.row): -(cell.value or 0.0) for cell in table_part("3").cells if cell.column == "R1"}
    (many,) = table_trends(table_part("3"), measured("3", reverse))
    assert many.kendall_tau == -1.0 and many.p_value < 1e-3 and many.verdict == "no"


def test_chance_is_counted_over_all_orders() -> None:
    ours = {"random, random": 1.0, "TSN, K700, BERT-base": 3.0, "ImageNet, BERT-base": 2.0, "grid-feat, BERT-base": 4.0}
    paper = [cell.cell.value or 0.0 for cell in measured("5", ours)]

    def tau(values: Sequence[float]) -> float:
        pairs = list(itertools.combinations(range(4), 2))
        return sum(1 if (paper[i] - paper[j]) * (values[i] - values[j]) > 0 else -1 for i, j in pairs) / len(pairs)

    (trend,) = table_trends(table_part("5"), measured("5", ours))
    assert trend.kendall_tau == pytest.approx(tau([*ours.values()]))
    assert trend.p_value == sum(abs(tau(order)) >= abs(trend.kendall_tau) - 1e-9 for order in itertools.permutations(ours.values())) / 24


def test_seeds_are_averaged_and_shown_alone_where_they_have_all_rows() -> None:
    names = ("Dense Uniform, 16", "Sparse Random, 4")
    found: list[dict[str, float]] = [dict(zip(names, values, strict=False)) for values in ((10.0, 50.0), (30.0, 10.0), (1.0,))]
    (trend,) = table_trends(table_part("4"), [run for seed, cells in enumerate(found) for run in measured("4", cells, seed=seed)])
    assert trend.kendall_tau == 1.0 and trend.tau_by_seed == (1.0, -1.0)


def test_a_tie_of_the_paper_orders_nothing() -> None:
    assert table_trends(table_part("4"), measured("4", {"Dense Uniform, 16": 1.0, "Sparse Random, 2": 2.0})) == []


def test_scales_stay_apart_and_full_runs_are_no_trend() -> None:
    reverse = {name: -value for name, value in TABLE_4.items()}
    runs = [*measured("4", TABLE_4), *measured("4", reverse, scale="other"), *measured("4", TABLE_4, scale="full")]
    assert {trend.scale: trend.kendall_tau for trend in table_trends(table_part("4"), runs)} == {"small": 1.0, "other": -1.0}


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
    (tmp_path / "ablations-a.jsonl").write_text(json.dumps(row(1, [])) + "\n")
    (tmp_path / "other.jsonl").write_text("{}\n")
    assert read_rows(tmp_path) == read_rows(tmp_path / "ablations-a.jsonl") == [row(1, [])]
    for wrong in ("{", "[]", "{}"):
        (tmp_path / "ablations-a.jsonl").write_text(json.dumps(row(1, [])) + "\n" + wrong)
        with pytest.raises(ValueError, match="line 2 is no row"):
            read_rows(tmp_path)


def test_the_command_tells_what_our_curves_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [curve(seed, mean_1=20.0, mean_16=15.0 + 10 * seed) for seed in (1, 2)]
    (tmp_path / "ablations-a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["tables", "--results", str(tmp_path)]) == 0
    told = "  T=1 (small)\n    16 clips beat one, averaged, Accuracy: +5.0, +15.0; 2 of 2 for it, sign test p = 0.5: unclear\n"
    assert told in capsys.readouterr().out
