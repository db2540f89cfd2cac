"""How training varies its looks at a video: which clips, which part of the frame, mirrored or not."""

from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from clipbert.data.seeds import derived_seed


@dataclass(frozen=True)
class Views:
    """Where a look's randomness comes from, and how far it goes; all frames of a look are cut alike."""

    num_draws: int = 0
    """A video is seen in one of so many fixed draws, the same for all its texts; 0 draws anew each time."""
    smallest_crop: float = 1.0
    """Height and width shrink to a random share of at least this, each on its own; 1 keeps the whole frame."""
    mirror: bool = False
    """Mirror half of the looks."""
    seed: int = 0
    """Of the fixed draws."""

    def __post_init__(self) -> None:
        if self.num_draws < 0:
            raise ValueError(f"num_draws must be at least 0, got {self.num_draws}.")
        if not 0 < self.smallest_crop <= 1:
            raise ValueError(f"smallest_crop must be above 0 and at most 1, got {self.smallest_crop}.")

    def seeds(self, video: str) -> tuple[int, ...]:
        """One seed per fixed draw of a video."""
        return tuple(derived_seed(self.seed, "draw", video, number) for number in range(self.num_draws))

    def seed_of(self, video: str, item_seed: int) -> int:
        """The seed of an item's look: its own, or that of one of the fixed draws."""
        return self.seeds(video)[item_seed % self.num_draws] if self.num_draws else item_seed

    def cut(self, frames: UInt8[Tensor, "F 3 H W"], seed: int) -> UInt8[Tensor, "F 3 h w"]:
        """The part of the frames that the look with this seed sees."""
        generator = torch.Generator().manual_seed(derived_seed(seed, "view"))
        shares = self.smallest_crop + (1 - self.smallest_crop) * torch.rand(2, generator=generator)
        size = [max(1, round(side * float(share))) for side, share in zip(frames.shape[-2:], shares, strict=True)]
        places = torch.rand(2, generator=generator)
        y, x = (int((side - part + 1) * float(at)) for side, part, at in zip(frames.shape[-2:], size, places, strict=True))
        part = frames[..., y : y + size[0], x : x + size[1]]
        return part.flip(-1) if self.mirror and float(torch.rand((), generator=generator)) < 0.5 else part
