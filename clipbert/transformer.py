"""Text and grid embeddings and the BERT-shaped encoder that fuses them (Sec. 3; OFFICIAL sections 1.2 to 1.4)."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from clipbert.config import ClipBertConfig

_RECORD: ContextVar[list[Tensor] | None] = ContextVar("attention probabilities of the layers that ran", default=None)


@dataclass(frozen=True)
class FusedInput:
    """What the fusion transformer reads: one row per (text, clip) pair, R = M * N."""

    tokens: Tensor  # float[R, S, D]: text, then grid cells
    mask: Tensor  # bool[R, S]
    num_clips: int


@dataclass(frozen=True)
class Shown:
    """What a model is shown of its input where that is not all of it: how attribution takes parts away."""

    cell_mask: Tensor | None = None  # bool[B, N, h, w]: grid cells that exist
    word_vectors: Tensor | None = None  # float[M, L, D]: instead of the word embeddings of `input_ids`


ALL = Shown()


@dataclass(frozen=True)
class Side:
    """Texts, or clips, as the first layer projects them: before attention the two do not meet, so all pairs share it."""

    tokens: Tensor  # float[R, S, D]
    mask: Tensor  # bool[R, S]
    query: Tensor  # float[R, S, D]
    key: Tensor  # float[R, S, D]
    value: Tensor  # float[R, S, D]


def paired(texts: Float[Tensor, "M L *d"] | Bool[Tensor, "M L"], clips: Float[Tensor, "C P *d"] | Bool[Tensor, "C P"]) -> Tensor:
    """Every text followed by every clip: M * C rows, text by text."""
    m, c = len(texts), len(clips)
    return torch.cat([texts.repeat_interleave(c, dim=0), clips.repeat(m, *(1 for _ in clips.shape[1:]))], dim=1)


class TextEmbedding(nn.Module):
    """Word + position + type 0, LayerNorm, dropout: BERT's own."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Int[Tensor, "M L"], word_vectors: Float[Tensor, "M L D"] | None = None) -> Float[Tensor, "M L D"]:
        """Of `input_ids`, or of `word_vectors` in place of their word embeddings."""
        length, longest = input_ids.shape[1], self.position_embeddings.num_embeddings
        if length > longest:
            raise ValueError(f"text must have at most {longest} tokens, this model's positions; got {length}; cut it with the processor.")
        words = self.word_embeddings(input_ids) if word_vectors is None else word_vectors
        x = words + self.position_embeddings.weight[:length] + self.token_type_embeddings.weight[0]
        return self.dropout(self.norm(x))


class VisualEmbedding(nn.Module):
    """Grid cell + row + column + visual type, LayerNorm, dropout.

    The paper says the grid shares BERT's position embeddings; its code, and
    this one, have two tables of their own.  There is no temporal embedding.
    """

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        self.row_embeddings = nn.Embedding(config.max_grid_rows, config.hidden_size)
        self.col_embeddings = nn.Embedding(config.max_grid_cols, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(1, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, grid: Float[Tensor, "B N h w D"], cells: Int[Tensor, " P"] | None = None) -> Float[Tensor, "B N P D"]:
        """Tokens of all cells in row-major order, or of `cells` only."""
        _, _, h, w, _ = grid.shape
        if h > self.row_embeddings.num_embeddings or w > self.col_embeddings.num_embeddings:
            raise ValueError(
                f"the grid must have at most {self.row_embeddings.num_embeddings} x {self.col_embeddings.num_embeddings} cells, "
                f"got {h} x {w}; lower image_size."
            )
        x = grid + self.row_embeddings.weight[:h, None] + self.col_embeddings.weight[:w]
        x = rearrange(x, "b n h w d -> b n (h w) d")
        if cells is not None:
            x = x[:, :, cells]
        return self.dropout(self.norm(x + self.token_type_embeddings.weight[0]))


class Layer(nn.Module):
    """Post-norm transformer layer with exact GELU, as in BERT."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.attention_dropout = config.attention_probs_dropout_prob
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.attention_output = nn.Linear(d, d)
        self.attention_norm = nn.LayerNorm(d, eps=config.layer_norm_eps)
        self.up, self.down = nn.Linear(d, config.intermediate_size), nn.Linear(config.intermediate_size, d)
        self.output_norm = nn.LayerNorm(d, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Float[Tensor, "R S D"], mask: Bool[Tensor, "R S"], queries: slice = slice(None)) -> Float[Tensor, "R Q D"]:
        """New states of the positions in `queries`; all positions serve as keys."""
        q, k, v = self._project(x, queries)
        return self._attend(x[:, queries], q, k, v, mask)

    def side(self, tokens: Float[Tensor, "R S D"], mask: Bool[Tensor, "R S"]) -> Side:
        """Texts, or clips, projected on their own, for `pairs`."""
        return Side(tokens, mask, self.query(tokens), self.key(tokens), self.value(tokens))

    def pairs(self, texts: Side, clips: Side, queries: slice = slice(None)) -> Float[Tensor, "R Q D"]:
        """`forward` of every text with every clip, R = M * C, each side projected once."""
        x, q, k, v = (paired(getattr(texts, name), getattr(clips, name)) for name in ("tokens", "query", "key", "value"))
        q, k, v = (rearrange(y, "r s (heads d) -> r heads s d", heads=self.num_heads) for y in (q[:, queries], k, v))
        return self._attend(x[:, queries], q, k, v, paired(texts.mask, clips.mask))

    def explicit(self, x: Float[Tensor, "R S D"], mask: Bool[Tensor, "R S"]) -> tuple[Float[Tensor, "R S D"], Float[Tensor, "R heads S S"]]:
        """The same states by softmax(q k) v, with the attention probabilities."""
        q, k, v = self._project(x, slice(None))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        attention = scores.masked_fill(~mask[:, None, None, :], float("-inf")).softmax(dim=-1)
        context = F.dropout(attention, self.attention_dropout, self.training) @ v
        return self._finish(x, context), attention

    def _attend(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        dropout = self.attention_dropout if self.training else 0.0
        learns = self.training or (torch.is_grad_enabled() and q.requires_grad)  # both passes of two alike
        slow = q.device.type == "cpu" and (dropout > 0 or q.dtype in (torch.bfloat16, torch.float16))
        attention = by_products if learns and slow else fused
        return self._finish(x, attention(q, k, v, mask, dropout))

    def _project(self, x: Tensor, queries: slice) -> tuple[Tensor, Tensor, Tensor]:
        def split(y: Tensor) -> Tensor:
            return rearrange(y, "r s (heads d) -> r heads s d", heads=self.num_heads)

        return split(self.query(x[:, queries])), split(self.key(x)), split(self.value(x))

    def _finish(self, x: Tensor, context: Tensor) -> Tensor:
        context = rearrange(context, "r heads s d -> r s (heads d)")
        x = self.attention_norm(x + self.dropout(self.attention_output(context)))
        return self.output_norm(x + self.dropout(self.down(F.gelu(self.up(x)))))


def fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, dropout: float) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :], dropout_p=dropout)


def by_products(
    q: Float[Tensor, "R H Q D"], k: Float[Tensor, "R H S D"], v: Float[Tensor, "R H S D"], mask: Bool[Tensor, "R S"], dropout: float
) -> Float[Tensor, "R H Q D"]:
    """`fused` by two batched products, which a CPU differentiates faster in half precision and with dropout.

    In bfloat16 the fused kernel's own backward pass is many times slower than
    these, and with dropout torch leaves the kernel for its float32 reference
    (benchmarks/attention.py has the times).
    """
    rows = q.shape[0]
    allowed = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, float("-inf"))
    allowed = allowed[:, None, None, :].expand(-1, q.shape[1], -1, -1).flatten(0, 1)
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    probabilities = torch.baddbmm(allowed, q, k.transpose(1, 2), alpha=q.shape[-1] ** -0.5).softmax(dim=-1)
    return (F.dropout(probabilities, dropout) @ v).unflatten(0, (rows, -1))


class FusionTransformer(nn.Module):
    """[text, grid] sequence to contextual states, or to the pooled [CLS] state."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        self.text = TextEmbedding(config)
        self.visual = VisualEmbedding(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)

    def states(self, x: Float[Tensor, "R S D"], mask: Bool[Tensor, "R S"]) -> Float[Tensor, "R S D"]:
        """Last states of all tokens."""
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def pooled(self, x: Float[Tensor, "R S D"], mask: Bool[Tensor, "R S"]) -> Float[Tensor, "R D"]:
        """tanh(linear(last [CLS] state)); the last layer computes no other position, since nothing reads it."""
        if (record := _RECORD.get()) is not None:
            x, maps = self.attentions(x, mask)
            record += maps
            return self.pool(x)
        for layer in self.layers[:-1]:
            x = layer(x, mask)
        x = self.layers[-1](x, mask, slice(0, 1))
        return self.pool(x)

    def side(self, tokens: Float[Tensor, "R S D"], mask: Bool[Tensor, "R S"]) -> Side:
        """Embedded texts, or clips, made ready for `pooled_pairs`."""
        return self.layers[0].side(tokens, mask)  # pyright: ignore[reportCallIssue]

    def pooled_pairs(self, texts: Side, clips: Side) -> Float[Tensor, "M C D"]:
        """`pooled` of every text with every clip."""
        first: Any = self.layers[0]
        if len(self.layers) == 1:
            x = first.pairs(texts, clips, slice(0, 1))
        else:
            mask, x = paired(texts.mask, clips.mask), first.pairs(texts, clips)
            for layer in self.layers[1:-1]:
                x = layer(x, mask)
            x = self.layers[-1](x, mask, slice(0, 1))
        return rearrange(self.pool(x), "(m c) d -> m c d", m=len(texts.tokens))

    def pool(self, x: Float[Tensor, "R S D"]) -> Float[Tensor, "R D"]:
        return torch.tanh(self.pooler(x[:, 0]))

    def attentions(self, x: Float[Tensor, "R S D"], mask: Bool[Tensor, "R S"]) -> tuple[Float[Tensor, "R S D"], list[Float[Tensor, "R heads S S"]]]:
        """Last states by explicit attention, and each layer's attention probabilities."""
        maps = []
        for layer in self.layers:
            x, attention = layer.explicit(x, mask)  # type: ignore[operator]
            maps.append(attention)
        return x, maps


@contextmanager
def recorded_attention() -> Iterator[list[Float[Tensor, "R heads S S"]]]:
    """A list that gets the attention probabilities of each layer behind a pooled state, for as long as the context lasts.

    Within it attention is computed explicitly, since the fused kernel gives no
    probabilities; other threads and what follows are not touched.
    """
    record: list[Tensor] = []
    before = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(before)
