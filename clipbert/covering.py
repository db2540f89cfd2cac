"""A clip of which cells or whole frames are blurred, through the CNN again.

Of the frame itself, not of its features: what a cell has seen of its
neighbours goes with them.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from clipbert.per_clip import ClipBertPerClip
from clipbert.processing import resize_and_pad, resized

FRAMES_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class BlurredClip:
    """The pixels of a clip as the CNN gets them, 0..255, sharp and blurred.

    A cell owns the square of pixels that `CellGrid` says; pixels past the last
    row or column of cells, which pooling loses, go with these.  The blur is a
    Gaussian whose deviation is a cell's side, so that of something as large as
    a cell only the mean colour of the neighbourhood stays.  Padding has nothing
    to blur and none of it comes into the picture.
    """

    per_clip: ClipBertPerClip
    sharp: Float[Tensor, "T 3 S S"]
    blurred: Float[Tensor, "T 3 S S"]
    cell_size: float
    shape: tuple[int, int]  # h, w

    @classmethod
    def of(cls, per_clip: ClipBertPerClip, frames: UInt8[Tensor, "T 3 H W"], shape: tuple[int, int]) -> "BlurredClip":
        side = per_clip.image_size
        cell_size = per_clip.backbone.cell_size(side, shape[0])
        height, width = resized(frames.shape[-2], frames.shape[-1], side)
        sharp = resize_and_pad(frames, side)
        soft = gaussian_blur(sharp[..., :height, :width], cell_size)
        return cls(per_clip, sharp, F.pad(soft, (0, side - width, 0, side - height)), cell_size, shape)

    def without_cells(self, kept: Bool[Tensor, "C h w"]) -> Float[Tensor, "C T h w D"]:
        """The features of clips of which only the `kept` cells are sharp; T runs of the CNN each."""
        rows, cols = (self._owner(num_cells) for num_cells in self.shape)
        there = kept.cpu()[:, rows[:, None], cols][:, None, None]  # [C, 1, 1, S, S]
        pixels = torch.where(there, self.sharp, self.blurred)
        return rearrange(self._encode(rearrange(pixels, "c t k y x -> (c t) k y x")), "(c t) h w d -> c t h w d", c=len(kept))

    def frames(self) -> Float[Tensor, "T h w D"]:
        """The features of the frames when all of each is blurred."""
        return self._encode(self.blurred)

    def _owner(self, num_cells: int) -> Int[Tensor, " S"]:
        """Which row or column of cells each row or column of pixels belongs to."""
        centres = torch.arange(self.sharp.shape[-1]) + 0.5
        return (centres / self.cell_size).floor().long().clamp(max=num_cells - 1)

    def _encode(self, pixels: Float[Tensor, "F 3 S S"]) -> Float[Tensor, "F h w D"]:
        return torch.cat([self.per_clip.encode_pixels(part) for part in pixels.split(FRAMES_AT_ONCE)])


def gaussian_blur(pictures: Float[Tensor, "F K H W"], deviation: float) -> Float[Tensor, "F K H W"]:
    """Each channel blurred, to three deviations; beyond an edge its pixels go on."""
    reach = round(3 * deviation)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2)
    weights = weights / weights.sum()
    lines = rearrange(pictures, "f k y x -> (f k) 1 y x")
    lines = F.conv2d(F.pad(lines, (reach, reach, 0, 0), mode="replicate"), weights[None, None, None])
    lines = F.conv2d(F.pad(lines, (0, 0, reach, reach), mode="replicate"), weights[None, None, :, None])
    return rearrange(lines, "(f k) 1 y x -> f k y x", f=len(pictures))
