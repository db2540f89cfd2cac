"""The model a run starts from: its configuration, its weights, its frozen parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from clipbert.config import ClipBertConfig, HeadConfig, check_known
from clipbert.convert import load_bert
from clipbert.efficientnet import EfficientNetLite, load_efficientnet_lite
from clipbert.initialise import load_resnet
from clipbert.model import ClipBertForPreTraining, ClipBertForSequenceClassification
from train.sections import ModelSettings

FIELDS = tuple(name for name in ClipBertConfig.__annotations__ if name not in ("model_type", "heads"))


def start_model(settings: ModelSettings, heads: dict[str, HeadConfig], *, seed: int) -> tuple[Any, list[str]]:
    """The model with `heads` (none: for pre-training), and lines on what is not from a file.

    Raises ValueError for a file that does not fit.
    """
    torch.manual_seed(seed)
    config, loaded = _config(settings, heads), {}
    model = ClipBertForSequenceClassification(config) if heads else ClipBertForPreTraining(config)
    if settings.start:
        loaded = load_file(Path(settings.start) / "model.safetensors")
    lines = _load(model, loaded, settings.start) if loaded else []
    if settings.bert:
        load_bert(model, settings.bert)
    if settings.resnet:
        load_resnet(model, settings.resnet)
    if settings.efficientnet:
        cnn = model.clipbert.backbone.cnn
        if not isinstance(cnn, EfficientNetLite):
            raise ValueError(f"model.efficientnet has no effect on the backbone {config.backbone}; set model.config.backbone.")
        load_efficientnet_lite(cnn, settings.efficientnet)
    if "cnn" in settings.freeze:
        model.clipbert.backbone.cnn.requires_grad_(False)
    if "words" in settings.freeze:
        model.clipbert.fusion.text.word_embeddings.requires_grad_(False)
    if "grid_encoder" in settings.freeze:
        model.clipbert.backbone.grid_encoder.requires_grad_(False)
    return model, lines


def _config(settings: ModelSettings, heads: dict[str, HeadConfig]) -> ClipBertConfig:
    for name in settings.config:
        check_known("model.config", name, FIELDS)
    values: dict[str, Any] = {}
    if settings.start:
        if not (Path(settings.start) / "model.safetensors").is_file():
            raise ValueError(f"model.start: {settings.start} is no folder of a saved clipbert model.")
        before = ClipBertConfig.from_pretrained(settings.start)
        values = {name: getattr(before, name) for name in FIELDS}
        values["pixel_random_sampling_size"] = 0  # of pre-training alone, as in the original; model.config may keep it
        heads = {name: _with_calibration(head, (before.heads or {}).get(name)) for name, head in heads.items()}
    return ClipBertConfig(**{**values, **settings.config, "heads": heads})


def _with_calibration(head: HeadConfig, before: dict[str, Any] | None) -> HeadConfig:
    """`head`, with the pooled path that the saved head has."""
    return replace(head, pooled_path=head.pooled_path or before["pooled_path"]) if before and before["kind"] == head.kind == "classifier" else head


def _load(model: Any, loaded: dict[str, torch.Tensor], folder: str) -> list[str]:
    """The whole trunk, which must fit but for the fusion of frames, and the heads that do; lines name the others."""
    own = model.state_dict()
    fitting = {name: value for name, value in loaded.items() if name in own and own[name].shape == value.shape}
    missing = [name for name in own if name not in fitting]
    fusion_is_new = any(name.startswith("clipbert.temporal_fusion.") for name in missing)
    wrong = [name for name in missing if name.startswith("clipbert.") and not name.startswith("clipbert.temporal_fusion.")]
    if wrong:
        raise ValueError(f"model.start: {folder} has nothing that fits {wrong[0]}; its sizes differ from this model's.")
    model.load_state_dict(fitting, strict=False)
    if fusion_is_new:
        _start_as_mean(model.clipbert.temporal_fusion)
    dropped = sorted({name.rpartition(".")[0] for name in loaded if name not in fitting})
    new = sorted({name.rpartition(".")[0] for name in missing if not name.startswith("clipbert.")})
    return (
        [f"{folder}: not used: {', '.join(dropped)}"] * bool(dropped)
        + ["temporal fusion starts as the mean of frames"] * fusion_is_new
        + [f"starts at random: {', '.join(new)}"] * bool(new)
    )


def _start_as_mean(fusion: torch.nn.Module) -> None:
    """Let 3D convolutions that join a model of single frames (Table 2) pass its maps on, which are not negative after the paper's grid encoder."""
    for module in fusion.modules():
        if isinstance(module, torch.nn.Conv3d):
            torch.nn.init.dirac_(module.weight)
            torch.nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]  both convolutions have one
