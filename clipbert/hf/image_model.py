"""What the families share: a model of single images, a clip's logits being the mean of its frames'."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from clipbert.cell_grid import CellGrid
from clipbert.per_clip import find_device, find_dtype, fingerprint_of
from clipbert.processing import WIDE, TextPieces
from clipbert.tasks import question_and_option

ROWS_AT_ONCE = 64  # (text, frame) pairs in one forward pass
IMAGES_AT_ONCE = 8


class ImageModel:
    """A `PerClipModel` but for what a family adds: `heads`, `features_of` and `frame_logits`.

    Preprocessing is the model's own image processor in its PIL form, so that
    it is the same with torchvision and without.
    """

    heads: dict[str, str]
    averages_frames = True
    match_notice = ""
    padding: str | bool = "longest"

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, image_processor: Any, *, name: str, device: str, dtype: str) -> None:
        self.name, self.tokenizer, self.image_processor = name, tokenizer, image_processor
        self.device = find_device(device)
        self.dtype = find_dtype(dtype, self.device)
        self.model = model.eval()
        torch.nn.Module.to(self.model, self.device)
        config = model.config.get_text_config()
        self.max_tokens = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", tokenizer.model_max_length))
        self.max_pieces = self.max_tokens - tokenizer.num_special_tokens_to_add()
        self.image_size = _longer_side(image_processor)
        vision = getattr(model.config, "vision_config", model.config)
        self.num_patches = (self.image_size // getattr(vision, "patch_size", self.image_size)) ** 2
        about = (model.config.to_json_string(), image_processor.to_json_string(), self.max_tokens, self.dtype)
        self.fingerprint = fingerprint_of(model, about)

    def features_of(self, inputs: dict[str, Tensor]) -> Float[Tensor, "F h w D"]:
        """Of what the image processor made of frames."""
        raise NotImplementedError

    def frame_logits(
        self, frames: Float[Tensor, "F h w D"], texts: Sequence[str], head: str, cell_mask: Bool[Tensor, "F rows columns"] | None
    ) -> Float[Tensor, "M F J"]:
        """Each frame's logits for each text, of the cells where `cell_mask` is set (default: all)."""
        raise NotImplementedError

    def cells(self, features: Float[Tensor, "R T h w D"]) -> tuple[int, int] | None:
        """Rows and columns of the image cells that can be left out; None for none."""
        return None

    def clip_vectors(self, features: Float[Tensor, "N T h w D"], head: str) -> Float[Tensor, "N V"]:
        """Of a family with a contrastive head, which has these three."""
        raise NotImplementedError

    def text_vectors(self, texts: Sequence[str], head: str) -> Float[Tensor, "M V"]:
        raise NotImplementedError

    def vector_scale(self, head: str) -> tuple[float, float]:
        raise NotImplementedError

    def labels(self, head: str) -> tuple[str, ...]:
        names = self.model.config.id2label or {}
        return tuple(names[j] for j in range(len(names)))

    def sure_from(self, head: str) -> float:
        return 0.0

    def match_weight(self, head: str) -> float:
        return 1.0

    def choice_texts(self, question: str, choices: Sequence[str]) -> list[str]:
        return question_and_option(question, choices)

    @torch.inference_mode()
    def encode(self, frames: UInt8[Tensor, "F 3 H W"]) -> Float[Tensor, "F h w D"]:
        with self.precision():
            return torch.cat([self.features_of(self.inputs_of(part)).float() for part in frames.split(IMAGES_AT_ONCE)])

    def inputs_of(self, frames: UInt8[Tensor, "F 3 H W"]) -> dict[str, Tensor]:
        """What the model's own image processor makes of frames."""
        made = self.image_processor([frame.cpu().numpy() for frame in frames], return_tensors="pt", input_data_format="channels_first")
        return {name: value.to(self.device) for name, value in made.items()}

    @torch.inference_mode()
    def score(self, features: Float[Tensor, "N T h w D"], texts: Sequence[str], head: str) -> Float[Tensor, "M N J"]:
        clips_at_once = max(1, ROWS_AT_ONCE // features.shape[1])
        texts_at_once = max(1, ROWS_AT_ONCE // (min(len(features), clips_at_once) * features.shape[1]))
        rows = []
        for first in range(0, len(texts), texts_at_once):
            some = texts[first : first + texts_at_once]
            rows.append(torch.cat([self.score_cells(part, some, head).cpu() for part in features.split(clips_at_once)], dim=1))
        return torch.cat(rows)

    def score_cells(
        self, features: Float[Tensor, "R T h w D"], texts: Sequence[str], head: str, cell_mask: Bool[Tensor, "R rows columns"] | None = None
    ) -> Float[Tensor, "M R J"]:
        """`score` of the cells where `cell_mask` is set (default: all), in one pass, with gradients where they are on."""
        num_frames = features.shape[1]
        frames = rearrange(features.to(self.device), "r t h w d -> (r t) h w d")
        mask = None if cell_mask is None else repeat(cell_mask.to(self.device), "r h w -> (r t) h w", t=num_frames)
        with self.precision():
            logits = self.frame_logits(frames, texts, head, mask).float()
        return reduce(logits, "m (r t) j -> m r j", "mean", t=num_frames)

    def precision(self) -> Any:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """As the model's own tokenizer codes them, cut to what the model can read."""
        coded = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens, padding=self.padding, return_tensors="pt")
        return {name: value.to(self.device) for name, value in coded.items()}

    def pieces(self, text: str) -> TextPieces:
        pieces, unknown = self.tokenizer.tokenize(text), self.tokenizer.unk_token
        strange = tuple(word for word in text.split() if unknown in self.tokenizer.tokenize(word))
        return TextPieces(tuple(pieces[: self.max_pieces]), strange, tuple(pieces[self.max_pieces :]))

    def shape_notice(self, height: int, width: int) -> tuple[str, ...]:
        """A sentence on a frame of which the image processor keeps little, or which it distorts much."""
        longer, shorter = max(height, width), min(height, width)
        if longer <= WIDE * shorter:
            return ()
        if getattr(self.image_processor, "do_center_crop", False):
            return (f"the picture is {width} x {height}: the model sees the square in its middle alone; crop it",)
        if {"height", "width"} <= set(self.image_processor.size or ()):
            return (f"the picture is {width} x {height}: the model gets it squeezed into a square; crop it",)
        return ()

    def cell_grid(self, frame_size: tuple[int, int], features: Float[Tensor, "R T h w D"]) -> CellGrid | None:
        """Where the cells lie on a frame that is scaled as a whole, each axis on its own."""
        shape = self.cells(features)
        return None if shape is None else CellGrid(frame_size, shape, 1.0, shape)


def _longer_side(image_processor: Any) -> int:
    """Of the pictures that the image processor makes, in pixels; a patch budget is taken for a square."""
    if getattr(image_processor, "max_num_patches", None):
        return int(math.sqrt(image_processor.max_num_patches)) * image_processor.patch_size
    size = image_processor.crop_size if getattr(image_processor, "do_center_crop", False) else image_processor.size
    return max(value for value in dict(size).values() if value)
