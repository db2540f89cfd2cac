"""`make bench`: every benchmark in turn, in short; one table of ours, official, ratio, target, limit.  `make bench-all`: in full.

Each writes its rows to benchmarks/results, in short as NAME-quick-DATE.json, which is not committed.

`--document` measures nothing: it writes docs/performance.md and its pictures from the newest committed result of each benchmark.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pictures
from rows import RESULTS, Row, read, table
from targets import GPU_ONLY, TARGETS, WHY_MISSED

from clipbert.viz.chart import Chart
from clipbert.viz.export import save

HERE = Path(__file__).parent
BENCHMARKS = ("decode", "inference", "training", "attention", "retrieval", "cascade", "resume", "adaptive", "samplers")
DOCUMENT = HERE.parent / "docs" / "performance.md"
PICTURES = DOCUMENT.parent / "performance"
HEAD = """\
# Performance: measured beside the original's algorithm

Made by `python benchmarks/bench.py --document` from `benchmarks/results/`; do not edit. "Official" is the original's algorithm, written straight
with our weights and run in the same process (`benchmarks/official.py`); a ratio says how many times as much it takes, unless the target's words
say otherwise. Limits are arithmetic. Every speed-up has a test or a check of equal results beside it: equal pixels (decode), the largest
difference of a logit (inference), of a log-odds (retrieval) or of a gradient (training). All ways run with freed memory kept by the process
(`clipbert.allocator`), the original's too: without it glibc gave each large tensor back, and both were a fifth to a half slower. All of this ran on
a 2-core CPU: each section states its load; ratios of CPU time tell more than milliseconds.
"""


def newest(name: str) -> Path | None:
    """The last result file of a benchmark; files carry their date."""
    return max(RESULTS.glob(f"{name}-20*.json"), default=None)


def run(names: Iterable[str], *, quick: bool) -> list[Row]:
    """The rows of each, from the result files that they write."""
    rows = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, str(HERE / f"{name}.py"), *(["--quick"] if quick else [])], check=True, stdout=subprocess.DEVNULL)
        path = newest(f"{name}-quick" if quick else name)
        rows += read(path) if path else []
    return rows


def committed() -> list[Row]:
    return [row for name in BENCHMARKS if (path := newest(name)) for row in read(path)]


def by_target(rows: Sequence[Row]) -> list[Row]:
    """The rows that stand against a target, in the targets' order."""
    return [row for key in TARGETS for row in rows if row.target == key]


def missed(rows: Sequence[Row]) -> list[str]:
    """The targets that a row does not reach."""
    return [key for key, target in TARGETS.items() if any(row.target == key and row.ratio is not None and not target.met(row.ratio) for row in rows)]


def missing(rows: Sequence[Row]) -> list[str]:
    found = {row.target for row in rows}
    return [f"| {key} | {target.about} | {target.words} | {target.limit} | {_why(key)} |" for key, target in TARGETS.items() if key not in found]


def _why(key: str) -> str:
    return "no GPU run yet" if key in GPU_ONLY else "not measured yet"


def document(charts: Mapping[str, Chart]) -> str:
    rows = committed()
    parts = [
        HEAD,
        *(f"![{chart.title}](performance/{name}.png)\n" for name, chart in charts.items()),
        "## Targets\n",
        table(by_target(rows), TARGETS),
        "",
    ]
    if late := missed(rows):
        parts += ["## Targets not met, and why\n", *(f"- **{key}**: {WHY_MISSED.get(key, 'not explained yet.')}" for key in late), ""]
    if absent := missing(rows):
        parts += ["## Targets without a figure\n", "| # | what | target | limit | why |", "|---|---|---|---|---|", *absent, ""]
    for name in BENCHMARKS:
        if (path := newest(name)) and read(path):
            parts += [f"## {name.capitalize()}\n", about(path), "", table([row for row in read(path) if not row.target], TARGETS), ""]
    return "\n".join(parts)


def drawn() -> dict[str, Chart]:
    """The pictures of the document, by name."""
    found = {"targets": pictures.targets(by_target(committed()))}
    path = newest("samplers")
    return found | ({"samplers": pictures.samplers(path)} if path else {})


def about(path: Path) -> str:
    found = json.loads(path.read_text(encoding="utf-8"))
    load = ", ".join(map(str, found["load_average"]))
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"`{found['command']}`; {found['settings']}; seed {found['seed']}; {found['hardware']}, {found['threads']} threads, load {load}; {versions}; "
        f"{found['date']} (`{path.name}`)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="in full (hours on two cores)")
    parser.add_argument("--only", nargs="+", default=BENCHMARKS, choices=BENCHMARKS)
    parser.add_argument("--document", action="store_true")
    args = parser.parse_args()
    if args.document:
        charts = drawn()
        DOCUMENT.write_text(document(charts), encoding="utf-8")
        for name, chart in charts.items():
            save(chart, PICTURES / f"{name}.png")
        print(DOCUMENT)
        return
    rows = run(args.only, quick=not args.all)
    print(table([*by_target(rows), *(row for row in rows if not row.target)], TARGETS))


if __name__ == "__main__":
    main()
