"""Seeds that follow from what they are for."""

import hashlib


def derived_seed(*parts: int | str) -> int:
    """A seed in [0, 2**63) that depends on all parts, on nothing else, and is unrelated for near parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) >> 1
