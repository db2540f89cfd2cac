"""From a loaded batch to its loss: what the model is asked, and how its answer is judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from clipbert import two_pass
from clipbert.backbone import without_repeats
from clipbert.data.collate import LoadedBatch
from clipbert.processing import ClipBertProcessor
from clipbert.tasks import TASKS, match_log_odds, pretraining_loss, rank_loss
from train.engine import Engine
from train.sections import ClipSettings, SourceSettings


@dataclass(frozen=True)
class Asked:
    """Texts for the model, and the loss of its clip logits."""

    texts: dict[str, Any]
    loss: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Learner:
    """Losses and gradients of batches, under one run's settings."""

    engine: Engine
    processor: ClipBertProcessor
    clips: ClipSettings
    loss_scale: float
    """What the gradients of each batch of an update count."""
    mlm_average: str
    """As in `pretraining_loss`."""

    def loss(self, source: SourceSettings, batch: LoadedBatch) -> Tensor:
        """The loss of all clips in one pass."""
        pixels = self._pixels(batch)
        if source.task == "pretrain":
            return self._pretraining_loss(pixels, batch)
        asked = ask(source, batch, self.clips.aggregation, self.engine.device)
        return asked.loss(self._logits(pixels, source, asked))

    def backward(self, source: SourceSettings, batch: LoadedBatch, *, last: bool) -> Tensor:
        """The loss, whose gradients the engine has received; `last` if an update follows."""

        def receive(value: Tensor, is_last: bool) -> None:
            self.engine.backward(value * self.loss_scale, last=last and is_last)

        if self.clips.two_pass == "off":
            value = self.loss(source, batch)
            receive(value, True)
            return value.detach()
        pixels, asked = self._pixels(batch), ask(source, batch, self.clips.aggregation, self.engine.device)
        chunk, model = self.clips.clips_per_pass, self.engine.model
        if self.clips.two_pass == "full":
            return two_pass.full(pixels, lambda x: self._logits(x, source, asked), asked.loss, receive, clips_per_pass=chunk, model=model)
        return two_pass.split(
            pixels, lambda x: self.engine.forward(x, part="encode_clips"),
            lambda features: self.engine.forward(features, **asked.texts, head=source.head_name, part="score").float(),
            asked.loss, receive, clips_per_pass=chunk, model=model,
        )  # fmt: skip

    def _pixels(self, batch: LoadedBatch) -> Tensor:
        """The clips `[B, N, T, C, H, W]` of all items; where all are photos each is held once."""
        device, videos = self.engine.device, batch.clips.pixel_values
        n, t = videos[0].shape[:2]
        read = [without_repeats(frames).to(device, non_blocking=True) for frames in videos]
        alike: dict[torch.Size, list[int]] = {}
        for number, frames in enumerate(read):
            alike.setdefault(frames.shape, []).append(number)
        clips: list[Tensor] = [torch.empty(0)] * len(read)
        for numbers in alike.values():  # those of one size at once
            for number, pixels in zip(numbers, self._prepared(torch.stack([read[i] for i in numbers])), strict=True):
                clips[number] = pixels
        if any(pixels.shape != clips[0].shape for pixels in clips):
            clips = [pixels.expand(n, t, -1, -1, -1) for pixels in clips]
        return torch.stack(clips).expand(-1, n, t, -1, -1, -1)

    def _prepared(self, frames: Tensor) -> Tensor:
        """Frames as the model wants them; a frozen CNN's grids need no more than the type."""
        return self.processor.pixels(frames) if frames.dtype == torch.uint8 else frames.float()

    def _logits(self, pixels: Tensor, source: SourceSettings, asked: Asked) -> Tensor:
        return self.engine.forward(pixels, **asked.texts, head=source.head_name).clip_logits.float()

    def _pretraining_loss(self, pixels: Tensor, batch: LoadedBatch) -> Tensor:
        out = self.engine.forward(pixels, **texts_of(batch, self.engine.device))
        assert batch.mlm_labels is not None and batch.clips.labels is not None
        mlm_labels, itm_labels = batch.mlm_labels.to(self.engine.device), batch.clips.labels.to(self.engine.device)
        return pretraining_loss(out.mlm_logits.float(), out.itm_logits.float(), mlm_labels, itm_labels, self.mlm_average)


def texts_of(batch: LoadedBatch, device: torch.device) -> dict[str, Any]:
    return {name: getattr(batch.clips, name).to(device) for name in ("input_ids", "attention_mask", "video_index")}


def ask(source: SourceSettings, batch: LoadedBatch, how: str, device: torch.device) -> Asked:
    """The texts and the loss of a task that has a head."""
    texts = texts_of(batch, device)
    if source.task == "contrastive":
        return _every_text_of_every_video(batch, texts, how)
    if source.task == "retrieval_rank":
        return Asked(texts, lambda logits: rank_loss(logits, source.num_negatives, how))
    assert batch.clips.labels is not None
    labels, task = batch.clips.labels.to(device), TASKS[source.task]
    return Asked(texts, lambda logits: task.loss(logits, labels, how))


def _every_text_of_every_video(batch: LoadedBatch, texts: dict[str, Any], how: str) -> Asked:
    b, m = len(batch.clips.pixel_values), len(texts["input_ids"])
    names = [example.video for example in batch.examples]
    video_of_row = dict(zip(texts["video_index"].tolist(), names, strict=True))
    own = torch.tensor([[name == video_of_row[row] for row in range(b)] for name in names], device=texts["input_ids"].device)
    pairs = {name: texts[name].repeat_interleave(b, dim=0) for name in ("input_ids", "attention_mask")}
    pairs["video_index"] = torch.arange(b, device=own.device).repeat(m)
    return Asked(pairs, lambda logits: contrastive_loss(rearrange(match_log_odds(logits, how), "(m b) -> m b", b=b), own))


def contrastive_loss(scores: Tensor, own: Tensor) -> Tensor:
    """Cross-entropy of finding a text's video and a video's text, averaged over both directions.

    `scores` is float[M, B], `own` bool[M, B] says which pairs belong together;
    where several do, finding any of them counts.
    """
    found = scores.masked_fill(~own, float("-inf"))
    losses = [(scores.logsumexp(dim) - found.logsumexp(dim)).mean() for dim in (0, 1)]
    return torch.stack(losses).mean()
