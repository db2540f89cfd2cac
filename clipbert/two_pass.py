"""Two-pass training over clips, one after another: memory as of one clip, gradients as of all (PERFORMANCE 2.5).

Clips do not interact before they are pooled, so the loss needs only their
logits.  Pass one computes the logits without a graph; the pooled loss gives
the gradient of each; pass two computes each clip again, with the same dropout,
and sends its gradient down.  `split` does this to the CNN alone and keeps the
graph of the transformer.  Exact for any pooling (Gao et al. 2021, GradCache);
under "max" clips that won nothing have gradient zero and are skipped.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor], Tensor]
Forward = Callable[[Tensor], Tensor]
"""Some clips of every video `[B, n, ...]` to something of each clip `[M or B, n, ...]`."""
Backward = Callable[[Tensor, bool], None]
"""Loss and whether it is the last of this batch."""


def full(pixel_values: Tensor, forward: Forward, loss: Loss, backward: Backward, *, clips_per_pass: int, model: nn.Module) -> Tensor:
    """The loss of the logits `[M, N, J]` of all clips, whose gradients `backward` has received; everything is computed twice."""
    logits, states = _first_pass(pixel_values, forward, clips_per_pass, model)
    logits.requires_grad_()
    value = loss(logits)
    (gradient,) = torch.autograd.grad(value, logits)
    _second_pass(pixel_values, forward, backward, gradient, states, clips_per_pass)
    return value.detach()


def split(
    pixel_values: Tensor,
    encode: Forward,
    score: Forward,
    loss: Loss,
    backward: Backward,
    *,
    clips_per_pass: int,
    model: nn.Module,
) -> Tensor:
    """The same, but only `encode` (pixels to grid features) is computed twice; `score` makes logits of all features at once."""
    features, states = _first_pass(pixel_values, encode, clips_per_pass, model)
    if not any(p.requires_grad for p in encoder_parameters(model)):
        value = loss(score(features))
        backward(value, True)
        return value.detach()
    features.requires_grad_()
    value = loss(score(features))
    backward(value, False)
    assert features.grad is not None
    _second_pass(pixel_values, encode, backward, features.grad, states, clips_per_pass)
    return value.detach()


def encoder_parameters(model: Any) -> Iterator[nn.Parameter]:
    return model.clipbert.backbone.parameters()


def _first_pass(pixel_values: Tensor, forward: Forward, clips_per_pass: int, model: nn.Module) -> tuple[Tensor, list[Any]]:
    """What `forward` makes of every clip, without a graph, and the state of the random generators before each chunk."""
    outputs, states = [], []
    with torch.no_grad(), untouched_statistics(model):
        for clips in pixel_values.split(clips_per_pass, dim=1):
            states.append(_random_state())
            outputs.append(forward(clips))
    return torch.cat(outputs, dim=1), states


def _second_pass(pixel_values: Tensor, forward: Forward, backward: Backward, gradient: Tensor, states: list[Any], clips_per_pass: int) -> None:
    """Each chunk again, as it was, with its share of the gradient; the generators end where they began."""
    after = _random_state()
    chunks = list(zip(pixel_values.split(clips_per_pass, dim=1), gradient.split(clips_per_pass, dim=1), states, strict=True))
    needed = _needed_anywhere(torch.stack([share.any() for _, share, _ in chunks]))
    needed = needed or [len(chunks) - 1]  # the engine waits for a last backward pass
    for k in needed:
        clips, share, state = chunks[k]
        _restore_random_state(state)
        backward((forward(clips) * share).sum(), k == needed[-1])
    _restore_random_state(after)


def _needed_anywhere(has_gradient: Tensor) -> list[int]:
    """Chunks with a gradient in any process: all must pass through the same ones, or their collectives part."""
    needed = has_gradient.to(torch.uint8)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(needed, op=torch.distributed.ReduceOp.MAX)
    return [k for k, has_gradient_anywhere in enumerate(needed.tolist()) if has_gradient_anywhere]


def _random_state() -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _restore_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])


@contextmanager
def untouched_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm normalises as ever but does not update its running statistics: the second pass will, once."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def one_pass(pixel_values: Tensor, forward: Forward, loss: Loss, backward: Backward) -> Tensor:
    """All clips in one forward and one backward pass, for comparison and where memory suffices."""
    value = loss(forward(pixel_values))
    backward(value, True)
    return value.detach()
