"""Frames to a grid of features, and the fusion of a clip's frames into one grid (Sec. 3, Fig. 2)."""

import copy
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoBackbone, AutoConfig

from clipbert.config import EFFICIENTNETS, ClipBertConfig
from clipbert.efficientnet import EfficientNetLite
from clipbert.resnet import ConvNorm, ResNet50

MAX_FRAMES_AT_ONCE = 1024
CNN_STRIDE = 32  # of ResNet-50 and of EfficientNet-Lite


def without_repeats(clips: Shaped[Tensor, "*lead N T C H W"]) -> Shaped[Tensor, "*lead n t C H W"]:
    """A view of clips with one clip, one frame, where `expand` repeats it, as of a photo; `expand` gives the rest back."""
    for dim in (-5, -4):
        clips = clips.narrow(dim, 0, 1) if clips.stride(dim) == 0 else clips
    return clips


class GridBackbone(nn.Module):
    """A CNN, then the grid encoder that brings its channels to the transformer's width.

    The paper's: ResNet-50, 3x3 convolution, 2x2 max-pool (an odd row or column
    is lost), ReLU: stride 64, so 448 pixels give 7 x 7 cells.  BatchNorm of
    other backbones uses its stored statistics unless `frozen_norms` is off, so
    frames do not meet here, and more than `max_frames_at_once` are read in
    several pieces.  Memory is laid out channels-last (NHWC), which convolutions
    are faster in, on CPUs too.  Takes frames, or what the CNN made of them, kept because it
    is frozen; channels tell which.
    """

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        self.cnn, self.frozen_norms, self.max_frames_at_once = _cnn(config), config.frozen_norms, MAX_FRAMES_AT_ONCE
        if config.grid_encoder == "conv-pool":
            self.grid_encoder = nn.Sequential(
                nn.Conv2d(self.cnn.out_channels, config.hidden_size, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.ReLU(inplace=True)
            )
        else:
            self.grid_encoder = nn.Sequential(nn.Conv2d(self.cnn.out_channels, config.hidden_size, 1))

    def forward(self, pixels: Float[Tensor, "F C H W"]) -> Float[Tensor, "F h w D"]:
        kept = pixels.shape[1] == self.cnn.out_channels
        frames = pixels.contiguous(memory_format=torch.channels_last).split(self.max_frames_at_once)
        pieces = [self.grid_encoder(piece if kept else self.cnn(piece)) for piece in frames]
        return rearrange(torch.cat(pieces) if len(pieces) > 1 else pieces[0], "f d h w -> f h w d")

    def cell_size(self, image_size: int, num_rows: int) -> float:
        """Side, in pixels of the image, of the square that a cell stands for.

        Of an AutoBackbone, whose stride is not known, the image's equal part.
        """
        if isinstance(self.cnn, _HuggingFaceBackbone):
            return image_size / num_rows
        return float(CNN_STRIDE * (2 if len(self.grid_encoder) > 1 else 1))

    def train(self, mode: bool = True) -> "GridBackbone":
        super().train(mode)
        for module in self.cnn.modules():
            if isinstance(module, nn.BatchNorm2d) and (self.frozen_norms or not module.weight.requires_grad):
                module.eval()
        return self

    def folded(self) -> "GridBackbone":
        """A copy for inference: every BatchNorm folded into its convolution, memory laid out channels-last."""
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        _fold_norms(fast)
        return fast.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  torch documents it, its stubs do not


def _cnn(config: ClipBertConfig) -> Any:
    if config.backbone == "resnet50-grid":
        widths = config.stem_channels, config.bottleneck_channels, config.res2_channels
        return ResNet50(*widths, config.frozen_stages, stride_in_1x1=config.stride_in_1x1)
    if config.backbone in EFFICIENTNETS:
        return EfficientNetLite(config.backbone.removeprefix("efficientnet-"))
    return _HuggingFaceBackbone(config.backbone_config or {})


class _HuggingFaceBackbone(nn.Module):
    """The last feature map of any transformers AutoBackbone."""

    def __init__(self, backbone_config: dict[str, Any]) -> None:
        super().__init__()
        settings = dict(backbone_config)
        if "model_type" not in settings:
            raise ValueError('backbone_config needs "model_type", the transformers name of the backbone, for example "resnet" or "swin".')
        self.model = AutoBackbone.from_config(AutoConfig.for_model(settings.pop("model_type"), **settings))
        self.out_channels = self.model.channels[-1]

    def forward(self, pixels: Float[Tensor, "F 3 H W"]) -> Float[Tensor, "F C h w"]:
        return self.model(pixels).feature_maps[-1]


def _fold_norms(module: nn.Module) -> None:
    children = list(module.named_children())
    for i, (name, child) in enumerate(children):
        follower = children[i + 1] if i + 1 < len(children) else (None, None)
        if isinstance(child, ConvNorm):
            setattr(module, name, child.folded())
        elif isinstance(module, nn.Sequential) and isinstance(child, nn.Conv2d) and isinstance(follower[1], nn.BatchNorm2d):
            setattr(module, name, torch.nn.utils.fuse_conv_bn_eval(child, follower[1]))
            setattr(module, str(follower[0]), nn.Identity())
        else:
            _fold_norms(child)


class _OverTime(nn.Conv3d):
    """A 3D convolution with kernel 3 over time.

    Two frames are padded by hand: in bfloat16 on a CPU, PyTorch 2.13's weight
    gradient of two frames padded by one holds uninitialised memory.
    """

    def forward(self, input: Float[Tensor, "B C T h w"]) -> Float[Tensor, "B D T h w"]:
        if input.shape[2] != 2:
            return super().forward(input)
        _, height, width = self.padding
        return F.conv3d(F.pad(input, (0, 0, 0, 0, 1, 1)), self.weight, self.bias, padding=(0, int(height), int(width)))


class TemporalFusion(nn.Module):
    """T feature maps of a clip to one: the mean, after a 3D convolution where Table 2 asks for one.

    Conv3D: kernel 3, stride 1.  Conv(2+1)D: spatial 1x3x3, ReLU, temporal
    3x1x1, as in S3D.  Both keep the width and are followed by ReLU and the mean
    (Sec. 4.2; the original code has neither, so widths and ReLU are our choice).
    """

    def __init__(self, kind: str, hidden_size: int) -> None:
        super().__init__()
        if kind == "mean":
            self.conv = nn.Identity()
        elif kind == "conv3d":
            self.conv = nn.Sequential(_OverTime(hidden_size, hidden_size, 3, padding=1), nn.ReLU())
        else:
            self.conv = nn.Sequential(
                nn.Conv3d(hidden_size, hidden_size, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU(),
                _OverTime(hidden_size, hidden_size, (3, 1, 1), padding=(1, 0, 0)), nn.ReLU(),
            )  # fmt: skip

    def forward(self, grid: Float[Tensor, "B N T h w D"]) -> Float[Tensor, "B N h w D"]:
        if isinstance(self.conv, nn.Identity):
            return grid.mean(dim=2)
        b = grid.shape[0]
        fused = self.conv(rearrange(grid, "b n t h w d -> (b n) d t h w")).mean(dim=2)
        return rearrange(fused, "(b n) d h w -> b n h w d", b=b)
