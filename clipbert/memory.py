"""Work that finds too little memory is done again in smaller parts, and says so."""

from collections.abc import Callable

import torch
from torch import Tensor


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
