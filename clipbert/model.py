"""ClipBERT, read top to bottom: frames -> grid -> fused tokens -> one set of logits per clip.

Every clip of a video is read independently with the same text; `forward`
returns each clip's opinion and never pools them (`clipbert.aggregation` does).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput

from clipbert.backbone import GridBackbone, TemporalFusion, without_repeats
from clipbert.config import ClipBertConfig
from clipbert.heads import ContrastiveHead, MaskedWordHead, Projection, Texts, WordMean, make_head
from clipbert.resnet import ConvNorm, FrozenBatchNorm, ResNet50
from clipbert.transformer import ALL, FusedInput, FusionTransformer, Shown


@dataclass
class ClipBertOutput(ModelOutput):
    """Logits of each clip on its own."""

    clip_logits: Tensor | None = None  # float[M, N, J]


@dataclass
class ClipBertPreTrainingOutput(ModelOutput):
    """Masked-word and image-text-matching logits; ITM index 1 = matching."""

    mlm_logits: Tensor | None = None  # float[M, L, vocab]
    itm_logits: Tensor | None = None  # float[M, 2]


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
        """Grid features of each frame; independent of any text.  Pixels are normalised RGB; what `expand` repeats is read once."""
        frames = without_repeats(pixel_values)
        b, n, t = frames.shape[:3]
        grid = self.backbone(rearrange(frames, "b n t c h w -> (b n t) c h w"))
        return rearrange(grid, "(b n t) h w d -> b n t h w d", b=b, n=n, t=t).expand(*pixel_values.shape[:3], -1, -1, -1)

    def fuse(
        self,
        features: Float[Tensor, "B N T h w D"],
        input_ids: Int[Tensor, "M L"],
        attention_mask: Bool[Tensor, "M L"] | Int[Tensor, "M L"],
        video_index: Int[Tensor, " M"] | None = None,
        shown: Shown = ALL,
    ) -> FusedInput:
        """Token sequences of every text with every clip of its video."""
        grid = self.temporal_fusion(features)
        b, n, h, w, _ = grid.shape
        video_index = default_video_index(video_index, num_texts=len(input_ids), num_videos=b, device=input_ids.device)
        cells = self._random_cells(h * w) if self.training else None
        visual = self.fusion.visual(grid, cells).index_select(0, video_index)  # [M, N, P, D]
        text = repeat(self.fusion.text(input_ids, shown.word_vectors), "m l d -> m n l d", n=n)
        visible = torch.ones(b, n, h * w, dtype=torch.bool, device=grid.device) if shown.cell_mask is None else shown.cell_mask.flatten(2)
        visible = visible if cells is None else visible[:, :, cells]
        mask = torch.cat([repeat(attention_mask.bool(), "m l -> m n l", n=n), visible[video_index]], dim=2)
        tokens = rearrange(torch.cat([text, visual], dim=2), "m n s d -> (m n) s d")
        return FusedInput(tokens, rearrange(mask, "m n s -> (m n) s"), n)

    def pooled_pairs(self, features: Float[Tensor, "C T h w D"], texts: Sequence[Texts]) -> list[Float[Tensor, "M C D"]]:
        """The pooled [CLS] state of every text of each batch with every clip, for inference: clips are embedded once for all batches."""
        visual = self.fusion.visual(self.temporal_fusion(features[None]))[0]  # [C, P, D]
        clips = self.fusion.side(visual, torch.ones(visual.shape[:2], dtype=torch.bool, device=visual.device))
        sides = (self.fusion.side(self.fusion.text(ids), mask.bool()) for ids, mask in texts)
        return [self.fusion.pooled_pairs(side, clips) for side in sides]

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
        shown: Shown = ALL,
    ) -> Float[Tensor, "M N J"]:
        """Second of the two calls: each clip's logits for each text."""
        trunk, name = self.clipbert, self.config.head_name(head)
        video_index = default_video_index(video_index, num_texts=len(input_ids), num_videos=len(features), device=input_ids.device)
        return self.heads[name](trunk, features, input_ids, attention_mask.bool(), video_index, shown)

    def score_pairs(self, features: Float[Tensor, "C T h w D"], texts: Sequence[Texts], head: str | None = None) -> Float[Tensor, "M C J"]:
        """`score` of every text, which come in batches of like length, with every clip, whatever videos the clips are of."""
        return self.heads[self.config.head_name(head)].pairs(self.clipbert, features, texts)  # pyright: ignore[reportCallIssue]


def register() -> None:
    """Let transformers' AutoConfig and AutoModel find `model_type: clipbert`."""
    AutoConfig.register("clipbert", ClipBertConfig, exist_ok=True)
    AutoModel.register(ClipBertConfig, ClipBertModel, exist_ok=True)


register()

__all__: list[Any] = ["ClipBertForPreTraining", "ClipBertForSequenceClassification", "ClipBertModel", "ClipBertOutput", "ClipBertPreTrainingOutput"]
