"""BLIP: a text reads an image by cross-attention, and either says whether they match or how likely an answer is."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from clipbert.hf.image_model import ImageModel

BETWEEN = "\x1f"  # question and answer in the text of a choice: a separator that nobody types


class Blip(ImageModel):
    """A frame's features are the vision tower's states, [CLS] first: one row of 1 + h*w.

    A cell is a patch; one that is left out is taken from what the text reads
    (transformers 5.23 does not heed a mask there), though other patches and
    [CLS] have seen it.  Without any cell the text reads zeros.
    """

    def frame_logits(
        self, frames: Float[Tensor, "F 1 P D"], texts: Sequence[str], head: str, cell_mask: Bool[Tensor, "F rows columns"] | None
    ) -> Float[Tensor, "M F J"]:
        image = rearrange(frames, "f 1 p d -> f p d")
        if cell_mask is None:
            return self.image_logits(image, texts)
        cells = cell_mask.flatten(1)
        kept = torch.cat([cells.any(dim=1, keepdim=True), cells], dim=1)
        sizes, parts, order = kept.sum(dim=1), [], []
        for size in sizes.unique().tolist():
            rows = (sizes == size).nonzero()[:, 0]
            states = image[rows][kept[rows]].unflatten(0, (len(rows), size)) if size else torch.zeros_like(image[rows, :1])
            parts.append(self.image_logits(states, texts))
            order.append(rows)
        return torch.cat(parts, dim=1)[:, torch.cat(order).argsort()]

    def image_logits(self, image: Float[Tensor, "F P D"], texts: Sequence[str]) -> Float[Tensor, "M F J"]:
        """Each image's logits for each text."""
        raise NotImplementedError

    def features_of(self, inputs: dict[str, Tensor]) -> Float[Tensor, "F 1 P D"]:
        return self.model.vision_model(**inputs).last_hidden_state[:, None]

    def cells(self, features: Float[Tensor, "R T 1 P D"]) -> tuple[int, int]:
        side = self.model.config.vision_config.image_size // self.model.config.vision_config.patch_size
        return side, side

    def read(self, image: Float[Tensor, "F P D"], texts: Sequence[str]) -> Float[Tensor, "MF L D"]:
        """The words of each text, having read each image."""
        words = {name: repeat(value, "m l -> (m f) l", f=len(image)) for name, value in self.tokens(texts).items() if name != "token_type_ids"}
        return self.model.text_encoder(**words, encoder_hidden_states=repeat(image, "f p d -> (m f) p d", m=len(texts))).last_hidden_state


class BlipMatch(Blip):
    """The image-text matching head."""

    def __init__(self, model: Any, *parts: Any, **settings: Any) -> None:
        super().__init__(model, *parts, **settings)
        self.heads = {"match": "retrieval"}

    def image_logits(self, image: Float[Tensor, "F P D"], texts: Sequence[str]) -> Float[Tensor, "M F 2"]:
        return rearrange(self.model.itm_head(self.read(image, texts)[:, 0]), "(m f) j -> m f j", f=len(image))


class BlipAnswer(Blip):
    """Answers are given, not found: a choice's logit is the log-probability with which the decoder would say it, all of its tokens together."""

    def __init__(self, model: Any, *parts: Any, **settings: Any) -> None:
        super().__init__(model, *parts, **settings)
        self.heads = {"choice": "multiple_choice"}

    def choice_texts(self, question: str, choices: Sequence[str]) -> list[str]:
        return [f"{question}{BETWEEN}{choice}" for choice in choices]

    def image_logits(self, image: Float[Tensor, "F P D"], texts: Sequence[str]) -> Float[Tensor, "M F 1"]:
        asked = [text.partition(BETWEEN) for text in texts]
        found: dict[str, Tensor] = {}
        for question in dict.fromkeys(question for question, _, _ in asked):  # one at a time, since the decoder would read its padding
            answers = [answer for other, _, answer in asked if other == question]
            logits = self._say(self.read(image, [question]), answers)
            found |= {f"{question}{BETWEEN}{answer}": row for answer, row in zip(answers, logits, strict=True)}
        return torch.stack([found[text] for text in texts])[..., None]

    def _say(self, question: Float[Tensor, "F L D"], answers: Sequence[str]) -> Float[Tensor, "M F"]:
        """Log-probability of each answer after each image's question."""
        said = self.tokens(answers)  # [CLS] answer [SEP]; the decoder starts with a token of its own
        ids, mask = (repeat(said[name], "m l -> (m f) l", f=len(question)) for name in ("input_ids", "attention_mask"))
        ids = torch.cat([torch.full_like(ids[:, :1], self.model.decoder_start_token_id), ids[:, 1:]], dim=1)
        states = repeat(question, "f l d -> (m f) l d", m=len(answers))
        decoded = self.model.text_decoder(ids, attention_mask=mask, encoder_hidden_states=states, use_cache=False).logits[:, :-1]
        likely = decoded.float().log_softmax(dim=-1).gather(2, ids[:, 1:, None])[..., 0]
        return rearrange((likely * mask[:, 1:]).sum(dim=1), "(m f) -> m f", m=len(answers))
