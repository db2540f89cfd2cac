"""Baselines: a pooled picture tells a colour, a question alone does not, and the model is measured beside them."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_grids import kept
from test_train import run

from train import baselines
from train.grids import FrozenCnn

COLORS = ("red", "green", "blue")


def mean_colors(cnn: FrozenCnn, frames: torch.Tensor) -> torch.Tensor:
    """A CNN that sees color: one of random weights makes the same of all plain pictures."""
    channels = frames.float().mean(dim=(-2, -1)) / 255
    return torch.cat([channels, torch.zeros(*frames.shape[:2], 1277)], dim=2)[..., None, None].expand(-1, -1, -1, 2, 2).half().contiguous()


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What measures a model of three updates on plain pictures."""
    monkeypatch.setattr(FrozenCnn, "__call__", mean_colors)
    rows = [{"image": f"{n}.png", "question": "what colour is it?", "answer": COLORS[n % 3], "answer_type": "color"} for n in range(12)]
    for n, row in enumerate(rows):
        Image.new("RGB", (48, 40), row["answer"]).save(tmp_path / f"{n}.png")
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"task": "qa", "annotations": str(tmp_path / "questions.jsonl"), "videos": str(tmp_path), "num_answers": 3}
    path = kept(tmp_path, source, clips={"num_clips": 1})
    assert run(path) == 0
    return ["--config", str(path), "--model", str(tmp_path / "out" / "step_00000003"), "--questions", str(tmp_path / "questions.jsonl"),
            "--videos", str(tmp_path), "--hardware", "a test's", "--out", str(tmp_path / "result.json")]  # fmt: skip


def test_a_picture_beats_the_question_alone(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "EPOCHS", 60)
    assert baselines.main(arguments) == 0
    found = json.loads((tmp_path / "result.json").read_text())
    table = found["questions"]["all"]
    assert table["questions"] == 12 and "retrieval" not in found
    assert table["pooled picture and question"] == 100 and table["question only"] == pytest.approx(100 / 3, abs=0.1)
    gain, low, high = table["gain over question only"]
    assert low <= gain <= high and gain == pytest.approx(table["model"] - table["question only"], abs=0.1)


def test_captions_need_a_contrastive_head(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert baselines.main([*arguments, "--captions", str(tmp_path / "questions.jsonl")]) == 2
    assert "leave it out" in capsys.readouterr().err
