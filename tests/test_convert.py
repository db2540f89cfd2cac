"""Checkpoints of others: fine-tuned and pre-trained, BERT and grid-feat; keys accounted for; nothing executed."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN
from golden_sets import golden
from safetensors.torch import save_file
from test_parity import official_state
from tiny import SIZES, tiny_inputs, tiny_model
from transformers import BertConfig, BertForPreTraining

from clipbert.cli import main
from clipbert.convert import convert_official, load_bert, load_grid_feat, read_checkpoint, read_labels
from clipbert.model import ClipBertForSequenceClassification
from clipbert.predict import Predictor

VIDEO = GOLDEN / "video_a30.mp4"


@pytest.mark.parametrize(
    ("name", "task", "kind"),
    [
        ("qa_open", "qa", "classifier"), ("qa_mc", "multiple-choice", "multiple_choice"), ("retrieval_ce", "retrieval", "retrieval"),
        ("retrieval_rank", "retrieval", "retrieval"), ("vqa", "vqa", "classifier"), ("regression", "regression", "regression"),
    ],
)  # fmt: skip
def test_fine_tuned_checkpoints_convert_save_load_and_give_the_same_logits(name: str, task: str, kind: str, tmp_path: Path) -> None:
    torch.save(official_state(name), tmp_path / "model_step_1.pt")
    assert main(["convert", str(tmp_path / "model_step_1.pt"), str(tmp_path / "out"), "--task", task, "--num-heads", "4", "--json"]) == 0
    loaded = ClipBertForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert loaded.config.head().kind == kind
    case = golden(name, task)
    with torch.no_grad():
        ours = loaded(case.pixel_values, *case.text, video_index=case.video_index).clip_logits
        expected = case.model(case.pixel_values, *case.text, video_index=case.video_index).clip_logits
    torch.testing.assert_close(ours, expected)


def test_a_converted_model_answers_about_a_video_with_its_own_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(official_state("qa_open"), tmp_path / "qa.safetensors")
    (tmp_path / "ans2label.json").write_text(json.dumps({f"word{i}": i for i in range(20)}))
    argv = ["convert", str(tmp_path / "qa.safetensors"), str(tmp_path / "out"), "--task", "qa", "--num-heads", "4", "--image-size", "128"]
    assert main([*argv, "--labels", str(tmp_path / "ans2label.json")]) == 0
    predictor = Predictor.from_pretrained(tmp_path / "out")
    prediction = predictor.answer(predictor.encode(VIDEO, num_clips=2), "what is it?")
    assert prediction.candidates == tuple(f"word{i}" for i in range(20)), "the classifier's three padding outputs are no answers"
    assert predictor.sampling.policy == "official"


def test_a_missing_key_an_unknown_key_and_a_wrong_shape_are_named() -> None:
    state = official_state("qa_open")
    key = "transformer.bert.encoder.layer.1.output.dense.bias"
    with pytest.raises(ValueError, match=r"nothing for clipbert\.fusion\.layers\.1\.down\.bias"):
        convert_official({k: v for k, v in state.items() if k != key}, "qa", num_heads=4)
    with pytest.raises(ValueError, match=r"transformer\.bert\.surprise has no place"):
        convert_official(state | {"transformer.bert.surprise": torch.zeros(1)}, "qa", num_heads=4)
    with pytest.raises(ValueError, match=rf"{key} has shape \(3,\) where this model needs \(48,\)"):
        convert_official(state | {key: torch.zeros(3)}, "qa", num_heads=4)


def test_a_decoder_that_is_not_tied_to_the_word_embeddings_is_refused() -> None:
    state = read_checkpoint(GOLDEN / "official_pretrain_ckpt.pt")
    key = "transformer.cls.predictions.decoder.weight"
    with pytest.raises(ValueError, match=f"{key} differs from"):
        convert_official(state | {key: state[key] + 1}, "pretrain", num_heads=4)


def test_other_widths_and_depths_are_read_off_the_tensors() -> None:
    state = official_state("qa_open")
    twelve = {k.replace("layer.1.", f"layer.{i}."): v for i in range(1, 5) for k, v in state.items() if ".layer.1." in k}
    model, _ = convert_official(state | twelve, "qa", num_heads=2)
    assert model.config.num_hidden_layers == 5 and model.config.num_attention_heads == 2 and model.config.stem_channels == 8


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "bomb.pt").write_bytes(pickle.dumps({"model": Bomb()}))
    torch.save({"weights": Bomb()}, tmp_path / "bomb2.pt")
    for name in ("bomb.pt", "bomb2.pt"):
        with pytest.raises(ValueError, match="is not a plain file of tensors"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_huggingface_bert_loads_into_the_transformer_under_old_and_new_names(tmp_path: Path) -> None:
    bert = BertForPreTraining(BertConfig(**SIZES))
    bert.save_pretrained(tmp_path / "new")
    old = {k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for k, v in bert.state_dict().items()}
    torch.save(old, tmp_path / "pytorch_model.bin")
    for path in (tmp_path / "new", tmp_path):
        model = tiny_model()
        visual = model.clipbert.fusion.visual.row_embeddings.weight.clone()
        report = load_bert(model, path)
        fusion = model.clipbert.fusion
        assert torch.equal(fusion.layers[1].up.weight, bert.bert.encoder.layer[1].intermediate.dense.weight)
        assert torch.equal(fusion.text.norm.weight, bert.bert.embeddings.LayerNorm.weight)
        assert torch.equal(fusion.visual.row_embeddings.weight, visual)
        assert all("BERT's own" in reason for key, reason in report.dropped.items() if key.startswith("cls."))


def test_a_detectron2_grid_feature_file_loads_into_the_cnn(tmp_path: Path) -> None:
    source, target = tiny_model(seed=1), tiny_model(seed=2)
    state = {f"backbone.{k}": v for k, v in source.clipbert.backbone.cnn.state_dict().items()}
    torch.save({"model": state | {"roi_heads.box.weight": torch.zeros(2)}, "iteration": 7}, tmp_path / "grid.pth")
    report = load_grid_feat(target, tmp_path / "grid.pth")
    assert report.dropped == {"roi_heads.box.weight": "detection head"}
    pixels = tiny_inputs()["pixel_values"][0, :, 0]
    torch.testing.assert_close(target.clipbert.backbone.cnn(pixels), source.clipbert.backbone.cnn(pixels))


def test_labels_must_count_from_zero(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"b": 1, "a": 0}))
    assert read_labels(path) == ["a", "b"]
    for bad in ({"a": 1}, {"a": 0, "b": 0}, ["a"], {"a": "x"}):
        path.write_text(json.dumps(bad))
        with pytest.raises(ValueError, match="must map each answer to an index"):
            read_labels(path)


def test_the_official_checkpoint_of_the_release_size_has_the_paper_models_parameters() -> None:
    from clipbert.config import ClipBertConfig, HeadConfig

    model = ClipBertForSequenceClassification(ClipBertConfig(heads={"match": HeadConfig("retrieval", 2)}))
    total = sum(p.numel() for p in model.parameters())
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert frozen == 222_400 and total - frozen == pytest.approx(148.2e6, rel=0.005)
