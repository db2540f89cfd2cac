"""A tiny model and a video of random features, for what looks inside a clip."""

from dataclasses import replace
from typing import Any

import torch
from conftest import GOLDEN
from tiny import tiny_model, tiny_processor

from clipbert.predict import Predictor
from clipbert.types import EncodedVideo

QUESTION = "what colour?"
TARGETS: dict[str, dict[str, Any]] = {
    "answer": {"target": "red"},
    "versus": {"target": "red", "versus": "blue"},
    "choices": {"choices": ["red dog", "a blue car here"], "target": "a blue car here"},
    "match": {"task": "match"},
}


def inside_predictor() -> Predictor:
    model = tiny_model(image_size=192)  # 3 x 3 cells
    return Predictor(model, tiny_processor(model, num_clips=3), name="tiny")


def random_video(predictor: Predictor) -> EncodedVideo:
    """Of random features: what a tiny CNN sees is nearly the same everywhere."""
    encoded = predictor.encode(GOLDEN / "video_a30.mp4")
    features = torch.randn(encoded.features.shape, generator=torch.Generator().manual_seed(0))
    return replace(encoded, features=features, key="random", clip_keys=("random 0", "random 1", "random 2"))
