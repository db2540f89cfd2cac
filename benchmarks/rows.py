"""One form for all benchmarks: rows of ours beside what they are measured against, with the machine, as JSON and as a table."""

import datetime
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
FORM = "benchmarks/rows.py"


@dataclass(frozen=True)
class Target:
    """What a ratio is to reach (PERFORMANCE, "Targets"), and what arithmetic says can be reached."""

    about: str
    limit: str
    at_least: float | None = None
    at_most: float | None = None

    def met(self, ratio: float) -> bool:
        return (self.at_least is None or ratio >= self.at_least) and (self.at_most is None or ratio <= self.at_most)

    @property
    def words(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


@dataclass(frozen=True)
class Row:
    """One figure: `ratio` is what the target counts, None where nothing is compared.

    `spread` is the distance between quartiles of `ours`.  `target` names an
    entry of `benchmarks.targets.TARGETS`, or is "".
    """

    target: str
    name: str
    unit: str
    ours: float
    official: float | None = None
    ratio: float | None = None
    spread: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Timing:
    """Medians over repeats: milliseconds of the clock, its quartiles' distance, and of the process's CPUs, which other work stretches less."""

    milliseconds: float
    spread: float
    cpu_milliseconds: float


def timed(runs: Mapping[str, Callable[[], object]], *, repeats: int, warmup: int = 1) -> dict[str, Timing]:
    """Each of `runs` in turn, round after round, so that other work on the machine slows all alike."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for lap in range(warmup + repeats):
        for name, run in runs.items():
            started, used = time.perf_counter(), time.process_time()
            run()
            if lap >= warmup:
                wall[name].append(1000 * (time.perf_counter() - started))
                cpu[name].append(1000 * (time.process_time() - used))
    return {name: Timing(statistics.median(wall[name]), _spread(wall[name]), statistics.median(cpu[name])) for name in runs}


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return high - low


def compared(target: str, name: str, ours: Timing, official: Timing, note: str = "") -> Row:
    """How many times as long the official algorithm takes; the note has the same ratio of CPU time."""
    by_cpu = f"{official.cpu_milliseconds / ours.cpu_milliseconds:.2f} by CPU time"
    return Row(
        target, name, "ms", ours.milliseconds, official.milliseconds, official.milliseconds / ours.milliseconds, ours.spread,
        f"{note}; {by_cpu}" if note else by_cpu,
    )  # fmt: skip


def machine() -> dict[str, Any]:
    import av

    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return {
        "hardware": f"{os.cpu_count()} cores, {names[0] if names else platform.machine()}", "threads": torch.get_num_threads(),
        "load_average": [round(x, 2) for x in os.getloadavg()], "date": datetime.date.today().isoformat(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "av": av.__version__},
    }  # fmt: skip


def write(name: str, rows: Sequence[Row], *, seed: int | None, settings: str, folder: Path = RESULTS, **more: Any) -> Path:
    """One result file: the command, the machine, the rows, and `more`."""
    command = "python benchmarks/" + shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    found = {"form": FORM, "command": command, "settings": settings, "seed": seed, **machine(), "rows": [asdict(row) for row in rows], **more}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{found['date']}.json"
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> list[Row]:
    """The rows of a result file; none if it has another form."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return [Row(**row) for row in found["rows"]] if isinstance(found, dict) and found.get("form") == FORM else []


def table(rows: Sequence[Row], targets: Mapping[str, Target]) -> str:
    """Markdown: ours, official, ratio, target, limit."""
    lines = ["| # | what | ours | official | ratio | target | limit | |", "|---|---|---:|---:|---:|---|---|---|"]
    for row in rows:
        target = targets.get(row.target)
        met = "" if target is None or row.ratio is None else "met" if target.met(row.ratio) else "**not met**"
        values = [_number(row.ours, row.unit), _number(row.official, row.unit), "" if row.ratio is None else f"{row.ratio:.3g}"]
        cells = [row.target, row.name, *values, *((target.words, target.limit) if target else ("", ""))]
        cells.append("; ".join(filter(None, (met, row.note))))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f} {unit}".strip() if abs(value) >= 100 else f"{value:.3g} {unit}".strip()
