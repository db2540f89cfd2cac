"""The heads that turn what the trunk knows of a clip and a text into logits; `make_head` builds the one that a configuration names."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from clipbert.backbone import TemporalFusion
from clipbert.config import ClipBertConfig, HeadConfig
from clipbert.transformer import ALL, FusedInput, FusionTransformer, Shown

Texts = tuple[Tensor, Tensor]  # input_ids int64[M, L], attention_mask bool[M, L]


@runtime_checkable
class Trunk(Protocol):
    """What a head asks of `clipbert.model.ClipBertModel`."""

    fusion: FusionTransformer
    temporal_fusion: TemporalFusion

    def fuse(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor, video_index: Tensor, shown: Shown) -> FusedInput: ...

    def pooled_pairs(self, features: Tensor, texts: Sequence[Texts]) -> list[Tensor]: ...


def make_head(config: ClipBertConfig, head: HeadConfig) -> nn.Module:
    """`forward` reads each text with its own video's clips; `pairs` every text with every clip of a gallery."""
    if head.kind == "contrastive":
        return ContrastiveHead(config)
    if head.kind == "regression":
        return RegressionHead(config)
    return MLPHead(config, head)


class MLPHead(nn.Module):
    """Dropout, D -> 2D, ReLU, 2D -> J on the pooled [CLS] state: the original's classifier, retrieval and multiple-choice head.

    With `pooled_path`, a second MLP reads the mean visual token and the mean
    word and adds its logits; ours, for small training sets.
    """

    def __init__(self, config: ClipBertConfig, head: HeadConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.mlp = nn.Sequential(nn.Dropout(config.hidden_dropout_prob), nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, head.num_outputs))
        self.pooled_path = PooledPath(config, head.num_outputs) if head.pooled_path else None

    def forward(self, trunk: Trunk, features: Tensor, input_ids: Tensor, attention_mask: Tensor, video_index: Tensor, shown: Shown) -> Tensor:
        fused = trunk.fuse(features, input_ids, attention_mask, video_index, shown)
        logits = self.mlp(trunk.fusion.pooled(fused.tokens, fused.mask))
        logits = rearrange(logits, "(m n) j -> m n j", n=fused.num_clips)
        if self.pooled_path is not None:
            logits = logits + self.pooled_path(trunk, features, input_ids, attention_mask, video_index, shown)
        return logits

    def pairs(self, trunk: Trunk, features: Float[Tensor, "C T h w D"], texts: Sequence[Texts]) -> Float[Tensor, "M C J"]:
        logits = [self.mlp(pooled) for pooled in trunk.pooled_pairs(features, texts)]
        if self.pooled_path is not None:
            logits = [some + self.pooled_path(trunk, features[None], *batch, torch.zeros_like(batch[0][:, 0]), ALL)
                      for some, batch in zip(logits, texts, strict=True)]  # fmt: skip
        return torch.cat(logits)


def _mean_cell(grid: Float[Tensor, "B N h w D"], cell_mask: Bool[Tensor, "B N h w"] | None) -> Float[Tensor, "B N D"]:
    """Of the cells where `cell_mask` is set; 0 where there are none."""
    if cell_mask is None:
        return grid.mean(dim=(2, 3))
    return (grid * cell_mask[..., None]).sum(dim=(2, 3)) / cell_mask.sum(dim=(2, 3))[..., None].clamp(min=1)


class PooledPath(nn.Module):
    """An MLP over [mean visual token, weighted mean word] of each clip and text."""

    def __init__(self, config: ClipBertConfig, num_outputs: int) -> None:
        super().__init__()
        d = config.hidden_size
        self.words = WordMean(config)
        self.visual_norm, self.text_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * d, 2 * d), nn.ReLU(), nn.Dropout(0.2), nn.Linear(2 * d, num_outputs))

    def forward(self, trunk: Trunk, features: Tensor, input_ids: Tensor, attention_mask: Tensor, video_index: Tensor, shown: Shown) -> Tensor:
        visual = self.visual_norm(_mean_cell(trunk.temporal_fusion(features), shown.cell_mask))[video_index]  # [M, N, D]
        text = self.text_norm(self.words(trunk, input_ids, attention_mask, shown.word_vectors))
        return self.mlp(torch.cat([visual, text[:, None].expand_as(visual)], dim=-1))


class ContrastiveHead(nn.Module):
    """Scaled cosine of the mean visual token and the mean word, as match log-odds: a dual encoder, ours.

    It needs no fusion, so a gallery is scored by one matrix product.
    """

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.words = WordMean(config)
        self.visual, self.text = Projection(d, d), Projection(d, d)
        self.log_scale, self.offset = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(0.0))

    def forward(self, trunk: Trunk, features: Tensor, input_ids: Tensor, attention_mask: Tensor, video_index: Tensor, shown: Shown) -> Tensor:
        visual = self.embed_clips(trunk, features, shown.cell_mask)[video_index]  # [M, N, D]
        text = self.embed_texts(trunk, input_ids, attention_mask, shown.word_vectors)
        similarity = torch.einsum("mnd,md->mn", visual, text)
        return (self.log_scale.exp() * similarity + self.offset)[..., None]

    def pairs(self, trunk: Trunk, features: Float[Tensor, "C T h w D"], texts: Sequence[Texts]) -> Float[Tensor, "M C 1"]:
        vectors = torch.cat([self.embed_texts(trunk, *batch) for batch in texts])
        return (self.log_scale.exp() * vectors @ self.embed_clips(trunk, features[None])[0].T + self.offset)[..., None]

    def embed_clips(
        self, trunk: Trunk, features: Float[Tensor, "B N T h w D"], cell_mask: Bool[Tensor, "B N h w"] | None = None
    ) -> Float[Tensor, "B N D"]:
        return F.normalize(self.visual(_mean_cell(trunk.temporal_fusion(features), cell_mask)), dim=-1)

    def embed_texts(
        self, trunk: Trunk, input_ids: Int[Tensor, "M L"], attention_mask: Bool[Tensor, "M L"], word_vectors: Tensor | None = None
    ) -> Float[Tensor, "M D"]:
        return F.normalize(self.text(self.words(trunk, input_ids, attention_mask, word_vectors)), dim=-1)


class Projection(nn.Linear):
    """A square linear map that starts as the identity, so that the head starts as its inputs' cosine."""


class WordMean(nn.Module):
    """Mean of a text's word embeddings, each word piece with a learned weight (0 for stop words, say)."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        self.token_weight = nn.Parameter(torch.ones(config.vocab_size))

    def forward(
        self, trunk: Trunk, input_ids: Int[Tensor, "M L"], attention_mask: Bool[Tensor, "M L"], word_vectors: Tensor | None = None
    ) -> Float[Tensor, "M D"]:
        weight = self.token_weight[input_ids] * attention_mask
        words = trunk.fusion.text.word_embeddings(input_ids) if word_vectors is None else word_vectors
        return torch.einsum("ml,mld->md", weight, words) / weight.abs().sum(dim=1, keepdim=True).clamp(min=1e-3)


class RegressionHead(nn.Module):
    """Linear, ELU, BatchNorm over all (text, clip) rows, dropout, linear: the original's counting head (TGIF-QA count)."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.mlp = nn.Sequential(nn.Linear(d, d), nn.ELU(), nn.BatchNorm1d(d), nn.Dropout(config.hidden_dropout_prob), nn.Linear(d, 1))

    def forward(self, trunk: Trunk, features: Tensor, input_ids: Tensor, attention_mask: Tensor, video_index: Tensor, shown: Shown) -> Tensor:
        fused = trunk.fuse(features, input_ids, attention_mask, video_index, shown)
        return rearrange(self.mlp(trunk.fusion.pooled(fused.tokens, fused.mask)), "(m n) j -> m n j", n=fused.num_clips)

    def pairs(self, trunk: Trunk, features: Float[Tensor, "C T h w D"], texts: Sequence[Texts]) -> Float[Tensor, "M C 1"]:
        return torch.cat([self.mlp(pooled.flatten(0, 1)).unflatten(0, pooled.shape[:2]) for pooled in trunk.pooled_pairs(features, texts)])


class MaskedWordHead(nn.Module):
    """Linear, GELU, LayerNorm, then the word-embedding table as decoder, plus a bias."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        self.transform = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, states: Float[Tensor, "M L D"], word_embeddings: Float[Tensor, "V D"]) -> Float[Tensor, "M L V"]:
        return F.linear(self.norm(F.gelu(self.transform(states))), word_embeddings, self.bias)
