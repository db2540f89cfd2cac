"""Where a grid cell lies on the true pixels of a frame, undoing resize and padding."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CellGrid:
    """The geometry of h x w cells on a frame.  Sizes are (height, width).

    The frame was resized to `content_size` and padded with zeros below and to
    the right; a cell is a square of `cell_size` pixels of the result.  What a
    cell has seen reaches further: a CNN's receptive field is wider than its
    stride.
    """

    frame_size: tuple[int, int]
    content_size: tuple[int, int]
    cell_size: float
    shape: tuple[int, int]

    def box(self, row: int, col: int) -> tuple[float, float, float, float] | None:
        """Left, top, right, bottom of a cell in pixels of the source frame; None where it lies on padding alone.

        Raises ValueError for a cell that is not there.
        """
        if not (0 <= row < self.shape[0] and 0 <= col < self.shape[1]):
            raise ValueError(f"the grid has {self.shape[0]} x {self.shape[1]} cells, so none at row {row}, column {col}.")
        (top, bottom), (left, right) = (self._edges(index, axis) for axis, index in enumerate((row, col)))
        return (left, top, right, bottom) if top < bottom and left < right else None

    def boxes(self) -> Tensor:
        """float64[h, w, 4]: the box of every cell, nan where it lies on padding alone."""
        nothing = (math.nan,) * 4
        return torch.tensor(
            [[self.box(row, col) or nothing for col in range(self.shape[1])] for row in range(self.shape[0])], dtype=torch.float64
        )  # fmt: skip

    @property
    def canvas(self) -> tuple[float, float]:
        """Height and width of all cells in pixels of the source frame: the frame from 0, 0, then padding below and to the right."""
        height, width = (
            self.shape[axis] * self.cell_size * self.frame_size[axis] / self.content_size[axis] for axis in (0, 1)
        )  # fmt: skip
        return height, width

    def on_padding(self) -> Tensor:
        """bool[h, w]: cells that lie on padding alone."""
        return torch.tensor([[self.box(row, col) is None for col in range(self.shape[1])] for row in range(self.shape[0])])

    def _edges(self, index: int, axis: int) -> tuple[float, float]:
        content, scale = self.content_size[axis], self.frame_size[axis] / self.content_size[axis]
        return scale * min(index * self.cell_size, content), scale * min((index + 1) * self.cell_size, content)
