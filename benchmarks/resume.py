"""A training run killed with SIGKILL and resumed beside one that was not: its loss curve (R1).

The pre-training of train/README.md on a few videos drawn by code, twice.  Writes benchmarks/results/resume-DATE.json.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rows import Row, table, write
from targets import TARGETS

from clipbert.data.synthetic import make_dataset

ROOT = Path(__file__).parents[1]
UPDATES, SAVED_EVERY, KILLED_AFTER = 16, 4, 9


def command(data: Path, output: Path, seed: int, *more: str) -> list[str]:
    """Each setting of the config that names a file or folder is replaced."""
    config = ROOT / "train" / "configs" / "synthetic_pretrain.yaml"
    files = [f"train.0.annotations={data / 'stills_train.jsonl'}", f"validation.0.annotations={data / 'stills_val.jsonl'}"]
    files += [f"train.0.videos={data}", f"validation.0.videos={data}", f"run.output={output}"]
    updates = [f"run.seed={seed}", f"run.max_steps={UPDATES}", f"run.save_every={SAVED_EVERY}", "run.log_every=1"]
    return [sys.executable, str(ROOT / "train" / "train.py"), "--config", str(config), *files, *updates, *more]


def killed(arguments: list[str]) -> None:
    """Run until the update KILLED_AFTER is told, then SIGKILL."""
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"{KILLED_AFTER}/"):
                os.killpg(process.pid, signal.SIGKILL)
                return
    raise SystemExit(f"the run ended before update {KILLED_AFTER}; see its log.")


def losses(output: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (output / "log.jsonl").read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="the same: it takes a minute")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        data, whole, resumed = (Path(folder) / name for name in ("data", "whole", "resumed"))
        make_dataset(data, num_videos=5, seed=args.seed)
        subprocess.run(command(data, whole, args.seed), check=True, stderr=subprocess.DEVNULL)
        killed(command(data, resumed, args.seed))
        subprocess.run(command(data, resumed, args.seed, "run.resume=true"), check=True, stderr=subprocess.DEVNULL)
        expected, found = losses(whole), losses(resumed)
    assert len(expected) == len(found) == UPDATES
    off = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    about = f"the largest difference of {UPDATES} losses, SIGKILL after update {KILLED_AFTER}, a checkpoint every {SAVED_EVERY}"
    rows = [Row("R1", about, "", off, ratio=off)]
    print(table(rows, TARGETS))
    print(write("resume-quick" if args.quick else "resume", rows, seed=args.seed, settings="train/configs/synthetic_pretrain.yaml, CPU, float32"))


if __name__ == "__main__":
    main()
