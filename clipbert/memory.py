"""Memory of the process: what was freed is kept for the next tensor; work that finds too little is done again in smaller parts, and says so."""

import ctypes
import platform
from collections.abc import Callable

import torch
from torch import Tensor

KEPT_BYTES = 2**30
"""Tensors of this size and more are given back to the kernel when they are freed."""
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Let the process keep freed tensors smaller than KEPT_BYTES for the next ones; True where its C library can.

    glibc maps every large tensor anew and gives it back after use, and the
    kernel clears each page again: 30 to 45 % of the time of a CNN on a CPU
    (docs/performance.md).  For programs, at their start; a library has no say
    in how its process keeps memory.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_MMAP_THRESHOLD: KEPT_BYTES, _ARENA_MAX: 1, _TRIM_THRESHOLD: KEPT_BYTES, _TOP_PAD: 2**26}
    return all([mallopt(name, value) for name, value in settings.items()])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python or PyTorch means that memory was short, on the CPU or on a GPU."""
    short = ("out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(words in str(error).lower() for words in short))


class InParts:
    """Runs work over rows, all at once as long as that fits.

    Where it does not, parts have half as many rows, down to one; what fitted is
    kept as `at_once`, so that later work starts there.
    """

    def __init__(self) -> None:
        self.at_once: int | None = None

    def run(self, work: Callable[[Tensor], Tensor], rows: Tensor, *, dim: int) -> Tensor:
        """What `work` returns of all rows, joined along `dim`.  Raises its error where a single row does not fit."""
        while True:
            size = min(len(rows), self.at_once or len(rows))
            try:
                return torch.cat([work(part) for part in rows.split(size)], dim=dim)
            except (MemoryError, RuntimeError) as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            self.at_once = (size + 1) // 2  # here, where nothing holds what the failed work had
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def notice(self, unit: str) -> tuple[str, ...]:
        """The sentence for the user, if there was too little memory."""
        if self.at_once is None:
            return ()
        return (f"there was too little memory for all {unit} together, so they were read {self.at_once} at a time; N_test stays as it was",)
