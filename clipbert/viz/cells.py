"""Pictures of grid cells on the true pixels of a frame, alone and two side by side."""

from collections.abc import Sequence
from itertools import pairwise, product

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from clipbert.attribution import METHODS
from clipbert.cell_grid import CellGrid
from clipbert.faithfulness import rank_agreement
from clipbert.faithfulness_units import row_of, values_of
from clipbert.types import Attribution
from clipbert.viz.chart import Axis, Boxes, Chart, Picture, Row, Scale
from clipbert.viz.strip import frame_image, hatching
from clipbert.viz.style import clock, plain

OPACITY = 0.65
LARGEST_PICTURE = 1280  # pixels of the longer side
DIFFERENCE = "difference"
SLIVER = 0.01  # of a side
COMPARABLE_UNITS = ("nats", "share")


def cell_overlay(found: Attribution, pixels: UInt8[Tensor, "3 H W"], *, clip: int | None = None, frame: int = 0, opacity: float = OPACITY) -> Chart:
    """A clip's cells over a frame of it, `pixels` at the source's size, as hatched squares where they lie on padding.

    `clip` (counted from 0; default: the only one explained) and `frame` of that
    clip say which; where the method reaches single frames, the values are that
    frame's.  Raises ValueError for an attribution of something else, or for
    pixels of another size.
    """
    row, grid = _row_and_grid(found, pixels, clip)
    cells, index, method = found.values[row], found.clip_index[row], METHODS[found.method]
    alone = cells if cells.ndim == 2 else _frame_of(cells, frame)
    rows = _cell_rows(alone, grid, {"clip": index + 1, "frame": frame + 1})
    scale = Scale.of(cells.flatten().tolist(), signed=method.signed, unit=method.unit)
    which = f"frame {frame + 1}{_seconds(found, index, frame)} of clip {index + 1}" + ("" if cells.ndim == 3 else ", one map for all its frames")
    return Chart(
        f"{found.method} for “{plain(found.target, 60)}”", found.model,
        f"{method.about}; {which}; score: {plain(found.value_function, 120)}; {_on_padding(alone, grid)}", rows, *_pixel_axes(grid),
        (_picture(pixels, grid), Boxes(rows, "value", _hover(len(rows), method.unit), scale, opacity=opacity)),
    )  # fmt: skip


def cell_comparison(
    first: Attribution, second: Attribution, pixels: UInt8[Tensor, "3 H W"], *, clip: int | None = None, frame: int = 0, opacity: float = OPACITY
) -> Chart:
    """Two maps of one clip on one colour scale, of two methods, models or texts, and the first less the second.

    Maps of single frames are summed over frames.  In units that cannot be
    compared each map is shown as shares of the sum of its absolute values; on
    different grids, as those of two models can be, as such shares by the area
    of a cell.  Raises ValueError as `cell_overlay` and `rank_agreement` do.
    """
    (row, grid), (other_row, other_grid) = _row_and_grid(first, pixels, clip), _row_and_grid(second, pixels, clip)
    grids, values = (grid, other_grid), (values_of(first, row).reshape(grid.shape), values_of(second, other_row).reshape(other_grid.shape))
    alike = _alike(grid, other_grid)
    maps, unit = _comparable(first, values[0], second, values[1]) if alike else _by_area(values, grids)
    names = _names(first, second)
    signed = any(METHODS[found.method].signed for found in (first, second))
    scale = Scale.of([value for cells in maps for value in cells.flatten().tolist()], signed=signed, unit=unit)
    both = [line for name, cells, own in zip(names, maps, grids, strict=True) for line in _cell_rows(cells, own, {"map": name})]
    less = _cell_rows(maps[0] - maps[1], grid, {"map": DIFFERENCE}) if alike else _difference_rows(maps, grids)
    change = Scale.of([line["value"] for line in less], signed=True, unit=f"Δ {unit}")
    index, grid = first.clip_index[row], max(grids, key=lambda one: one.canvas)
    hover, models = _hover(len(less), unit), dict.fromkeys((first.model, second.model))
    return Chart(
        f"Clip {index + 1}: {names[0]} beside {names[1]}", " and ".join(models),
        f"{_told(first)}; {_told(second)}; difference: the first less the second; {_agreement(first, second, clip)}; "
        f"the picture is frame {frame + 1}{_seconds(first, index, frame)}",
        [*both, *less], *_pixel_axes(grid),
        (_picture(pixels, grid), Boxes(both, "value", hover, scale, opacity=opacity), Boxes(less, "value", hover, change, opacity=opacity)),
        panels="map",
    )  # fmt: skip


def _row_and_grid(found: Attribution, pixels: Tensor, clip: int | None) -> tuple[int, CellGrid]:
    if found.level != "cells":
        raise ValueError(f"this picture is of cells, and {found.method} explains {found.level}.")
    if found.grid is None:
        raise ValueError("the attribution does not say where its cells lie, since the video's frame size was not known; encode the video again.")
    if tuple(pixels.shape[-2:]) != tuple(found.grid.frame_size):
        height, width = found.grid.frame_size
        raise ValueError(f"pixels must be of a frame at the source's size, {height} x {width}, got {pixels.shape[-2]} x {pixels.shape[-1]}.")
    return row_of(found, clip), found.grid


def _frame_of(cells: Float[Tensor, "T h w"], frame: int) -> Float[Tensor, "h w"]:
    if not 0 <= frame < len(cells):
        raise ValueError(f"the clip's frames are numbered 0 to {len(cells) - 1}, so there is no frame {frame}.")
    return cells[frame]


def _cell_rows(cells: Float[Tensor, "h w"], grid: CellGrid, about: Row) -> list[Row]:
    """A row for each cell, row by row; rows, columns and ranks count from 1, boxes reach over the padding."""
    (height, width), (lines, columns) = grid.canvas, grid.shape
    ranks = 1 + (cells.flatten()[None] > cells.flatten()[:, None]).sum(dim=1)
    return [
        about | {
            "row": row + 1, "column": col + 1, "value": value, "rank": rank, "left": width * col / columns, "top": height * row / lines,
            "right": width * (col + 1) / columns, "bottom": height * (row + 1) / lines, "where": _where(grid, row, col),
        }
        for (row, col), value, rank in zip(product(range(lines), range(columns)), cells.flatten().tolist(), ranks.tolist(), strict=True)
    ]  # fmt: skip


def _where(grid: CellGrid, row: int, col: int) -> str:
    box = grid.box(row, col)
    return "padding alone" if box is None else "pixels x {0:.0f}–{2:.0f}, y {1:.0f}–{3:.0f}".format(*box)


def _hover(num_cells: int, unit: str) -> str:
    return f"row {{row}}, column {{column}}: {{value:+.4f}} {unit}\nrank {{rank}} of {num_cells}\n{{where}}"


def _pixel_axes(grid: CellGrid) -> tuple[Axis, Axis]:
    (height, width), (frame_height, frame_width) = grid.canvas, grid.frame_size
    return Axis("x (pixels)", limits=(0, width), ticks=(0, frame_width)), Axis("y (pixels)", limits=(height, 0), ticks=(0, frame_height))


def _picture(pixels: UInt8[Tensor, "3 H W"], grid: CellGrid) -> Picture:
    """The frame at the top left, the rest hatched so that nobody takes padding for a dark part."""
    (height, width), (frame_height, frame_width) = grid.canvas, grid.frame_size
    zoom = LARGEST_PICTURE / max(height, width)
    image = hatching(LARGEST_PICTURE).crop((0, 0, round(zoom * width), round(zoom * height)))
    image.paste(frame_image(pixels, (max(1, round(zoom * frame_width)), max(1, round(zoom * frame_height)))))
    return Picture(image, (width, height))


def _on_padding(cells: Float[Tensor, "h w"], grid: CellGrid) -> str:
    padding = grid.on_padding()
    if not padding.any():
        return "no cell lies on padding alone"
    share = float(cells.abs()[padding].sum() / cells.abs().sum().clamp(min=torch.finfo(cells.dtype).tiny))
    return f"{100 * share:.1f} % of |values| on the {int(padding.sum())} cells that show padding alone (hatched)"


def _seconds(found: Attribution, index: int, frame: int) -> str:
    return "" if found.times is None else f" ({clock(float(found.times[index, frame]))})"


def _comparable(first: Attribution, a: Tensor, second: Attribution, b: Tensor) -> tuple[tuple[Tensor, Tensor], str]:
    units = {METHODS[found.method].unit for found in (first, second)}
    if len(units) == 1 and units <= set(COMPARABLE_UNITS):
        return (a, b), units.pop()
    return (100 * a / _size(a), 100 * b / _size(b)), "% of all |values|"


Grids = tuple[CellGrid, CellGrid]


def _alike(first: CellGrid, second: CellGrid) -> bool:
    """Whether both have the same cells, up to what rounding a frame's size to pixels does to them."""
    return first.shape == second.shape and all(abs(a - b) < SLIVER * a for a, b in zip(first.canvas, second.canvas, strict=True))


def _lines(grids: Grids, axis: int) -> list[float]:
    """Where a row (axis 0) or a column of either grid ends; of lines that nearly meet the first."""
    ends = sorted(grid.canvas[axis] * k / grid.shape[axis] for grid in grids for k in range(grid.shape[axis] + 1))
    return [end for n, end in enumerate(ends) if not n or end - ends[n - 1] > SLIVER * ends[-1]]


def _by_area(values: tuple[Tensor, Tensor], grids: Grids) -> tuple[tuple[Tensor, Tensor], str]:
    """Each cell's share of all |values| over its share of the canvas: 1 where they are spread evenly."""
    dense = [cells / _size(cells) * cells.numel() for cells in values]
    canvases = [grid.canvas[0] * grid.canvas[1] for grid in grids]
    return (dense[0], dense[1] * canvases[0] / canvases[1]), "times an even share"


def _difference_rows(maps: tuple[Tensor, Tensor], grids: Grids) -> list[Row]:
    """The first map less the second on the pieces that the lines of both grids make; off its canvas a map is 0."""
    lines = [_lines(grids, axis) for axis in (0, 1)]

    def at(number: int, y: float, x: float) -> float:
        (height, width), (rows, columns) = grids[number].canvas, grids[number].shape
        return float(maps[number][int(y / height * rows), int(x / width * columns)]) if y < height and x < width else 0.0

    pieces: list[Row] = [
        {"map": DIFFERENCE, "row": row, "column": column, "left": left, "top": top, "right": right, "bottom": bottom}
        for row, (top, bottom) in enumerate(pairwise(lines[0]), 1)
        for column, (left, right) in enumerate(pairwise(lines[1]), 1)
    ]
    centres = [((piece["top"] + piece["bottom"]) / 2, (piece["left"] + piece["right"]) / 2) for piece in pieces]
    values = [at(0, y, x) - at(1, y, x) for y, x in centres]
    return [
        piece | {
            "value": value, "rank": 1 + sum(other > value for other in values),
            "where": "pixels x {left:.0f}–{right:.0f}, y {top:.0f}–{bottom:.0f}".format(**piece),
        }
        for piece, value in zip(pieces, values, strict=True)
    ]  # fmt: skip


def _size(values: Tensor) -> Tensor:
    return values.abs().sum().clamp(min=torch.finfo(values.dtype).tiny)


def _names(first: Attribution, second: Attribution) -> Sequence[str]:
    """Of the two panels, by the first thing in which they differ."""
    for name in ("method", "model", "target", "text"):
        if getattr(first, name) != getattr(second, name):
            return [plain(getattr(found, name), 40) for found in (first, second)]
    return ["the first", "the second"]


def _told(found: Attribution) -> str:
    return f"{found.method} of “{plain(found.target, 40)}”, {found.model}: {METHODS[found.method].about}"


def _agreement(first: Attribution, second: Attribution, clip: int | None) -> str:
    if first.grid is None or second.grid is None or not _alike(first.grid, second.grid):
        return "no rank agreement, since the models' cells lie differently"
    for found in (first, second):
        if len(values_of(found, row_of(found, clip)).unique()) == 1:
            return f"no rank agreement, since {found.method} gives all cells the same value"
    return f"rank agreement (Spearman) {rank_agreement(first, second, clip=clip):+.2f}"
