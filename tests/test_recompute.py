"""Activation checkpointing and the frame budget: same loss, same gradients, less kept."""

import copy
from typing import Any

import pytest
import torch
from test_two_pass import live_bytes
from tiny import tiny_inputs, tiny_model
from torch import Tensor

from clipbert.aggregation import aggregate
from clipbert.model import ClipBertForSequenceClassification
from clipbert.recompute import blocks, checkpoint_activations

AUTO: dict[str, Any] = {
    "backbone": "auto", "frozen_stages": 0,
    "backbone_config": {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1]},
}  # fmt: skip


def loss_and_gradients(model: ClipBertForSequenceClassification, dtype: torch.dtype = torch.float64) -> tuple[Tensor, dict[str, Tensor]]:
    """Of three clips of two frames, with dropout."""
    inputs = tiny_inputs()
    inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    torch.manual_seed(5)
    loss = aggregate(model(**inputs, head="qa").clip_logits, "lse").square().mean()
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.detach(), found


def training_model(**settings: Any) -> ClipBertForSequenceClassification:
    return tiny_model(vocab_size=2000, **settings).double().train()


@pytest.mark.parametrize("settings", [{}, {"backbone": "efficientnet-lite0"}, AUTO], ids=["resnet", "efficientnet", "auto"])
def test_checkpointing_leaves_loss_and_gradients_with_dropout(settings: dict[str, Any]) -> None:
    model = training_model(**settings)
    expected_loss, expected = loss_and_gradients(model)
    checkpoint_activations(model)
    loss, gradients = loss_and_gradients(model)
    assert torch.equal(loss, expected_loss) and gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-12, atol=1e-12, msg=name)


def test_checkpointing_keeps_less_of_transformer_and_cnn() -> None:
    plain, checkpointed = training_model(), training_model()
    checkpoint_activations(checkpointed)
    assert live_bytes(lambda: loss_and_gradients(checkpointed)) < 0.6 * live_bytes(lambda: loss_and_gradients(plain))


def test_frozen_blocks_are_not_computed_twice() -> None:
    model = training_model(frozen_stages=4)
    assert len(list(blocks(model))) == 2 + 3  # the layers, and res5
    model.clipbert.backbone.cnn.requires_grad_(False)
    assert len(list(blocks(model))) == 2


def test_checkpointing_changes_nothing_that_is_saved() -> None:
    model = training_model()
    names = list(model.state_dict())
    checkpoint_activations(model)
    assert list(model.state_dict()) == names
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    assert loss_and_gradients(model)[0] != loss_and_gradients(other)[0], "a copy computes with its own weights"


@pytest.mark.parametrize("max_frames", [1, 5, 12])
def test_a_frame_budget_leaves_loss_and_gradients_with_dropout(max_frames: int) -> None:
    model = training_model()
    expected_loss, expected = loss_and_gradients(model)
    sizes = []
    model.clipbert.backbone.cnn.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    model.clipbert.backbone.max_frames_at_once = max_frames
    loss, gradients = loss_and_gradients(model)
    assert max(sizes) == max_frames and sum(sizes) == 12
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=1e-12)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-10, atol=1e-12, msg=name)
