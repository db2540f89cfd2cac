"""Start from a ridge regression: the mean grid of a picture to the mean word of its captions.

At a thousand pictures this linear map alone is a hard retrieval baseline, so
training starts as it: the grid encoder becomes the map, word weights its
inverse document frequencies, and the contrastive head, being the cosine of
mean token and mean word, is the map's own ranking.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from clipbert.heads import ContrastiveHead, WordMean
from clipbert.processing import ClipBertProcessor
from train.grids import GridDataset, means

SCALE = 20.0
"""Of the started grid encoder: LayerNorm and cosine do not mind a factor, optimisers do."""
STOP_WORDS = list[str](
    "[CLS] [SEP] [PAD] a an the is are was were in on at of with and to for from by his her their its it this that there what . , ? ! ' s".split()
)


def ridge(x: Float[Tensor, "n C"], y: Float[Tensor, "n D"], penalty: float) -> tuple[Float[Tensor, "D C"], Float[Tensor, " D"]]:
    """Weight and bias of the ridge regression of y on x, which is whitened channel by channel for the penalty's sake."""
    mean, deviation = x.mean(dim=0), x.std(dim=0) + 1e-3
    z, target = (x - mean) / deviation, y - y.mean(dim=0)
    weight = torch.linalg.solve(z.T @ z + penalty * torch.eye(z.shape[1]), z.T @ target).T / deviation
    return weight, y.mean(dim=0) - weight @ mean


def word_weights(processor: ClipBertProcessor, captions: Sequence[str]) -> Float[Tensor, " vocab"]:
    """Square root of log(captions / (1 + captions with the piece)); 0 for stop words and pieces of nearly all captions."""
    seen = torch.zeros(len(processor.vocabulary))
    for caption in captions:
        seen[processor.texts([caption])[0].unique()] += 1
    weights = (len(captions) / (1 + seen)).log().clamp(min=0).sqrt()
    weights[processor.tokenizer.convert_tokens_to_ids(STOP_WORDS)] = 0
    return weights


def start_from_ridge(model: Any, processor: ClipBertProcessor, datasets: Sequence[GridDataset], *, penalty: float) -> None:
    """Set the model's linear grid encoder, word weights and contrastive heads in place, from all looks at captioned videos."""
    captions: dict[str, dict[str, None]] = {}  # of each video, each once, in order
    for dataset in datasets:
        for group in dataset.groups:
            captions.setdefault(group[0].video, {}).update(dict.fromkeys(example.caption for example in group))
    weights = word_weights(processor, [caption for own in captions.values() for caption in own])
    words = model.clipbert.fusion.text.word_embeddings.weight.detach().cpu()
    targets = {video: mean_word(words, weights, processor, list(own)) for video, own in captions.items()}
    looks = [(mean, targets[example.video]) for example, mean in means(datasets)]
    x, y = (torch.stack(part) for part in zip(*looks, strict=True))
    weight, bias = ridge(x, y, penalty)
    centre = y.mean(dim=0)
    with torch.no_grad():
        encoder = model.clipbert.backbone.grid_encoder[0]
        encoder.weight.copy_(SCALE * weight[..., None, None])
        encoder.bias.copy_(SCALE * (bias - centre))
        for module in model.modules():
            if isinstance(module, WordMean):
                module.token_weight.copy_(weights)
            if isinstance(module, ContrastiveHead):
                module.text.bias.copy_(-centre)


def mean_word(words: Tensor, weights: Tensor, processor: ClipBertProcessor, captions: Sequence[str]) -> Float[Tensor, " D"]:
    """Mean of all pieces of the captions, each with its weight."""
    input_ids, mask = processor.texts(captions)
    share = weights[input_ids] * mask
    return torch.einsum("ml,mld->d", share, words[input_ids]) / share.sum().clamp(min=1e-3)
