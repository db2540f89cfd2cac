"""The original's algorithm with our weights: what every speed-up is measured against, and each of its factors alone.

As the original runs it (OFFICIAL sections 1 and 4): one clip at a time, text
padded to `max_txt_len`, every position of every layer computed, softmax(q k) v
in separate kernels, float32 in PyTorch's plain memory layout, frozen BatchNorm
after each convolution.  Without gradients that BatchNorm is one fused kernel,
as in detectron2.  `Recipe` switches each of our changes on by itself.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from clipbert.backbone import GridBackbone
from clipbert.model import ClipBertForSequenceClassification
from clipbert.resnet import ConvNorm


@dataclass(frozen=True)
class Recipe:
    """Which of our changes are made to the original's algorithm."""

    unpadded: bool = False
    """The text has its own length."""
    folded: bool = False
    """BatchNorm is part of the convolution before it."""
    channels_last: bool = False
    """Memory layout NHWC."""
    fused_attention: bool = False
    """One kernel instead of matrix product, softmax, matrix product."""
    cls_only: bool = False
    """The last layer computes [CLS] alone."""
    batched: bool = False
    """All clips in one pass."""
    bfloat16: bool = False
    """Convolutions and matrix products; changes the logits."""


OFFICIAL = Recipe()
OURS = Recipe(**{field.name: field.name != "bfloat16" for field in fields(Recipe)})
ALONE = {field.name: Recipe(**{field.name: True}) for field in fields(Recipe)}


class Inference:
    """The clip logits of texts under any recipe; the CNN is prepared once for each."""

    def __init__(self, model: ClipBertForSequenceClassification, head: str) -> None:
        self.model, self.head = model.eval(), head
        self._cnns: dict[tuple[bool, bool], GridBackbone] = {}

    def cnn(self, recipe: Recipe) -> GridBackbone:
        key = recipe.folded, recipe.channels_last
        if key not in self._cnns:
            cnn = self.model.clipbert.backbone.folded() if recipe.folded else _with_fused_norms(self.model.clipbert.backbone)
            layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
            self._cnns[key] = cnn.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        return self._cnns[key]

    @torch.inference_mode()
    def clip_logits(self, pixels: Tensor, input_ids: Tensor, attention_mask: Tensor, recipe: Recipe) -> Tensor:
        """`pixels` is float[N, T, 3, H, W], the text int64[1, L] as padded; returns float[N, J]."""
        if recipe.unpadded:
            length = int(attention_mask.sum())
            input_ids, attention_mask = input_ids[:, :length], attention_mask[:, :length]
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            parts = pixels.split(len(pixels) if recipe.batched else 1)
            return torch.cat([self.scored(self.grid(part, recipe), input_ids, attention_mask, recipe)[0] for part in parts]).float()

    def scored(self, grid: Tensor, input_ids: Tensor, attention_mask: Tensor, recipe: Recipe) -> Tensor:
        """Features float[N, T, h, w, D] with texts int64[M, L]; returns float[M, N, J]."""
        trunk: Any = self.model.clipbert
        fused = trunk.fuse(grid[None], input_ids, attention_mask, torch.zeros(len(input_ids), dtype=torch.int64))
        pooled = self.pooled(fused.tokens, fused.mask, recipe)
        return self.model.heads[self.head].mlp(pooled).unflatten(0, (len(input_ids), len(grid)))  # pyright: ignore[reportCallIssue]

    def grid(self, pixels: Tensor, recipe: Recipe) -> Tensor:
        """Features float[N, T, h, w, D] of a few clips."""
        frames = rearrange(pixels, "n t c h w -> (n t) c h w")
        if recipe.channels_last:
            frames = frames.contiguous(memory_format=torch.channels_last)
        return grid_of(self.cnn(recipe), frames, len(pixels))

    def pooled(self, tokens: Tensor, mask: Tensor, recipe: Recipe) -> Tensor:
        fusion: Any = self.model.clipbert.fusion
        *others, last = fusion.layers
        for layer in others if recipe.cls_only else fusion.layers:
            tokens = layer(tokens, mask) if recipe.fused_attention else layer.explicit(tokens, mask)[0]
        return fusion.pool(last(tokens, mask, slice(0, 1)) if recipe.cls_only else tokens)


def grid_of(backbone: GridBackbone, frames: Tensor, num_clips: int) -> Tensor:
    """Features float[N, T, h, w, D] in the memory layout that the frames have."""
    return rearrange(backbone.grid_encoder(backbone.cnn(frames)), "(n t) d h w -> n t h w d", n=num_clips)


@contextmanager
def norms_apart(module: nn.Module) -> Iterator[None]:
    """Within it, frozen BatchNorm follows its convolution as a step of its own."""
    convolutions = [m for m in module.modules() if isinstance(m, ConvNorm)]
    for convolution in convolutions:
        convolution.forward = convolution.apart
    try:
        yield
    finally:
        for convolution in convolutions:
            del convolution.forward


def _with_fused_norms(cnn: GridBackbone) -> GridBackbone:
    """A copy whose frozen BatchNorms are one kernel each, as detectron2's are where no gradient is wanted."""
    copied = copy.deepcopy(cnn).eval().requires_grad_(False)
    for module in copied.modules():
        if isinstance(module, ConvNorm):
            module.forward = _ConvThenFusedNorm(module)
    return copied


class _ConvThenFusedNorm:
    def __init__(self, convolution: ConvNorm) -> None:
        self.convolution = convolution

    def __call__(self, x: Tensor) -> Tensor:
        conv, norm = self.convolution, self.convolution.norm
        x = F.conv2d(x, conv.weight, None, conv.stride, conv.padding)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps)
