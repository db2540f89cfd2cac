"""The six Main Conclusions against the paper's own cells and against runs of ours."""

import json
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


@pytest.mark.parametrize(("num_seeds", "p"), [(1, 1.0), (3, 0.25), (6, 0.03125)])
def test_the_sign_test_says_how_little_few_seeds_prove(num_seeds: int, p: float) -> None:
    results = [run(row, value, seed) for seed in range(num_seeds) for row, value in ((SPARSE, 20.0), (DENSE, 10.0))]
    assert of_table_4(results, "synthetic").sign_test_p == pytest.approx(p)


def test_scales_are_never_mixed() -> None:
    assert [f.scale for f in findings(conclusions()[3], [run(SPARSE, 20.0, 0, "real"), run(DENSE, 10.0, 0, "synthetic")])] == [THE_PAPER] * 2


def test_ablation_lines_are_read_with_their_seed_and_lines_of_figures_left_alone(tmp_path: Path) -> None:
    line = {"table": "4", "row": list(SPARSE), "column": "R1", "value": 41.5, "seed": 3, "scale": "synthetic, 200 videos"}
    (tmp_path / "ablations-x.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps({'figure': '4', 'value': 1})}\n")
    assert read_results(tmp_path) == [
        Measured(table_part("4").cell("R1", *SPARSE), 41.5, "synthetic, 200 videos", None, str(tmp_path / "ablations-x.jsonl"), 3)
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is no JSON"),
        ('{"table": "4"}', "ablations-x.jsonl needs"),
        ('{"table": "4", "scale": "x", "row": ["?"], "column": "R1", "value": 1}', "no cell R1 of ?"),
    ],
)
def test_a_bad_ablation_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "ablations-x.jsonl").write_text(line)
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path)


def test_the_command_tells_each_conclusion_with_what_is_for_and_against_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"table": "4", "row": list(row), "column": "R1", "value": value, "seed": seed, "scale": "synthetic, 200 videos"}
        for seed in (0, 1, 2) for row, value in ((SPARSE, 41.5), (DENSE, 40.0))
    ]  # fmt: skip
    (tmp_path / "ablations-x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert main(["tables", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "4 sparse clips beat 16 dense ones, R1: the paper +0.20 ± 3.2, within the noise\n" in out
    assert "for, synthetic, 200 videos, R1: +1.5; 3 of 3 seeds, sign test p = 0.25" in out
    assert "448 pixels beat 224, Accuracy: the paper -0.05, does not hold; ours: not run" in out
