"""The maps as files: the picture of each level, its numbers, and all that loading it again needs."""

from pathlib import Path
from typing import TYPE_CHECKING

from app.attribution.explained import CELLS, CLIPS, FRAMES, TOKENS, Explained, Look, explained, opened
from app.pictures import Writer
from app.shared import Shared
from app.state import Session

if TYPE_CHECKING:
    from clipbert.types import Attribution
    from clipbert.viz.figures import Chart

PICTURES, CSV, NPZ = ("png", "svg", "pdf"), "csv", "npz"
LEFT_OUT = Look("clip_leave_one_out")


def level_writers(shared: Shared, level: str) -> dict[str, Writer]:
    """A writer for each suffix, of the map that is open at a level."""

    def write_picture(session: Session, path: Path) -> None:
        from clipbert.viz.figures import save

        save(_chart(shared, session, level), path)

    def write_numbers(session: Session, path: Path) -> None:
        from clipbert.attribution_table import write_csv

        write_csv(open_map(session, level)[2], path)

    def write_arrays(session: Session, path: Path) -> None:
        open_map(session, level)[2].save(path)

    return {**dict.fromkeys(PICTURES, write_picture), CSV: write_numbers, NPZ: write_arrays}


def clips_chart(shown: Explained, look: Look) -> "Chart":
    """Of a map of clips that was computed, as was the one that leaves each out."""
    from clipbert.attribution import METHODS
    from clipbert.viz.figures import clip_values

    found, left_out, about = shown.known_map(look), shown.known_map(LEFT_OUT), METHODS[look.method]
    assert found is not None and left_out is not None and left_out.clips is not None
    return clip_values(found, left_out.clips, shown.video.spans, model=shown.model, duration=shown.video.duration, about=about.about, unit=about.unit)


def open_map(session: Session, level: str) -> "tuple[Explained, Look, Attribution]":
    """Raises ValueError where none is open."""
    shown, look = explained(session), opened(session).looks.get(level)
    found = shown.known_map(look) if look is not None else None
    if look is None or found is None:
        raise ValueError("this map is still being computed; save it when it is there.")
    return shown, look, found


def _chart(shared: Shared, session: Session, level: str) -> "Chart":
    from clipbert.source import source_of
    from clipbert.viz.figures import cell_overlay, frame_values, token_chips

    shown, look, found = open_map(session, level)
    if level == CLIPS:
        return clips_chart(shown, look)
    if level != CELLS:
        return {FRAMES: frame_values, TOKENS: token_chips}[level](found)
    frame = opened(session).frame
    assert look.clip is not None and frame is not None
    pixels = shared.engine.predictor().pictures(source_of(shown.path, None), shown.clips[look.clip])[frame]
    return cell_overlay(found, pixels, frame=frame)
