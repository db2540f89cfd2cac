"""Least recently used tensors up to a number of bytes."""

import threading
from collections import OrderedDict
from typing import Any

from torch import Tensor

ENTRY_BYTES = 512  # what a cached tensor and its key weigh besides the numbers


class Cache:
    """Least recently used values up to a number of bytes, for several threads; counts hits and misses."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes, self.hits, self.misses = max_bytes, 0, 0, 0
        self._values: OrderedDict[Any, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Any) -> bool:
        return key in self._values

    def get(self, key: Any) -> Tensor | None:
        with self._lock:
            value = self._values.get(key)
            if value is None:
                self.misses += 1
            else:
                self.hits += 1
                self._values.move_to_end(key)
            return value

    def put(self, key: Any, value: Tensor) -> None:
        with self._lock:
            if key in self._values or value.nbytes + ENTRY_BYTES > self.max_bytes:
                return
            self._values[key] = value
            self.bytes += value.nbytes + ENTRY_BYTES
            while self.bytes > self.max_bytes:
                self.bytes -= self._values.popitem(last=False)[1].nbytes + ENTRY_BYTES
