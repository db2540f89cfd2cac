"""Which adapter reads which model of transformers, and loading one."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import CONFIG_MAPPING, AutoConfig, AutoImageProcessor, AutoModelForVisualQuestionAnswering, AutoTokenizer

from clipbert.hf.blip import BlipAnswer, BlipMatch
from clipbert.hf.dual_encoder import DualEncoder
from clipbert.hf.files import Place, find
from clipbert.hf.image_model import ImageModel
from clipbert.hf.vilt import Vilt
from clipbert.hf.vocabulary import VocabularyModel, has_vocabulary

FAMILIES: dict[str, type[ImageModel]] = {
    "CLIPModel": DualEncoder,
    "SiglipModel": DualEncoder,
    "Siglip2Model": DualEncoder,
    "BlipForImageTextRetrieval": BlipMatch,
    "BlipForQuestionAnswering": BlipAnswer,
    "ViltForQuestionAnswering": Vilt,
    "ViltForImageAndTextRetrieval": Vilt,
}
"""Architecture, as in a model's config.json -> adapter."""


def load(name: str | Path, *, device: str = "auto", dtype: str = "float32") -> ImageModel:
    """The model `hf:NAME_OR_DIR`.  No code that comes with a model is run.

    Raises ValueError, in one line, for a model that is not there, is of no
    supported family, or lacks weights.
    """
    place = find(name)
    settings: dict[str, Any] = {"local_files_only": place.local, "trust_remote_code": False}
    try:
        adapter, architecture = _family(name, place, settings)
        model, loaded = architecture.from_pretrained(place.path, dtype=torch.float32, output_loading_info=True, **settings)
        tokenizer = AutoTokenizer.from_pretrained(place.path, **settings)
        image_processor = AutoImageProcessor.from_pretrained(place.path, backend="pil", **settings)
    except (OSError, ImportError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"model {name} cannot be loaded: {_first_line(error)}") from error
    if loaded["missing_keys"]:
        missing = sorted(loaded["missing_keys"])
        raise ValueError(
            f"model {name} lacks {len(missing)} weights of {architecture.__name__}, such as {missing[0]}; name one that was trained as such."
        )
    return adapter(model, tokenizer, image_processor, name=str(name), device=device, dtype=dtype)


def _family(name: str | Path, place: Place, settings: dict[str, Any]) -> tuple[type[ImageModel], Any]:
    config, _ = transformers.PretrainedConfig.get_config_dict(place.path, **settings)
    architecture = (config.get("architectures") or [""])[0]
    if architecture in FAMILIES:
        return FAMILIES[architecture], getattr(transformers, architecture)
    if (found := _answering(config.get("model_type", ""), architecture)) is None:
        said = architecture or config.get("model_type", "of no known architecture")
        raise ValueError(
            f"model {name} is {said}; supported are {', '.join(FAMILIES)}, and what else transformers has for visual question answering."
        )
    if not has_vocabulary(AutoConfig.from_pretrained(place.path, **settings)):
        raise ValueError(f"model {name} is {architecture}, whose id2label names no answers; supported are {', '.join(FAMILIES)}.")
    return VocabularyModel, found


def _answering(model_type: str, architecture: str) -> Any:
    """The class of this name that transformers, or a package that registered with it, has for visual question answering; else None."""
    known: Any = AutoModelForVisualQuestionAnswering._model_mapping
    config = CONFIG_MAPPING[model_type] if model_type in CONFIG_MAPPING else None  # noqa: SIM401  its get knows nothing that is not loaded yet
    found = known[config] if config in known.keys() else None  # noqa: SIM118  it lists what is registered too
    return found if found is not None and found.__name__ == architecture else None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
