"""The six Main Conclusions against the paper's own cells and against runs of ours."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clipbert.cli import main
from clipbert.comparison import Measured, read_results
from clipbert.conclusions import THE_PAPER, Finding, conclusions, findings
from clipbert.paper import table_part

SPARSE, DENSE = ("Sparse Random", "4"), ("Dense Uniform", "16")


def run(row: tuple[str, ...], value: float, seed: int, scale: str = "synthetic") -> Measured:
    return Measured(table_part("4").cell("R1", *row), value, scale, None, "ablations.jsonl", seed)


def of_table_4(results: list[Measured], scale: str) -> Finding:
    (found,) = [f for f in findings(conclusions()[3], results) if f.expectation.column == "R1" and f.scale == scale]
    return found


def test_there_are_six_and_each_expects_something_of_retrieval_and_of_answers() -> None:
    found = conclusions()
    assert [c.number for c in found] == ["i", "ii", "iii", "iv", "v", "vi"]
    assert all({e.column for e in c.expectations} == {"R1", "Accuracy"} for c in found)


def test_a_difference_smaller_than_the_test_set_can_tell_is_noise() -> None:
    found = of_table_4([], THE_PAPER)
    assert found.differences == (pytest.approx(0.2),) and found.verdict == "within the noise"  # 15.7 against 15.5 on 1,000 queries
    assert found.margin == pytest.approx(1.96 * (15.7 * 84.3 / 1000 + 15.5 * 84.5 / 1000) ** 0.5)


def test_the_papers_own_answers_contradict_two_of_its_conclusions() -> None:
    told = {(c.number, f.expectation.says, f.expectation.column): f.verdict for c in conclusions() for f in findings(c)}
    assert told["i", "448 pixels beat 224", "Accuracy"] == "does not hold"  # 35.73 against 35.78
    assert told["vi", "training all beats freezing CNN and words", "Accuracy"] == "does not hold"
    assert told["v", "image-text pre-training beats random weights", "R1"] == "holds"


def test_seeds_are_compared_with_themselves_and_counted() -> None:
    results = [run(SPARSE, 20.0, 0), run(DENSE, 10.0, 0), run(SPARSE, 11.0, 1), run(DENSE, 12.0, 1), run(SPARSE, 50.0, 2)]
    found = of_table_4(results, "synthetic")
    assert found.differences == (10.0, -1.0) and found.agreeing == 1 and found.verdict == "mixed"
    assert (of_table_4(results[:2], "synthetic").verdict, of_table_4(results[2:4], "synthetic").verdict) == ("for", "against")


def test_ours_have_the_margin_of_the_questions_that_every_seed_was_asked() -> None:
    results = [replace(run(row, value, seed, "real"), num_examples=36) for seed in (0, 1) for row, value in ((SPARSE, 50.0), (DENSE, 40.0))]
    assert of_table_4(results, "real").margin == pytest.approx(1.96 * ((50 * 50 + 40 * 60) / 36) ** 0.5)
    assert of_table_4([run(SPARSE, 50.0, 0), run(DENSE, 40.0, 0)], "synthetic").margin is None  # no one tells how many


@pytest.mark.parametrize(("num_seeds", "p"), [(1, 1.0), (3, 0.25), (6, 0.03125)])
def test_the_sign_test_says_how_little_few_seeds_prove(num_seeds: int, p: float) -> None:
    results = [run(row, value, seed) for seed in range(num_seeds) for row, value in ((SPARSE, 20.0), (DENSE, 10.0))]
    assert of_table_4(results, "synthetic").sign_test_p == pytest.approx(p)


def test_scales_are_never_mixed() -> None:
    assert [f.scale for f in findings(conclusions()[3], [run(SPARSE, 20.0, 0, "real"), run(DENSE, 10.0, 0, "synthetic")])] == [THE_PAPER] * 2


def ablation(seed: int, **values: float) -> str:
    """A line of an ablation, as train/ablate.py writes it."""
    rows = {"sparse": SPARSE, "dense": DENSE}
    cells = [{"table": "4", "row": rows[name], "column": "R1", "value": value, "num_examples": 60} for name, value in values.items()]
    return json.dumps({"run": "1f", "seed": seed, "scale": "synthetic, 200 videos", "paper_cells": cells, "figure_points": []})


def test_each_line_of_an_ablation_is_read_with_its_seed(tmp_path: Path) -> None:
    (tmp_path / "ablations-x.jsonl").write_text(ablation(3, sparse=41.5) + "\n" + ablation(4) + "\n")
    assert read_results(tmp_path) == [
        Measured(table_part("4").cell("R1", *SPARSE), 41.5, "synthetic, 200 videos", 60, str(tmp_path / "ablations-x.jsonl"), 3)
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is no JSON"),
        ('{"paper_cells": []}', 'needs "scale"'),
        ("[]", 'needs "scale"'),
        (ablation(0).replace("paper_cells", "cells"), "needs"),
    ],
)
def test_a_bad_ablation_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "ablations-x.jsonl").write_text(line)
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path)


def test_the_command_tells_each_conclusion_with_what_is_for_and_against_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ablations-x.jsonl").write_text("\n".join(ablation(seed, sparse=41.5, dense=40.0) for seed in (0, 1, 2)))
    assert main(["tables", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "4 sparse clips beat 16 dense ones, R1: the paper +0.20 ± 3.2, within the noise\n" in out
    assert "for, synthetic, 200 videos, R1: +1.5 ± 17.6; 3 of 3 seeds, sign test p = 0.25" in out
    assert "448 pixels beat 224, Accuracy: the paper -0.05, does not hold; ours: not run" in out
