"""Muon: updates of hidden layers' matrices made orthogonal, for training from random weights in little time.

Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks"
(2024), with the size of an update of Liu et al., "Muon is scalable for LLM
training" (arXiv:2502.16982), so that learning rates of AdamW fit.  Ours; the
paper's programme is AdamW throughout.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.optim import AdamW

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, by Jordan et al.: five steps take singular values to between 0.7 and 1.2."""


class Muon(AdamW):
    """Muon for groups with `muon: true`, `torch.optim.AdamW` for the others.

    torch.optim.Muon takes no kernels, and one matrix after the other: this one
    reads a kernel as a matrix of output channels by all else, and takes all of
    one shape together, which small ones on a CPU need.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], *, betas: tuple[float, float] = (0.9, 0.98), eps: float = 1e-6) -> None:
        super().__init__([{"muon": False, "momentum": 0.95, **group} for group in groups], betas=betas, eps=eps, fused=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; takes the gradients of Muon's away; closures are not supported."""
        assert closure is None
        for group in self.param_groups:
            if group["muon"]:
                self._update(group)
        super().step()

    def _update(self, group: dict[str, Any]) -> None:
        same_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        decay = 1 - group["lr"] * group["weight_decay"]
        for p in group["params"]:
            gradient, p.grad = p.grad, None  # AdamW passes over it
            if gradient is None:
                continue
            if not gradient.any():  # no loss asked it: made orthogonal, what is left of the momentum would be a whole update
                p.mul_(decay)
                continue
            state = self.state[p]
            if not state:
                state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(p)}  # AdamW looks for a step in each state
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            update = gradient.lerp(state["momentum"], group["momentum"]).flatten(1)  # Nesterov
            same_shape[update.shape].append((p, update))
        for (rows, columns), pairs in same_shape.items():
            scale = 0.2 * max(rows, columns) ** 0.5  # root mean square 0.2, as AdamW's
            for (p, _), update in zip(pairs, orthogonal(torch.stack([update for _, update in pairs])), strict=True):
                p.mul_(decay).add_(update.view_as(p), alpha=-group["lr"] * scale)


def orthogonal(matrices: Float32[Tensor, "B rows columns"], *, num_steps: int = 5) -> Float32[Tensor, "B rows columns"]:
    """About U V^T of each matrix U S V^T, by a Newton-Schulz iteration in bfloat16, as Jordan et al. take it; 0 stays 0."""
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT, num_steps=num_steps).mT
    a, b, c = COEFFICIENTS
    x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(num_steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def hidden_layers_apart(groups: Iterable[dict[str, Any]], named_parameters: Iterable[tuple[str, Tensor]]) -> list[dict[str, Any]]:
    """Groups in which matrices and kernels of hidden layers are apart, for Muon; embeddings, heads and vectors are not hidden."""
    hidden = {id(p) for name, p in named_parameters if p.ndim > 1 and name.startswith("clipbert.") and "embeddings" not in name}
    apart = []
    for group in groups:
        for muon in (False, True):
            if params := [p for p in group["params"] if (id(p) in hidden) is muon]:
                apart.append({**group, "params": params, "muon": muon})
    return apart
