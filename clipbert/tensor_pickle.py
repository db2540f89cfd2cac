"""Pickles of arrays, read so that nothing in them is executed: numpy arrays in builtin containers, and no other thing."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

WRAPPERS = ("model", "blobs", "state_dict")


class TensorUnpickler(pickle.Unpickler):
    """Finds the names that numpy's own pickles use, by a list, and refuses every other one."""

    def find_class(self, module: str, name: str) -> Any:
        """Raises UnpicklingError for a name that no pickle of arrays needs."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a file of arrays does not need") from None


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in old protocols; `_codecs.encode` itself would take any encoding."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding}")
    return text.encode("latin1")


def _known() -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, ("_codecs", "encode"): _latin1}
    reconstruct, scalar = (np.zeros(1).__reduce__()[0], np.float32(0).__reduce__()[0])  # numpy moved them in version 2, so old and new names
    frombuffer = np.zeros(1).__reduce_ex__(5)[0]
    for core in ("numpy.core", "numpy._core"):
        found |= {(f"{core}.multiarray", "_reconstruct"): reconstruct, (f"{core}.multiarray", "scalar"): scalar}
        found[f"{core}.numeric", "_frombuffer"] = frombuffer
    return found


_KNOWN = _known()


def read_tensor_pickle(path: str | Path) -> tuple[dict[str, Tensor], str]:
    """The named arrays of a pickle, and who it says made it ("" if it does not); unwrapped from "model" or "blobs".

    Raises ValueError for a file that cannot be read, holds anything else, or
    would have to execute code to load.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = TensorUnpickler(file, encoding="latin1").load()
    except Exception as error:  # noqa: BLE001  a damaged pickle raises whatever its bytes happen to mean
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ValueError(f"cannot read weights: {path} is not a plain pickle of numpy arrays ({reason}).") from None
    author = str(content.get("__author__", "")) if isinstance(content, dict) else ""
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"cannot read weights: {path} holds no name -> array mapping.")
    return {str(name): _tensor(value, str(name), path) for name, value in content.items()}, author


def _tensor(value: Any, name: str, path: Path) -> Tensor:
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "fiub":
        raise ValueError(f"cannot read weights: {name} of {path} is no array of numbers.")
    return torch.from_numpy(np.ascontiguousarray(value))
