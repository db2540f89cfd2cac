"""The tensors recorded from the official code, as models and inputs of ours."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from clipbert.convert import convert_official
from clipbert.model import ClipBertForPreTraining, ClipBertForSequenceClassification

GOLDEN = Path(__file__).parent / "golden"
PIXEL_MEAN = torch.tensor([123.675, 116.28, 103.53]).reshape(3, 1, 1)


@dataclass
class GoldenSet:
    about: dict
    tensors: dict[str, Tensor]
    model: ClipBertForPreTraining | ClipBertForSequenceClassification

    @property
    def pixel_values(self) -> Tensor:
        """float[B, N, T, 3, H, W]"""
        b, n, t = (self.about[k] for k in ("B", "n_clips", "T"))
        frames = load_file(GOLDEN / "frames.safetensors")["frames_uint8"]
        return (frames.float() - PIXEL_MEAN).unflatten(1, (n, t))[:b]

    @property
    def text(self) -> tuple[Tensor, Tensor]:
        return self.tensors["in.text_input_ids"], self.tensors["in.text_input_mask"]

    @property
    def video_index(self) -> Tensor:
        counts = torch.tensor(self.about["n_examples_list"])
        return torch.arange(len(counts)).repeat_interleave(counts)


@cache
def golden(name: str, task: str) -> GoldenSet:
    about = json.loads((GOLDEN / f"{name}.json").read_text())
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    state = load_file(GOLDEN / "state_common.safetensors") | {k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")}
    model, _ = convert_official(state, task, num_heads=about["config"]["num_attention_heads"])
    return GoldenSet(about, tensors, model)
