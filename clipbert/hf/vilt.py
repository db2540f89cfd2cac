"""ViLT: patches and words in one transformer, which answers from a vocabulary or says whether they match."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from clipbert.hf.image_model import ImageModel


class Vilt(ImageModel):
    """A frame's features are its patches as they enter the transformer, which runs anew for every text.

    A cell is a patch; one that is left out is masked in attention.  Where
    `max_image_length` is below a frame's patches, transformers draws some of
    them at random; here all are read.
    """

    def __init__(self, model: Any, *parts: Any, **settings: Any) -> None:
        super().__init__(model, *parts, **settings)
        self.heads = {"qa": "classifier"} if hasattr(model, "classifier") else {"match": "retrieval"}
        self.embeddings = model.vilt.embeddings

    def features_of(self, inputs: dict[str, Tensor]) -> Float[Tensor, "F h w D"]:
        patches = self.embeddings.patch_embeddings(inputs["pixel_values"])
        side = self.model.config.image_size // self.model.config.patch_size
        learned = rearrange(self.embeddings.position_embeddings[:, 1:], "1 (a b) d -> 1 d a b", a=side)
        places = F.interpolate(learned, size=patches.shape[2:], mode="bilinear", align_corners=True)
        return rearrange(patches + places, "f d h w -> f h w d")

    def cells(self, features: Float[Tensor, "R T h w D"]) -> tuple[int, int]:
        return features.shape[2], features.shape[3]

    def frame_logits(
        self, frames: Float[Tensor, "F h w D"], texts: Sequence[str], head: str, cell_mask: Bool[Tensor, "F h w"] | None
    ) -> Float[Tensor, "M F J"]:
        num_frames, num_texts = len(frames), len(texts)
        start = self.embeddings.cls_token[0] + self.embeddings.position_embeddings[0, :1]
        image = torch.cat([repeat(start, "1 d -> f 1 d", f=num_frames), rearrange(frames, "f h w d -> f (h w) d")], dim=1)
        seen = torch.ones(image.shape[:2], dtype=torch.long, device=image.device)
        if cell_mask is not None:
            seen[:, 1:] = rearrange(cell_mask, "f h w -> f (h w)")
        words = {name: repeat(value, "m l -> (m f) l", f=num_frames) for name, value in self.tokens(texts).items()}
        image, seen = repeat(image, "f s d -> (m f) s d", m=num_texts), repeat(seen, "f s -> (m f) s", m=num_texts)
        return rearrange(self.model(**words, image_embeds=image, pixel_mask=seen).logits, "(m f) j -> m f j", m=num_texts)
