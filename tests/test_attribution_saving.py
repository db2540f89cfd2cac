"""Saved attributions, their tables, and the command."""

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from test_cli import VIDEO, model_dir, run  # noqa: F401
from tiny import tiny_model, tiny_processor

from clipbert.attribution import METHODS, attribute
from clipbert.attribution_table import tidy, write_csv
from clipbert.predict import Predictor
from clipbert.types import Attribution


@pytest.fixture(scope="module")
def found() -> dict[str, Attribution]:
    """One of each level and of each shape of cells."""
    model = tiny_model(image_size=192)
    predictor = Predictor(model, tiny_processor(model, num_clips=2), name="tiny")
    video = predictor.encode(GOLDEN / "video_a30.mp4")
    many = predictor.encode(GOLDEN / "video_a30.mp4", num_clips=17)
    names = ("clip_shapley", "frame_leave_one_out", "cell_occlusion", "cell_gradient_x_activation", "token_ablation")
    settings: dict[str, Any] = {name: {} if METHODS[name].level == "clips" else {"clips": [1]} for name in names}
    return {name: attribute(predictor, video, "what colour?", method=name, **settings[name]) for name in names} | {
        "sampled": attribute(predictor, many, "what colour?", aggregation="mean")
    }


@pytest.mark.parametrize("name", ["clip_shapley", "frame_leave_one_out", "cell_occlusion", "cell_gradient_x_activation", "token_ablation", "sampled"])
def test_a_saved_attribution_reloads_equal(found: dict[str, Attribution], name: str, tmp_path: Path) -> None:
    found[name].save(tmp_path / "a.npz")
    again = Attribution.load(tmp_path / "a.npz")
    for field, value in vars(found[name]).items():
        other = getattr(again, field)
        assert torch.equal(value, other) and value.dtype == other.dtype if isinstance(value, torch.Tensor) else value == other, field
    assert again.level == METHODS[again.method].level


def test_a_table_has_a_row_for_each_value_with_its_place(found: dict[str, Attribution]) -> None:
    for one in found.values():
        rows = tidy(one)
        assert [row["value"] for row in rows] == pytest.approx(one.values.flatten().tolist())
        assert {row["clip"] for row in rows} == {n + 1 for n in one.clip_index}
    cell = tidy(found["cell_gradient_x_activation"])[9 + 3 + 2]
    assert (cell["frame"], cell["row"], cell["col"]) == (2, 1, 2) and cell["right"] == pytest.approx(64) and "seconds" in cell
    assert [row["piece"] for row in tidy(found["token_ablation"])] == ["what", "colour", "?"]


def test_above_16_clips_values_have_an_interval_around_them(found: dict[str, Attribution]) -> None:
    sampled = found["sampled"]
    assert sampled.standard_error is not None and float(sampled.standard_error.max()) > 0
    assert all(row["low"] <= row["value"] <= row["high"] for row in tidy(sampled)) and "low" not in tidy(found["clip_shapley"])[0]


def test_numpy_alone_reads_where_cells_lie(found: dict[str, Attribution], tmp_path: Path) -> None:
    found["cell_occlusion"].save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        boxes, about = file["boxes"], json.loads(str(file["about"]))
    grid = found["cell_occlusion"].grid
    assert grid is not None and boxes.shape == (3, 3, 4) and tuple(boxes[1, 2]) == grid.box(1, 2)
    assert np.isnan(boxes).all(axis=-1).sum() == int(grid.on_padding().sum()) and about["method"] == "cell_occlusion"


def test_a_csv_file_holds_the_table(found: dict[str, Attribution], tmp_path: Path) -> None:
    write_csv(found["cell_occlusion"], tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 and float(rows[4]["value"]) == pytest.approx(float(found["cell_occlusion"].values[0, 1, 1]))


def test_what_is_no_saved_attribution_is_refused(found: dict[str, Attribution], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"saved as \.npz, got .*; name it a\.npz"):
        found["sampled"].save(Path("a.json"))
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"about": 1}))
    for name in ("text", "other", "pickle", "missing"):
        with pytest.raises(ValueError, match="is no attribution that was saved"):
            Attribution.load(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("method", ["clip_responsibility", "frame_shapley", "cell_integrated_gradients", "cell_rollout", "token_relevance"])
def test_the_command_explains_each_level(capsys: pytest.CaptureFixture[str], model_dir: str, method: str, tmp_path: Path) -> None:  # noqa: F811
    argv = ("attribute", VIDEO, "what colour?", "--model", model_dir, "--method", method, "--num-clips", "2")
    out_file = tmp_path / "a.npz"
    code, out, err = run(capsys, *argv, "--out", str(out_file), "--json")
    result = json.loads(out)
    assert (code, err) == (0, "") and result["level"] == METHODS[method].level and result["unit"] == METHODS[method].unit
    assert Attribution.load(out_file).method == method
    code, out, _ = run(capsys, *argv)
    assert code == 0 and "why" in out and METHODS[method].about in out


def test_the_command_looks_into_the_clips_it_is_told(capsys: pytest.CaptureFixture[str], model_dir: str, tmp_path: Path) -> None:  # noqa: F811
    argv = ("attribute", VIDEO, "what colour?", "--model", model_dir, "--method", "token_ablation", "--num-clips", "3")
    code, out, _ = run(capsys, *argv, "--clip", "3", "1", "--out", str(tmp_path / "a.csv"), "--json")
    assert code == 0 and [clip["clip"] for clip in json.loads(out)["clips"]] == [3, 1]
    assert (tmp_path / "a.csv").read_text().startswith("clip,start,end,token,piece,value\n3,")


STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!doctype html", "gif": b"GIF89a", "mp4": b"\0\0\0"}
FILES = [("clip_responsibility", "pdf"), ("frame_shapley", "svg"), ("token_ablation", "html"), ("cell_gradient_x_activation", "png"),
         ("cell_rollout", "gif"), ("cell_gradient_x_activation", "mp4")]  # fmt: skip


@pytest.mark.parametrize("method, suffix", FILES)
def test_the_command_writes_what_the_suffix_says(
    capsys: pytest.CaptureFixture[str], model_dir: str, method: str, suffix: str, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    path = tmp_path / f"a.{suffix}"
    argv = ("attribute", VIDEO, "what colour?", "--model", model_dir, "--method", method, "--num-clips", "3", "--out", str(path), "--json")
    code, out, err = run(capsys, *argv)
    assert (code, err) == (0, "") and path.read_bytes().startswith(STARTS[suffix])
    assert len(json.loads(out)["clips"]) == (3 if suffix in ("gif", "mp4", "pdf") else 1), "an animation is of all clips"
    assert list(tmp_path.iterdir()) == [path], "no file is left half done"


def test_the_command_tests_every_method_of_the_level_and_checks_the_map(
    capsys: pytest.CaptureFixture[str], model_dir: str  # noqa: F811
) -> None:  # fmt: skip
    argv = ("attribute", VIDEO, "what colour?", "--model", model_dir, "--method", "token_ablation", "--num-clips", "2", "--clip", "2")
    code, out, err = run(capsys, *argv, "--faithfulness", "--others", "--chefer", "--checks", "--json")
    result = json.loads(out)
    assert (code, err) == (0, "") and "no_map" not in result
    assert [tested["method"] for tested in result["others"]] == ["token_integrated_gradients", "token_relevance"]
    (own,), (checked,) = result["faithfulness"], result["checks"]
    assert {row["share"] for row in own["curves"] if row["curve"] == "deletion"} == {0, 1 / 3, 2 / 3, 1}, "of three word pieces"
    assert own["summary"]["deletion_area_random"] == pytest.approx(result["others"][0]["summary"]["deletion_area_random"], abs=1e-5)
    assert checked["clip"] == 2 and len(checked["rank_agreements"]) == 3 and checked["sensitivity_max"] >= 0 and "verdict" in checked["randomisation"]
    code, out, _ = run(capsys, *argv, "--checks")
    assert code == 0 and all(name in out for name in ("infidelity, normalised", "sensitivity_max", "sign violations", "Spearman", "embeddings"))


def test_a_picture_of_clips_names_the_methods_unit(capsys: pytest.CaptureFixture[str], model_dir: str, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "a.svg"
    argv = ("attribute", VIDEO, "what colour?", "--model", model_dir, "--method", "clip_responsibility", "--num-clips", "2", "--out", str(path))
    assert run(capsys, *argv)[0] == 0 and "value (share)" in path.read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--method", "cell_occlusion", "--clip", "5", "--num-clips", "2"], "--clip must be between 1 and 2, got 5"),
        (["--method", "cell_oclusion"], "did you mean 'cell_occlusion'"),
        (["--out", "a.jpg"], "--out writes .npz, .csv, .png, .svg, .pdf, .html, .gif or .mp4, got a.jpg; name it a.npz"),
        (["--out", "a.gif"], ".gif animates cells over the frames, and clip_shapley explains clips; take a method of cells, or write a .png"),
        (["--out", "a.png", "--method", "cell_occlusion", "--clip", "1", "2"], ".png shows one clip, and --clip names 2; name one, or write a .gif"),
        (["--out", "/nowhere/a.csv"], "there is no folder /nowhere"),
        (["--steps", "3"], "clip_shapley makes no steps"),
        (["--others"], "--others is of --faithfulness; add it"),
        (["--chefer"], "--chefer is of --faithfulness; add it"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], model_dir: str, argv: list[str], message: str) -> None:  # noqa: F811
    code, _, err = run(capsys, "attribute", VIDEO, "what colour?", "--model", model_dir, *argv)
    assert code == 2 and message in err and err.count("\n") == 1


def test_the_help_names_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "attribute", "--help")
    assert all(name in "".join(out.split()) for name in METHODS)
