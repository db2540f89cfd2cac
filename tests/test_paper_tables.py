"""The paper's tables as rows and pictures: intervals where sizes are told, and our smaller runs never among the paper's numbers."""

import pytest

from clipbert.comparison import Measured, smaller_runs
from clipbert.conclusions import conclusions, findings
from clipbert.paper import figure_points, paper_table, table_part
from clipbert.trends import curve_trends, table_trends
from clipbert.viz.paper_tables import (
    comparison_rows,
    curve_rows,
    figure_chart,
    finding_rows,
    measured_lines,
    paper_bars,
    paper_lines,
    smaller_rows,
    trend_rows,
)
from clipbert.viz.prints import print_figure

PARTS = [part for number in range(1, 10) for part in paper_table(number)]
LSE_16 = table_part("3").cell("R1", "LogSumExp", "16")


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_table_has_rows_of_one_shape_and_a_picture_of_its_first_column(part: object) -> None:
    rows = comparison_rows(part)  # pyright: ignore[reportArgumentType]
    assert len({tuple(row) for row in rows}) == 1
    chart = paper_bars(part, part.columns[0])  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    assert [row["value"] for row in chart.rows] == [cell.value for cell in part.cells if cell.column == part.columns[0]]  # pyright: ignore[reportAttributeAccessIssue]


def test_recalls_carry_their_interval_and_cells_without_a_run_say_so() -> None:
    row = comparison_rows(table_part("4"))[3]
    assert row["R1"] == "15.7 [13.5, 18.1]" and row["Accuracy"] == "36.67" and row["R1, ours"] == "not run"


def test_cited_and_grey_rows_are_told_apart() -> None:
    first = comparison_rows(table_part("7a"))[0]
    assert first["R1"].startswith("(20.5") and first["R1, ours"] == "cited" and first["MdR"] == "–"


def test_a_full_run_stands_beside_the_paper_and_a_smaller_one_only_in_its_own_picture() -> None:
    runs = [
        Measured(LSE_16, 17.0, "full", 1000, "a.json"),
        *(Measured(LSE_16, value, "synthetic", 60, "b.jsonl", seed) for seed, value in ((1, 40.0), (2, 50.0))),
    ]
    row = next(row for row in comparison_rows(table_part("3"), runs) if row["G"] == "LogSumExp" and row["N_train"] == "16")
    assert row["R1, ours"] == "17.0 (-0.4, 1 runs)"
    smaller = smaller_runs(table_part("3"), runs)
    assert [(run.values, run.scale, run.num_examples) for run in smaller] == [((40.0, 50.0), "synthetic", 60)]
    assert smaller_rows(table_part("3"), smaller) == [{"G": "LogSumExp", "N_train": "16", "R1": "45.0 [32.1, 58.4]", "seeds": 2, "examples": 60}]
    chart = measured_lines(table_part("3"), "R1", smaller)
    assert [(r["R1_percent"], r["low"], r["high"], r["runs"]) for r in chart.rows] == [(45.0, 40.0, 50.0, 2)]
    assert "not the paper's data" in chart.subtitle and all(r["R1_percent"] != 45.0 for r in paper_lines(table_part("3"), "R1").rows)
    with pytest.raises(ValueError, match="no run measured R5"):
        measured_lines(table_part("3"), "R5", smaller)


def test_lines_lie_in_the_order_of_their_numbers_with_an_interval_where_sizes_are_told() -> None:
    chart = paper_lines(table_part("2"), "R1")
    assert chart.x.order == ("1", "2", "4", "8", "16") and set(chart.series) == {"-", "mean pooling", "Conv3D", "Conv(2+1)D"}
    assert print_figure(chart).axes and "1,000 queries" in chart.caption
    assert "no interval" in paper_lines(table_part("2"), "Accuracy").caption


def test_figures_show_only_what_the_text_tells() -> None:
    chart = figure_chart(figure_points(3), "Average video length", "data set", "seconds")
    assert [row["y"] for row in chart.rows] == [3, 180, 14.8] and print_figure(chart).axes


def test_each_finding_is_a_line() -> None:
    rows = finding_rows(findings(conclusions()[3]))
    assert rows[0]["difference"] == pytest.approx(0.2) and rows[0]["verdict"] == "within the noise" and rows[0]["sign test p"] is None


def test_the_order_of_our_rows_is_a_line_with_what_chance_would_do() -> None:
    rows = (("no", "no"), ("no", "yes"), ("yes", "yes"))
    runs = [Measured(table_part("6").cell("R1", *row), value, "small", 60, "a.jsonl", 1) for row, value in zip(rows, (1.0, 3.0, 2.0), strict=True)]
    (line,) = trend_rows(table_trends(table_part("6"), runs))
    assert (line["pairs in the paper's order"], line["Kendall's tau"], line["of each seed"]) == ("2 of 3", 0.33, "+0.33")
    assert line["the paper's order"] == "unclear" and line["p by chance"] == 1.0


def test_each_statement_on_figure_4_is_a_line_with_its_seeds() -> None:
    about = {"figure": 4, "series": "T=1", "column": "R1", "aggregation": "mean"}
    curves = [[about | {"x": 1, "value": 5.0}, about | {"x": 16, "value": last}] for last in (4.0, 7.0)]
    found = [{"seed": seed, "scale": "small", "figure_points": points} for seed, points in enumerate(curves)]
    (line,) = curve_rows(curve_trends(found))
    assert (line["the paper says"], line["each seed"], line["seeds that agree"]) == ("16 clips beat one, averaged", "-1.0, +2.0", "1 of 2")
