"""The score of one clip by itself, as a differentiable function of what the model is shown of clip and text.

Clips meet only when their logits are pooled, so inside a clip this is the
function to explain: no other clip, and no way of pooling, has a part in it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clipbert.matching import HeadReading
from clipbert.per_clip import ClipBertPerClip, PerClipModel
from clipbert.transformer import Shown

WORD = re.compile(r"\S+")
ROWS_AT_ONCE = 64  # (variant of a clip, text) pairs in one forward pass without gradients


@dataclass(frozen=True)
class Goal:
    """Which number of the candidates' logits is the score: log p(candidate), its log-odds over `versus`, or its own log-odds."""

    index: int
    versus: int | None = None
    is_match: bool = False

    def __call__(self, logits: Float[Tensor, "R K"]) -> Float[Tensor, " R"]:
        if self.is_match:
            return logits[:, self.index]
        if self.versus is not None:
            return logits[:, self.index] - logits[:, self.versus]
        return logits.log_softmax(dim=1)[:, self.index]


@dataclass(frozen=True, eq=False)
class ClipScore:
    """What heads say of single clips, in float32, whatever the predictor computes in.

    R rows are variants of clips, each read by itself.  Where each candidate has
    a text of its own, the text to explain is the target's; the others stay.
    """

    per_clip: PerClipModel
    readings: tuple[HeadReading, ...]
    goal: Goal

    @property
    def text(self) -> str:
        """The one to explain."""
        return self.readings[0].texts[self._text_index(self.readings[0])]

    @property
    def clipbert(self) -> ClipBertPerClip:
        """The model, for what can be asked of ClipBERT alone."""
        assert isinstance(self.per_clip, ClipBertPerClip)
        return self.per_clip

    @property
    def num_texts(self) -> int:
        return len(self.readings[0].texts)

    def __call__(self, features: Float[Tensor, "R T h w D"], cell_mask: Bool[Tensor, "R rows columns"] | None = None) -> Float[Tensor, " R"]:
        """Of the cells where `cell_mask` is set (default: all)."""
        return self.goal(torch.stack([self._logits(reading, features, cell_mask) for reading in self.readings]).sum(dim=0))

    @torch.no_grad()
    def of_many(self, features: Float[Tensor, "R T h w D"], cell_mask: Bool[Tensor, "R rows columns"] | None = None) -> Float[Tensor, " R"]:
        """The same without gradients, a bounded number of rows at a time."""
        size = max(1, ROWS_AT_ONCE // self.num_texts)
        masks = [None] * len(features.split(size)) if cell_mask is None else cell_mask.split(size)
        return torch.cat([self(part, mask) for part, mask in zip(features.split(size), masks, strict=True)])

    def of_words(
        self, clip: Float[Tensor, "T h w D"], words: Float[Tensor, "R L D"], token_mask: Bool[Tensor, "R L"] | None = None
    ) -> Float[Tensor, " R"]:
        """Of one clip with R variants of the explained text: its word vectors, of tokens where `token_mask` is set (default: all)."""
        num_rows = len(words)
        input_ids, _ = self.tokens()
        mask = torch.ones(words.shape[:2], dtype=torch.bool, device=words.device) if token_mask is None else token_mask
        ids, features = input_ids.expand(num_rows, -1), repeat(clip, "t h w d -> r 1 t h w d", r=num_rows)
        index = torch.arange(num_rows, device=words.device)

        def scores(head: str) -> Float[Tensor, "R 1 J"]:
            own = self.clipbert.model.score(features, ids, mask, index, head, Shown(word_vectors=words))
            return own / self.clipbert.model.config.head(head).temperature

        return self._of_variants(clip, scores)

    @torch.no_grad()
    def of_pieces(self, clip: Float[Tensor, "T h w D"], kept: Bool[Tensor, "R L"]) -> Float[Tensor, " R"]:
        """Of one clip with R variants of the explained text: pieces not kept are masked in ClipBERT, left out of what other models read."""
        if isinstance(self.per_clip, ClipBertPerClip):
            ends = torch.ones(len(kept), 1, dtype=torch.bool, device=kept.device)  # [CLS] carries the score, [SEP] is no word
            words = self.word_vectors(self.tokens()[0]).expand(len(kept), -1, -1)
            return self.of_words(clip, words, torch.cat([ends, kept, ends], dim=1))
        texts = [_keeping(self.text, row) for row in kept.tolist()]
        return self._of_variants(clip, lambda head: self.per_clip.score(clip[None], texts, head).to(clip.device))

    def _of_variants(self, clip: Float[Tensor, "T h w D"], scores: Callable[[str], Float[Tensor, "R 1 J"]]) -> Float[Tensor, " R"]:
        """From what each head says of R variants of the explained text."""
        parts = []
        for reading in self.readings:
            own = reading.candidate_logits(rearrange(scores(reading.head), "r 1 j -> 1 r j"))
            if reading.columns is None:
                with torch.no_grad():
                    others = self._logits(reading, clip[None], None)
                own = others.expand(len(own), -1).index_copy(1, torch.tensor([self.goal.index], device=own.device), own)
            parts.append(own)
        return self.goal(torch.stack(parts).sum(dim=0))

    @property
    def pieces(self) -> tuple[str, ...]:
        """Of the explained text: ClipBERT's word pieces, or the words, for another model."""
        return self.tokens()[1] if isinstance(self.per_clip, ClipBertPerClip) else tuple(WORD.findall(self.text))

    def tokens(self) -> tuple[Int[Tensor, "1 L"], tuple[str, ...]]:
        """The explained text as the model reads it, with [CLS] first and [SEP] last, and its pieces without them."""
        input_ids, _ = self.clipbert.processor.texts([self.text])
        return input_ids.to(self.per_clip.device), self.per_clip.pieces(self.text).pieces

    def word_vectors(self, input_ids: Int[Tensor, "M L"]) -> Float[Tensor, "M L D"]:
        return self.clipbert.model.clipbert.fusion.text.word_embeddings(input_ids).detach()

    def explained_rows(self, rows: Float[Tensor, "RM ..."]) -> Float[Tensor, "R ..."]:
        """Of something with a row for each variant and text, those of the explained text."""
        return rows.unflatten(0, (-1, self.num_texts))[:, self._text_index(self.readings[0])]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The model in eval mode, and afterwards in the mode it was in."""
        was_training = self.per_clip.model.training
        self.per_clip.model.eval()
        try:
            yield
        finally:
            self.per_clip.model.train(was_training)

    def _logits(self, reading: HeadReading, features: Tensor, cell_mask: Tensor | None) -> Float[Tensor, "R K"]:
        return reading.candidate_logits(self.per_clip.score_cells(features, reading.texts, reading.head, cell_mask))

    def _text_index(self, reading: HeadReading) -> int:
        return 0 if reading.columns is not None else self.goal.index


def _keeping(text: str, kept: Sequence[bool]) -> str:
    """The text without the words that are not kept, whatever stands between them."""
    each = iter(kept)
    return re.sub(" +", " ", WORD.sub(lambda word: word[0] if next(each) else "", text)).strip(" ")
