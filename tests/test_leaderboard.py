"""The leaderboard of attribution methods: its numbers by hand, and a run that goes on where it stopped."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_model, tiny_processor

from clipbert.attribution import METHODS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def tables() -> Any:
    spec = importlib.util.spec_from_file_location("leaderboard_tables", BENCHMARKS / "leaderboard_tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def question(tables: Any, kind: str, hit: float, *, clip: int | None = 0) -> dict[str, Any]:
    scores = {name: {score: [hit, 0.25, 1.0] for score in tables.SCORES[about.level]} for name, about in METHODS.items()}
    tested = [
        {"method": "cell_occlusion", "perturbation": "mask", "beats_random": hit > 0, "deletion_p": 0.04, "insertion_p": 0.5}
        | {f"{curve}_area_{order}": value for curve in ("deletion", "insertion") for order, value in (("attributed", hit), ("random", 0.5))}
    ]
    about = {"seconds": dict.fromkeys(METHODS, 0.1), "on_padding": {"cell_occlusion": 0.3}, "faithfulness": tested}
    return {"type": kind, "clip": clip, "probability": 0.2 + 0.7 * hit, "scores": scores, **about}


def video(*questions: dict[str, Any]) -> dict[str, Any]:
    return {"questions": list(questions), "asked": {"color": 3, "where": 2}, "right": {"color": 2, "where": 1}, "cpu_seconds": 1.5}


@pytest.fixture
def found(tables: Any) -> Any:
    first = video(question(tables, "color", 1.0), question(tables, "where", 0.0))
    second = video(question(tables, "color", 1.0), question(tables, "color", 0.0, clip=None))
    third = video(question(tables, "color", 0.0), question(tables, "color", 0.0))
    return tables.leaderboard([first, second, third], 5)


def row(found: Any, group: str, method: str = "cell_occlusion", score: str = "pointing") -> Any:
    return next(one for one in found["scores"] if (one["group"], one["method"], one["score"]) == (group, method, score))


def test_means_are_over_the_questions_asked_for_that_have_a_clip(found: Any) -> None:
    assert (found["questions"], found["explained"], found["asked"], found["right"]) == (5, 4, 15, 9)
    own = row(found, "all")
    assert own["value"] == pytest.approx(2 / 4) and own["random"] == 0.25 and (own["questions"], own["videos"]) == (4, 3)
    assert own["low"] <= own["value"] <= own["high"]


def test_types_whose_answer_is_all_over_the_frame_stand_apart(found: Any) -> None:
    assert row(found, "answer in the box")["value"] == pytest.approx(2 / 3) == row(found, "color")["value"]
    assert row(found, "answer in the background")["value"] == 0 == row(found, "where")["value"]


def test_goals_go_by_the_best_method_of_all_questions(tables: Any, found: Any) -> None:
    reached = {(goal["group"], goal["level"]): goal["reached"] for goal in found["goals"]}
    assert reached == {
        ("all", "clips"): False, ("all", "cells"): False, ("p >= 0.5", "clips"): True, ("p >= 0.5", "cells"): True,
        ("answer in the box", "clips"): False, ("answer in the box", "cells"): False,
    }  # fmt: skip
    right = tables.leaderboard([video(question(tables, "color", 1.0))], 200)
    assert all(goal["reached"] for goal in right["goals"])


def test_answers_the_model_is_sure_of_stand_apart_from_lucky_ones(found: Any) -> None:
    assert row(found, "p >= 0.5")["value"] == 1 and row(found, "p >= 0.5")["questions"] == 2


def test_gains_are_areas_less_those_of_random_orders(found: Any) -> None:
    (tested,) = found["faithfulness"]
    assert tested["deletion_gain"]["mean"] == pytest.approx(0.0) and tested["questions"] == 4
    assert (tested["deletion_passed"], tested["insertion_passed"], tested["beats_random"]) == (1, 0, 0.5)


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped_and_writes_the_same_numbers(tmp_path: Path) -> None:
    model = tiny_model(heads={"qa": {"kind": "classifier", "num_outputs": 2, "labels": ["red", "one"], "pooled_path": True}})
    model.save_pretrained(tmp_path / "model")
    tiny_processor(model, fps=5.0).save_pretrained(tmp_path / "model")

    def run(name: str, work: str, questions: int) -> tuple[Any, str]:
        command = [sys.executable, str(BENCHMARKS / "attribution_leaderboard.py"), "--model", str(tmp_path / "model"), "--questions", str(questions)]
        where = ["--num-clips", "8", "--tested", "1", "--work", str(tmp_path / work), "--out", str(tmp_path / name)]
        done = subprocess.run([*command, *where], capture_output=True, text=True, check=True)
        return json.loads((tmp_path / f"{name}.json").read_text()), done.stderr

    run("part", "a", 1)
    whole, said = run("whole", "a", 4)
    fresh, said_afresh = run("fresh", "b", 4)
    assert whole["scores"] == fresh["scores"] and whole["faithfulness"] == fresh["faithfulness"] and whole["questions"] == 4
    assert said.count("video ") < said_afresh.count("video ")
    assert "| cell_occlusion |" in (tmp_path / "whole.md").read_text()
