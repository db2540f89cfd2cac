"""glibc's malloc, told to keep what is freed: for programs, at their start, before other threads.  Imports nothing heavy."""

import ctypes
import platform

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
