"""Cells over the frames of all clips in the order of time, as a moving picture."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from clipbert.attribution import METHODS
from clipbert.cell_grid import CellGrid
from clipbert.config import check_known
from clipbert.types import Attribution
from clipbert.viz.cells import OPACITY
from clipbert.viz.chart import Scale
from clipbert.viz.prints import colors_of
from clipbert.viz.strip import INK, PAGE, fitting, font_of, frame_image
from clipbert.viz.style import clock, plain

ANIMATIONS = ("gif", "mp4")
LONGER_SIDE = 480  # pixels of a frame
NARROWEST = 340  # pixels of the page, so that its text has room
LINE, TEXT, MARGIN = 18, 12, 6
BAR = (90, 9)  # pixels of the scale's colours
MILLISECONDS = 400  # of each frame
EDGE = (128, 128, 128, 150)
CODECS = ("libx264", "mpeg4")  # the first plays in browsers; not every build of FFmpeg has it


def save_animation(found: Attribution, clip_frames: Callable[[int], UInt8[Tensor, "T 3 H W"]], path: str | Path, *, opacity: float = OPACITY) -> None:
    """Write every explained clip's frames with its cells over them, each with the clip's number and its seconds, as a .gif or .mp4.

    `clip_frames` gives the frames of a clip, counted from 0, at the source's
    size; they are asked for one clip at a time.  One colour scale holds for all
    frames.  Raises ValueError for another suffix, for an attribution of
    something other than cells, and where the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    check_known("suffix of an animation", suffix, ANIMATIONS)
    pages = overlay_pages(found, clip_frames, opacity=opacity)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        (_write_gif if suffix == "gif" else _write_mp4)(pages, unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise ValueError(f"cannot write the animation to {path}: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def overlay_pages(
    found: Attribution, clip_frames: Callable[[int], UInt8[Tensor, "T 3 H W"]], *, opacity: float = OPACITY, longer_side: int = LONGER_SIDE
) -> Iterator[Image.Image]:
    """A page for each frame of the explained clips in the order of time: the frame, its cells without those on padding, and what they are."""
    if found.cells is None or found.grid is None:
        raise ValueError(f"an animation shows cells where they lie, and {found.method} has none or does not know the frame's size.")
    method, cells, grid = METHODS[found.method], found.cells, found.grid
    scale = Scale.of(cells.flatten().tolist(), signed=method.signed, unit=method.unit)
    about = f"{found.method} for “{plain(found.target, 40)}”, model {plain(found.model, 30)}"
    padding = found.on_padding() or 0.0
    num_clips = len(found.spans) if found.spans is not None else max(found.clip_index) + 1
    starts = {clip: float(found.times[clip, 0]) if found.times is not None else clip for clip in found.clip_index}
    for clip in sorted(found.clip_index, key=lambda clip: starts[clip]):
        values = cells[found.clip_index.index(clip)]
        for t, pixels in enumerate(clip_frames(clip)):
            picture = _overlaid(pixels, values if values.ndim == 2 else values[t], grid, scale, opacity, longer_side)
            seconds = f" · {clock(float(found.times[clip, t]))}" if found.times is not None else ""
            yield _page(picture, (f"clip {clip + 1} of {num_clips}{seconds}", about), scale, f"{100 * padding:.0f} % on padding" if padding else "")


def _overlaid(
    pixels: UInt8[Tensor, "3 H W"], values: Float[Tensor, "h w"], grid: CellGrid, scale: Scale, opacity: float, longer_side: int
) -> Image.Image:
    height, width = pixels.shape[-2:]
    zoom = longer_side / max(height, width)
    frame = frame_image(pixels, (max(1, round(zoom * width)), max(1, round(zoom * height)))).convert("RGBA")
    above, colors = Image.new("RGBA", frame.size), colors_of(scale)
    draw = ImageDraw.Draw(above)
    for n, value in enumerate(values.flatten().tolist()):
        box = grid.box(n // grid.shape[1], n % grid.shape[1])
        if box is not None:
            color = tuple(round(255 * part) for part in (*colors(scale.share(value))[:3], scale.opacity(value, opacity)))
            draw.rectangle(tuple(round(zoom * edge) for edge in box), fill=color, outline=EDGE)  # type: ignore[arg-type]
    return Image.alpha_composite(frame, above).convert("RGB")


def _page(picture: Image.Image, lines: tuple[str, ...], scale: Scale, remark: str) -> Image.Image:
    """The picture on white, text and the scale below it; both sides even, as video wants them."""
    width, height = max(picture.width, NARROWEST), picture.height + LINE * (len(lines) + 1) + MARGIN
    page = Image.new("RGB", (width + width % 2, height + height % 2), PAGE)
    page.paste(picture, ((page.width - picture.width) // 2, 0))
    draw, font, top = ImageDraw.Draw(page), font_of(TEXT), picture.height + 2
    for line in lines:
        draw.text((MARGIN, top), fitting(line, font, page.width - 2 * MARGIN), INK, font)
        top += LINE
    at = MARGIN
    for part in (f"{scale.low:.2g}", _ramp(scale), f"{scale.high:{'+' * scale.signed}.2g} {scale.unit}{f'; {remark}' * bool(remark)}"):
        if isinstance(part, Image.Image):
            page.paste(part, (at, top + 4))
            at += part.width + MARGIN
        else:
            draw.text((at, top), fitting(part, font, page.width - MARGIN - at), INK, font)
            at += round(font.getlength(part)) + MARGIN
    return page


def _ramp(scale: Scale) -> Image.Image:
    colors = (255 * colors_of(scale)(np.linspace(0, 1, BAR[0]))[None, :, :3]).round().astype(np.uint8)
    return Image.fromarray(np.repeat(colors, BAR[1], axis=0))


def _write_gif(pages: Iterator[Image.Image], path: Path) -> None:
    """Each page with a palette of its own that reaches to the rare colours, which are those of the scale; found in a ninth of the pixels."""
    palettes = ((page, page.reduce(3).quantize(256, Image.Quantize.MAXCOVERAGE)) for page in pages)
    reduced = (page.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for page, palette in palettes)
    first = next(reduced)
    first.save(path, format="GIF", save_all=True, append_images=reduced, duration=MILLISECONDS, loop=0)


def _write_mp4(pages: Iterator[Image.Image], path: Path) -> None:
    import av

    first = next(pages)
    with av.open(str(path), "w", format="mp4") as container:
        codec = next(name for name in CODECS if name in av.codecs_available)
        stream: Any = container.add_stream(codec, rate=Fraction(1000, MILLISECONDS), width=first.width, height=first.height, pix_fmt="yuv420p")
        for page in chain([first], pages):
            container.mux(stream.encode(av.VideoFrame.from_image(page)))
        container.mux(stream.encode())
