"""What the parts of a training step cost: decoding, CNN, transformer, head, backward."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from clipbert.cost_settings import CostSettings, inputs_of, loss_of, model_of, training_step
from clipbert.sampling import sample_clips
from clipbert.video import Video

STEP_PARTS = ("cnn", "transformer", "head", "backward")
VIDEO_SECONDS, VIDEO_SIZE = 10, (320, 240)


@dataclass(frozen=True)
class PartCost:
    """A part's median time, its parameters and its multiply-accumulates; None where it has none or they are not known.

    "decode" is of generated videos and lies outside the step, where data
    workers do it; "head" has the loss.
    """

    part: str
    milliseconds: float | None
    parameters: int | None
    macs: int | None


def part_costs(settings: CostSettings, parts: dict[str, float]) -> list[PartCost]:
    """In the order of the step; `parts` are the milliseconds of a measured point."""
    meta = torch.device("meta")
    model = model_of(settings, meta)
    inputs = inputs_of(settings, meta)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        loss_of(model, inputs)
    with FlopCounterMode(display=False) as training:
        loss_of(model, inputs).backward()
    by_module = {name: sum(counts.values()) for name, counts in forward.get_flop_counts().items()}
    of_model, whole = type(model).__name__, forward.get_total_flops()
    cnn, head = by_module[f"{of_model}.clipbert.backbone"], by_module[f"{of_model}.heads.match.mlp"]
    flops = {"cnn": cnn, "transformer": whole - cnn - head, "head": head, "backward": training.get_total_flops() - whole}
    sizes = {"cnn": _parameters(model.clipbert.backbone), "head": _parameters(model.heads["match"])}
    sizes["transformer"] = _parameters(model) - sizes["cnn"] - sizes["head"]
    return [
        PartCost(name, parts.get(name), sizes.get(name), flops[name] // 2 if name in flops else None) for name in ("decode", *STEP_PARTS)
    ]  # fmt: skip


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def timed_step(model: Any, inputs: dict[str, Tensor], settings: CostSettings, mark: Callable[[], Any]) -> list[Any]:
    """What `mark` returned at the start of a step, after each of STEP_PARTS where they follow one another, and at its end."""
    marks: list[Any] = []

    def note(*_: Any) -> None:
        marks.append(mark())

    def backward(loss: Tensor, _last: bool) -> None:
        if in_parts:
            note()
        loss.backward()

    in_parts = settings.mode == "one-pass"
    hooked = (model.clipbert.backbone.register_forward_hook, model.heads["match"].mlp.register_forward_pre_hook) if in_parts else ()
    hooks = [register(note) for register in hooked]
    try:
        model.zero_grad(set_to_none=True)
        note()
        training_step(model, inputs, settings, backward)
        note()
    finally:
        for hook in hooks:
            hook.remove()
    assert len(marks) == (len(STEP_PARTS) + 1 if in_parts else 2)
    return marks


def decode_milliseconds(settings: CostSettings) -> float:
    """Time to open a batch of generated H.264 videos and decode the clips of each, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "moving.mp4"
        _write_video(path)
        start = time.perf_counter()
        for _ in range(settings.batch_size):
            with Video.open(path, backend="pyav") as video:
                clips = sample_clips(video.timeline, num_clips=settings.num_clips, num_frames=settings.num_frames, fps=2.0, policy="stratified")
                video.frames_by_index(sorted({int(i) for clip in clips for i in clip.frame_index}))
        return 1000 * (time.perf_counter() - start)


def _write_video(path: Path) -> None:
    width, height = VIDEO_SIZE
    ramp = np.add.outer(np.arange(height), np.arange(width))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(25 * VIDEO_SECONDS):
            picture = (np.stack([ramp + i, ramp + 2 * i, ramp - i], axis=-1) % 256).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
