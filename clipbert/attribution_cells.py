"""Attribution to the grid cells of a clip.

Methods that follow gradients reach the cells of each frame, [R, T, h, w]; what
takes cells away, and attention, meet the fused grid, [R, h, w].
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from clipbert.attribution_attention import UNSEEN, last_attention, relevance, rollout
from clipbert.attribution_target import Inside, InsideMethod, Method, Values
from clipbert.clip_score import ClipScore
from clipbert.covering import GRID
from clipbert.processing import resized

ROWS_WITH_GRADIENTS = 16


def cell_attention(case: Inside) -> Values:
    return Values(_cells(case, last_attention(case)))


def cell_rollout(case: Inside) -> Values:
    return Values(_cells(case, rollout(case)))


def cell_relevance(case: Inside) -> Values:
    return Values(_cells(case, relevance(case)))


def _cells(case: Inside, row: Float[Tensor, "R S"]) -> Float[Tensor, "R h w"]:
    h, w = case.features.shape[2:4]
    return rearrange(row[:, -h * w :], "r (h w) -> r h w", h=h)


def cell_integrated_gradients(case: Inside) -> Values:
    from captum.attr import IntegratedGradients

    method, found, gaps = IntegratedGradients(case.score, multiply_by_inputs=True), [], []
    for clip, baseline in zip(case.features, _baseline(case), strict=True):
        values, gap = method.attribute(
            clip[None], baselines=baseline[None], n_steps=case.steps, return_convergence_delta=True,
            internal_batch_size=max(1, ROWS_WITH_GRADIENTS // case.score.num_texts),
        )  # fmt: skip
        found.append(values.sum(dim=-1)[0])
        gaps.append(gap[0])
    return Values(torch.stack(found), torch.stack(gaps))


def cell_gradient_x_activation(case: Inside) -> Values:
    from captum.attr import InputXGradient

    method = InputXGradient(case.score)
    return Values(torch.cat([method.attribute(clip[None].clone().requires_grad_()).sum(dim=-1).detach() for clip in case.features]))


def cell_grad_cam(case: Inside) -> Values:
    from captum.attr import LayerGradCam

    model = _FromGrid(case.score)
    method = LayerGradCam(model, model.grid)
    clips = rearrange(case.features, "r t h w d -> r d t h w")
    maps: list[Any] = [method.attribute(clip[None].clone(), relu_attributions=True) for clip in clips]
    return Values(torch.cat([found[:, 0].detach() for found in maps]))


def cell_occlusion(case: Inside) -> Values:
    h, w = case.cells or GRID
    kept = torch.cat([torch.ones(1, h * w, dtype=torch.bool), ~torch.eye(h * w, dtype=torch.bool)]).reshape(-1, h, w).to(case.features.device)
    scores = torch.stack([case.score_of_cells(row)(kept) for row in range(len(case.features))])
    return Values(rearrange(scores[:, :1] - scores[:, 1:], "r (h w) -> r h w", h=h))


class _FromGrid(nn.Module):
    """The score of channels-first features, through a layer of its own that Captum can watch: the model gets no hook."""

    def __init__(self, score: ClipScore) -> None:
        super().__init__()
        self.grid, self._score = nn.Identity(), score

    def forward(self, x: Float[Tensor, "R D T h w"]) -> Float[Tensor, " R"]:
        return self._score(rearrange(self.grid(x), "r d t h w -> r t h w d"))


def _baseline(case: Inside) -> Float[Tensor, "R T h w D"]:
    """What an absent cell holds: "grey" is the same cell of a frame of the model's mean colour, "mean" the clip's mean cell."""
    if case.baseline == "mean":
        return case.features.mean(dim=(1, 2, 3), keepdim=True).expand_as(case.features)
    model = case.score.clipbert
    height, width = resized(*case.frame_size, model.image_size) if case.frame_size else (model.image_size, model.image_size)
    colour = torch.tensor(model.processor.pixel_mean).round().to(torch.uint8)
    frame = colour[:, None, None].expand(3, height, width)  # padded as the clip's frames are, so that padding changes nothing
    return model.encode(frame[None]).clone().expand_as(case.features)


CELL_METHODS: dict[str, tuple[Method, InsideMethod]] = {
    "cell_occlusion": (
        Method(
            "cells", "nats", "h*w + 1 transformer runs a clip", False,
            "loss of the clip's score when this cell is masked, in all frames; for a model whose features have no cells, covered in the pixels",
            any_model=True,
        ),
        cell_occlusion,
    ),
    "cell_integrated_gradients": (
        Method(
            "cells", "nats", "32 forward and backward runs a clip", True,
            "gradient of the clip's score along the way from a baseline clip, times the distance", ("grey", "mean"),
        ),
        cell_integrated_gradients,
    ),
    "cell_gradient_x_activation": (
        Method("cells", "nats", "1 forward and backward run a clip", False, "gradient of the clip's score times the cell's features"),
        cell_gradient_x_activation,
    ),
    "cell_grad_cam": (
        Method(
            "cells", "relative", "1 forward and backward run a clip", False,
            "Grad-CAM on the grid: positive part of the features weighted by their mean gradient",
        ),
        cell_grad_cam,
    ),
    "cell_relevance": (
        Method(
            "cells", "relative", "1 forward and backward run a clip", False,
            f"gradient x attention through all layers (Chefer 2021), unsigned; {UNSEEN}",
        ),
        cell_relevance,
    ),
    "cell_rollout": (
        Method("cells", "share", "1 transformer run a clip", False, f"attention rolled out through all layers; the same for every answer; {UNSEEN}"),
        cell_rollout,
    ),
    "cell_attention": (
        Method("cells", "share", "1 transformer run a clip", False, f"what [CLS] attends to in the last layer: not an explanation; {UNSEEN}"),
        cell_attention,
    ),
}  # fmt: skip
