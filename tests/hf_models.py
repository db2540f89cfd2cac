"""Tiny random models of transformers, each in a folder as `save_pretrained` leaves it."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import BertTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), "?", "red", "car", "what", "is"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}
TEXT = {**SIZES, "vocab_size": len(WORDS), "max_position_embeddings": 24, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
VISION = {**SIZES, "image_size": 32, "patch_size": 8}


def write_tokenizer(folder: Path) -> None:
    BertTokenizer(vocab={piece: i for i, piece in enumerate(WORDS)}, do_lower_case=True, model_max_length=24).save_pretrained(folder)


def write_model(folder: Path, model: Any, image_processor: Any) -> Path:
    """Matrices are made larger, so that what the tiny model says differs between texts and between frames."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    model.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_clip(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config={**TEXT, "projection_dim": 24}, vision_config={**VISION, "projection_dim": 24}, projection_dim=24)
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return write_model(folder, transformers.CLIPModel(config), processor)


def write_siglip(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.SiglipConfig(text_config=TEXT, vision_config=VISION)
    return write_model(folder, transformers.SiglipModel(config), transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}))


def write_siglip2(folder: Path) -> Path:
    torch.manual_seed(0)
    vision = {name: value for name, value in VISION.items() if name != "image_size"}
    config = transformers.Siglip2Config(text_config=TEXT, vision_config={**vision, "num_patches": 16})
    return write_model(folder, transformers.Siglip2Model(config), transformers.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16))


def vilt_config(**settings: Any) -> Any:
    names = {0: "red", 1: "green", 2: "car"}
    return transformers.ViltConfig(**TEXT, image_size=32, patch_size=8, id2label=names, label2id={v: k for k, v in names.items()}, **settings)


def vilt_processor() -> Any:
    return transformers.ViltImageProcessorPil(size={"shortest_edge": 32}, size_divisor=8)


def write_vilt_qa(folder: Path) -> Path:
    torch.manual_seed(0)
    return write_model(folder, transformers.ViltForQuestionAnswering(vilt_config()), vilt_processor())


def write_vilt_match(folder: Path) -> Path:
    torch.manual_seed(0)
    return write_model(folder, transformers.ViltForImageAndTextRetrieval(vilt_config()), vilt_processor())


def blip_config() -> Any:
    text = {**TEXT, "eos_token_id": 3, "sep_token_id": 3, "bos_token_id": 4}
    return transformers.BlipConfig(text_config=text, vision_config=VISION, projection_dim=24, image_text_hidden_size=24)


def write_blip_match(folder: Path) -> Path:
    torch.manual_seed(0)
    model = transformers.BlipForImageTextRetrieval(blip_config())
    return write_model(folder, model, transformers.BlipImageProcessorPil(size={"height": 32, "width": 32}))


def write_blip_answer(folder: Path) -> Path:
    torch.manual_seed(0)
    model = transformers.BlipForQuestionAnswering(blip_config())
    return write_model(folder, model, transformers.BlipImageProcessorPil(size={"height": 32, "width": 32}))


class AnsweringConfig(transformers.PreTrainedConfig):
    model_type = "tests-answering"
    vocab_size: int = len(WORDS)
    max_position_embeddings: int = 24


class AnsweringModel(transformers.PreTrainedModel):
    """A model of another package: it answers by mean colour and mean word."""

    config_class = AnsweringConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.words, self.answer = torch.nn.Embedding(config.vocab_size, 3), torch.nn.Linear(6, len(config.id2label))
        self.post_init()

    def forward(self, input_ids: Any, pixel_values: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
        seen = attention_mask[..., None]
        words = (self.words(input_ids) * seen).sum(dim=1) / seen.sum(dim=1)
        logits = self.answer(torch.cat([pixel_values.mean(dim=(2, 3)), words], dim=1))
        return transformers.modeling_outputs.SequenceClassifierOutput(logits=logits)


def write_answering(folder: Path, names: dict[int, str] = {0: "red", 1: "green"}) -> Path:  # noqa: B006  not changed
    transformers.AutoConfig.register(AnsweringConfig.model_type, AnsweringConfig, exist_ok=True)
    transformers.AutoModelForVisualQuestionAnswering.register(AnsweringConfig, AnsweringModel, exist_ok=True)
    torch.manual_seed(0)
    config = AnsweringConfig(id2label=names, label2id={name: j for j, name in names.items()})
    return write_model(folder, AnsweringModel(config), transformers.BlipImageProcessorPil(size={"height": 16, "width": 16}))


DUAL_ENCODERS = {"clip": write_clip, "siglip": write_siglip, "siglip2": write_siglip2}
CROSS_ENCODERS = {"vilt-qa": write_vilt_qa, "vilt-match": write_vilt_match, "blip-match": write_blip_match, "blip-answer": write_blip_answer}
WRITERS = DUAL_ENCODERS | CROSS_ENCODERS | {"answering": write_answering}
