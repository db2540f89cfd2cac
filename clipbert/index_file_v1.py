"""The first format of index files, which is read and no more written: one safetensors file, features as float16, the rest as JSON in its header."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clipbert.index_entry import Entry
from clipbert.source import digest
from clipbert.types import EncodedVideo

FORMAT = "clipbert-index-1"


def is_first_format(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def read_first_format(path: Path) -> tuple[list[Entry], dict[str, Any]]:
    """The entries and what the file says about itself; raises ValueError where it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            header, entries = file.metadata(), []
            for row in json.loads(header["entries"]):
                video = row.pop("video")
                entries.append(Entry(video=_read_video(file.get_tensor(video["key"]), video), **row))
            return entries, json.loads(header["about"])
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no index of clipbert, or is damaged; make one with clipbert index FOLDER -o FILE.") from error


def _read_video(features: Tensor, about: dict[str, Any]) -> EncodedVideo:
    about = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}
    times, spans = (torch.tensor(about.pop(name), dtype=torch.float64) for name in ("times", "spans"))
    key = digest(about.pop("key"), str(features.dtype))  # rounded features have clip logits of their own in the predictor's cache
    about["clip_keys"] = tuple(digest(one, str(features.dtype)) for one in about.get("clip_keys", ()))
    return EncodedVideo(features=features, times=times, spans=spans, key=key, **about)
