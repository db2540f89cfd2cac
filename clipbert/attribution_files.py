"""An attribution as a file, of the kind that its suffix names: numbers, a picture, or an animation of all clips."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from clipbert.types import Attribution, EncodedVideo

NUMBERS, PICTURES, ANIMATIONS = (".npz", ".csv"), (".png", ".svg", ".pdf", ".html"), (".gif", ".mp4")


def check_suffix(path: Path) -> None:
    """Raises ValueError unless the suffix is one that `write_attribution` knows."""
    known = (*NUMBERS, *PICTURES, *ANIMATIONS)
    if path.suffix.lower() not in known:
        raise ValueError(f"--out writes {', '.join(known[:-1])} or {known[-1]}, got {path}; name it {path.with_suffix('.npz')}.")


def check_fits(path: Path, method: str, level: str, num_clips: int) -> None:
    """Raises ValueError where what the suffix names cannot show what the method explains, of so many clips."""
    suffix = path.suffix.lower()
    if suffix in ANIMATIONS and level != "cells":
        raise ValueError(f"{suffix} animates cells over the frames, and {method} explains {level}; take a method of cells, or write a .png.")
    if suffix in PICTURES and level != "clips" and num_clips > 1:
        also = ", or write a .gif" if level == "cells" else ""
        raise ValueError(f"{suffix} shows one clip, and --clip names {num_clips}; name one{also}, or a .csv of all.")


def write_attribution(
    found: "Attribution", path: Path, *, video: "EncodedVideo", clip_frames: "Callable[[int], UInt8[Tensor, 'T 3 H W']]",
    explain: "Callable[[str], Attribution]",
) -> None:  # fmt: skip
    """Write what the suffix names.

    `clip_frames` gives a clip's frames at the source's size, and `explain` the
    same score's attribution by another method.  Raises ValueError as the checks
    do, and where the file cannot be written.
    """
    from clipbert.attribution_table import write_csv

    suffix = path.suffix.lower()
    check_suffix(path)
    check_fits(path, found.method, found.level, len(found.clip_index))
    try:
        if suffix == ".npz":
            found.save(path)
        elif suffix == ".csv":
            write_csv(found, path)
        elif suffix in ANIMATIONS:
            from clipbert.viz.figures import save_animation

            save_animation(found, clip_frames, path)
        else:
            _save_picture(found, path, video, clip_frames, explain)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}.") from error


def _save_picture(
    found: "Attribution", path: Path, video: "EncodedVideo", clip_frames: "Callable[[int], UInt8[Tensor, 'T 3 H W']]",
    explain: "Callable[[str], Attribution]",
) -> None:  # fmt: skip
    from clipbert.attribution import METHODS
    from clipbert.viz.figures import cell_overlay, clip_values, frame_values, save, token_chips

    if found.level == "clips":
        left_out = explain("clip_leave_one_out").clips
        assert left_out is not None
        about = METHODS[found.method]
        chart = clip_values(found, left_out, video.spans, model=found.model, duration=video.duration, about=about.about, unit=about.unit)
    elif found.level == "cells":
        frame = _telling_frame(found)
        chart = cell_overlay(found, clip_frames(found.clip_index[0])[frame], frame=frame)
    else:
        chart = {"frames": frame_values, "tokens": token_chips}[found.level](found)
    save(chart, path)


def _telling_frame(found: "Attribution") -> int:
    """The frame with the largest |values| in all; the first where all share one map."""
    assert found.cells is not None
    return int(found.cells[0].abs().sum(dim=(-1, -2)).argmax()) if found.cells.ndim == 4 else 0
