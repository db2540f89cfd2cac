"""Other people's ResNet-50 into the CNN (Table 5): Caffe2, detectron2 and grid features, torchvision, mmaction2's TSN.

Two conventions meet.  Caffe2 and detectron2 have the stride in the first 1x1
convolution of a stage and read BGR minus its mean; torchvision and mmaction2
have it in the 3x3 and read RGB minus its mean over its deviation.  Our model
reads pixels minus their mean, so the deviation and the order of colours go
into the first convolution, exactly; the stride is part of the model
(`ClipBertConfig.stride_in_1x1`), and a file that needs the other is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clipbert.config import ClipBertConfig
from clipbert.convert import Report, copy_weights, read_checkpoint
from clipbert.model import ClipBertForPreTraining, ClipBertForSequenceClassification, ClipBertModel
from clipbert.resnet import FrozenBatchNorm, ResNet50
from clipbert.tensor_pickle import read_tensor_pickle

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet, RGB in 0..255."""

_STATISTICS = r"(weight|bias|running_mean|running_var)"
_COUNTER = (r".*num_batches_tracked", "counter, not a weight")


@dataclass(frozen=True)
class Layout:
    """How somebody names the tensors of a ResNet-50."""

    name: str
    sign: str
    """Only files of this layout hold this key; a regular expression."""
    rules: tuple[tuple[str, str], ...]
    """Patterns of keys -> our names in `ResNet50`."""
    dropped: tuple[tuple[str, str], ...]
    """Patterns of keys that have no use here, and why."""
    stride_in_1x1: bool
    """Caffe2's convention, else torchvision's."""


def _stages(pattern: str, ours: str) -> tuple[tuple[str, str], ...]:
    """One rule a stage for layouts that count stages from layer1 where ours count from res2."""
    return tuple((pattern.format(stage), ours.format(stage + 1)) for stage in range(1, 5))


def _layer_rules(stem: str, stem_norm: str, layer: str, conv: str, norm: str, shortcut: str, shortcut_norm: str) -> tuple[tuple[str, str], ...]:
    """Rules for torchvision's order of modules under the names given, `conv` and `norm` with the number of their place in a block."""
    block = layer + r"\.(\d+)\."
    return (
        (rf"{stem}\.weight", r"stem.conv1.weight"),
        (rf"{stem_norm}\.{_STATISTICS}", r"stem.conv1.norm.\1"),
        *_stages(rf"{block}{conv}\.weight", r"res{}.\1.conv\2.weight"),
        *_stages(rf"{block}{norm}\.{_STATISTICS}", r"res{}.\1.conv\2.norm.\3"),
        *_stages(rf"{block}{shortcut}\.weight", r"res{}.\1.shortcut.weight"),
        *_stages(rf"{block}{shortcut_norm}\.{_STATISTICS}", r"res{}.\1.shortcut.norm.\2"),
    )


_CAFFE2 = Layout(
    "Caffe2",
    r"res2_0_branch2a_w",
    (
        (r"conv1_w", r"stem.conv1.weight"),
        (r"res_conv1_bn_(s|b|rm|riv)", r"stem.conv1.norm.\1"),
        (r"res(\d)_(\d+)_branch(\w+)_w", r"res\1.\2.branch\3.weight"),
        (r"res(\d)_(\d+)_branch(\w+?)_bn_(s|b|rm|riv)", r"res\1.\2.branch\3.norm.\4"),
    ),
    (
        (r"fc1000_\w+|pred_\w+", "classifier"),
        (r"conv1_b", "bias before a norm, which detectron2 does not read either"),
        (r".*_momentum", "state of the optimizer"),
        (r"lr|model_iter", "state of the optimizer"),
    ),
    stride_in_1x1=True,
)  # fmt: skip
_DETECTRON2 = Layout(
    "detectron2",
    r"(backbone\.(bottom_up\.)?)?res2\.0\.conv1\.weight",
    ((r"(?:backbone\.(?:bottom_up\.)?)?((?:stem|res\d\.\d+)\.(?:conv\d|shortcut)\..+)", r"\1"),),
    (
        (r"(proposal_generator|roi_heads|sem_seg_head)\..+", "detection head"),
        (r"backbone\.(fpn_|top_block).+", "feature pyramid"),
        (r"(backbone\.(bottom_up\.)?)?(stem\.fc|linear|fc)\..+", "classifier"),
        (r"pixel_(mean|std)", "normalisation, which the model's configuration says"),
        _COUNTER,
    ),
    stride_in_1x1=True,
)  # fmt: skip
_TORCHVISION = Layout(
    "torchvision",
    r"layer1\.0\.conv1\.weight",
    _layer_rules("conv1", "bn1", "layer{}", r"conv(\d)", r"bn(\d)", r"downsample\.0", r"downsample\.1"),
    ((r"fc\.\w+", "classifier"), _COUNTER),
    stride_in_1x1=False,
)  # fmt: skip
_MMACTION2 = Layout(
    "mmaction2",
    r"backbone\.layer1\.0\.conv1\.conv\.weight",
    _layer_rules(
        r"backbone\.conv1\.conv", r"backbone\.conv1\.bn", r"backbone\.layer{}", r"conv(\d)\.conv", r"conv(\d)\.bn", r"downsample\.conv",
        r"downsample\.bn",
    ),
    ((r"cls_head\..+", "classifier"), (r"data_preprocessor\..+", "normalisation, which the model's configuration says"), _COUNTER),
    stride_in_1x1=False,
)  # fmt: skip
LAYOUTS = (_CAFFE2, _DETECTRON2, _TORCHVISION, _MMACTION2)
_CAFFE2_NAMES = {"branch1": "shortcut", "branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3"}
_CAFFE2_NORMS = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}


def load_resnet(model: ClipBertModel | ClipBertForPreTraining | ClipBertForSequenceClassification, path: str | Path) -> Report:
    """Load a ResNet-50 of any of `LAYOUTS` (.pkl, .pth, .safetensors) into the CNN of `model`; features equal the source's.

    Raises ValueError if the model has another CNN, other pixels or the stride
    elsewhere, and for a file of no known layout or that would execute code.
    """
    trunk = model if isinstance(model, ClipBertModel) else model.clipbert
    cnn = trunk.backbone.cnn
    if not isinstance(cnn, ResNet50):
        raise ValueError(f"weights of a ResNet-50 do not fit the backbone {trunk.config.backbone}; it needs resnet50-grid.")
    state, author = read_tensor_pickle(path) if Path(path).suffix == ".pkl" else (read_checkpoint(path), "")
    layout = _layout_of(state, path)
    stride_in_1x1 = layout.stride_in_1x1 and author != "torchvision"  # detectron2 renames torchvision's file and leaves the rest to the reader
    _check_model(trunk.config, stride_in_1x1, path)
    renamed, report = _renamed(state, layout)
    if not stride_in_1x1:
        renamed["stem.conv1.weight"] = (renamed["stem.conv1.weight"] / torch.tensor(PIXEL_STD)[:, None, None]).flip(1)
    copy_weights(cnn, renamed, ((r"(.+)", r"\1"),), ())
    return report


def _layout_of(state: Mapping[str, Tensor], path: str | Path) -> Layout:
    for layout in LAYOUTS:
        if any(re.fullmatch(layout.sign, key) for key in state):
            return layout
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise ValueError(f"{path} is no ResNet-50 in a layout of {known}; it holds {next(iter(state))}, for example.")


def _check_model(config: ClipBertConfig, stride_in_1x1: bool, path: str | Path) -> None:
    if config.stride_in_1x1 != stride_in_1x1:
        where = "1x1" if stride_in_1x1 else "3x3"
        raise ValueError(
            f"{path} has the stride of a stage in its {where} convolution; set stride_in_1x1 to {str(stride_in_1x1).lower()} in the model."
        )
    if tuple(config.pixel_mean) != PIXEL_MEAN or tuple(config.pixel_std) != (1.0, 1.0, 1.0):
        raise ValueError(f"{path} goes with pixel_mean {PIXEL_MEAN} and pixel_std 1 in the model, got {config.pixel_mean} and {config.pixel_std}.")


def _renamed(state: Mapping[str, Tensor], layout: Layout) -> tuple[dict[str, Tensor], Report]:
    """The tensors under our names; ValueError naming a key that no rule covers."""
    renamed, report = {}, Report()
    for key, value in state.items():
        name = next((re.sub(theirs, ours, key) for theirs, ours in layout.rules if re.fullmatch(theirs, key)), None)
        if reason := next((reason for pattern, reason in layout.dropped if re.fullmatch(pattern, key)), None):
            report.dropped[key] = reason
        elif name is None:
            raise ValueError(f"{key} has no place in a ResNet-50 of the {layout.name} layout.")
        else:
            renamed[_from_caffe2(name) if layout is _CAFFE2 else name] = value
            report.used.append(key)
    if layout is _CAFFE2:  # scale and bias alone: statistics that FrozenBatchNorm turns into exactly these
        for name in [name for name in renamed if name.endswith("norm.weight")]:
            mean, variance = (name.removesuffix("weight") + statistic for statistic in ("running_mean", "running_var"))
            renamed.setdefault(mean, torch.zeros_like(renamed[name]))
            renamed.setdefault(variance, torch.full_like(renamed[name], 1 - FrozenBatchNorm.eps))
    return renamed, report


def _from_caffe2(name: str) -> str:
    parts = [_CAFFE2_NAMES.get(part, part) for part in name.split(".")]
    return ".".join([*parts[:-1], _CAFFE2_NORMS.get(parts[-1], parts[-1])])
