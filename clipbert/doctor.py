"""What works on this machine, one line each."""

import hashlib
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from pathlib import Path

from clipbert.bundled import MODELS

PACKAGES = ("torch", "transformers", "av", "decord", "gradio", "jupyterlab", "ipywidgets", "plotly", "matplotlib", "captum", "deepspeed")


def examine() -> dict[str, str]:
    """Name -> state, in reading order; what is missing says how to get it."""
    found = {"python": f"{platform.python_version()} on {platform.machine()}, {sys.platform}"}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = f"missing: {_cure(package)}"
    found["video back end pyav"] = _pyav()
    found["video back end decord"] = _decord()
    found["ffmpeg program"] = shutil.which("ffmpeg") or "absent, and not needed"
    found |= _devices()
    for name in ("real", "synthetic"):
        weights = MODELS / name / "model.safetensors"
        found[f"model {name}"] = _weights(weights) if weights.is_file() else "not bundled"
    return found


def _cure(package: str) -> str:
    if package == "decord" and platform.machine().lower() not in ("x86_64", "amd64"):
        return "it has no wheel for this processor; pyav does all of its work"
    return 'pip install "clipbert[all]", or make setup in a checkout'


def _pyav() -> str:
    import av

    codecs = [name for name in ("h264", "hevc", "vp9", "av1", "mpeg4", "gif") if name in av.codecs_available]
    return f"works: {', '.join(codecs)}"


def _decord() -> str:
    if importlib.util.find_spec("decord") is None:
        return f"missing: {_cure('decord')}"
    return "works on request (--backend decord); refuses HEVC, AV1, GIF and MPEG-TS, which it gets wrong"


def _devices() -> dict[str, str]:
    import torch

    from clipbert.per_clip import computes_bfloat16

    cpu = torch.device("cpu")
    bf16 = "computes in bfloat16 (--dtype auto)" if computes_bfloat16(cpu) else "float32 only"
    found = {"device cpu": f"{torch.get_num_threads()} threads, {bf16}"}
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found["device cuda"] = f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    else:
        found["device cuda"] = "none; everything runs on the CPU"
    return found


def _weights(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{path.stat().st_size / 1e6:.1f} MB, sha256 {digest}"
