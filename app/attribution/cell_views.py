"""Grid cells as a heat overlay on the true pixels of a frame: every cell can be pointed at, focused and read."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from app.attribution.method_names import is_signed, unit_html

if TYPE_CHECKING:
    from torch import Tensor

    from clipbert.cell_grid import CellGrid
    from clipbert.types import Attribution

OVERLAY = (Path(__file__).parent / "overlay.js").read_text(encoding="utf-8")
VIEWS = (("original", "Frame"), ("overlay", "Overlay"), ("heat", "Heat"))
NAMED_RANKS = 3
PADDING_SCALE = 0.5
PADDING = "Hatched, drawn half as large: cells that show padding alone, which the model is given below or beside the frame."
KEYS = "Point at a cell, or move with the arrow keys, to read it."


@dataclass(frozen=True)
class Cell:
    """One cell of a map.

    Row and column count from 1 at the top left, ranks from the highest value; `box` is in source pixels, None on padding alone.
    """

    row: int
    column: int
    value: float
    rank: int
    box: tuple[float, float, float, float] | None

    def said(self, num_cells: int, unit: str) -> str:
        where = "padding alone" if self.box is None else "pixels x {:.0f}–{:.0f}, y {:.0f}–{:.0f}".format(*(self.box[i] for i in (0, 2, 1, 3)))
        return f"row {self.row}, column {self.column}: {self.value:+.4f} {unit}, rank {self.rank} of {num_cells}; {where}"


def cells_of(values: "Tensor", grid: "CellGrid") -> list[Cell]:
    """The cells of float[h, w], row by row; equal values share the better rank."""
    flat = values.flatten()
    ranks = (flat[None] > flat[:, None]).sum(dim=1) + 1
    columns = values.shape[1]
    return [
        Cell(k // columns + 1, k % columns + 1, value, rank, grid.box(k // columns, k % columns))
        for k, (value, rank) in enumerate(zip(flat.tolist(), ranks.tolist(), strict=True))
    ]


def frame_values(found: "Attribution", frame: int) -> "Tensor":
    """float[h, w] of one frame of the clip; a map of the fused grid is the same for all of them."""
    assert found.cells is not None
    return found.cells[0] if found.cells.ndim == 3 else found.cells[0, frame]


@dataclass(frozen=True)
class Canvas:
    """Where cells stand in the overlay, in source pixels: on the frame as they are, beyond it, where all is padding, drawn smaller."""

    grid: "CellGrid"

    def edges(self, axis: int) -> list[float]:
        """Of the rows (axis 0) or columns (axis 1)."""
        grid = self.grid
        scale, size = grid.frame_size[axis] / grid.content_size[axis], grid.frame_size[axis]
        exact = [scale * grid.cell_size * k for k in range(grid.shape[axis] + 1)]
        return [edge if edge <= size else size + PADDING_SCALE * (edge - size) for edge in exact]

    @property
    def size(self) -> tuple[float, float]:
        """Height and width."""
        return self.edges(0)[-1], self.edges(1)[-1]

    def style(self, left: float, top: float, right: float, bottom: float) -> str:
        height, width = self.size
        return (
            f"left:{100 * left / width:.3f}%;top:{100 * top / height:.3f}%;"
            f"width:{100 * (right - left) / width:.3f}%;height:{100 * (bottom - top) / height:.3f}%"
        )

    def cell(self, cell: Cell) -> str:
        rows, columns = self.edges(0), self.edges(1)
        return self.style(columns[cell.column - 1], rows[cell.row - 1], columns[cell.column], rows[cell.row])

    def frame(self) -> str:
        height, width = self.size
        return self.style(0, 0, min(width, self.grid.frame_size[1]), min(height, self.grid.frame_size[0]))


def overlay_html(found: "Attribution", frame: int, image: Image.Image, lead: str) -> str:
    """The frame with its cells over it, a slider for how strong they are, and what to read them by.  `lead` is HTML."""
    from clipbert.viz.strip import data_url

    assert found.grid is not None and found.cells is not None
    cells, largest, canvas = cells_of(frame_values(found, frame), found.grid), float(found.cells.abs().max()) or 1.0, Canvas(found.grid)
    drawn = "".join(_cell(cell, len(cells), found.method, largest, canvas.cell(cell)) for cell in cells)
    (rows, columns), (height, width) = found.grid.shape, canvas.size
    padding = f'<p class="scale">{PADDING}</p>' if any(cell.box is None for cell in cells) else ""
    return (
        f'{lead}{_tools()}<div class="overlay" style="aspect-ratio:{width / height:.4f};max-width:min(100%, {34 * min(1.0, width / height):.1f}rem)">'
        f'<img alt="The frame" src="{data_url(image, 88)}" style="{canvas.frame()}">'
        f'<div class="cells" role="group" aria-label="{rows} rows by {columns} columns of grid cells">{drawn}</div></div>'
        f'<p class="cell-said" data-hint="{KEYS}">{KEYS}</p>{_scale(found.method, largest)}{padding}'
    )


def waiting_overlay_html(image: Image.Image) -> str:
    """The frame while its cells are being computed."""
    from clipbert.viz.strip import data_url

    return (
        f'<p class="state" role="status">computing the cells …</p><div class="overlay" style="aspect-ratio:{image.width / image.height:.4f}">'
        f'<img alt="The frame" src="{data_url(image, 88)}" style="width:100%;height:100%"></div>'
    )


def cell_rows(found: "Attribution", frame: int) -> list[dict[str, object]]:
    """The cells of a frame as rows of a table, highest value first."""
    assert found.grid is not None
    return [
        {
            "rank": cell.rank, "row": cell.row, "column": cell.column, "value": cell.value,
            **dict(zip(("left_px", "top_px", "right_px", "bottom_px"), cell.box or (None,) * 4, strict=True)), "on_padding_alone": cell.box is None,
        }
        for cell in sorted(cells_of(frame_values(found, frame), found.grid), key=lambda cell: cell.rank)
    ]  # fmt: skip


def _tools() -> str:
    views = "".join(
        f'<label><input type="radio" name="attribution-view" value="{name}"{" checked" * (name == "overlay")}> {label}</label>'
        for name, label in VIEWS
    )
    return (
        f'<div class="overlay-tools"><fieldset><legend>Show</legend>{views}</fieldset>'
        '<label class="strength">Strength <input type="range" min="0" max="100" value="65" aria-label="Strength of the overlay, percent">'
        "</label></div>"
    )


def _cell(cell: Cell, num_cells: int, method: str, largest: float, place: str) -> str:
    said = html.escape(cell.said(num_cells, _unit_name(method)))
    kind = "" if cell.box is not None else " padding"
    named = f"<b>{cell.rank}</b>" if cell.rank <= NAMED_RANKS and cell.value > 0 else ""
    first = (cell.row, cell.column) == (1, 1)
    return (
        f'<button type="button" class="cell{kind}" data-row="{cell.row}" data-column="{cell.column}" tabindex="{0 if first else -1}" '
        f'aria-label="{said}" style="{place}">{_heat(cell.value / largest, is_signed(method))}{named}</button>'
    )


def _heat(strength: float, signed: bool) -> str:
    """The colour of a cell: blue for and striped orange against, or from dark to light where there is no against."""
    if signed:
        return f'<i class="{"for" if strength >= 0 else "against"}" style="--share:{abs(strength):.3f}"></i>'
    return f'<i class="unsigned" style="background:{cividis(strength)}"></i>'


def cividis(share: float) -> str:
    """The colour at a share of the scale, as CSS."""
    from plotly.colors import sample_colorscale

    return str(sample_colorscale("Cividis", min(1.0, max(0.0, share)))[0])


def _scale(method: str, largest: float) -> str:
    """The colours' key."""
    unit, ranked = unit_html(_unit_name(method)), f"Numbers: the {NAMED_RANKS} highest cells."
    if is_signed(method):
        ends, ramp = (f"{-largest:+.3f}", f"{largest:+.3f}"), '<i class="ramp signed-ramp"></i>'
        told = f"Orange, striped: lowers the score; blue: raises it. {ranked}"
    else:
        stops = ",".join(cividis(k / 4) for k in range(5))
        ends, ramp, told = ("0", f"{largest:.3f}"), f'<i class="ramp" style="background:linear-gradient(90deg,{stops})"></i>', ranked
    return f'<p class="scale"><span>{ends[0]}</span>{ramp}<span>{ends[1]} {unit}</span></p><p class="scale">{told}</p>'


def _unit_name(method: str) -> str:
    from clipbert.attribution import METHODS

    return METHODS[method].unit
