"""What the transformer's attention says of cells and tokens: as it is, rolled out, and weighted by gradients.

Only what passes through the transformer is seen: a contrastive head and a
classifier's `pooled_path` go past it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from clipbert.attribution_target import Inside
from clipbert.transformer import recorded_attention

UNSEEN = "blind to what goes past attention (a contrastive head, the pooled path of the model real)"
"""To be said of every method that reads attention."""


def last_attention(case: Inside) -> Float[Tensor, "R S"]:
    """What [CLS] attends to in the last layer, mean over heads."""
    with torch.no_grad():
        return torch.stack([attention_maps(case, clip)[-1].mean(dim=0)[0] for clip in case.features])


def rollout(case: Inside) -> Float[Tensor, "R S"]:
    """Attention followed from [CLS] through all layers, half of each being the residual path (Abnar & Zuidema 2020)."""
    rows = []
    with torch.no_grad():
        for clip in case.features:
            maps = attention_maps(case, clip)
            flow = torch.eye(maps[0].shape[-1], device=clip.device)
            for attention in maps:
                flow = (attention.mean(dim=0) + torch.eye(len(flow), device=clip.device)) / 2 @ flow
            rows.append(flow[0])
    return torch.stack(rows)


def relevance(case: Inside) -> Float[Tensor, "R S"]:
    """Positive part of gradient x attention, mean over heads, accumulated over layers (Chefer, Gur & Wolf 2021, Eqs. 5 and 6)."""
    rows = []
    for clip in case.features:
        score, maps = _attended(case, clip.detach().requires_grad_())
        gradients = torch.autograd.grad(score, maps)
        found = torch.eye(maps[0].shape[-1], device=clip.device)
        for attention, gradient in zip(_own(case, maps), _own(case, gradients), strict=True):
            found = found + (attention * gradient).clamp(min=0).mean(dim=0).detach() @ found
        rows.append(found[0])
    return torch.stack(rows)


def attention_maps(case: Inside, clip: Float[Tensor, "T h w D"]) -> list[Float[Tensor, "heads S S"]]:
    """Each layer's, from every token to every other, of the explained text; the last h*w tokens are the cells.

    Raises ValueError for a score that no attention leads to.
    """
    return _own(case, _attended(case, clip)[1])


def _attended(case: Inside, clip: Float[Tensor, "T h w D"]) -> tuple[Float[Tensor, ""], list[Float[Tensor, "M heads S S"]]]:
    """The clip's score, and each layer's attention, a row for each text read.

    Raises ValueError for a score that no attention leads to.
    """
    with recorded_attention() as maps:
        score = case.score(clip[None])[0]
    if not maps:
        heads = ", ".join(reading.head for reading in case.score.readings)
        raise ValueError(f"no attention leads to this score (heads: {heads}); use occlusion, ablation or integrated gradients.")
    return score, maps


def _own(case: Inside, maps: Sequence[Float[Tensor, "M heads S S"]]) -> list[Float[Tensor, "heads S S"]]:
    """Those of the explained text."""
    return [case.score.explained_rows(attention)[0] for attention in maps]
