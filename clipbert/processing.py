"""Frames and text to model tensors, exactly as the original preprocesses them (OFFICIAL section 4)."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F
from transformers import BertTokenizer

from clipbert.config import ClipBertConfig, SamplingConfig

WIDE = 5  # sides apart
VOCABULARY = Path(__file__).parent / "models" / "bert-base-uncased-vocab.txt"


def shape_notice(height: int, width: int) -> tuple[str, ...]:
    """A sentence on a picture that is nearly all padding; the original skips videos of such a shape (OFFICIAL section 3), here they are answered."""
    longer, shorter = max(height, width), min(height, width)
    if longer <= WIDE * shorter:
        return ()
    padding = 100 * (1 - shorter / longer)
    return (f"the picture is {width} x {height}: the model looks at squares, so {padding:.0f} % of what it gets is padding; crop it",)


def resized(height: int, width: int, image_size: int) -> tuple[int, int]:
    """Height and width after the longer side becomes `image_size`; the other is truncated, in the original's order of operations."""
    if height >= width:
        return image_size, max(1, int(image_size * (width * 1.0 / height)))
    return max(1, int(image_size * (height * 1.0 / width))), image_size


def resize_and_pad(frames: UInt8[Tensor, "F 3 H W"], image_size: int) -> Float[Tensor, "F 3 S S"]:
    """Bilinear without antialiasing, then zeros to the right and below: 0..255, not yet normalised."""
    height, width = resized(frames.shape[-2], frames.shape[-1], image_size)
    small = F.interpolate(frames.float(), size=(height, width), mode="bilinear", align_corners=False)
    return F.pad(small, (0, image_size - width, 0, image_size - height))


@dataclass(frozen=True)
class TextPieces:
    """How the tokenizer sees a text: what the model reads, what it can't read, what was cut off."""

    pieces: tuple[str, ...]
    unknown: tuple[str, ...]
    cut: tuple[str, ...]


class ClipBertProcessor:
    """Preprocessing and tokenising for one model; also carries how that model samples a video."""

    def __init__(
        self,
        *,
        image_size: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        vocabulary: Sequence[str] | None = None,
        max_text_length: int = 100,
        sampling: SamplingConfig | None = None,
        settle_margins: dict[str, float] | None = None,
    ) -> None:
        self.image_size, self.max_text_length = image_size, max_text_length
        self.pixel_mean, self.pixel_std = list(pixel_mean), list(pixel_std)
        self.vocabulary = list(vocabulary) if vocabulary is not None else VOCABULARY.read_text(encoding="utf-8").splitlines()
        self.sampling = sampling or SamplingConfig()
        self.settle_margins = dict(settle_margins or {})  # aggregation -> nats; see clipbert.settling
        self.tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(self.vocabulary)}, do_lower_case=True)
        self._mean = torch.tensor(self.pixel_mean).reshape(3, 1, 1)
        self._std = torch.tensor(self.pixel_std).reshape(3, 1, 1)

    @classmethod
    def from_config(cls, config: ClipBertConfig, **settings: Any) -> "ClipBertProcessor":
        """The processor that goes with a model: its image size, normalisation and vocabulary size."""
        words = VOCABULARY.read_text(encoding="utf-8").splitlines()[: config.vocab_size]
        settings.setdefault("max_text_length", min(100, config.max_position_embeddings))
        return cls(image_size=config.image_size, pixel_mean=config.pixel_mean, pixel_std=config.pixel_std, vocabulary=words, **settings)

    def pixels(self, frames: UInt8[Tensor, "*lead 3 H W"]) -> Float[Tensor, "*lead 3 S S"]:
        """Resized, padded (before normalisation, so padding becomes -mean) and normalised."""
        lead = frames.shape[:-3]
        x = self.normalised(resize_and_pad(frames.reshape(-1, *frames.shape[-3:]), self.image_size))
        return x.reshape(*lead, *x.shape[1:])

    def normalised(self, pixels: Float[Tensor, "F 3 S S"]) -> Float[Tensor, "F 3 S S"]:
        """Of pixels from 0 to 255, resized and padded."""
        return (pixels - self._mean.to(pixels.device)) / self._std.to(pixels.device)

    def texts(self, texts: Sequence[str]) -> tuple[Int[Tensor, "M L"], Bool[Tensor, "M L"]]:
        """`input_ids` and `attention_mask`, cut to `max_text_length` pieces and padded to the longest text here."""
        if not texts:
            raise ValueError("texts must hold at least one text, got none.")
        coded = self.tokenizer(list(texts), truncation=True, max_length=self.max_text_length, padding="longest", return_tensors="pt")
        return coded["input_ids"], coded["attention_mask"].bool()

    def pieces(self, text: str) -> TextPieces:
        """WordPieces of `text` without [CLS] and [SEP], told apart by what becomes of them."""
        room = self.max_text_length - 2
        pieces, words = self.tokenizer.tokenize(text), text.split()
        unknown = tuple(word for word in words if self.tokenizer.unk_token in self.tokenizer.tokenize(word))
        return TextPieces(tuple(pieces[:room]), unknown, tuple(pieces[room:]))

    def __call__(self, *, videos: UInt8[Tensor, "B N T 3 H W"] | Sequence[UInt8[Tensor, "N T 3 H_b W_b"]], texts: Sequence[str]) -> dict[str, Tensor]:
        """`pixel_values`, `input_ids` and `attention_mask`, ready for `model(**...)`."""
        input_ids, attention_mask = self.texts(texts)
        return {"pixel_values": torch.stack([self.pixels(v) for v in videos]), "input_ids": input_ids, "attention_mask": attention_mask}

    def save_pretrained(self, folder: str | Path) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.txt").write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")
        settings = {
            "image_size": self.image_size, "pixel_mean": self.pixel_mean, "pixel_std": self.pixel_std,
            "max_text_length": self.max_text_length, "sampling": asdict(self.sampling), "settle_margins": self.settle_margins,
        }  # fmt: skip
        (folder / "processor.json").write_text(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "ClipBertProcessor":
        folder = Path(folder)
        if not (folder / "processor.json").is_file():
            raise ValueError(f"{folder} holds no processor.json, so it is no folder of a clipbert model.")
        settings = json.loads((folder / "processor.json").read_text())
        settings["sampling"] = SamplingConfig(**settings["sampling"])
        words = folder / "vocab.txt"
        return cls(vocabulary=(words if words.is_file() else VOCABULARY).read_text(encoding="utf-8").splitlines(), **settings)
