"""Numbers of the official code, recorded in tests/golden, against ours."""

import json
import re

import pytest
import torch
from golden_sets import GOLDEN, golden
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from clipbert.aggregation import aggregate
from clipbert.convert import convert_official, read_checkpoint
from clipbert.processing import ClipBertProcessor, resize_and_pad, resized
from clipbert.resnet import ConvNorm
from clipbert.tasks import (
    answer_loss,
    choice_loss,
    choices_as_answers,
    count_loss,
    count_of,
    match_log_odds,
    pretraining_loss,
    rank_loss,
    soft_answer_loss,
)

LOGITS, LOSS = {"atol": 1e-4, "rtol": 1e-4}, {"atol": 1e-5, "rtol": 1e-5}


def clip_logits(name: str, task: str) -> Tensor:
    case = golden(name, task)
    with torch.no_grad():
        return case.model(case.pixel_values, *case.text, video_index=case.video_index).clip_logits


def recorded(name: str, task: str, key: str) -> Tensor:
    return golden(name, task).tensors[key]


def test_pretraining_logits_and_loss_equal_the_official() -> None:
    case = golden("pretrain", "pretrain")
    t = case.tensors
    with torch.no_grad():
        out = case.model(case.pixel_values[:, :1, :1], *case.text, video_index=case.video_index)
        two = case.model(case.pixel_values[:, :1, :2], *case.text, video_index=case.video_index)
    torch.testing.assert_close(out.mlm_logits, t["out.mlm_scores"], **LOGITS)
    torch.testing.assert_close(out.itm_logits, t["out.itm_scores"], **LOGITS)
    torch.testing.assert_close(two.mlm_logits, t["out.two_frame_mlm_scores"], **LOGITS)
    torch.testing.assert_close(two.itm_logits, t["out.two_frame_itm_scores"], **LOGITS)
    labels = t["in.mlm_labels"].where(t["in.mlm_labels"] >= 0, -100)
    loss = pretraining_loss(out.mlm_logits, out.itm_logits, labels, t["in.itm_labels"], mlm_average="all")
    torch.testing.assert_close(loss, t["out.train_loss"], **LOSS)


def test_intermediate_activations_equal_the_official() -> None:
    case = golden("pretrain", "pretrain")
    t, trunk = case.tensors, case.model.clipbert
    frames = case.pixel_values[:, 0, 0]
    with torch.no_grad():
        torch.testing.assert_close(trunk.backbone.cnn(frames), t["act.res5"], **LOGITS)
        torch.testing.assert_close(trunk.backbone(frames).permute(0, 3, 1, 2), t["act.grid_encoder_out"], **LOGITS)
        torch.testing.assert_close(trunk.fusion.text(case.text[0]), t["act.text_embeddings"], **LOGITS)
        fused = trunk.fuse(trunk.encode_clips(case.pixel_values[:, :1, :1]), *case.text, case.video_index)
        x = fused.tokens
        torch.testing.assert_close(x[:, case.text[0].shape[1] :], t["act.visual_embeddings"], **LOGITS)
        for i, layer in enumerate(trunk.fusion.layers):
            x = layer(x, fused.mask)
            torch.testing.assert_close(x, t[f"act.encoder_layer_{i}"], **LOGITS)
        torch.testing.assert_close(trunk.fusion.pooled(fused.tokens, fused.mask), t["act.pooled_output"], **LOGITS)


@pytest.mark.parametrize("how", ["mean", "max", "lse"])
def test_open_ended_qa_equals_the_official(how: str) -> None:
    ours, t = clip_logits("qa_open", "qa"), golden("qa_open", "qa").tensors
    torch.testing.assert_close(ours.transpose(0, 1), t["out.clip_logits"], **LOGITS)
    torch.testing.assert_close(aggregate(ours, how), t[f"out.agg_logits.{how}"], **LOGITS)
    torch.testing.assert_close(answer_loss(ours, t["in.labels"], how), t[f"out.train_loss.{how}"], **LOSS)
    torch.testing.assert_close(aggregate(ours, how).argmax(-1), t[f"out.pred.{how}"])


@pytest.mark.parametrize("how", ["mean", "max", "lse"])
def test_multiple_choice_equals_the_official(how: str) -> None:
    ours, t = clip_logits("qa_mc", "multiple-choice"), golden("qa_mc", "multiple-choice").tensors
    by_question = choices_as_answers(ours, 5)
    torch.testing.assert_close(by_question.transpose(0, 1), t["out.clip_logits"], **LOGITS)
    torch.testing.assert_close(aggregate(by_question, how), t[f"out.agg_logits.{how}"], **LOGITS)
    torch.testing.assert_close(choice_loss(ours, t["in.labels"], how), t[f"out.train_loss.{how}"], **LOSS)


@pytest.mark.parametrize("how", ["mean", "max", "lse"])
def test_retrieval_with_two_outputs_equals_the_official(how: str) -> None:
    ours, t = clip_logits("retrieval_ce", "retrieval"), golden("retrieval_ce", "retrieval").tensors
    torch.testing.assert_close(ours.transpose(0, 1), t["out.clip_logits"], **LOGITS)
    torch.testing.assert_close(answer_loss(ours, t["in.labels"], how), t[f"out.train_loss.{how}"], **LOSS)
    torch.testing.assert_close(match_log_odds(ours, how).sigmoid(), t[f"out.match_prob.{how}"], **LOGITS)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_retrieval_with_the_rank_loss_equals_the_official(how: str) -> None:
    ours, t = clip_logits("retrieval_rank", "retrieval"), golden("retrieval_rank", "retrieval").tensors
    torch.testing.assert_close(ours.transpose(0, 1), t["out.clip_logits"], **LOGITS)
    torch.testing.assert_close(rank_loss(ours, 2, how), t[f"out.train_loss.{how}"], **LOSS)
    torch.testing.assert_close(aggregate(ours, how)[:, 0].sigmoid(), t[f"out.match_prob.{how}"].flatten(), **LOGITS)


@pytest.mark.parametrize(("name", "hows"), [("retrieval_ce", ("mean", "max", "lse")), ("retrieval_rank", ("mean", "max"))])
@pytest.mark.parametrize("num_clips", [1, 3])
def test_retrieval_inference_over_all_pairs_equals_the_official(name: str, hows: tuple[str, ...], num_clips: int) -> None:
    case = golden(name, "retrieval")
    ids, mask = case.tensors["in.inference_text_input_ids"], case.tensors["in.inference_text_input_mask"]
    num_videos, num_texts = case.about["B"], len(ids)
    index = torch.arange(num_videos).repeat_interleave(num_texts)
    with torch.no_grad():
        features = case.model.encode_clips(case.pixel_values[:, :num_clips])
        ours = case.model.score(features, ids.repeat(num_videos, 1), mask.repeat(num_videos, 1), index)
    for how in hows:
        log_odds = match_log_odds(ours, how) if name == "retrieval_ce" else aggregate(ours, how)[:, 0]
        torch.testing.assert_close(
            log_odds.sigmoid().reshape(num_videos, num_texts), case.tensors[f"out.inference_prob.{how}_ntest{num_clips}"], **LOGITS
        )


def test_videos_with_unequal_numbers_of_texts_equal_the_official() -> None:
    case = golden("retrieval_ce", "retrieval")
    counts = torch.tensor(case.about["unequal_n_examples_list"])
    with torch.no_grad():
        ours = case.model(case.pixel_values[:, :1], *case.text, video_index=torch.arange(2).repeat_interleave(counts)).clip_logits
    torch.testing.assert_close(ours[:, 0], case.tensors["out.unequal_n_examples_clip0_logits"], **LOGITS)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_counting_equals_the_official(how: str) -> None:
    ours, t = clip_logits("regression", "regression"), golden("regression", "regression").tensors
    torch.testing.assert_close(ours.transpose(0, 1), t["out.clip_logits"], **LOGITS)
    torch.testing.assert_close(count_loss(ours, t["in.labels"], how), t[f"out.train_loss.{how}"], **LOSS)
    torch.testing.assert_close(count_of(aggregate(ours, how)), t[f"out.pred_count.{how}"].flatten())


def test_image_vqa_equals_the_official() -> None:
    case = golden("vqa", "vqa")
    t = case.tensors
    with torch.no_grad():
        ours = case.model(case.pixel_values[:, :1, :1], *case.text, video_index=case.video_index).clip_logits
    torch.testing.assert_close(ours[:, 0], t["out.logits"], **LOGITS)
    torch.testing.assert_close(soft_answer_loss(ours, t["in.labels"], "mean"), t["out.train_loss"], **LOSS)
    torch.testing.assert_close(ours[:, 0].argmax(-1), t["out.pred"])


@pytest.mark.parametrize("how", ["mean", "max", "lse"])
def test_gradients_of_open_ended_qa_equal_the_official(how: str) -> None:
    case = golden("qa_open", "qa")
    model, report = convert_official(official_state("qa_open"), "qa", num_heads=4)
    for module in model.modules():
        if isinstance(module, ConvNorm):  # one step rounds otherwise, which moves a kink of ReLU or a maximum
            module.forward = module.apart
    answer_loss(model(case.pixel_values, *case.text).clip_logits, case.tensors["in.labels"], how).backward()
    ours = {key: p.grad for key, p in zip(report.used, ours_in_order(model, report.used), strict=True) if isinstance(p, torch.nn.Parameter)}
    norms = dict(case.about["grad_norms"][how])
    total = torch.stack([g.norm() for g in ours.values() if g is not None]).norm()
    assert float(total) == pytest.approx(norms.pop("__global_norm__"), rel=1e-4)
    assert {key for key, grad in ours.items() if grad is not None} == set(norms)
    for key, norm in norms.items():
        assert float(ours[key].norm()) == pytest.approx(norm, rel=1e-4, abs=1e-7), key
    full = {k.removeprefix(f"grad_{how}."): v for k, v in case.tensors.items() if k.startswith(f"grad_{how}.")}
    assert full or how != "lse"
    for key, grad in full.items():
        torch.testing.assert_close(ours[key], grad, rtol=1e-4, atol=1e-4 * float(grad.abs().max()))


def official_state(name: str) -> dict[str, Tensor]:
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    return load_file(GOLDEN / "state_common.safetensors") | {k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")}


def ours_in_order(model: torch.nn.Module, keys: list[str]) -> list[Tensor]:
    """Our parameter or buffer for each official key, through the converter's own map."""
    from clipbert.convert import _OFFICIAL

    found = []
    for key in keys:
        name = next(re.sub(a, b, key).format(head="qa") for a, b in _OFFICIAL if re.fullmatch(a, key))
        owner, _, leaf = name.rpartition(".")
        found.append(getattr(model.get_submodule(owner), leaf))
    return found


def test_preprocessing_equals_the_official() -> None:
    t, about = load_file(GOLDEN / "preprocess.safetensors"), json.loads((GOLDEN / "preprocess.json").read_text())
    rows = about["resize_size_table"]["rows"]
    assert len(rows) == 65 and all(resized(h, w, side) == (oh, ow) for side, h, w, oh, ow in rows)
    for shape in ("landscape", "portrait", "square", "downscale", "tiny", "extreme"):
        frame = t[f"in.{shape}_hwc_uint8"].permute(2, 0, 1)[None]
        torch.testing.assert_close(resize_and_pad(frame, 64), t[f"out.{shape}_padded"], atol=1e-4, rtol=0)
    processor = ClipBertProcessor(image_size=64, pixel_mean=(123.675, 116.28, 103.53), pixel_std=(1.0, 1.0, 1.0))
    landscape = t["in.landscape_hwc_uint8"].permute(2, 0, 1)[None]
    torch.testing.assert_close(processor.pixels(landscape), t["out.landscape_normalised"], atol=1e-4, rtol=0)
    video = ClipBertProcessor(image_size=96, pixel_mean=(123.675, 116.28, 103.53), pixel_std=(1.0, 1.0, 1.0))
    torch.testing.assert_close(video.pixels(t["in.video_tchw_uint8"]), t["out.video_normalised"], atol=1e-4, rtol=0)


def test_the_recorded_pretraining_checkpoint_file_converts_with_every_key_accounted_for() -> None:
    state = read_checkpoint(GOLDEN / "official_pretrain_ckpt.pt")
    model, report = convert_official(state, "pretrain", num_heads=4)
    assert set(report.used) | set(report.dropped) == set(state)
    assert len(report.used) == len(model.state_dict())


def test_the_fusion_transformer_equals_transformers_bert() -> None:
    from transformers import BertConfig, BertModel

    from clipbert.config import ClipBertConfig
    from clipbert.convert import _BERT, copy_weights
    from clipbert.transformer import FusionTransformer

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 20,
    }
    bert = BertModel(BertConfig(**sizes)).eval()
    ours = FusionTransformer(ClipBertConfig(**sizes)).eval()
    copy_weights(ours, bert.state_dict(), _BERT, ((r"embeddings\..*_ids", ""),), optional=r"visual\..*")
    ids = torch.randint(1, 50, (5, 9))
    mask = torch.arange(9) < torch.tensor([[9], [4], [7], [1], [8]])
    with torch.no_grad():
        theirs = bert(input_ids=ids, attention_mask=mask.long())
        x = ours.text(ids)
        states = ours.states(x, mask)
        torch.testing.assert_close(states[mask], theirs.last_hidden_state[mask], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.pooled(x, mask), theirs.pooler_output, atol=1e-5, rtol=1e-5)
        explicit, maps = ours.attentions(x, mask)
        torch.testing.assert_close(explicit[mask], states[mask], atol=1e-5, rtol=1e-5)
    assert len(maps) == 3 and torch.allclose(maps[0].sum(-1), torch.ones(5, 4, 9))
    assert F.relu(maps[0][1, :, :, 4:]).max() == 0
