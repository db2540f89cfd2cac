"""ResNet-50 as detectron2's Caffe-style grid-feature extractor has it (OFFICIAL section 1.1).

It differs from torchvision's in three ways: the stride sits in the first 1x1
convolution of a stage (unless `stride_in_1x1` is off), BatchNorm is frozen (four buffers, never trained), and
pixels come as BGR with the mean subtracted and no division.  res5 has stride
32 and no dilation, as the original configuration forces.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

DEPTHS = (3, 4, 6, 3)


class FrozenBatchNorm(nn.Module):
    """y = (x - running_mean) / sqrt(running_var + eps) * weight + bias, all four never trained."""

    eps = 1e-5

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def scale_and_shift(self) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Float[Tensor, "F C H W"]) -> Float[Tensor, "F C H W"]:
        scale, shift = self.scale_and_shift()
        return x * scale[:, None, None].to(x.dtype) + shift[:, None, None].to(x.dtype)


class ConvNorm(nn.Conv2d):
    """Convolution without bias, then frozen BatchNorm, computed as one convolution: exact up to rounding.

    The scale goes into the weights at each call, with gradients, so no map of
    features is read and written again for it.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.norm = FrozenBatchNorm(channels_out)

    def forward(self, input: Float[Tensor, "F C H W"]) -> Float[Tensor, "F D h w"]:
        scale, shift = self.norm.scale_and_shift()
        weight = (self.weight * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
        return self._conv_forward(input, weight, shift)

    def apart(self, x: Float[Tensor, "F C H W"]) -> Float[Tensor, "F D h w"]:
        """The same in two steps, as the original computes it."""
        return self.norm(super().forward(x))

    def folded(self) -> nn.Conv2d:
        """One plain convolution that computes the same."""
        scale, shift = self.norm.scale_and_shift()
        conv = nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding)  # type: ignore[arg-type]
        conv.weight = nn.Parameter(self.weight.detach() * scale[:, None, None, None], requires_grad=False)
        conv.bias = nn.Parameter(shift, requires_grad=False)
        return conv


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, plus the shortcut; the stride is in the first 1x1, or in the 3x3."""

    def __init__(self, channels_in: int, width: int, channels_out: int, stride: int = 1, stride_in_1x1: bool = True) -> None:
        super().__init__()
        self.shortcut = ConvNorm(channels_in, channels_out, 1, stride) if channels_in != channels_out else nn.Identity()
        self.conv1 = ConvNorm(channels_in, width, 1, stride if stride_in_1x1 else 1)
        self.conv2 = ConvNorm(width, width, 3, 1 if stride_in_1x1 else stride)
        self.conv3 = ConvNorm(width, channels_out, 1)

    def forward(self, x: Float[Tensor, "F C H W"]) -> Float[Tensor, "F D h w"]:
        out = F.relu_(self.conv1(x))
        out = F.relu_(self.conv2(out))
        return F.relu_(self.conv3(out).add_(self.shortcut(x)))


class ResNet50(nn.Module):
    """Frames to the res5 feature map, at 1/32 of the input side.

    `frozen_stages` counts from the stem: 2 freezes the stem and res2, as
    detectron2's FREEZE_AT does; 5 freezes everything.
    """

    stride = 32

    def __init__(
        self, stem_channels: int = 64, bottleneck_channels: int = 64, res2_channels: int = 256, frozen_stages: int = 2, *, stride_in_1x1: bool = True
    ) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({"conv1": ConvNorm(3, stem_channels, 7, 2)})
        channels_in, self.frozen_stages = stem_channels, frozen_stages
        for stage, depth in enumerate(DEPTHS):
            width, channels_out, stride = bottleneck_channels << stage, res2_channels << stage, 1 if stage == 0 else 2
            first = Bottleneck(channels_in, width, channels_out, stride, stride_in_1x1)
            self.add_module(f"res{stage + 2}", nn.Sequential(first, *(Bottleneck(channels_out, width, channels_out) for _ in range(depth - 1))))
            channels_in = channels_out
        self.out_channels = channels_in
        self.freeze()

    def freeze(self) -> None:
        """Exclude the first `frozen_stages` stages from training."""
        for part in [self.stem, *self.stages()][: self.frozen_stages]:
            part.requires_grad_(False)

    def forward(self, pixels: Float[Tensor, "F 3 H W"]) -> Float[Tensor, "F C h w"]:
        x = pixels.flip(1)  # RGB -> BGR
        x = F.max_pool2d(F.relu_(self.stem["conv1"](x)), kernel_size=3, stride=2, padding=1)
        for stage in self.stages():
            x = stage(x)
        return x

    def stages(self) -> list[nn.Module]:
        return [self.get_submodule(name) for name in ("res2", "res3", "res4", "res5")]
