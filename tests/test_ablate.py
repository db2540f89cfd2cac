"""Ablations: shared configurations run once, what is done is not repeated, what was killed goes on, bad input is one line."""

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_train import config, log, source, world  # noqa: F401  (a fixture)

from clipbert.paper import table_part
from train import ablate, ablation_list, evaluate, train
from train.ablation_cells import CURVES, ROWS
from train.ablation_plan import plan, read_ablation
from train.settings import read_settings

ROOT = Path(__file__).parent.parent
KEPT = ("3: -, 1", "4: Sparse Random, 1", "3: LogSumExp, 2", "4: Sparse Random, 2")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs are called in this process; their names in order."""
    called: list[str] = []

    def call(self: ablate.Caller, script: str, arguments: Sequence[str]) -> str:
        called.append(script)
        try:
            code = {"train.py": train.main, "evaluate.py": evaluate.main}[script](list(arguments))
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if code:
            raise ablate.Failed(f"{script} ended with {code}")
        return f"python train/{script} {' '.join(arguments)}"

    monkeypatch.setattr(ablate.Caller, "call", call)
    return called


def ablation(world: Path, tmp_path: Path, **changes: Any) -> Path:  # noqa: F811
    """Four cells of two runs of three updates each."""
    config(tmp_path, source(world, "qa"), clips={"num_clips": 1}, run={"save_every": 1})
    asked = {"task": "qa", "annotations": str(world / "questions.jsonl"), "videos": str(world)}
    content = {
        "data": "drawn by the test", "output": str(tmp_path / "runs"), "num_clips": [1, 16],
        "recipes": [{"config": "config.yaml", "scale": "six videos", "evaluations": [asked]}],
        "left_out": {one.name: "not tested" for one in (*ROWS, *CURVES) if one.name not in KEPT},
    }  # fmt: skip
    path = tmp_path / "ablate.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def run(path: Path, *more: str) -> int:
    return ablate.main(["--config", str(path), "--out", str(path.parent / "rows.jsonl"), "--seeds", "1", *more])


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_every_row_is_one_of_the_paper_and_none_is_forgotten() -> None:
    for table in "123456":
        ours = [row.row for row in ROWS if row.table == table]
        assert sorted(ours) == sorted({cell.row for cell in table_part(table).cells})


@pytest.mark.parametrize("path", sorted((ROOT / "train/configs").glob("ablate_*.yaml")), ids=lambda path: path.stem)
def test_every_ablation_that_we_ship_plans_runs_of_valid_settings(path: Path) -> None:
    if "recipes" not in yaml.safe_load(path.read_text()):
        assert read_settings(path).clips.num_clips == 1  # a recipe: the paper's default
        return
    assert all(run.rows or run.curves for run in plan(read_ablation(path), num_seeds=1))


def test_a_configuration_that_tables_share_runs_once() -> None:
    runs = plan(read_ablation(ROOT / "train/configs/ablate_msrvtt.yaml"), num_seeds=2)
    trained = [run for run in runs if run.seed == 1 and run.recipe.endswith("ret.yaml")]
    shared = {tuple(row.name for row in run.rows) for run in trained if len(run.rows) > 1}
    assert shared == {
        ("1: 448", "2: -, 1", "3: -, 1", "4: Sparse Random, 1", "5: image-text pre-training, image-text pre-training", "6: yes, yes"),
        ("3: LogSumExp, 2", "4: Sparse Random, 2"),
    }
    assert len({run.name for run in runs}) == len(runs) / 2 and sum(len(run.rows) for run in trained) == len(ROWS)


def test_all_rows_of_a_run_come_from_one_training_and_one_pass(world: Path, tmp_path: Path, calls: list[str]) -> None:  # noqa: F811
    path = ablation(world, tmp_path)
    assert run(path) == 0 and calls == ["train.py", "evaluate.py"] * 2
    first, second = rows(tmp_path)
    assert [(cell["table"], *cell["row"]) for cell in second["paper_cells"]] == [("3", "LogSumExp", "2"), ("4", "Sparse Random", "2")]
    grid = {(row["num_clips"], row["aggregation"]): row["accuracy"] for row in second["measured"][0]["rows"]}
    assert {cell["value"] for cell in second["paper_cells"]} == {100 * grid[16, "lse"]} and second["paper_cells"][0]["column"] == "Accuracy"
    assert second["overrides"] == ["clips.num_clips=2", "clips.aggregation=lse"] and first["overrides"] == []
    assert second["settings"]["clips"]["num_clips"] == 2 and second["updates"] == 3 and second["seconds"] > 0
    assert second["seed"] == 1 and second["commit"] and "run.seed=1" in second["command"][0] and second["hardware"]
    assert run(path) == 0 and len(calls) == 4 and len(rows(tmp_path)) == 2  # nothing is left to do


def test_a_run_that_was_killed_goes_on_where_it_stopped(
    world: Path,  # noqa: F811
    tmp_path: Path,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, whole = ablation(world, tmp_path), train.Run.update

    def killed(self: train.Run, number: int, batches: Any) -> dict[str, Any]:
        if number == 2:
            raise KeyboardInterrupt
        return whole(self, number, batches)

    monkeypatch.setattr(train.Run, "update", killed)
    assert run(path) == 130 and rows(tmp_path) == [] and calls == ["train.py"]
    numbers: list[int] = []
    monkeypatch.setattr(train.Run, "update", lambda self, number, batches: numbers.append(number) or whole(self, number, batches))
    assert run(path) == 0 and numbers == [2, 0, 1, 2] and [row["updates"] for row in rows(tmp_path)] == [3, 3]
    assert [[line["step"] for line in log(folder)] for folder in (tmp_path / "runs").iterdir()] == [[1, 2, 3]] * 2


def test_one_table_leaves_the_others_and_takes_what_they_share(world: Path, tmp_path: Path, calls: list[str]) -> None:  # noqa: F811
    path = ablation(world, tmp_path, left_out={one.name: "" for one in (*ROWS, *CURVES) if one.name not in ("3: LogSumExp, 2", "6: no, yes")})
    assert run(path, "--table", "6") == 0 and [row["overrides"] for row in rows(tmp_path)] == [["model.freeze=[cnn]"]]


def test_a_model_that_is_only_read_gives_curves(world: Path, tmp_path: Path, calls: list[str]) -> None:  # noqa: F811
    path = ablation(world, tmp_path)
    assert run(path, "--table", "4") == 0
    model = str(next((tmp_path / "runs").glob("*/step_00000003")))
    asked = {"task": "qa", "annotations": str(world / "questions.jsonl"), "videos": str(world)}
    changes = {
        "models": [{"model": model, "series": "read", "scale": "six videos", "splits": [[asked]]}],
        "recipes": [],
        "output": str(tmp_path / "read"),
    }
    (tmp_path / "rows.jsonl").unlink()
    assert run(ablation(world, tmp_path, **changes)) == 0 and calls[-1] == "evaluate.py"
    (row,) = rows(tmp_path)
    assert row["paper_cells"] == [] and row["updates"] == 0
    assert {(p["series"], p["x"], p["aggregation"]) for p in row["figure_points"]} == {
        ("read", x, how) for x in (1, 16) for how in ("mean", "max", "lse")
    }


def test_the_list_tells_what_is_done_and_how_long_the_rest_takes(
    world: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = ablation(world, tmp_path)
    assert run(path, "--list") == 0
    assert "0 of 2 runs done" in (out := capsys.readouterr().out) and out.count("time not measured") == 2
    settings = read_ablation(path)
    one, two = plan(settings, num_seeds=1)
    row = {"run": one.name, "seed": 1, "scale": "six videos", "settings": one.content, "updates": 3, "seconds": 60.0, "evaluation_seconds": 10.0}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert ablation_list.estimate(two, [row]) == 130.0  # twice the frames, one evaluation
    assert ablation_list.estimate(two, [row | {"settings": {}}]) is None  # of another recipe
    assert run(path, "--list") == 0
    out = capsys.readouterr().out
    assert "done, 70 s" in out and "missing, about 2 min" in out and "1 of 2 runs done; the missing that can run need about 2 min" in out
    assert "not tested" in out and "Table 5: random, random" in out


def test_a_file_that_is_not_there_stops_only_its_rows(
    world: Path,  # noqa: F811
    tmp_path: Path,
    calls: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    left_out = {one.name: "" for one in (*ROWS, *CURVES) if one.name not in ("5: random, BERT-base", "3: -, 1")}
    path = ablation(world, tmp_path, left_out=left_out)
    assert run(path) == 2 and len(rows(tmp_path)) == 1
    assert "qa: Table 5: random, BERT-base, seed 1: there is no weights/bert-base-uncased" in capsys.readouterr().err


def test_a_program_that_fails_is_named_and_the_others_go_on(
    world: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(ablation(world, tmp_path), "--launcher", "false") == 2
    told = capsys.readouterr().err.strip().splitlines()[-2:]
    assert len(told) == 2 and all("train.py ended with 1: false " in line for line in told) and rows(tmp_path) == []


def test_two_processes_do_not_take_the_same_run(tmp_path: Path) -> None:
    with ablate.alone(tmp_path / "run") as first, ablate.alone(tmp_path / "run") as second:
        assert first and not second
    with ablate.alone(tmp_path / "run") as again:
        assert again


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({}, ["--table", "9"], "table"),
        ({}, ["--seeds", "0"], "--seeds must be at least 1"),
        ({"datum": "x"}, [], "did you mean data?"),
        ({"num_clips": [1, 4]}, [], "num_clips must have 16"),
        ({"left_out": {"3: LSE, 2": "why"}}, [], "3: LogSumExp, 2"),
        ({"instead": {"1: 224": "model.config.image_size=64"}}, [], "must be a list of key.key=value"),
        ({"instead": {"3: LogSumExp, 2": ["clips.num_clip=2"]}}, [], "did you mean clips.num_clips?"),
        ({"recipes": [{"config": "none.yaml", "scale": "x", "evaluations": []}]}, [], "none.yaml"),
        (
            {"recipes": [{"config": "config.yaml", "scale": "x", "evaluations": [{"task": "count", "annotations": "", "videos": ""}]}]},
            [],
            "qa, retrieval",
        ),
    ],
)
def test_bad_input_gets_one_line(
    world: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    more: list[str],
    message: str,
) -> None:
    assert run(ablation(world, tmp_path, **changes), *more) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.strip().splitlines()) == 1 and message in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is no row"),
        ("[]", "line 1 is no row"),
        ('{"run": "0", "scale": "six videos"}', "other settings"),
        ('{"run": "0", "scale": "full"}', "other settings"),
    ],
)
def test_a_file_of_other_rows_is_refused(
    world: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    line: str,
    message: str,
) -> None:
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    assert run(ablation(world, tmp_path)) == 2 and message in capsys.readouterr().err
    assert (tmp_path / "rows.jsonl").read_text() == line + "\n"
