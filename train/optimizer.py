"""The original's optimiser: its AdamW, its learning-rate schedules, its parameter groups (OFFICIAL section 6).

Gradients are clipped as usual, with `torch.nn.utils.clip_grad_norm_` over all
groups together.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class AdamW(Optimizer):
    """Adam with decoupled decay, as transformers had it when ClipBERT was trained.

    It differs from `torch.optim.AdamW` in two places: eps joins sqrt(v) before
    bias correction, and decay shrinks the parameter after its update, not
    before.  Parameters without gradient are skipped (the original decays them).
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 5e-5, betas: tuple[float, float] = (0.9, 0.98), eps: float = 1e-6, weight_decay: float = 1e-3
    ) -> None:
        if not (lr >= 0 and eps > 0 and weight_decay >= 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(f"AdamW needs lr, weight_decay >= 0, eps > 0, betas in [0, 1); got {lr}, {weight_decay}, {eps}, {betas}.")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; closures are not supported."""
        assert closure is None
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(params, group)

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        for p in params:
            if not self.state[p]:
                self.state[p] = {"step": 0, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
            self.state[p]["step"] += 1
        steps, means, squares = ([self.state[p][key] for p in params] for key in ("step", "exp_avg", "exp_avg_sq"))
        grads, (beta1, beta2), lr = [p.grad for p in params if p.grad is not None], group["betas"], group["lr"]

        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, grads, alpha=1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1 - beta2)
        denominators = torch._foreach_sqrt(squares)
        torch._foreach_add_(denominators, group["eps"])
        torch._foreach_addcdiv_(params, means, denominators, [-lr * math.sqrt(1 - beta2**t) / (1 - beta1**t) for t in steps])
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])


def linear(step: int, total: int, warmup: int, milestones: Sequence[int]) -> float:
    """Up to 1 in `warmup` steps, then down to 0 at `total`."""
    return step / warmup if step < warmup else (total - step) / max(total - warmup, 1)


def invsqrt(step: int, total: int, warmup: int, milestones: Sequence[int]) -> float:
    """Up to 1 in `warmup` steps, then down as 1 / sqrt(step)."""
    return step / warmup if step < warmup else math.sqrt(max(warmup, 1) / max(step, 1))


def constant(step: int, total: int, warmup: int, milestones: Sequence[int]) -> float:
    """1, without warm-up."""
    return 1.0


def multi_step(step: int, total: int, warmup: int, milestones: Sequence[int]) -> float:
    """Halved at each of `milestones` (steps), without warm-up."""
    return 0.5 ** sum(step >= milestone for milestone in milestones)


def multi_step_official(step: int, total: int, warmup: int, milestones: Sequence[int]) -> float:
    """The original's: the last milestone quarters instead of halving (OFFICIAL section 12.10)."""
    passed_all = all(step >= milestone for milestone in milestones)
    return multi_step(step, total, warmup, milestones) * (0.5 if passed_all else 1.0)


SCHEDULES: dict[str, Callable[[int, int, int, Sequence[int]], float]] = {
    "linear": linear,
    "invsqrt": invsqrt,
    "constant": constant,
    "multi_step": multi_step,
    "multi_step_official": multi_step_official,
}


def lr_at(step: int, total: int, schedule: str, *, base_lr: float, warmup_ratio: float = 0.1, milestones: Sequence[int] = ()) -> float:
    """Learning rate of update `step`, counted from 1; never 0 but at least 1e-8, as the original."""
    if schedule not in SCHEDULES:
        raise ValueError(f'schedule must be one of {", ".join(SCHEDULES)}, got "{schedule}".')
    lr = base_lr * SCHEDULES[schedule](step, total, int(warmup_ratio * total), milestones)
    return lr if lr > 0 else 1e-8


def parameter_groups(
    named_parameters: Iterable[tuple[str, Tensor]],
    *,
    learning_rate: float,
    weight_decay: float,
    cnn_learning_rate: float,
    cnn_weight_decay: float,
    transformer_lr_mul: float = 1.0,
    transformer_top: str = "",
    cnn_lr_mul: float = 1.0,
    cnn_top: str = "grid_encoder",
    lr_muls: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Trainable parameters in the original's order of eight groups, empty ones left out.

    Transformer then CNN; in each, those whose name holds `*_top`, with learning
    rate times `*_lr_mul`, then the rest ("" names no top); in each, matrices
    and kernels, then vectors (biases, norms), which do not decay.  `base_lr` is
    what a schedule multiplies.  Takes our parameter names and the original's.
    Parameters whose name holds a key of `lr_muls` (the first that fits) are in
    groups of their own after these, with `base_lr` times its value; ValueError
    for a key that no trainable parameter's name holds.
    """
    groups: list[dict[str, Any]] = []
    for part, lr, decay, lr_mul in (
        ("transformer", learning_rate, weight_decay, transformer_lr_mul),
        ("cnn", cnn_learning_rate, cnn_weight_decay, cnn_lr_mul),
    ):
        for place, base_lr in (("top", lr * lr_mul), ("rest", lr)):
            for kind, kind_decay in (("decay", decay), ("no_decay", 0.0)):
                groups.append({"name": f"{part}_{place}_{kind}", "params": [], "lr": base_lr, "base_lr": base_lr, "weight_decay": kind_decay})
    multiplied: dict[tuple[int, str], dict[str, Any]] = {}
    for name, p in named_parameters:
        if not p.requires_grad:
            continue
        is_cnn = name.startswith("cnn.") or "backbone." in name
        top = cnn_top if is_cnn else transformer_top
        in_rest = not (top and top in name)
        index = 4 * is_cnn + 2 * in_rest + (p.ndim < 2)
        part = next((part for part in lr_muls or {} if part in name), None)
        if part is not None and (index, part) not in multiplied:
            base_lr = groups[index]["base_lr"] * (lr_muls or {})[part]
            multiplied[index, part] = groups[index] | {"name": f"{groups[index]['name']}_{part}", "params": [], "lr": base_lr, "base_lr": base_lr}
        (groups[index] if part is None else multiplied[index, part])["params"].append(p)
    if unused := set(lr_muls or {}) - {part for _, part in multiplied}:
        raise ValueError(f"optimizer.lr_muls: no parameter that learns is called {sorted(unused)[0]!r}, before a key that fits it.")
    return [group for group in [*groups, *multiplied.values()] if group["params"]]
