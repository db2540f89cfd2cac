"""Paper beside ours: statuses, scaled-down runs apart, trends, intervals, the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from clipbert.cli import main
from clipbert.comparison import STATUSES, compare, interval, read_results
from clipbert.metrics import binomial_interval
from clipbert.paper import paper_table, table_part

LSE_16 = {"table": "3", "row": ["LogSumExp", "16"], "column": "R1"}


def write(folder: Path, name: str, scale: str, *cells: dict[str, Any]) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"scale": scale, "paper_cells": list(cells)}))


def status_of(folder: Path) -> Any:
    return next(c for c in compare(table_part("3"), read_results(folder)) if c.cell.row == ("LogSumExp", "16") and c.cell.column == "R1")


@pytest.mark.parametrize(("value", "status"), [(17.4, "reproduced"), (16.4, "reproduced"), (16.3, "deviates"), (25.0, "deviates")])
def test_a_full_run_reproduces_or_deviates(tmp_path: Path, value: float, status: str) -> None:
    write(tmp_path, "run/results.json", "full", LSE_16 | {"value": value})
    found = status_of(tmp_path)
    assert found.status == status and found.ours == value and found.difference == pytest.approx(value - 17.4)


def test_full_runs_are_averaged_and_counted(tmp_path: Path) -> None:
    for seed, value in enumerate((17.0, 18.0, 16.0)):
        write(tmp_path, f"seed{seed}/results.json", "full", LSE_16 | {"value": value})
    assert (status_of(tmp_path).ours, status_of(tmp_path).num_runs) == (17.0, 3)


def test_scaled_down_runs_never_count_as_ours(tmp_path: Path) -> None:
    write(tmp_path, "small.json", "synthetic, 100 videos", LSE_16 | {"value": 17.4})
    found = status_of(tmp_path)
    assert found.status == "scaled-down" and found.ours is None and found.difference is None
    assert [(run.value, run.scale) for run in found.scaled_down] == [(17.4, "synthetic, 100 videos")]


def test_without_results_nothing_is_claimed() -> None:
    statuses = {found.status for number in range(1, 12) for part in paper_table(number) for found in compare(part)}
    assert statuses == {"not run", "cited", "setting"} <= set(STATUSES)


def test_other_json_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "decode.json").write_text('{"rows": [1, 2]}')
    assert read_results(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ('{"paper_cells": []}', 'needs "scale"'),
        ('{"scale": "full", "paper_cells": [{"table": "3", "row": ["sum", "2"], "column": "R1", "value": 1}]}', "no cell R1 of sum, 2"),
        ('{"scale": "full", "paper_cells": [{"table": "3", "row": ["-", "1"], "column": "R1", "value": "high"}]}', "could not convert"),
        ('{"scale": "full", "paper_cells": [{"table": "12"}]}', "no Table '12'"),
    ],
)
def test_a_result_file_that_does_not_fit_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ValueError, match=f"bad.json.*{message}"):
        read_results(tmp_path)


def test_the_interval_covers_as_often_as_it_says() -> None:
    for successes, total, low, high in ((157, 1000, 13.50, 18.11), (0, 20, 0, 16.84), (20, 20, 83.16, 100), (82, 89, 84.46, 96.78)):
        assert [100 * share for share in binomial_interval(successes, total)] == pytest.approx([low, high], abs=0.01)  # scipy.stats.binomtest


def test_intervals_only_where_the_paper_tells_the_size() -> None:
    low, high = interval(table_part("4").cell("R1", "Sparse Random", "4")) or (0, 0)
    assert low < 15.5 < high  # 15.7 against 15.5 on 1,000 queries says nothing
    assert interval(table_part("4").cell("MdR", "Sparse Random", "4")) is None
    assert interval(table_part("4").cell("Accuracy", "Sparse Random", "4")) is None


def test_the_command_prints_a_table_and_the_ledger(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(tmp_path, "run/results.json", "full", LSE_16 | {"value": 17.0})
    write(tmp_path, "small.json", "synthetic, 100 videos", LSE_16 | {"value": 71.0}, {"table": "3", "row": ["-", "1"], "column": "R1", "value": 60})
    assert main(["tables", "3", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "17.4 [15.1, 19.9] ✓" in out and "12.7 [10.7, 14.9] ~" in out and "ours: LogSumExp, 16, R1: 17 (-0.4; 1 runs)" in out
    table, _, smaller = out.partition("not to be compared with the paper's numbers: synthetic, 100 videos")
    assert "71" not in table and "LogSumExp, 16  R1 71.0, 1 seeds" in smaller and "orders 1 of 1 pairs of rows as the paper does" in out
    assert main(["tables"]) == 0
    assert "16 of the 16 sums" in capsys.readouterr().out
    assert main(["tables", "7", "--json", "--results", str(tmp_path)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [table["table"] for table in result["tables"]] == ["7a", "7b", "7c"] and len(result["claims"]) == 16
    assert {"row", "column", "paper", "ours", "status", "grey"} <= set(result["tables"][0]["cells"][0])


@pytest.mark.parametrize(
    ("argv", "message"), [(["12"], "Tables 1 to 11, got 12"), (["--results", "nowhere"], "is no folder"), (["x"], "invalid int")]
)
def test_bad_input_gets_one_line_and_exit_2(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["tables", *argv])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and len(err.strip().splitlines()) == 1 and message in err
