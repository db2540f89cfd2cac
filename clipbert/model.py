"""ClipBERT, read top to bottom: frames -> grid -> fused tokens -> one set of logits per clip.

Every clip of a video is read independently with the same text; `forward`
returns each clip's opinion and never pools them (`clipbert.aggregation` does).
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput

from clipbert.backbone import GridBackbone, TemporalFusion
from clipbert.config import ClipBertConfig, HeadConfig
from clipbert.resnet import ConvNorm, FrozenBatchNorm, ResNet50
from clipbert.transformer import FusionTransformer


@dataclass
class ClipBertOutput(ModelOutput):
    """Logits of each clip on its own."""

    clip_logits: Tensor | None = None  # float[M, N, J]


@dataclass
class ClipBertPreTrainingOutput(ModelOutput):
    """Masked-word and image-text-matching logits; ITM index 1 = matching."""

    mlm_logits: Tensor | None = None  # float[M, L, vocab]
    itm_logits: Tensor | None = None  # float[M, 2]


@dataclass(frozen=True)
class FusedInput:
    """What the fusion transformer reads: one row per (text, clip) pair, R = M * N."""

    tokens: Tensor  # float[R, S, D]: text, then grid cells
    mask: Tensor  # bool[R, S]
    num_clips: int


class ClipBertPreTrainedModel(PreTrainedModel):
    config: ClipBertConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    config_class = ClipBertConfig
    base_model_prefix = "clipbert"
    main_input_name = "pixel_values"
    _supports_sdpa = True

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers', but frozen stages stay frozen: loading through the meta device forgets it."""
        loaded = super().from_pretrained(*args, **kwargs)
        for module in (loaded[0] if isinstance(loaded, tuple) else loaded).modules():
            if isinstance(module, ResNet50):
                module.freeze()
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """BERT's and detectron2's initialisations (OFFICIAL section 1.6), instead of transformers' N(0, 0.02) for all."""
        if isinstance(module, ConvNorm):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, FrozenBatchNorm):
            for buffer, value in ((module.weight, 1.0), (module.bias, 0.0), (module.running_mean, 0.0), (module.running_var, 1.0)):
                init.constant_(buffer, value)
        elif isinstance(module, nn.Conv2d | nn.Conv3d):  # grid encoder and 3D fusion: PyTorch's own default, as in the original
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.Embedding):  # the pad row too: the original overwrites it with noise
            init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, WordMean):
            init.ones_(module.token_weight)
        elif isinstance(module, ContrastiveHead):
            init.constant_(module.log_scale, 3.0)
            init.zeros_(module.offset)
        elif isinstance(module, MaskedWordHead):
            init.zeros_(module.bias)
        elif isinstance(module, Projection):
            init.eye_(module.weight)
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)


class ClipBertModel(ClipBertPreTrainedModel):
    """The trunk: encode clips once, then pair them with any number of texts."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__(config)
        self.backbone = GridBackbone(config)
        self.temporal_fusion = TemporalFusion(config.temporal_fusion, config.hidden_size)
        self.fusion = FusionTransformer(config)
        self.post_init()

    def encode_clips(self, pixel_values: Float[Tensor, "B N T C H W"]) -> Float[Tensor, "B N T h w D"]:
        """Grid features of each frame; independent of any text.  Pixels are normalised RGB."""
        b, n, t = pixel_values.shape[:3]
        grid = self.backbone(rearrange(pixel_values, "b n t c h w -> (b n t) c h w"))
        return rearrange(grid, "(b n t) h w d -> b n t h w d", b=b, n=n, t=t)

    def fuse(
        self,
        features: Float[Tensor, "B N T h w D"],
        input_ids: Int[Tensor, "M L"],
        attention_mask: Bool[Tensor, "M L"] | Int[Tensor, "M L"],
        video_index: Int[Tensor, " M"] | None = None,
    ) -> FusedInput:
        """Token sequences of every text with every clip of its video."""
        grid = self.temporal_fusion(features)
        b, n, h, w, _ = grid.shape
        video_index = default_video_index(video_index, num_texts=len(input_ids), num_videos=b, device=input_ids.device)
        cells = self._random_cells(h * w) if self.training else None
        visual = self.fusion.visual(grid, cells)[video_index]  # [M, N, P, D]
        text = repeat(self.fusion.text(input_ids), "m l d -> m n l d", n=n)
        mask = F.pad(attention_mask.bool(), (0, visual.shape[2]), value=True)
        tokens = rearrange(torch.cat([text, visual], dim=2), "m n s d -> (m n) s d")
        return FusedInput(tokens, repeat(mask, "m s -> (m n) s", n=n), n)

    def _random_cells(self, num_cells: int) -> Tensor | None:
        """A sorted random subset, the same for the whole batch: pixel random sampling of image-text pre-training."""
        keep = self.config.pixel_random_sampling_size
        if not 0 < keep < num_cells:
            return None
        return torch.randperm(num_cells)[:keep].sort().values.to(self.device)

    def forward(
        self,
        pixel_values: Float[Tensor, "B N T C H W"],
        input_ids: Int[Tensor, "M L"],
        attention_mask: Bool[Tensor, "M L"] | Int[Tensor, "M L"],
        video_index: Int[Tensor, " M"] | None = None,
    ) -> Float[Tensor, "M N D"]:
        """The pooled [CLS] state of each text with each clip."""
        fused = self.fuse(self.encode_clips(pixel_values), input_ids, attention_mask, video_index)
        return rearrange(self.fusion.pooled(fused.tokens, fused.mask), "(m n) d -> m n d", n=fused.num_clips)


def default_video_index(video_index: Tensor | None, *, num_texts: int, num_videos: int, device: torch.device) -> Tensor:
    """`video_index`, or one text per video in order where it is None.

    Raises ValueError if it is None and the counts differ.
    """
    if video_index is not None:
        return video_index
    if num_texts != num_videos:
        raise ValueError(f"video_index must say which of the {num_videos} videos each of the {num_texts} texts belongs to.")
    return torch.arange(num_videos, device=device)


class ClipBertForPreTraining(ClipBertPreTrainedModel):
    """Masked language modelling and image-text matching on single images (Sec. 3, pre-training)."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__(config)
        self.clipbert = ClipBertModel(config)
        self.mlm = MaskedWordHead(config)
        self.itm = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        pixel_values: Float[Tensor, "B N T C H W"],
        input_ids: Int[Tensor, "M L"],
        attention_mask: Bool[Tensor, "M L"] | Int[Tensor, "M L"],
        video_index: Int[Tensor, " M"] | None = None,
    ) -> ClipBertPreTrainingOutput:
        """Raises ValueError for more than one clip a video: words are masked once per image."""
        if pixel_values.shape[1] != 1:
            raise ValueError(f"pre-training reads one clip per image, got N={pixel_values.shape[1]}; put further clips in the batch.")
        trunk = self.clipbert
        fused = trunk.fuse(trunk.encode_clips(pixel_values), input_ids, attention_mask, video_index)
        states = trunk.fusion.states(fused.tokens, fused.mask)
        words = states[:, : input_ids.shape[1]]
        return ClipBertPreTrainingOutput(
            mlm_logits=self.mlm(words, trunk.fusion.text.word_embeddings.weight), itm_logits=self.itm(trunk.fusion.pool(states))
        )


class MaskedWordHead(nn.Module):
    """Linear, GELU, LayerNorm, then the word-embedding table as decoder, plus a bias."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        self.transform = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, states: Float[Tensor, "M L D"], word_embeddings: Float[Tensor, "V D"]) -> Float[Tensor, "M L V"]:
        return F.linear(self.norm(F.gelu(self.transform(states))), word_embeddings, self.bias)


class ClipBertForSequenceClassification(ClipBertPreTrainedModel):
    """Question answering, retrieval, multiple choice, counting, contrast: named heads on one trunk."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__(config)
        if not config.heads:
            raise ValueError('config.heads must name at least one head, for example {"qa": HeadConfig("classifier", 1500)}.')
        self.clipbert = ClipBertModel(config)
        self.heads = nn.ModuleDict({name: make_head(config, config.head(name)) for name in config.heads})
        self.post_init()

    def forward(
        self,
        pixel_values: Float[Tensor, "B N T C H W"],
        input_ids: Int[Tensor, "M L"],
        attention_mask: Bool[Tensor, "M L"] | Int[Tensor, "M L"],
        video_index: Int[Tensor, " M"] | None = None,
        head: str | None = None,
    ) -> ClipBertOutput:
        features = self.encode_clips(pixel_values)
        return ClipBertOutput(clip_logits=self.score(features, input_ids, attention_mask, video_index, head))

    def encode_clips(self, pixel_values: Float[Tensor, "B N T C H W"]) -> Float[Tensor, "B N T h w D"]:
        """First of the two calls that `Predictor` makes: grid features of each frame."""
        return self.clipbert.encode_clips(pixel_values)

    def score(
        self,
        features: Float[Tensor, "B N T h w D"],
        input_ids: Int[Tensor, "M L"],
        attention_mask: Bool[Tensor, "M L"] | Int[Tensor, "M L"],
        video_index: Int[Tensor, " M"] | None = None,
        head: str | None = None,
    ) -> Float[Tensor, "M N J"]:
        """Second of the two calls: each clip's logits for each text."""
        trunk, name = self.clipbert, self.config.head_name(head)
        video_index = default_video_index(video_index, num_texts=len(input_ids), num_videos=len(features), device=input_ids.device)
        return self.heads[name](trunk, features, input_ids, attention_mask.bool(), video_index)


def make_head(config: ClipBertConfig, head: HeadConfig) -> nn.Module:
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

    def forward(self, trunk: ClipBertModel, features: Tensor, input_ids: Tensor, attention_mask: Tensor, video_index: Tensor) -> Tensor:
        fused = trunk.fuse(features, input_ids, attention_mask, video_index)
        logits = self.mlp(trunk.fusion.pooled(fused.tokens, fused.mask))
        logits = rearrange(logits, "(m n) j -> m n j", n=fused.num_clips)
        if self.pooled_path is not None:
            logits = logits + self.pooled_path(trunk, features, input_ids, attention_mask, video_index)
        return logits


class PooledPath(nn.Module):
    """An MLP over [mean visual token, weighted mean word] of each clip and text."""

    def __init__(self, config: ClipBertConfig, num_outputs: int) -> None:
        super().__init__()
        d = config.hidden_size
        self.words = WordMean(config)
        self.visual_norm, self.text_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * d, 2 * d), nn.ReLU(), nn.Dropout(0.2), nn.Linear(2 * d, num_outputs))

    def forward(self, trunk: ClipBertModel, features: Tensor, input_ids: Tensor, attention_mask: Tensor, video_index: Tensor) -> Tensor:
        visual = self.visual_norm(trunk.temporal_fusion(features).mean(dim=(2, 3)))[video_index]  # [M, N, D]
        text = self.text_norm(self.words(trunk, input_ids, attention_mask))
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

    def forward(self, trunk: ClipBertModel, features: Tensor, input_ids: Tensor, attention_mask: Tensor, video_index: Tensor) -> Tensor:
        visual = self.embed_clips(trunk, features)[video_index]  # [M, N, D]
        text = self.embed_texts(trunk, input_ids, attention_mask)
        similarity = torch.einsum("mnd,md->mn", visual, text)
        return (self.log_scale.exp() * similarity + self.offset)[..., None]

    def embed_clips(self, trunk: ClipBertModel, features: Float[Tensor, "B N T h w D"]) -> Float[Tensor, "B N D"]:
        return F.normalize(self.visual(trunk.temporal_fusion(features).mean(dim=(2, 3))), dim=-1)

    def embed_texts(self, trunk: ClipBertModel, input_ids: Int[Tensor, "M L"], attention_mask: Bool[Tensor, "M L"]) -> Float[Tensor, "M D"]:
        return F.normalize(self.text(self.words(trunk, input_ids, attention_mask)), dim=-1)


class Projection(nn.Linear):
    """A square linear map that starts as the identity, so that the head starts as its inputs' cosine."""


class WordMean(nn.Module):
    """Mean of a text's word embeddings, each word piece with a learned weight (0 for stop words, say)."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        self.token_weight = nn.Parameter(torch.ones(config.vocab_size))

    def forward(self, trunk: ClipBertModel, input_ids: Int[Tensor, "M L"], attention_mask: Bool[Tensor, "M L"]) -> Float[Tensor, "M D"]:
        weight = self.token_weight[input_ids] * attention_mask
        words = trunk.fusion.text.word_embeddings(input_ids)
        return torch.einsum("ml,mld->md", weight, words) / weight.abs().sum(dim=1, keepdim=True).clamp(min=1e-3)


class RegressionHead(nn.Module):
    """Linear, ELU, BatchNorm over all (text, clip) rows, dropout, linear: the original's counting head (TGIF-QA count)."""

    def __init__(self, config: ClipBertConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.mlp = nn.Sequential(nn.Linear(d, d), nn.ELU(), nn.BatchNorm1d(d), nn.Dropout(config.hidden_dropout_prob), nn.Linear(d, 1))

    def forward(self, trunk: ClipBertModel, features: Tensor, input_ids: Tensor, attention_mask: Tensor, video_index: Tensor) -> Tensor:
        fused = trunk.fuse(features, input_ids, attention_mask, video_index)
        return rearrange(self.mlp(trunk.fusion.pooled(fused.tokens, fused.mask)), "(m n) j -> m n j", n=fused.num_clips)


def register() -> None:
    """Let transformers' AutoConfig and AutoModel find `model_type: clipbert`."""
    AutoConfig.register("clipbert", ClipBertConfig, exist_ok=True)
    AutoModel.register(ClipBertConfig, ClipBertModel, exist_ok=True)


register()

__all__: list[Any] = ["ClipBertForPreTraining", "ClipBertForSequenceClassification", "ClipBertModel", "ClipBertOutput", "ClipBertPreTrainingOutput"]
