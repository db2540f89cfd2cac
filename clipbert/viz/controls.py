"""What the notebook's explorer is set by: core ipywidgets, by name."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from clipbert.attribution import METHODS
from clipbert.config import check_known
from clipbert.sampling_config import AGGREGATIONS, POLICY_NAMES
from clipbert.session import ExplorerSession

SETTINGS = ("num_clips", "num_frames", "fps", "policy", "seed", "aggregation")
ROWS = (("video", "question", "choices"), ("num_clips", "num_frames", "fps"), ("policy", "seed", "aggregation"), ("method", "target", "clip"))
ANY_ANSWER = "the answer it gives"


def named_videos(videos: Any) -> dict[str, Path]:
    """Name -> file of what a user gave: a file, several, or such a mapping."""
    if isinstance(videos, Mapping):
        return {name: Path(path) for name, path in videos.items()}
    paths = [Path(videos)] if isinstance(videos, str | Path) else [Path(path) for path in videos]
    if not paths:
        raise ValueError("videos must name at least one file, got none.")
    if repeated := [name for name, number in Counter(path.name for path in paths).items() if number > 1]:
        raise ValueError(f"two videos are called {repeated[0]}; name them yourself: {{name: file, ...}}.")
    return {path.name: path for path in paths}


def values_of(session: ExplorerSession) -> dict[str, Any]:
    """What the controls are set to for a session."""
    return {"question": session.question, "choices": "\n".join(session.candidates), **{name: getattr(session, name) for name in SETTINGS}}


def upload_button() -> widgets.FileUpload:
    return widgets.FileUpload(accept=".mp4,.webm,.mov,.mkv,.avi,.gif,.zip", description="Open video or session zip")


def controls_for(videos: list[str], value: Mapping[str, Any]) -> dict[str, Any]:
    """The widgets by name, each set to its value."""
    check_known("method", value["method"], tuple(METHODS))
    whole, wide = {"layout": widgets.Layout(width="31%")}, {"layout": widgets.Layout(width="31%"), "continuous_update": False}
    return {
        "video": widgets.Dropdown(options=videos, description="video", **whole),
        "question": widgets.Text(value["question"], description="question", **wide),
        "choices": widgets.Textarea(value["choices"], description="choices", placeholder="one a line; empty: open-ended", rows=1, **wide),
        "num_clips": widgets.IntSlider(value["num_clips"], 1, max(32, value["num_clips"]), description="N_test", **wide),
        "num_frames": widgets.IntSlider(value["num_frames"], 1, max(16, value["num_frames"]), description="T", **wide),
        "fps": widgets.BoundedFloatText(value["fps"], min=0.01, max=1000, description="fps", **wide),
        "policy": widgets.Dropdown(options=POLICY_NAMES, value=value["policy"], description="policy", **whole),
        "seed": widgets.BoundedIntText(value["seed"], min=0, max=2**31 - 1, description="seed", **wide),
        "aggregation": widgets.Dropdown(options=AGGREGATIONS, value=value["aggregation"], description="aggregator", **whole),
        "method": widgets.Dropdown(options=list(METHODS), value=value["method"], description="method", **whole),
        "target": widgets.Text(value["target"], description="target", placeholder=ANY_ANSWER, **wide),
        "clip": widgets.BoundedIntText(value["clip"], min=0, max=256, description="look into", **wide),
    }
