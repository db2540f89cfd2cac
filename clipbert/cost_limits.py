"""The two limits of a machine that a roofline needs: how fast it multiplies, and how fast its memory is."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Limits:
    """Peaks that no program exceeds: FLOP/s in float32 and in bfloat16 (float16 on a V100), bytes/s of the memory."""

    name: str
    float32_flops: float
    bfloat16_flops: float
    bytes_per_second: float

    def flops(self, dtype: str) -> float:
        return self.float32_flops if dtype == "float32" else self.bfloat16_flops


LIMITS = {
    "V100": Limits("NVIDIA V100 SXM2", 15.7e12, 125e12, 0.9e12),
    "A100": Limits("NVIDIA A100 SXM4 80 GB", 19.5e12, 312e12, 2.039e12),
    "H100": Limits("NVIDIA H100 SXM5", 67e12, 989e12, 3.35e12),
    "H200": Limits("NVIDIA H200 SXM", 67e12, 989e12, 4.8e12),
}
"""From NVIDIA's data sheets: dense, without sparsity; float32 outside the tensor cores."""


def measured_limits(device: str, *, side: int = 2048, repeats: int = 3) -> Limits:
    """Of this machine, from the fastest of a few square matrix products and copies; other work on it lowers them."""
    at = torch.device(device)
    rate = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(side, side, device=at, dtype=dtype) for _ in range(2))
        rate[dtype] = 2 * side**3 / _fastest(lambda a=a, b=b: a @ b, at, repeats)
    source, target = (torch.zeros(8, side, side, device=at) for _ in range(2))
    copied = 2 * source.nbytes / _fastest(lambda: target.copy_(source), at, repeats)
    return Limits(f"this machine ({device})", rate[torch.float32], rate[torch.bfloat16], copied)


def _fastest(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):  # the first one warms up
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
