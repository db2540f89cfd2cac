"""A training step followed kernel by kernel on tensors without memory: its FLOPs, its traffic, and what it holds at once.

The step is the very function that is measured; only its tensors are fake.
PyTorch runs its shape rules for them, so nothing here knows the model.
"""

import functools
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from clipbert.cost_limits import Limits
from clipbert.cost_settings import CostSettings, inputs_of, model_of, training_step

TRACED_BATCH = 4096
"""Of the batches that are followed to find the largest: a larger one is cut into parts of one size, as many more kernels, and its memory grows by the
same bytes a video (one video in 70,000 off)."""


def weightless() -> AbstractContextManager[Any]:
    """Within it, tensors have a shape, a type and a device, and take no memory."""
    return FakeTensorMode(allow_non_fake_inputs=True)


class Trace(TorchDispatchMode):
    """What the kernels run within it do and hold.

    A tensor counts from when it is made until nothing refers to it, as in an
    allocator that frees at once; what a kernel needs inside itself is unknown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.traffic_bytes = self.live_bytes = self.peak_bytes = self.activation_bytes = 0
        self.kernels: list[tuple[int, int]] = []
        """FLOPs and traffic of each."""
        self._known: set[int] = set()

    def hold(self, tensor: Tensor) -> None:
        """Count the memory behind a tensor, once."""
        storage = tensor.untyped_storage()
        place, num_bytes = storage._cdata, storage.nbytes()
        if place not in self._known:
            self._known.add(place)
            self.live_bytes += num_bytes
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)
            weakref.finalize(storage, self._free, place, num_bytes)

    def _free(self, place: int, num_bytes: int) -> None:
        self._known.discard(place)
        self.live_bytes -= num_bytes

    def seconds(self, limits: Limits, dtype: str) -> float:
        """The roofline: each kernel takes as long as its arithmetic or its traffic, whichever is slower."""
        return sum(max(flops / limits.flops(dtype), traffic / limits.bytes_per_second) for flops, traffic in self.kernels)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1  # a fake tensor has no values: every clip counts as one with a gradient
        if func._overloadpacket not in flop_registry and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        for tensor in made:
            self.hold(tensor)
        flops = flop_registry[func._overloadpacket](*args, **kwargs, out_val=out) if func._overloadpacket in flop_registry else 0
        self._count(flops, 0 if func.is_view else sum(x.nbytes for x in (*read, *made)))
        return out

    def _count(self, flops: int, traffic: int) -> None:
        self.flops += flops
        self.traffic_bytes += traffic
        self.kernels.append((flops, traffic))


def traced_step(settings: CostSettings) -> Trace:
    """One step as `clipbert.cost.measure` times it, on tensors without memory."""
    with weightless():
        device = torch.device(settings.device)
        model, inputs, trace = model_of(settings, device), inputs_of(settings, settings.device), Trace()
        parameters = list(model.parameters())
        for tensor in (*parameters, *model.buffers(), *inputs.values()):
            trace.hold(tensor)
        at_start = trace.live_bytes

        def backward(loss: Tensor, _last: bool) -> None:
            gradients = sum(p.grad.nbytes for p in parameters if p.grad is not None)
            trace.activation_bytes = max(trace.activation_bytes, trace.live_bytes - at_start - gradients)
            loss.backward()

        with trace:
            training_step(model, inputs, settings, backward)
    return trace


def largest_batch(settings: CostSettings) -> int:
    """The most videos whose step stays within `memory_cap`, 0 if none does; beyond TRACED_BATCH the line through it and its half is drawn on."""

    @functools.cache
    def traced(size: int) -> int:
        return traced_step(replace(settings, batch_size=size)).peak_bytes

    def peak(size: int) -> int:
        if size <= TRACED_BATCH:
            return traced(size)
        half = TRACED_BATCH // 2
        return traced(TRACED_BATCH) + (size - TRACED_BATCH) * (traced(TRACED_BATCH) - traced(half)) // half

    return largest_below(peak, settings.memory_cap)


def largest_below(peak: Callable[[int], int], cap: int) -> int:
    """The largest size with peak(size) <= cap, for a `peak` that grows and is close to a straight line: few are tried."""
    low, high = (0, 0), (1, peak(1))
    while high[1] <= cap:
        slope = (high[1] - low[1]) / (high[0] - low[0]) if low[0] else high[1]
        low, further = high, 1 + int((cap - high[1]) / max(slope, 1))
        high = (low[0] + further, peak(low[0] + further))
    while high[0] - low[0] > 1:
        share = (cap - low[1]) / (high[1] - low[1])
        guess = min(max(low[0] + int(share * (high[0] - low[0])), low[0] + 1), high[0] - 1)
        tried = (guess, peak(guess))
        low, high = (tried, high) if tried[1] <= cap else (low, tried)
    return low[0]
