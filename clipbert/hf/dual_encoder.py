"""CLIP, SigLIP and SigLIP 2: one vector for a frame, one for a text, and their scaled cosine."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from clipbert.caches import Cache
from clipbert.hf.image_model import ROWS_AT_ONCE, ImageModel

TEXT_BYTES = 16 << 20
COMPARES = "this model was trained to compare texts: the score of one text by itself is no probability, how it ranks among others means something"


class DualEncoder(ImageModel):
    """A frame's features are its unit vector; a clip's score is the mean over its frames, which the mean of their vectors gives too."""

    def __init__(self, model: Any, *parts: Any, **settings: Any) -> None:
        super().__init__(model, *parts, **settings)
        self.heads = {"match": "contrastive"}
        self.known_texts = Cache(TEXT_BYTES)
        with torch.no_grad():
            self.scale = float(model.logit_scale.exp())
            self.bias = float(model.logit_bias) if hasattr(model, "logit_bias") else 0.0
        if hasattr(model, "logit_bias"):  # SigLIP was trained on texts of a fixed length, padded, each scored by itself
            self.padding = "max_length"
        else:
            self.match_notice = COMPARES

    def features_of(self, inputs: dict[str, Tensor]) -> Float[Tensor, "F 1 1 D"]:
        return F.normalize(self.model.get_image_features(**inputs).pooler_output.float(), dim=-1)[:, None, None]

    def frame_logits(
        self, frames: Float[Tensor, "F 1 1 D"], texts: Sequence[str], head: str, cell_mask: Bool[Tensor, "F 1 1"] | None
    ) -> Float[Tensor, "M F 1"]:
        logits = self.scale * self.text_vectors(texts, head).to(frames.device) @ rearrange(frames, "f 1 1 d -> d f") + self.bias
        if cell_mask is not None:  # of a frame that is left out nothing is known: log-odds of 0
            logits = logits * cell_mask[None, :, 0, 0]
        return logits[..., None]

    def clip_vectors(self, features: Float[Tensor, "N T 1 1 D"], head: str) -> Float[Tensor, "N D"]:
        return features.mean(dim=(1, 2, 3)).cpu()

    def vector_scale(self, head: str) -> tuple[float, float]:
        return self.scale, self.bias

    def text_vectors(self, texts: Sequence[str], head: str) -> Float[Tensor, "M D"]:
        """Unit vectors; one that was asked for before is kept."""
        lacking = [text for text in dict.fromkeys(texts) if text not in self.known_texts]
        found = {text: known for text in texts if (known := self.known_texts.get(text)) is not None}
        for first in range(0, len(lacking), ROWS_AT_ONCE):
            some = lacking[first : first + ROWS_AT_ONCE]
            with torch.no_grad(), self.precision():
                vectors = F.normalize(self.model.get_text_features(**self.tokens(some)).pooler_output.float(), dim=-1).cpu()
            for text, vector in zip(some, vectors, strict=True):
                found[text] = vector
                self.known_texts.put(text, vector.clone())
        return torch.stack([found[text] for text in texts])
