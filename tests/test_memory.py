"""Work that finds too little memory is done in smaller parts, with the same result."""

import platform
import resource
import subprocess
import sys
import threading

import pytest
import torch

from clipbert.allocator import KEPT_BYTES, keep_freed_memory
from clipbert.memory import InParts, is_out_of_memory


def fitting(largest: int, sizes: list[int]):
    """Work that doubles its rows, as long as there are at most `largest`."""

    def work(rows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(rows))
        if len(rows) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return 2 * rows

    return work


@pytest.mark.parametrize("largest", [1, 3, 7, 20])
def test_whatever_fits_the_rows_come_back_whole_and_in_order(largest: int) -> None:
    rows, sizes = torch.arange(13.0), []
    assert torch.equal(InParts().run(fitting(largest, sizes), rows, dim=0), 2 * rows)
    assert sizes[-1] <= largest


def test_what_fitted_once_is_where_later_work_starts_and_is_said() -> None:
    parts, sizes = InParts(), []
    assert parts.notice("clips") == ()
    parts.run(fitting(4, sizes), torch.arange(16.0), dim=0)
    parts.run(fitting(4, sizes), torch.arange(16.0), dim=0)
    assert sizes == [16, 8, 4, 4, 4, 4, 4, 4, 4, 4]
    assert "read 4 at a time; N_test stays as it was" in parts.notice("clips")[0]


def test_a_row_that_does_not_fit_alone_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        InParts().run(fitting(0, []), torch.arange(4.0), dim=0)


def test_another_error_is_not_tried_again() -> None:
    tries = []

    def work(rows: torch.Tensor) -> torch.Tensor:
        tries.append(len(rows))
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        InParts().run(work, torch.arange(4.0), dim=0)
    assert tries == [4]


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("can't allocate memory: 9"), True),
        (ValueError("x"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error: Exception, short: bool) -> None:
    assert is_out_of_memory(error) == short


def faults_of_large_tensors() -> int:
    """Page faults of this process while a thread makes 50 tensors of 40 MB, one after the other."""

    def work() -> None:
        for _ in range(50):
            torch.ones(10_000_000)

    work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc can be told")
def test_freed_tensors_are_kept_for_the_next_up_to_a_size() -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests'); import torch; from test_memory import faults_of_large_tensors as faults; "
        "from clipbert.allocator import keep_freed_memory; first = faults(); assert keep_freed_memory(); print(first, faults()); "
        "held = torch.ones(500_000_000); del held; print(next(x for x in open('/proc/self/status') if x.startswith('VmRSS')).split()[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, then, resident = map(int, done.stdout.split())
    assert then < first / 5
    assert 1024 * resident < KEPT_BYTES, "2 GB were given back"


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
