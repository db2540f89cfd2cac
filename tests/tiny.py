"""Tiny deterministic models for tests."""

from typing import Any

import torch

from clipbert.config import ClipBertConfig, HeadConfig, SamplingConfig
from clipbert.model import ClipBertForSequenceClassification
from clipbert.processing import ClipBertProcessor

HEADS = {
    "qa": HeadConfig("classifier", 4, ("red", "green", "blue", "white"), pooled_path=True),
    "choice": HeadConfig("multiple_choice", 1),
    "match": HeadConfig("retrieval", 2),
    "count": HeadConfig("regression", 1),
    "contrast": HeadConfig("contrastive", 1),
}
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 30522,
    "max_position_embeddings": 40,
}
RESNET = {"stem_channels": 4, "bottleneck_channels": 2, "res2_channels": 8, "image_size": 64}


def tiny_model(seed: int = 0, **settings: Any) -> ClipBertForSequenceClassification:
    torch.manual_seed(seed)
    config = ClipBertConfig(**{**SIZES, **RESNET, "heads": HEADS, **settings})
    model = ClipBertForSequenceClassification(config).eval()
    with torch.no_grad():  # untrained logits are near zero: larger weights let answers differ
        for name, parameter in model.named_parameters():
            if "heads" in name and parameter.ndim == 2:
                parameter.mul_(20)
    return model


def tiny_processor(model: ClipBertForSequenceClassification, **sampling: Any) -> ClipBertProcessor:
    return ClipBertProcessor.from_config(model.config, sampling=SamplingConfig(**{"num_clips": 4, "num_frames": 2, "fps": 2.0, **sampling}))


def tiny_inputs(num_videos: int = 2, num_clips: int = 3, num_frames: int = 2, seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([7, 4, 5, 6])[:num_videos]
    return {
        "pixel_values": 50 * torch.randn(num_videos, num_clips, num_frames, 3, 64, 64, generator=generator),
        "input_ids": torch.randint(1000, 2000, (num_videos, 7), generator=generator) * (torch.arange(7) < lengths[:, None]),
        "attention_mask": torch.arange(7) < lengths[:, None],
    }
