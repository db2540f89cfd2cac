"""Activation checkpointing: of each transformer layer and CNN block only the input is kept, the rest is computed again for the gradients."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from clipbert.backbone import GridBackbone
from clipbert.efficientnet import EfficientNetLite, InvertedResidual
from clipbert.resnet import Bottleneck, ResNet50
from clipbert.transformer import Layer


def checkpoint_activations(model: nn.Module) -> None:
    """Let `model` keep fewer activations, at the time of another forward pass; its outputs and gradients stay, with dropout too.

    Frozen blocks of the CNN keep nothing anyway, and are left as they are.
    """
    for block in blocks(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def blocks(model: nn.Module) -> Iterator[Any]:
    """What is computed again as a whole: transformer layers, residual blocks of our CNNs, any other CNN in one piece."""
    for module in model.modules():
        if isinstance(module, Layer):
            yield module
        elif isinstance(module, GridBackbone):
            known = isinstance(module.cnn, ResNet50 | EfficientNetLite)
            parts = [part for part in module.cnn.modules() if isinstance(part, Bottleneck | InvertedResidual)] if known else [module.cnn]
            yield from (part for part in parts if any(p.requires_grad for p in part.parameters()))
