"""Calibration: temperatures, floors, match weights; and how sure a gain is."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_predict import make_predictor
from tiny import HEADS, tiny_model, tiny_processor
from torch.nn import functional as F

from clipbert.config import ClipBertConfig
from clipbert.predict import Predictor
from train.anchor import ends, scores
from train.bootstrap import interval_of_gain
from train.calibrate import Answered, best_temperature, calibrate_answers, confidence_floor, log_odds_of, main, retrieval_weight


def drawn_answers(sharpness: float) -> Answered:
    """Answers drawn from the softmax of logits that are then made sharper."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return Answered([sharpness * row[None] for row in logits], labels)


@pytest.mark.parametrize("sharpness", [0.7, 2.5])
def test_the_temperature_undoes_overconfidence(sharpness: float) -> None:
    assert best_temperature(drawn_answers(sharpness), "lse") == pytest.approx(sharpness, rel=0.1)


def test_the_floor_is_the_lowest_confidence_that_is_right_often_enough() -> None:
    confidence, right = torch.tensor([0.9, 0.8, 0.6, 0.4, 0.2]), torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
    assert confidence_floor(confidence, right, 0.75) == pytest.approx(0.25)
    assert confidence_floor(confidence, right, 1.0) == pytest.approx(0.45)
    assert confidence_floor(confidence, 0 * right, 0.5) == 1.0


def test_of_a_model_that_is_never_sure_no_share_of_right_answers_is_told() -> None:
    settings = {"kind": "classifier"}
    found = calibrate_answers(settings, Answered([torch.zeros(1, 4)] * 8, torch.full((8,), 3)), "lse", 0.75)
    assert settings["abstain_below"] == 1.0 and found["sure"] == 0.0 and "right where sure" not in found


def test_a_cross_encoder_that_says_nothing_gets_no_weight_and_one_that_knows_gets_some() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.arange(80)
    truth = F.one_hot(own, 80).float()
    contrastive = truth + torch.randn(80, 80, generator=generator)
    noise = torch.randn(80, 80, generator=generator)
    assert retrieval_weight(contrastive, noise, own, seed=0) == 0.0
    assert retrieval_weight(contrastive, 3 * truth + noise, own, seed=0) > 0


def test_scores_become_the_log_odds_of_a_fair_pair() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.arange(400)
    log_odds = 4 * F.one_hot(own, 400).float() - 2 + 2 * torch.randn(400, 400, generator=generator)  # of two normals 4 apart
    scale, offset = log_odds_of(3 * log_odds + 5, own)
    assert scale * 3 == pytest.approx(1.0, rel=0.2) and scale * 5 + offset == pytest.approx(0.0, abs=0.3)


def test_a_gain_that_is_everywhere_is_sure_and_one_of_a_few_groups_is_not() -> None:
    group = torch.arange(50).repeat_interleave(4)
    assert interval_of_gain(torch.full((200,), 0.1), group, seed=0) == pytest.approx((0.1, 0.1))
    few = torch.zeros(200)
    few[:4] = 1
    low, high = interval_of_gain(few, group, seed=0)
    assert low == 0 and high > 0.05


def test_a_calibrated_model_answers_as_its_file_says(tmp_path: Path) -> None:
    predictor = make_predictor(("qa", "match", "contrast"))
    predictor.model.model.save_pretrained(tmp_path / "model")
    predictor.model.processor.save_pretrained(tmp_path / "model")
    colors, rows, captions = ("red", "green", "blue", "white"), [], []
    for k, color in enumerate(colors * 2):
        Image.new("RGB", (32, 32), color).save(tmp_path / f"{k}.png")
        rows.append({"image": f"{k}.png", "question": "what colour?", "answer": color})
        captions.append({"image": f"{k}.png", "caption": f"a {color} thing {k}"})
    for name, lines in (("questions", rows), ("captions", captions)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = [f"--{name}={tmp_path / name}.jsonl" for name in ("questions", "captions")]
    assert main([f"--model={tmp_path / 'model'}", f"--out={tmp_path / 'out'}", f"--videos={tmp_path}", *files, "--num-clips=2", "--seed=1"]) == 0
    found = json.loads((tmp_path / "out" / "calibration.json").read_text())
    head = ClipBertConfig.from_pretrained(tmp_path / "out").head("qa")
    assert head.temperature == found["qa"]["temperature"] and head.abstain_below == found["qa"]["abstain_below"]
    calibrated = Predictor.from_pretrained(tmp_path / "out")
    assert calibrated.sampling.num_clips == 2
    parts = calibrated.match_parts(calibrated.encode(tmp_path / "0.png"), ["a red thing 0"])
    assert "contrast" in parts and ("match" in parts) == (found["match"]["retrieval weight beside contrastive"] > 0)


def test_the_anchored_head_is_the_ridge_map_at_one_end_and_the_trained_head_at_the_other() -> None:
    """On tokens of a trunk that has moved, too."""
    grids = torch.randn(60, 1280, generator=torch.Generator().manual_seed(0))
    settings: dict = {"heads": {"contrast": HEADS["contrast"]}, "backbone": "efficientnet-lite0", "grid_encoder": "linear", "image_size": 64}
    start, trained = tiny_model(0, **settings), tiny_model(0, **settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        moved = torch.eye(16) + 0.2 * torch.randn(16, 16, generator=generator)
        weight = trained.clipbert.backbone.grid_encoder[0].weight
        weight.copy_(torch.einsum("de,echw->dchw", moved, weight.clone()))
        trained.heads["contrast"].visual.weight.add_(0.1 * torch.randn(16, 16, generator=generator))
    texts = tiny_processor(start).texts(["a red dog", "two cats", "surfing"])
    expected = [scores(model, "contrast", grids, texts) for model in (start, trained)]
    for state, wanted in zip(ends(start, trained, "contrast", grids), expected, strict=True):
        trained.heads["contrast"].load_state_dict(state)
        torch.testing.assert_close(scores(trained, "contrast", grids, texts), wanted, atol=1e-4, rtol=1e-3)
