"""What `Predictor` needs of a model, and ClipBERT behind it.

Two calls: frames to features, and features with texts to clip logits; the rest
says what those mean.  A contrastive head has two more: vectors of clips and of
texts, so that a gallery is scored by a matrix product.
"""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from clipbert.cell_grid import CellGrid
from clipbert.config import check_known
from clipbert.heads import ContrastiveHead, Texts
from clipbert.model import ClipBertForSequenceClassification
from clipbert.processing import ClipBertProcessor, TextPieces, resize_and_pad, resized, shape_notice
from clipbert.tasks import question_and_option
from clipbert.transformer import Shown

ROWS_AT_ONCE = 256  # (text, clip) pairs in one forward pass
TEXTS_AT_ONCE = 16  # of like length, so that little is padded


@runtime_checkable
class PerClipModel(Protocol):
    """What `Predictor` needs of a model.  ClipBERT is one implementation."""

    name: str
    fingerprint: str
    model: Any  # the network, a torch module
    device: torch.device
    dtype: torch.dtype  # it computes in
    image_size: int  # longer side, in pixels, to which frames are resized
    heads: dict[str, str]  # head name -> kind, as in HeadConfig
    averages_frames: bool  # whether the order of a clip's frames changes nothing
    max_pieces: int  # word pieces of a text that it reads
    match_notice: str  # what is to be said with a match score; "" where it is the log-odds it should be

    def encode(self, frames: UInt8[Tensor, "F 3 H W"]) -> Float[Tensor, "F h w D"]:
        """Features of frames, each frame on its own."""
        ...

    def score(self, features: Float[Tensor, "N T h w D"], texts: Sequence[str], head: str) -> Float[Tensor, "M N J"]:
        """Each clip's logits for each text; the clips may be of several videos."""
        ...

    def clip_vectors(self, features: Float[Tensor, "N T h w D"], head: str) -> Float[Tensor, "N V"]:
        """Vectors of clips, of a contrastive head: its `score` is scale * <text, clip> + offset."""
        ...

    def text_vectors(self, texts: Sequence[str], head: str) -> Float[Tensor, "M V"]:
        """Vectors of texts, of a contrastive head."""
        ...

    def vector_scale(self, head: str) -> tuple[float, float]:
        """Scale and offset that make a contrastive head's log-odds of an inner product."""
        ...

    def labels(self, head: str) -> tuple[str, ...]:
        """The answer behind each output of a classifier head; "" for an output that is never an answer."""
        ...

    def sure_from(self, head: str) -> float:
        """The probability from which a classifier head's answer counts as sure."""
        ...

    def match_weight(self, head: str) -> float:
        """The weight of a head's log-odds in the match score."""
        ...

    def pieces(self, text: str) -> TextPieces:
        """How the model's tokenizer sees a text."""
        ...

    def choice_texts(self, question: str, choices: Sequence[str]) -> list[str]:
        """What the model reads for each of a question's choices."""
        ...

    def shape_notice(self, height: int, width: int) -> tuple[str, ...]:
        """A sentence on a frame whose shape suits the model badly."""
        ...

    def cells(self, features: Float[Tensor, "R T h w D"]) -> tuple[int, int] | None:
        """Rows and columns of the image cells that `score_cells` can leave out; None for none."""
        ...

    def cell_grid(self, frame_size: tuple[int, int], features: Float[Tensor, "R T h w D"]) -> CellGrid | None:
        """Where those cells lie on a frame."""
        ...

    def score_cells(
        self, features: Float[Tensor, "R T h w D"], texts: Sequence[str], head: str, cell_mask: Bool[Tensor, "R rows columns"] | None = None
    ) -> Float[Tensor, "M R J"]:
        """`score` of the cells where `cell_mask` is set (default: all), in one pass, with gradients where they are on."""
        ...


class ClipBertPerClip:
    """ClipBERT behind `PerClipModel`: BatchNorm folded, channels-last, in chunks of a bounded size."""

    def __init__(self, model: ClipBertForSequenceClassification, processor: ClipBertProcessor, *, name: str, device: str, dtype: str) -> None:
        self.name, self.processor, self.image_size = name, processor, processor.image_size
        self.device, self.dtype = find_device(device), find_dtype(dtype, find_device(device))
        self.model = model.eval()
        torch.nn.Module.to(self.model, self.device)
        self.backbone = model.clipbert.backbone.folded()
        self.heads = {head: self.model.config.head(head).kind for head in self.model.config.heads or {}}
        self.averages_frames, self.max_pieces, self.match_notice = model.config.temporal_fusion == "mean", processor.max_text_length - 2, ""
        about = (model.config.to_json_string(), processor.image_size, processor.max_text_length, self.dtype)
        self.fingerprint = fingerprint_of(model, about)

    def _precision(self) -> Any:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def encode(self, frames: UInt8[Tensor, "F 3 H W"]) -> Float[Tensor, "F h w D"]:
        return self.encode_pixels(resize_and_pad(frames.to(self.device), self.image_size))

    @torch.inference_mode()
    def encode_pixels(self, resized: Float[Tensor, "F 3 S S"]) -> Float[Tensor, "F h w D"]:
        """Features of frames that are resized and padded already, 0 to 255."""
        pixels = self.processor.normalised(resized.to(self.device))
        # EfficientNet-Lite stays in float32: in bfloat16 it moved the bundled model's logits by 0.47, the transformer by 0.07
        with self._precision() if self.model.config.backbone == "resnet50-grid" else nullcontext():
            return self.backbone(pixels).float()

    @torch.inference_mode()
    def score(self, features: Float[Tensor, "N T h w D"], texts: Sequence[str], head: str) -> Float[Tensor, "M N J"]:
        clips_at_once = max(1, ROWS_AT_ONCE // min(len(texts), TEXTS_AT_ONCE))
        batches, order = self._batches(texts, max(1, ROWS_AT_ONCE // min(len(features), clips_at_once)))
        with self._precision():
            parts = [self.model.score_pairs(part.to(self.device), batches, head).float().cpu() for part in features.split(clips_at_once)]
        return torch.cat(parts, dim=1)[order.argsort()] / self.model.config.head(head).temperature

    def _batches(self, texts: Sequence[str], size: int) -> tuple[list[Texts], Tensor]:
        """The texts, shortest first, in batches padded to their own longest, and the order that they are in."""
        input_ids, attention_mask = self.processor.texts(texts)
        order = attention_mask.sum(dim=1).argsort(stable=True)
        batches = []
        for some in order.split(size):
            longest = int(attention_mask[some].sum(dim=1).max())
            batches.append((input_ids[some, :longest].to(self.device), attention_mask[some, :longest].to(self.device)))
        return batches, order

    @torch.inference_mode()
    def clip_vectors(self, features: Float[Tensor, "N T h w D"], head: str) -> Float[Tensor, "N V"]:
        parts = [self._contrastive(head).embed_clips(self.model.clipbert, part.to(self.device)[None])[0] for part in features.split(ROWS_AT_ONCE)]
        return torch.cat(parts).float().cpu()

    @torch.inference_mode()
    def text_vectors(self, texts: Sequence[str], head: str) -> Float[Tensor, "M V"]:
        batches, order = self._batches(texts, ROWS_AT_ONCE)
        return torch.cat([self._contrastive(head).embed_texts(self.model.clipbert, *batch) for batch in batches]).float().cpu()[order.argsort()]

    def vector_scale(self, head: str) -> tuple[float, float]:
        found, temperature = self._contrastive(head), self.model.config.head(head).temperature
        return float(found.log_scale.detach().exp()) / temperature, float(found.offset.detach()) / temperature

    def _contrastive(self, head: str) -> ContrastiveHead:
        found = self.model.heads[head]
        if not isinstance(found, ContrastiveHead):
            raise ValueError(f"head {head} is no contrastive head; only these have vectors.")
        return found

    def labels(self, head: str) -> tuple[str, ...]:
        settings = self.model.config.head(head)
        return tuple(settings.labels) or tuple(f"answer {j}" for j in range(settings.num_outputs))

    def sure_from(self, head: str) -> float:
        return self.model.config.head(head).abstain_below

    def match_weight(self, head: str) -> float:
        return self.model.config.head(head).match_weight

    def pieces(self, text: str) -> TextPieces:
        return self.processor.pieces(text)

    def choice_texts(self, question: str, choices: Sequence[str]) -> list[str]:
        return question_and_option(question, choices)

    def shape_notice(self, height: int, width: int) -> tuple[str, ...]:
        return shape_notice(height, width)

    def cells(self, features: Float[Tensor, "R T h w D"]) -> tuple[int, int]:
        return features.shape[2], features.shape[3]

    def cell_grid(self, frame_size: tuple[int, int], features: Float[Tensor, "R T h w D"]) -> CellGrid:
        h, w = self.cells(features)
        return CellGrid(frame_size, resized(*frame_size, self.image_size), self.backbone.cell_size(self.image_size, h), (h, w))

    def score_cells(
        self, features: Float[Tensor, "R T h w D"], texts: Sequence[str], head: str, cell_mask: Bool[Tensor, "R h w"] | None = None
    ) -> Float[Tensor, "M R J"]:
        """In float32, whatever `score` computes in."""
        input_ids, attention_mask = (x.to(self.device) for x in self.processor.texts(texts))
        num_rows, num_texts = len(features), len(input_ids)
        index = torch.arange(num_rows, device=features.device).repeat_interleave(num_texts)
        shown = Shown(cell_mask=None if cell_mask is None else cell_mask[:, None])
        ids, mask = (repeat(x, "m l -> (r m) l", r=num_rows) for x in (input_ids, attention_mask))
        scores = self.model.score(features[:, None], ids, mask, index, head, shown) / self.model.config.head(head).temperature
        return rearrange(scores, "(r m) 1 j -> m r j", m=num_texts)


def fingerprint_of(model: torch.nn.Module, about: tuple[object, ...]) -> str:
    """Of the weights, and of all else that the logits depend on."""
    digest = hashlib.sha256(repr(about).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.double().sum().item()!r}".encode())
    return digest.hexdigest()[:16]


def find_device(device: str) -> torch.device:
    """What "auto", "cpu" or "cuda" means here; raises ValueError for what this machine has not."""
    check_known("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda is not available on this machine; use auto or cpu.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def find_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """What "auto", "float32" or "bfloat16" means on the device."""
    check_known("dtype", dtype, ("auto", "float32", "bfloat16"))
    if dtype == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16, rather than emulating it slowly."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())
