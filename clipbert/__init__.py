"""ClipBERT: video-and-language learning by sparse sampling (Lei et al., CVPR 2021), as a library and an explorer."""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ClipBertConfig": "config",
    "SamplingConfig": "config",
    "HeadConfig": "config",
    "ClipBertModel": "model",
    "ClipBertForPreTraining": "model",
    "ClipBertForSequenceClassification": "model",
    "ClipBertProcessor": "processing",
    "Predictor": "predict",
    "aggregate": "aggregation",
    "attribute": "attribution",
    "Video": "video",
    "VideoError": "video",
    "VideoIndex": "retrieval",
    "sample_clips": "sampling",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name at first use, so that `import clipbert` and `clipbert --help` cost nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'clipbert' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"clipbert.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
