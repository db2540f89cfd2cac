"""A clip of which cells or whole frames are covered in the pixels, blurred or in one colour, and encoded again.

Of the frame itself, not of its features: what a cell has seen of its
neighbours goes with them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Num, UInt8
from torch import Tensor
from torch.nn import functional as F

from clipbert.cell_grid import CellGrid
from clipbert.per_clip import ClipBertPerClip, PerClipModel
from clipbert.processing import resize_and_pad, resized

FRAMES_AT_ONCE = 32
GRID = (7, 7)  # rows and columns of a frame, for a model whose features have no cells; ResNet-50 leaves as many of 448 pixels


@dataclass(frozen=True, eq=False)
class CoveredClip:
    """The frames of a clip, what covers them, and `encode`, which makes features of either."""

    encode: Callable[[Num[Tensor, "F 3 H W"]], Float[Tensor, "F h w D"]]
    sharp: Num[Tensor, "T 3 H W"]
    cover: Num[Tensor, "T 3 H W"]
    row_of: Int[Tensor, " H"]
    column_of: Int[Tensor, " W"]
    """The cell that owns each line of pixels."""

    @classmethod
    def blurred(cls, per_clip: ClipBertPerClip, frames: UInt8[Tensor, "T 3 H W"], shape: tuple[int, int]) -> "CoveredClip":
        """As ClipBERT's CNN gets the frames, under a blur.

        A cell owns the square of pixels that `CellGrid` says; pixels past the last
        row or column of cells, which pooling loses, go with these.  The blur is a
        Gaussian whose deviation is a cell's side, so that of something as large as
        a cell only the mean colour of the neighbourhood stays.  Padding has nothing
        to blur and none of it comes into the picture.
        """
        side = per_clip.image_size
        cell_size = per_clip.backbone.cell_size(side, shape[0])
        height, width = resized(frames.shape[-2], frames.shape[-1], side)
        sharp = resize_and_pad(frames, side)
        soft = F.pad(gaussian_blur(sharp[..., :height, :width], cell_size), (0, side - width, 0, side - height))
        return cls(per_clip.encode_pixels, sharp, soft, *(_owners(side, cell_size, num_cells) for num_cells in shape))

    @classmethod
    def plain(cls, model: PerClipModel, frames: UInt8[Tensor, "T 3 H W"]) -> "CoveredClip":
        """At their own size, for any model, under the clip's mean colour; cells are those of `frame_grid`."""
        colour = frames.float().mean(dim=(0, 2, 3)).round().to(torch.uint8)
        owners = (_owners(size, size / num_cells, num_cells) for size, num_cells in zip(frames.shape[-2:], GRID, strict=True))
        return cls(model.encode, frames, colour[:, None, None].expand_as(frames), *owners)

    def without_cells(self, kept: Bool[Tensor, "C rows columns"]) -> Float[Tensor, "C T h w D"]:
        """The features of clips of which only the `kept` cells are sharp; each frame of each is encoded."""
        there = kept.cpu()[:, self.row_of[:, None], self.column_of][:, None, None]  # [C, 1, 1, H, W]
        num_frames = len(self.sharp)
        parts = [
            self._encode(rearrange(torch.where(part, self.sharp, self.cover), "c t k y x -> (c t) k y x"))
            for part in there.split(max(1, FRAMES_AT_ONCE // num_frames))
        ]
        return rearrange(torch.cat(parts), "(c t) h w d -> c t h w d", t=num_frames)

    def frames(self) -> Float[Tensor, "T h w D"]:
        """The features of the frames when all of each is covered."""
        return self._encode(self.cover)

    def _encode(self, pixels: Num[Tensor, "F 3 H W"]) -> Float[Tensor, "F h w D"]:
        return torch.cat([self.encode(part) for part in pixels.split(FRAMES_AT_ONCE)])


def frame_grid(frame_size: tuple[int, int]) -> CellGrid:
    """GRID over a whole frame, whatever part of it the model then sees."""
    return CellGrid(frame_size, GRID, 1.0, GRID)


def _owners(num_pixels: int, cell_size: float, num_cells: int) -> Int[Tensor, " P"]:
    """Which row or column of cells each row or column of pixels belongs to."""
    centres = torch.arange(num_pixels) + 0.5
    return (centres / cell_size).floor().long().clamp(max=num_cells - 1)


def gaussian_blur(pictures: Float[Tensor, "F K H W"], deviation: float) -> Float[Tensor, "F K H W"]:
    """Each channel blurred, to three deviations; beyond an edge its pixels go on."""
    reach = round(3 * deviation)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2)
    weights = weights / weights.sum()
    lines = rearrange(pictures, "f k y x -> (f k) 1 y x")
    lines = F.conv2d(F.pad(lines, (reach, reach, 0, 0), mode="replicate"), weights[None, None, None])
    lines = F.conv2d(F.pad(lines, (0, 0, reach, reach), mode="replicate"), weights[None, None, :, None])
    return rearrange(lines, "(f k) 1 y x -> f k y x", f=len(pictures))
