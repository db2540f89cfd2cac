"""Other people's checkpoints into ours: one name map, every key used or listed with the reason why not.

Files are read with safetensors or `torch.load(weights_only=True)`: nothing in
them is ever executed.  Key names are those of OFFICIAL section 8.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from clipbert.config import ClipBertConfig, HeadConfig, check_known
from clipbert.model import ClipBertForPreTraining, ClipBertForSequenceClassification, ClipBertModel

log = logging.getLogger(__name__)

TASKS = ("qa", "multiple-choice", "retrieval", "pretrain", "vqa", "regression")
BERT_VOCABULARY = 30522

_BERT = (
    (r"embeddings\.(\w+_embeddings)\.weight", r"text.\1.weight"),
    (r"embeddings\.LayerNorm\.(\w+)", r"text.norm.\1"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.(\w+)", r"layers.\1.\2.\3"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(\w+)", r"layers.\1.attention_output.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.(\w+)", r"layers.\1.attention_norm.\2"),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.(\w+)", r"layers.\1.up.\2"),
    (r"encoder\.layer\.(\d+)\.output\.dense\.(\w+)", r"layers.\1.down.\2"),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.(\w+)", r"layers.\1.output_norm.\2"),
    (r"pooler\.dense\.(\w+)", r"pooler.\1"),
)
_OFFICIAL = (
    (r"cnn\.feature\.backbone\.(.+)", r"clipbert.backbone.cnn.\1"),
    (r"cnn\.grid_encoder\.0\.weight", r"clipbert.backbone.grid_encoder.0.weight"),
    (r"transformer\.bert\.visual_embeddings\.(row|col)_position_embeddings\.weight", r"clipbert.fusion.visual.\1_embeddings.weight"),
    (r"transformer\.bert\.visual_embeddings\.token_type_embeddings\.weight", r"clipbert.fusion.visual.token_type_embeddings.weight"),
    (r"transformer\.bert\.visual_embeddings\.LayerNorm\.(\w+)", r"clipbert.fusion.visual.norm.\1"),
    *((r"transformer\.bert\." + theirs, r"clipbert.fusion." + ours) for theirs, ours in _BERT),
    (r"transformer\.cls\.predictions\.bias", r"mlm.bias"),
    (r"transformer\.cls\.predictions\.transform\.dense\.(\w+)", r"mlm.transform.\1"),
    (r"transformer\.cls\.predictions\.transform\.LayerNorm\.(\w+)", r"mlm.norm.\1"),
    (r"transformer\.cls\.seq_relationship\.(\w+)", r"itm.\1"),
    (r"transformer\.classifier\.0\.(\w+)", r"heads.{head}.mlp.1.\1"),
    (r"transformer\.classifier\.2\.(\w+)", r"heads.{head}.mlp.3.\1"),
    (r"transformer\.regressor\.(\d)\.(\w+)", r"heads.{head}.mlp.\1.\2"),
)
_DROPPED = (
    (r"cnn\.feature\.proposal_generator\..+", "detection head that the original builds and never uses"),
    (r"cnn\.feature\.roi_heads\..+", "detection head that the original builds and never uses"),
    (r"transformer\.bert\.visual_embeddings\.position_embeddings\.weight", "table that the original creates and never reads"),
    (r"transformer\.cls\.predictions\.decoder\.(weight|bias)", "tied copy of the word embeddings and the MLM bias"),
    (r"(transformer\.)?(bert\.)?embeddings\.position_ids", "position counter, not a weight"),
)
_OLD_NORM_NAMES = {"gamma": "weight", "beta": "bias"}


@dataclass
class Report:
    """What became of each key of a checkpoint."""

    used: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)  # key -> reason


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file or of a torch pickle, unwrapped from "model" or "model_state_dict".

    Raises ValueError for a missing or unreadable file, or one that would have
    to execute code to load.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"cannot read checkpoint: {path} is not a file.")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  torch, pickle, zipfile and safetensors raise a dozen kinds for a bad file
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ValueError(
            f"cannot read checkpoint: {path} is not a plain file of tensors ({reason}); export its state_dict with torch.save."
        ) from None
    for wrapper in ("model_state_dict", "model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"cannot read checkpoint: {path} holds no name -> tensor mapping; export its state_dict with torch.save.")
    return {str(name): tensor for name, tensor in content.items()}


def read_labels(path: str | Path) -> list[str]:
    """Answers in the order of their outputs, from an ans2label.json (answer -> index).

    Raises ValueError unless the indices are 0, 1, 2, ... each once.
    """
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"cannot read labels: {path} is no JSON file ({type(error).__name__}); give an ans2label.json, answer -> index.") from None
    if not isinstance(table, dict) or sorted(table.values(), key=str) != sorted(range(len(table)), key=str):
        raise ValueError(f"{path} must map each answer to an index, 0 to {len(table) - 1}, each used once.")
    return sorted(table, key=table.__getitem__)


def convert_official(
    state: Mapping[str, Tensor],
    task: str,
    *,
    num_heads: int | None = None,
    labels: list[str] | None = None,
    image_size: int | None = None,
) -> tuple[ClipBertForPreTraining | ClipBertForSequenceClassification, Report]:
    """The official end-to-end checkpoint as one of our models; sizes are read off the tensors.

    `labels[j]` names output j of a qa or vqa classifier; the original pads the
    classifier, so outputs beyond the last label stay nameless and are never
    answered.  Raises ValueError, naming the key, for one that is missing, of an
    unexpected shape, or that no rule covers.
    """
    check_known("task", task, TASKS)
    _check_tied(state)
    config = _config_from(state, num_heads)
    config.image_size = image_size or (768 if task in ("pretrain", "vqa") else 448)
    head = task.replace("-", "_")
    if task == "pretrain":
        model: ClipBertForPreTraining | ClipBertForSequenceClassification = ClipBertForPreTraining(config)
    else:
        config.heads = ClipBertConfig(heads={head: _head_from(state, task, labels)}).heads
        model = ClipBertForSequenceClassification(config)
    return model.eval(), copy_weights(model, state, _OFFICIAL, _DROPPED, head)


def _check_tied(state: Mapping[str, Tensor]) -> None:
    """The decoder of the masked-word head is dropped as a copy, so it must be one."""
    cls = "transformer.cls.predictions."
    for copy, original in ((cls + "decoder.weight", "transformer.bert.embeddings.word_embeddings.weight"), (cls + "decoder.bias", cls + "bias")):
        if copy in state and original in state and not torch.equal(state[copy], state[original]):
            raise ValueError(f"{copy} differs from {original}, which it should be tied to; this model has no place for an untied one.")


def _config_from(state: Mapping[str, Tensor], num_heads: int | None) -> ClipBertConfig:
    def shape(key: str) -> torch.Size:
        if key not in state:
            raise ValueError(f"the checkpoint lacks {key}; it is no end-to-end ClipBERT checkpoint (load_bert and load_grid_feat read its parts).")
        return state[key].shape

    bert, cnn = "transformer.bert.", "cnn.feature.backbone."
    vocab_size, hidden_size = shape(bert + "embeddings.word_embeddings.weight")
    if num_heads is None:
        if hidden_size % 64:
            raise ValueError(
                f"hidden size {hidden_size} does not divide by 64, so the number of attention heads can't be inferred; give --num-heads."
            )
        num_heads = hidden_size // 64
    if vocab_size != BERT_VOCABULARY:
        log.warning(
            "the vocabulary has %d pieces where bert-base-uncased has %d; its first pieces are assumed to be the same", vocab_size, BERT_VOCABULARY
        )
    return ClipBertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_attention_heads=num_heads,
        num_hidden_layers=1 + max(int(m[1]) for key in state if (m := re.match(re.escape(bert) + r"encoder\.layer\.(\d+)\.", key))),
        intermediate_size=shape(bert + "encoder.layer.0.intermediate.dense.weight")[0],
        max_position_embeddings=shape(bert + "embeddings.position_embeddings.weight")[0],
        type_vocab_size=shape(bert + "embeddings.token_type_embeddings.weight")[0],
        max_grid_rows=shape(bert + "visual_embeddings.row_position_embeddings.weight")[0],
        max_grid_cols=shape(bert + "visual_embeddings.col_position_embeddings.weight")[0],
        stem_channels=shape(cnn + "stem.conv1.weight")[0],
        bottleneck_channels=shape(cnn + "res2.0.conv1.weight")[0],
        res2_channels=shape(cnn + "res2.0.conv3.weight")[0],
    )


def _head_from(state: Mapping[str, Tensor], task: str, labels: list[str] | None) -> HeadConfig:
    last = "transformer.regressor.4.weight" if task == "regression" else "transformer.classifier.2.weight"
    if last not in state:
        raise ValueError(f"the checkpoint has no {last}, so it is no fine-tuned {task} model; try --task pretrain, or the task it was trained for.")
    num_outputs = len(state[last])
    if task not in ("qa", "vqa"):
        if labels:
            raise ValueError(f"--labels has no effect on a {task} model; leave it out.")
        return HeadConfig({"multiple-choice": "multiple_choice"}.get(task, task), num_outputs)
    if labels and len(labels) > num_outputs:
        raise ValueError(f"--labels names {len(labels)} answers but transformer.classifier.2.weight has only {num_outputs} outputs.")
    names = tuple(labels) + ("",) * (num_outputs - len(labels)) if labels else ()
    return HeadConfig("classifier", num_outputs, names)


def load_bert(model: ClipBertModel | ClipBertForPreTraining | ClipBertForSequenceClassification, path: str | Path) -> Report:
    """Load a Hugging Face BERT (a file, or a folder with one) into the fusion transformer of `model`.

    Heads of the BERT checkpoint are dropped; visual embeddings keep their own
    initialisation, as in the original.  Raises ValueError naming the key for a
    size that differs.
    """
    path = Path(path)
    if path.is_dir():
        files = [path / name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file()]
        if not files:
            raise ValueError(f"{path} holds neither model.safetensors nor pytorch_model.bin.")
        path = files[0]
    state = {_modern(key.removeprefix("bert.")): value for key, value in read_checkpoint(path).items()}
    heads = ((r"cls\..+", "BERT's own pre-training heads"), (r"pooler\.dense\..+", "pooler"), *_DROPPED)
    return copy_weights(_trunk(model).fusion, state, _BERT, heads, optional=r"visual\..+|pooler\..+")


def load_grid_feat(model: ClipBertModel | ClipBertForPreTraining | ClipBertForSequenceClassification, path: str | Path) -> Report:
    """Load a detectron2 grid-feature ResNet-50 (grid_feat_R-50.pth) into the CNN of `model`; its detection heads are dropped."""
    dropped = ((r"(proposal_generator|roi_heads)\..+", "detection head"),)
    return copy_weights(_trunk(model).backbone.cnn, read_checkpoint(path), ((r"backbone\.(.+)", r"\1"),), dropped)


def _trunk(model: ClipBertModel | ClipBertForPreTraining | ClipBertForSequenceClassification) -> ClipBertModel:
    return model if isinstance(model, ClipBertModel) else model.clipbert


def _modern(key: str) -> str:
    stem, _, last = key.rpartition(".")
    return f"{stem}.{_OLD_NORM_NAMES.get(last, last)}" if "LayerNorm" in stem else key


def copy_weights(
    module: nn.Module,
    state: Mapping[str, Tensor],
    rules: tuple[tuple[str, str], ...],
    dropped: tuple[tuple[str, str], ...],
    head: str = "",
    optional: str = r"$^",
) -> Report:
    """Copy `state` into `module` under the name map; both sides must be used up, bar what is `dropped` or `optional`."""
    report, targets, filled = Report(), module.state_dict(), set()
    for key, value in state.items():
        name = next((re.sub(theirs, ours, key).format(head=head) for theirs, ours in rules if re.fullmatch(theirs, key)), None)
        if name in targets:
            if targets[name].shape != value.shape:
                raise ValueError(f"{key} has shape {tuple(value.shape)} where this model needs {tuple(targets[name].shape)}.")
            targets[name].copy_(value)
            filled.add(name)
            report.used.append(key)
        elif reason := next((reason for pattern, reason in dropped if re.fullmatch(pattern, key)), None):
            report.dropped[key] = reason
        else:
            raise ValueError(f"the checkpoint's {key} has no place in this model; check the task it was trained for.")
    missing = [name for name in targets if name not in filled and not re.fullmatch(optional, name)]
    if missing:
        raise ValueError(f"the checkpoint has nothing for {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "") + ".")
    return report
