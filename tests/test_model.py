"""Invariants of the model: what must not change its logits, and what transformers must not break."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import HEADS, SIZES, tiny_inputs, tiny_model
from torch import nn
from transformers import AutoConfig, AutoModel

from clipbert.backbone import TemporalFusion
from clipbert.config import ClipBertConfig
from clipbert.model import ClipBertForPreTraining, ClipBertForSequenceClassification, ClipBertModel
from clipbert.resnet import ConvNorm
from clipbert.transformer import by_products

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def model() -> ClipBertForSequenceClassification:
    return tiny_model()


@pytest.mark.parametrize("head", list(HEADS))
@torch.no_grad()
def test_every_head_gives_one_row_of_logits_per_text_and_clip(model: ClipBertForSequenceClassification, head: str) -> None:
    assert model(**tiny_inputs(), head=head).clip_logits.shape == (2, 3, HEADS[head].num_outputs)


@pytest.mark.parametrize("head", list(HEADS))
@torch.no_grad()
def test_padding_text_leaves_logits_unchanged(model: ClipBertForSequenceClassification, head: str) -> None:
    inputs = tiny_inputs()
    longer = inputs | {name: nn.functional.pad(inputs[name], (0, 9)) for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(model(**longer, head=head).clip_logits, model(**inputs, head=head).clip_logits, **CLOSE)


@pytest.mark.parametrize("head", list(HEADS))
@torch.no_grad()
def test_other_videos_in_the_batch_leave_logits_unchanged(model: ClipBertForSequenceClassification, head: str) -> None:
    inputs = tiny_inputs()
    together = model(**inputs, head=head).clip_logits
    alone = [model(**{name: value[b : b + 1] for name, value in inputs.items()}, head=head).clip_logits for b in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), **CLOSE)


@torch.no_grad()
def test_clips_folded_into_the_batch_equal_a_loop_over_clips(model: ClipBertForSequenceClassification) -> None:
    inputs = tiny_inputs()
    loop = [model(**(inputs | {"pixel_values": inputs["pixel_values"][:, n : n + 1]}), head="qa").clip_logits for n in range(3)]
    torch.testing.assert_close(model(**inputs, head="qa").clip_logits, torch.cat(loop, dim=1), **CLOSE)


@torch.no_grad()
def test_attention_mask_may_be_integers(model: ClipBertForSequenceClassification) -> None:
    inputs = tiny_inputs()
    as_integers = inputs | {"attention_mask": inputs["attention_mask"].long()}
    assert torch.equal(model(**as_integers, head="qa").clip_logits, model(**inputs, head="qa").clip_logits)


@torch.no_grad()
def test_video_index_pairs_each_text_with_its_video(model: ClipBertForSequenceClassification) -> None:
    inputs = tiny_inputs()
    swapped = inputs | {"video_index": torch.tensor([1, 0])}
    turned = inputs | {"pixel_values": inputs["pixel_values"].flip(0)}
    torch.testing.assert_close(model(**swapped, head="qa").clip_logits, model(**turned, head="qa").clip_logits, **CLOSE)


def test_texts_that_do_not_say_their_video_are_refused(model: ClipBertForSequenceClassification) -> None:
    inputs = tiny_inputs()
    with pytest.raises(ValueError, match="video_index must say which of the 1 videos each of the 2 texts belongs to"):
        model(**(inputs | {"pixel_values": inputs["pixel_values"][:1]}), head="qa")


def test_an_unnamed_head_is_refused_where_there_are_several(model: ClipBertForSequenceClassification) -> None:
    with pytest.raises(ValueError, match="name one of this model's heads"):
        model(**tiny_inputs())
    with pytest.raises(ValueError, match="did you mean 'match'"):
        model(**tiny_inputs(), head="mach")


@torch.no_grad()
def test_the_last_layer_for_cls_only_equals_the_whole_layer(model: ClipBertForSequenceClassification) -> None:
    trunk, inputs = model.clipbert, tiny_inputs()
    fused = trunk.fuse(trunk.encode_clips(inputs["pixel_values"]), inputs["input_ids"], inputs["attention_mask"])
    whole = trunk.fusion.pool(trunk.fusion.states(fused.tokens, fused.mask))
    torch.testing.assert_close(trunk.fusion.pooled(fused.tokens, fused.mask), whole, **CLOSE)


@torch.no_grad()
def test_fused_attention_equals_explicit_attention(model: ClipBertForSequenceClassification) -> None:
    trunk, inputs = model.clipbert, tiny_inputs()
    fused = trunk.fuse(trunk.encode_clips(inputs["pixel_values"]), inputs["input_ids"], inputs["attention_mask"])
    explicit, maps = trunk.fusion.attentions(fused.tokens, fused.mask)
    torch.testing.assert_close(trunk.fusion.states(fused.tokens, fused.mask), explicit, **CLOSE)
    assert len(maps) == SIZES["num_hidden_layers"] and maps[0].shape == (6, 2, 8, 8)


def test_attention_by_products_equals_fused_attention_with_its_gradients() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, length, 4, dtype=torch.float64, requires_grad=True) for length in (5, 7, 7))
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[1, 2:5] = False
    fused = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
    product, towards = by_products(q, k, v, mask, dropout=0.0), torch.randn_like(fused)
    torch.testing.assert_close(product, fused)
    for ours, theirs in zip(torch.autograd.grad(product, (q, k, v), towards), torch.autograd.grad(fused, (q, k, v), towards), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_attention_drops_in_training_alone() -> None:
    layer: Any = tiny_model(attention_probs_dropout_prob=0.5).clipbert.fusion.layers[0]
    x, mask = torch.randn(2, 5, 16, requires_grad=True), torch.ones(2, 5).bool()
    assert torch.equal(layer.eval()(x, mask), layer(x, mask)) and not torch.equal(layer.train()(x, mask), layer(x, mask))


@pytest.mark.parametrize("settings", [{}, {"backbone": "efficientnet-lite0", "grid_encoder": "linear"}])
@torch.no_grad()
def test_batch_norm_folded_into_convolutions_gives_the_same_grid(settings: dict) -> None:
    backbone = tiny_model(**settings).clipbert.backbone
    for module in backbone.modules():  # statistics of a trained network, not 0 and 1
        for name in ("running_mean", "running_var", "weight", "bias"):
            if isinstance(module, nn.BatchNorm2d) or type(module).__name__ == "FrozenBatchNorm":
                getattr(module, name).uniform_(0.5, 1.5)
    frames = 50 * torch.randn(2, 3, 64, 64)
    folded = backbone.folded()
    assert not [m for m in folded.modules() if isinstance(m, ConvNorm | nn.BatchNorm2d)]
    plain = backbone(frames)
    torch.testing.assert_close(folded(frames.contiguous(memory_format=torch.channels_last)), plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))


def test_frozen_norms_scale_the_weights_with_the_gradients_of_two_steps() -> None:
    conv, frames = ConvNorm(3, 5, 3, 2).double(), torch.randn(2, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    for buffer in conv.norm.buffers():
        buffer.uniform_(0.5, 1.5)
    torch.testing.assert_close(conv(frames), conv.apart(frames))
    once, twice = (torch.autograd.grad(path(frames).sin().sum(), (conv.weight, frames)) for path in (conv, conv.apart))
    torch.testing.assert_close(once, twice)


@pytest.mark.parametrize("fusion", ["mean", "conv3d", "conv2plus1d"])
def test_every_parameter_of_every_temporal_fusion_gets_a_gradient(fusion: str) -> None:
    model = tiny_model(temporal_fusion=fusion)
    sum(model(**tiny_inputs(), head=head).clip_logits.square().sum() for head in HEADS).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4])
@pytest.mark.parametrize("fusion", ["conv3d", "conv2plus1d"])
def test_gradients_of_a_temporal_fusion_in_bfloat16_are_those_in_float32_roughly(fusion: str, num_frames: int) -> None:
    """Over memory that held large numbers: a gradient that reads what nobody wrote shows."""
    fuse, grid = TemporalFusion(fusion, 64), torch.randn(4, 2, num_frames, 8, 8, 64)
    direction = torch.randn(4, 2, 8, 8, 64)
    found = []
    for precision in (torch.float32, torch.bfloat16):
        spoiled = [torch.full((size,), 1e30) for size in (64, 4_096, 12_288, 36_864, 110_592, 262_144)]
        del spoiled
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            fused = fuse(grid)
        found.append(torch.autograd.grad((fused.float() * direction).sum(), list(fuse.parameters())))
    for exact, rough in zip(*found, strict=True):
        assert float((rough - exact).abs().max()) < 0.5 * float(exact.abs().max())


def test_the_stem_and_res2_are_frozen_and_stay_so_after_loading(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path)
    for each in (model, ClipBertForSequenceClassification.from_pretrained(tmp_path)):
        cnn = each.clipbert.backbone.cnn
        assert not any(p.requires_grad for part in (cnn.stem, cnn.res2) for p in part.parameters())
        assert all(p.requires_grad for part in (cnn.res3, cnn.res4, cnn.res5) for p in part.parameters())


def test_saving_and_loading_is_bitwise(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path)
    loaded = ClipBertForSequenceClassification.from_pretrained(tmp_path)
    theirs = loaded.state_dict()
    assert set(theirs) == set(model.state_dict())
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())
    assert loaded.config.heads == model.config.heads


def test_missing_weights_are_initialised_as_the_original_does_and_not_by_transformers(tmp_path: Path) -> None:
    ClipBertModel(ClipBertConfig(**SIZES)).save_pretrained(tmp_path)  # a trunk without heads
    model = ClipBertForSequenceClassification.from_pretrained(tmp_path, heads={"match": {"kind": "retrieval", "num_outputs": 2}})
    weight = model.heads["match"].mlp[1].weight
    assert 0.015 < weight.std().item() < 0.025
    fresh = ClipBertModel(ClipBertConfig(**SIZES)).backbone.cnn.res5[0].conv2.weight
    assert fresh.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.05)  # MSRA, not N(0, 0.02)


def test_auto_classes_find_the_model(tmp_path: Path) -> None:
    ClipBertModel(ClipBertConfig(**SIZES, stem_channels=4, bottleneck_channels=2, res2_channels=8)).save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), ClipBertConfig)
    assert isinstance(AutoModel.from_pretrained(tmp_path), ClipBertModel)


SMALL_RESNET = {
    "model_type": "resnet",
    "embedding_size": 4,
    "hidden_sizes": [4, 8],
    "depths": [1, 1],
    "layer_type": "basic",
    "out_features": ["stage2"],
}


def small_resnet(**settings: Any) -> ClipBertForSequenceClassification:
    return tiny_model(backbone="auto", backbone_config=SMALL_RESNET, grid_encoder="linear", heads={"qa": HEADS["qa"]}, **settings)


def test_any_transformers_backbone_serves(tmp_path: Path) -> None:
    model = small_resnet()
    logits = model(**tiny_inputs()).clip_logits
    assert logits.shape == (2, 3, 4)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(ClipBertForSequenceClassification.from_pretrained(tmp_path)(**tiny_inputs()).clip_logits, logits)


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_of_a_cnn_are_learned_only_where_asked_and_in_training(frozen: bool) -> None:
    model = small_resnet(frozen_norms=frozen)
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    model(**tiny_inputs())
    assert torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))
    model.train()(**tiny_inputs())
    assert torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean)) == frozen


def test_a_photo_is_read_once_with_the_grids_and_gradients_of_its_repeats() -> None:
    photos = tiny_inputs()["pixel_values"][:, :1, :1].double().expand(-1, 3, 2, -1, -1, -1)
    model = small_resnet(frozen_norms=False).double().train()
    found, num_read = [], []
    model.clipbert.backbone.register_forward_pre_hook(lambda _, inputs: num_read.append(len(inputs[0])))
    for pixels in (photos, photos.contiguous()):
        grids = model.encode_clips(pixels)
        model.zero_grad()
        grids.square().sum().backward()
        found.append((grids, [p.grad for p in model.clipbert.backbone.parameters()]))
    assert num_read == [2, 12] and found[0][0].shape == found[1][0].shape
    torch.testing.assert_close(found[0], found[1])


def test_a_frozen_cnn_keeps_its_statistics() -> None:
    model = small_resnet(frozen_norms=False)
    model.clipbert.backbone.cnn.requires_grad_(False)
    before = {name: value.clone() for name, value in model.clipbert.backbone.cnn.state_dict().items()}
    model.train()(**tiny_inputs())
    assert all(torch.equal(value, before[name]) for name, value in model.clipbert.backbone.cnn.state_dict().items())


def test_pretraining_reads_one_clip_and_keeps_a_random_part_of_the_cells_in_training() -> None:
    config = ClipBertConfig(**SIZES, stem_channels=4, bottleneck_channels=2, res2_channels=8, pixel_random_sampling_size=5)
    model, inputs = ClipBertForPreTraining(config), tiny_inputs(num_clips=1, num_frames=1)
    inputs["pixel_values"] = torch.randn(2, 1, 1, 3, 192, 192)
    trunk = model.clipbert
    features = trunk.encode_clips(inputs["pixel_values"])
    assert trunk.train().fuse(features, inputs["input_ids"], inputs["attention_mask"]).tokens.shape[1] == 7 + 5
    assert trunk.eval().fuse(features, inputs["input_ids"], inputs["attention_mask"]).tokens.shape[1] == 7 + 9
    assert model.eval()(**inputs).mlm_logits.shape == (2, 7, SIZES["vocab_size"])
    with pytest.raises(ValueError, match="one clip per image, got N=3"):
        model(**tiny_inputs())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hiden_size": 3}, "no setting 'hiden_size'. Did you mean 'hidden_size'"),
        ({"backbone": "resnet50"}, "did you mean 'resnet50-grid'"),
        ({"backbone": "auto"}, "backbone_config goes with"),
        ({"heads": {"qa": {"kind": "clasifier", "num_outputs": 2}}}, "did you mean 'classifier'"),
        ({"heads": {"qa": {"kind": "classifier", "num_outputs": 2, "labels": ["a"]}}}, "labels must name all 2 outputs"),
        ({"heads": {"m": {"kind": "retrieval", "num_outputs": 3}}}, "must be 1 or 2, got 3"),
        ({"hidden_size": 10, "num_attention_heads": 3}, "must divide"),
    ],
)
def test_a_wrong_setting_is_named_with_its_cure(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipBertConfig(**settings)
