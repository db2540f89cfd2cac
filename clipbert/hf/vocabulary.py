"""Any other model that answers a question about an image from a vocabulary: asked as a whole for each frame and text."""

from collections.abc import Sequence
from typing import Any

from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from clipbert.hf.image_model import ImageModel


class VocabularyModel(ImageModel):
    """A frame's features are its pixels, as the image processor leaves them: nothing inside the model is known.

    A frame that is left out is one of zeros, the mean colour.  Answers are the
    names in the configuration's `id2label`.
    """

    def __init__(self, model: Any, *parts: Any, **settings: Any) -> None:
        super().__init__(model, *parts, **settings)
        self.heads = {"qa": "classifier"}

    def features_of(self, inputs: dict[str, Tensor]) -> Float[Tensor, "F H W 3"]:
        return rearrange(inputs["pixel_values"], "f c h w -> f h w c")

    def frame_logits(
        self, frames: Float[Tensor, "F H W 3"], texts: Sequence[str], head: str, cell_mask: Bool[Tensor, "F 1 1"] | None
    ) -> Float[Tensor, "M F J"]:
        shown = frames if cell_mask is None else frames * cell_mask[..., None]
        words = {name: repeat(value, "m l -> (m f) l", f=len(frames)) for name, value in self.tokens(texts).items()}
        logits = self.model(**words, pixel_values=repeat(shown, "f h w c -> (m f) c h w", m=len(texts))).logits
        return rearrange(logits, "(m f) j -> m f j", m=len(texts))


def has_vocabulary(config: Any) -> bool:
    """Whether a configuration names its answers, rather than numbering them as transformers does by default."""
    names = list((config.id2label or {}).values())
    return len(names) > 1 and not all(str(name).startswith("LABEL_") for name in names)
