"""What a cost is measured of: a model of given sizes with random weights, random inputs, and a training step of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clipbert import two_pass
from clipbert.bundled import model_folder
from clipbert.config import ClipBertConfig, HeadConfig, check_known
from clipbert.model import ClipBertForSequenceClassification
from clipbert.recompute import checkpoint_activations
from clipbert.tasks import TASKS

MODES = ("one-pass", "two-pass-full", "two-pass-split")

SMALL = ClipBertConfig(
    vocab_size=1000, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, max_position_embeddings=64,
    stem_channels=4, bottleneck_channels=4, res2_channels=16, image_size=96,
)  # fmt: skip


@dataclass(frozen=True)
class CostSettings:
    """What is measured, and how; the paper's Figure 5 has batch size 8 and image size 448."""

    model: str = "small"
    """"small" (0.3 M parameters), "paper" (its sizes), a bundled model or a folder; its configuration only, with random weights."""
    num_clips: int = 1
    """N_train."""
    num_frames: int = 1
    """T."""
    batch_size: int = 8
    """Videos, with one text each."""
    image_size: int = 0
    """Pixels of a frame's side; 0 for the model's own."""
    text_length: int = 20
    """Tokens of each text (the paper's retrieval configs cut there)."""
    device: str = "cpu"
    dtype: str = "float32"
    mode: str = "one-pass"
    """One of MODES: all clips at once, or some after the others (`clipbert.two_pass`), with the same gradients."""
    clips_per_pass: int = 1
    """Of each video, in two passes."""
    checkpointing: bool = False
    """Compute activations again instead of keeping them (`clipbert.recompute`)."""
    warmup: int = 3
    repeats: int = 10
    seed: int = 0
    memory_cap: int = 0
    """Bytes that a point may take; 0 for what is free now.  With it, a CPU's points have a predicted largest batch."""

    def __post_init__(self) -> None:
        check_known("device", self.device, ("cpu", "cuda"))
        check_known("dtype", self.dtype, ("float32", "bfloat16"))
        check_known("mode", self.mode, MODES)
        for name in ("num_clips", "num_frames", "batch_size", "text_length", "repeats", "clips_per_pass"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("warmup", "image_size", "memory_cap", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device cuda is not available on this machine; use cpu.")

    @property
    def technique(self) -> str:
        """What saves memory, in words."""
        words = {"one-pass": "one pass", "two-pass-full": "two passes over clips", "two-pass-split": "two passes over the CNN's clips"}[self.mode]
        return words + (", activations computed again" if self.checkpointing else ", no checkpointing")


def cost_config(settings: CostSettings) -> ClipBertConfig:
    """The configuration that is measured: the named one's sizes, with a retrieval head as in Figure 5.

    Raises ValueError for a model that does not exist.
    """
    known = {"small": SMALL, "paper": ClipBertConfig()}
    config = known.get(settings.model) or ClipBertConfig.from_pretrained(model_folder(settings.model))
    changed = {"heads": {"match": HeadConfig("retrieval", 2)}} | ({"image_size": settings.image_size} if settings.image_size else {})
    return ClipBertConfig(**{**config.to_diff_dict(), **changed})


def model_of(settings: CostSettings, device: torch.device) -> ClipBertForSequenceClassification:
    """With random weights, in train mode."""
    torch.manual_seed(settings.seed)
    with device:
        model = ClipBertForSequenceClassification(cost_config(settings)).train()
    if settings.checkpointing:
        checkpoint_activations(model)
    return model


def inputs_of(settings: CostSettings, device: str | torch.device) -> dict[str, Tensor]:
    config, b = cost_config(settings), settings.batch_size
    with torch.device(device):
        return {
            "pixel_values": torch.randn(b, settings.num_clips, settings.num_frames, 3, config.image_size, config.image_size),
            "input_ids": torch.randint(config.vocab_size, (b, settings.text_length)),
            "attention_mask": torch.ones(b, settings.text_length, dtype=torch.bool),
        }


def loss_of(model: ClipBertForSequenceClassification, inputs: dict[str, Tensor]) -> Tensor:
    """The paper's: cross-entropy of the LogSumExp over clips."""
    return _loss(model(**inputs).clip_logits)


def _loss(logits: Tensor) -> Tensor:
    return TASKS["retrieval"].loss(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device), "lse")


def training_step(model: ClipBertForSequenceClassification, inputs: dict[str, Tensor], settings: CostSettings, backward: two_pass.Backward) -> Tensor:
    """The loss, whose gradients `backward` has received, as `settings.mode` says."""

    def encode(pixel_values: Tensor) -> Tensor:
        with precision:
            return model.encode_clips(pixel_values)

    def score(features: Tensor) -> Tensor:
        with precision:
            return model.score(features, inputs["input_ids"], inputs["attention_mask"])

    def loss(logits: Tensor) -> Tensor:
        return _loss(logits.float() if logits.dtype == torch.bfloat16 else logits)

    precision = torch.autocast(settings.device, torch.bfloat16, enabled=settings.dtype == "bfloat16")
    pixels, at_once = inputs["pixel_values"], settings.clips_per_pass
    if settings.mode == "one-pass":
        return two_pass.one_pass(pixels, lambda x: score(encode(x)), loss, backward)
    if settings.mode == "two-pass-full":
        return two_pass.full(pixels, lambda x: score(encode(x)), loss, backward, clips_per_pass=at_once, model=model)
    return two_pass.split(pixels, encode, score, loss, backward, clips_per_pass=at_once, model=model)
