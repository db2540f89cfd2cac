"""Does a map depend on what the model has learned?  Its layers become random from the top down (Adebayo 2018, arXiv 1810.03292, section 3).

randomisation_check(predictor, video, question, found).verdict

A map that stays alike shows the input, whatever the model.  The CNN keeps its
weights: what is explained are its features.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import nn

from clipbert.attribution import attribute
from clipbert.caches import Cache
from clipbert.encoding import Progress
from clipbert.faithfulness import rank_agreement
from clipbert.faithfulness_units import find_units, row_of, values_of
from clipbert.model import ClipBertForSequenceClassification
from clipbert.per_clip import ClipBertPerClip
from clipbert.predict import Predictor
from clipbert.types import Attribution, EncodedVideo

ALIKE = 0.5  # ours: Adebayo 2018 judges by eye
LOGIT_BYTES = 16 << 20


@dataclass(frozen=True)
class RandomisedMap:
    """Rank agreement of a map with that of the model as it is, when everything down to `down_to` is random; 0 for one with all values equal."""

    down_to: str
    seed: int
    agreement: float


@dataclass(frozen=True)
class Randomisation:
    """A row for each stage, from the top, and each random model."""

    method: str
    clip: int | None  # counted from 0; None: all clips together
    rows: tuple[RandomisedMap, ...]

    def agreements(self) -> dict[str, float]:
        """The mean over random models, by stage."""
        return {stage: mean(row.agreement for row in self.rows if row.down_to == stage) for stage in dict.fromkeys(row.down_to for row in self.rows)}

    @property
    def verdict(self) -> str:
        """By the last stage, where nothing that was learned is left but the CNN."""
        last = [row.agreement for row in self.rows if row.down_to == self.rows[-1].down_to]
        said = f"rank agreement {mean(last):+.2f}, {min(last):+.2f} to {max(last):+.2f} over {len(last)} random models"
        if mean(last) > ALIKE:
            return f"the map hardly depends on what the model has learned: do not read it ({said}; above {ALIKE:g} is alike)."
        return f"the map depends on what the model has learned ({said}; above {ALIKE:g} would be alike)."


def randomisation_check(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, attribution: Attribution, *, clip: int | None = None, num_models: int = 3,
    seed: int = 0, baseline: str | None = None, steps: int | None = None, progress: Progress | None = None, **wanted: Any,
) -> Randomisation:  # fmt: skip
    """The map made again as head, pooler, transformer layers and embeddings become random one after the other, in a copy of the model.

    `wanted`, `baseline` and `steps` are what `attribute` was told; random
    weights are those of new models with seeds `seed`, `seed` + 1 and so on.
    `progress` is told after each map and may raise to stop.  Raises ValueError
    where `wanted` is not the attribution's, for a map with all values equal and
    for a model other than ClipBERT.
    """
    if not isinstance(predictor.model, ClipBertPerClip):
        raise ValueError(f"the layers of model {predictor.model.name} are not known, so none can be made random.")
    encoded = video if isinstance(video, EncodedVideo) else predictor.encode(video)
    find_units(predictor, encoded, text, attribution, clip=clip, **wanted)
    if num_models < 1:
        raise ValueError(f"num_models must be at least 1, got {num_models}.")
    index = None if attribution.level == "clips" else attribution.clip_index[row_of(attribution, clip)]
    rank_agreement(attribution, attribution, clip=index)  # raises for a map that ranks nothing, before any is made again
    settings = wanted | {"method": attribution.method, "baseline": baseline, "steps": steps, "clips": None if index is None else [index]}
    if wanted.get("task", "answer") == "answer":  # a random model would give another answer
        settings["target"] = attribution.target.removesuffix(f" rather than {wanted.get('versus')}")
    rows, total = [], num_models * num_stages(predictor.model.model)
    for number in range(seed, seed + num_models):
        for stage, view in _randomised(predictor, number):
            found = attribute(view, encoded, text, **settings)
            values = values_of(found, row_of(found, index))
            agreement = 0.0 if bool((values == values[0]).all()) else rank_agreement(attribution, found, clip=index)
            rows.append(RandomisedMap(stage, number, agreement))
            if progress is not None:
                progress("maps", len(rows), total)
    return Randomisation(attribution.method, index, tuple(rows))


def num_stages(model: ClipBertForSequenceClassification) -> int:
    """How many parts become random one after the other."""
    return len(_stages(model))


def _randomised(predictor: Predictor, seed: int) -> Iterator[tuple[str, Predictor]]:
    """Views of a copy of the model, in which one stage more is random each time; the predictor and its caches are not touched."""
    per_clip = predictor.model
    assert isinstance(per_clip, ClipBertPerClip)
    view, own = copy.copy(predictor), copy.copy(per_clip)
    own.model = copy.deepcopy(per_clip.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random = type(own.model)(own.model.config).to(per_clip.device)  # pyright: ignore[reportArgumentType]
    view.model = own
    for (stage, learned), (_, fresh) in zip(_stages(own.model), _stages(random), strict=True):
        learned.load_state_dict(fresh.state_dict())
        view.logits = Cache(LOGIT_BYTES)
        yield stage, view


def _stages(model: ClipBertForSequenceClassification) -> list[tuple[str, nn.Module]]:
    """From the top down to where the features of the CNN come in."""
    fusion = model.clipbert.fusion
    layers = [(f"layer {n}", layer) for n, layer in reversed(list(enumerate(fusion.layers, 1)))]
    embeddings = nn.ModuleList([fusion.text, fusion.visual, model.clipbert.temporal_fusion])
    return [("head", model.heads), ("pooler", fusion.pooler), *layers, ("embeddings", embeddings)]
