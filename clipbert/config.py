"""What defines a model (`ClipBertConfig`) and what defines how it looks at a video (`SamplingConfig`)."""

import difflib
from dataclasses import asdict, dataclass, fields
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from clipbert.checks import check_known
from clipbert.sampling_config import SamplingConfig

__all__ = ["ClipBertConfig", "HeadConfig", "SamplingConfig", "check_known"]

HEAD_KINDS = ("classifier", "multiple_choice", "retrieval", "regression", "contrastive")
EFFICIENTNETS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
BACKBONES = ("resnet50-grid", *EFFICIENTNETS, "auto")
GRID_ENCODERS = ("conv-pool", "linear")
TEMPORAL_FUSIONS = ("mean", "conv3d", "conv2plus1d")


@dataclass(frozen=True)
class HeadConfig:
    """One named head on the trunk."""

    kind: str
    """One of HEAD_KINDS."""
    num_outputs: int
    """J: answers of a classifier; 2 (index 1 = match) or 1 (the rank loss) of a retrieval head; 1 elsewhere."""
    labels: tuple[str, ...] | list[str] = ()
    """The answer behind each output of a classifier; empty where outputs have no names."""
    pooled_path: bool = False
    """Add an MLP over [mean visual token, mean word] to a classifier's logits: a shortcut that small training sets need."""
    temperature: float = 1.0
    """Clip logits are divided by this; fitted on validation data so that probabilities mean what they say."""
    abstain_below: float = 0.0
    """Below this probability the answer is reported as not sure."""
    match_weight: float = 1.0
    """Of a retrieval or contrastive head's log-odds in the sum that `Predictor.match` reports; 0 leaves the head out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        check_known("kind of a head", self.kind, HEAD_KINDS)
        allowed = {"retrieval": (1, 2), "multiple_choice": (1,), "regression": (1,), "contrastive": (1,)}.get(self.kind)
        if self.num_outputs < 1 or (allowed and self.num_outputs not in allowed):
            raise ValueError(
                f"num_outputs of a {self.kind} head must be {' or '.join(map(str, allowed or ('at least 1',)))}, got {self.num_outputs}."
            )
        if self.labels and len(self.labels) != self.num_outputs:
            raise ValueError(f"labels must name all {self.num_outputs} outputs of the head, got {len(self.labels)} names.")
        if self.pooled_path and self.kind != "classifier":
            raise ValueError(f"pooled_path has no effect on a {self.kind} head; it belongs to classifier heads.")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}.")
        if self.match_weight < 0:
            raise ValueError(f"match_weight must not be negative, got {self.match_weight}.")


@strict
class ClipBertConfig(PreTrainedConfig):
    """Sizes and parts of a ClipBERT model; the defaults are the paper's (Sec. 4.1, OFFICIAL section 10)."""

    model_type = "clipbert"

    # transformer: any BERT-shaped encoder
    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int | None = 0

    # from pixels to grid
    backbone: str = "resnet50-grid"
    backbone_config: dict[str, Any] | None = None  # of transformers' AutoBackbone; only with backbone="auto"
    frozen_norms: bool = True  # the CNN's BatchNorm uses stored statistics, as the paper's; False learns them (not resnet50-grid)
    stem_channels: int = 64  # resnet50-grid only
    bottleneck_channels: int = 64  # of res2; doubles at each stage
    res2_channels: int = 256  # doubles at each stage
    stride_in_1x1: bool = True  # resnet50-grid: where a stage halves its grid, as in Caffe2; False has it in the 3x3, as torchvision
    frozen_stages: int = 2  # resnet50-grid: 1 freezes the stem, 2 also res2, ..., 5 everything (detectron2's FREEZE_AT)
    grid_encoder: str = "conv-pool"  # the paper's 3x3 conv, 2x2 max-pool, ReLU; or "linear": a 1x1 conv with bias
    temporal_fusion: str = "mean"  # Table 2
    max_grid_rows: int = 100
    max_grid_cols: int = 100
    image_size: int = 448  # longer side of a frame, in pixels
    pixel_mean: tuple[float, float, float] | list[float] = (123.675, 116.28, 103.53)  # RGB, of 0..255
    pixel_std: tuple[float, float, float] | list[float] = (1.0, 1.0, 1.0)
    pixel_random_sampling_size: int = 0  # pre-training keeps this many random visual tokens in train mode; 0 keeps all (paper: 100)

    # name -> fields of HeadConfig
    heads: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        unknown = [k for k in kwargs if k not in _HUGGING_FACE_KEYS and not k.startswith("_")]
        if unknown:
            near = difflib.get_close_matches(unknown[0], [f.name for f in fields(self)], n=1)
            raise ValueError(f"ClipBertConfig has no setting {unknown[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        super().__post_init__(**kwargs)
        self.pixel_mean, self.pixel_std = list(self.pixel_mean), list(self.pixel_std)
        self.heads = {name: asdict(_as_head(head)) for name, head in (self.heads or {}).items()}
        for head in self.heads.values():
            head["labels"] = list(head["labels"])
        check_known("backbone", self.backbone, BACKBONES)
        check_known("grid_encoder", self.grid_encoder, GRID_ENCODERS)
        check_known("temporal_fusion", self.temporal_fusion, TEMPORAL_FUSIONS)
        if (self.backbone == "auto") != (self.backbone_config is not None):
            raise ValueError('backbone_config goes with backbone="auto", and only with it.')
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} must divide by num_attention_heads {self.num_attention_heads}.")
        if not 0 <= self.frozen_stages <= 5:
            raise ValueError(f"frozen_stages must be between 0 and 5, got {self.frozen_stages}.")

    def head(self, name: str | None = None) -> HeadConfig:
        """The head called `name`; without a name, the only one."""
        return HeadConfig(**(self.heads or {})[self.head_name(name)])

    def head_name(self, name: str | None = None) -> str:
        known = tuple(self.heads or {})
        if name is None:
            if len(known) != 1:
                raise ValueError(f"name one of this model's heads ({', '.join(known) or 'it has none'}) with head=...")
            return known[0]
        check_known("head", name, known)
        return name


# what transformers itself passes to a configuration besides declared fields
_HUGGING_FACE_KEYS = frozenset(
    (
        "name_or_path attn_implementation output_attentions experts_implementation torch_dtype num_labels use_cache is_decoder "
        "tie_word_embeddings model_type auto_map trust_remote_code return_unused_kwargs"
    ).split()
)


def _as_head(head: "HeadConfig | dict[str, Any]") -> HeadConfig:
    if isinstance(head, HeadConfig):
        return head
    known = {f.name for f in fields(HeadConfig)}
    for key in head:
        check_known("setting of a head", key, tuple(known))
    return HeadConfig(**head)
