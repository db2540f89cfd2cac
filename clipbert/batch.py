"""Many questions from a file, one after the other: every row has its result or its error, and a run that was ended goes on.

The folder written holds `results.jsonl`, a line a row as soon as it is known,
and `report.html`, one page of all of them.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipbert.predict import Predictor
from clipbert.results import answer_result
from clipbert.tasks import check_choices, require_text

FIELDS = ("video", "question", "choices")


@dataclass(frozen=True)
class BatchRow:
    """A line of the file, counted from 1; `error` says what is wrong with it, else it is empty."""

    line: int
    video: str
    question: str
    choices: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a row: a result as `clipbert ask --json` prints it, or an error; `reused` from an earlier run."""

    row: BatchRow
    result: dict[str, Any] | None
    error: str = ""
    reused: bool = False


def read_rows(path: str | Path) -> list[BatchRow]:
    """The rows of a .jsonl file: {"video", "question"} and perhaps "choices"; a line that is none is a row with its error.

    Raises ValueError for a file that cannot be read or holds no line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}; give a .jsonl file.") from error
    rows = [_row(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ValueError(f'{path} is empty; write a line {{"video": "a.mp4", "question": "what is it?"}} for each question.')
    return rows


def _row(number: int, line: str) -> BatchRow:
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or not all(isinstance(values.get(name), str) for name in ("video", "question")):
            raise ValueError('a row needs a "video" and a "question", both texts.')
        if unknown := sorted(set(values) - set(FIELDS)):
            raise ValueError(f"a row has {', '.join(FIELDS)}, got {unknown[0]!r}.")
        choices = values.get("choices", [])
        if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
            raise ValueError('"choices" must be a list of texts.')
        require_text(values["question"], "question")
        return BatchRow(number, values["video"], values["question"], tuple(check_choices(choices) if choices else ()))
    except json.JSONDecodeError as error:
        return BatchRow(number, "", "", error=f"not JSON: {error.msg} at character {error.pos + 1}.")
    except ValueError as error:
        return BatchRow(number, "", "", error=str(error))


def answer_rows(
    predictor: Predictor, rows: Sequence[BatchRow], root: Path, out: Path, *, aggregation: str | None = None, seed: int = 0, **sampling: Any
) -> Iterator[Outcome]:
    """What came of each row, in order; videos are looked for below `root`, results are kept in the folder `out`.

    A row answered before, of the same video, question, settings and model, is
    taken from there; one that failed is tried again.  Raises ValueError where
    `out` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        known, file = _known(out / "results.jsonl"), (out / "results.jsonl").open("a", encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write to {out}: {error.strerror or error}; name another folder.") from error
    settings = repr((predictor.model.fingerprint, aggregation, seed, sorted(sampling.items())))
    with file:
        for row in rows:
            if row.error:
                yield Outcome(row, None, row.error)
                continue
            key = _key(row, root / row.video, settings)
            if key in known:
                yield Outcome(row, known[key], reused=True)
                continue
            found = _answered(predictor, row, root / row.video, aggregation, seed, sampling)
            if found.result is not None:
                file.write(json.dumps({"key": key, "line": row.line, "video": row.video, "result": found.result}, ensure_ascii=False) + "\n")
                file.flush()
            yield found


def _answered(predictor: Predictor, row: BatchRow, path: Path, aggregation: str | None, seed: int, sampling: dict[str, Any]) -> Outcome:
    try:
        video = predictor.encode(path, **sampling)
        prediction = predictor.answer(video, row.question, choices=row.choices or None, aggregation=aggregation, seed=seed)
    except ValueError as error:  # VideoError is one
        return Outcome(row, None, " ".join(str(error).split()))
    return Outcome(row, answer_result(predictor, video, prediction, row.question, seed))


def _key(row: BatchRow, path: Path, settings: str) -> str:
    """Of all that decides a result; a file counts as the same by its size and time of change."""
    status = path.stat() if path.is_file() else None
    of_file = (status.st_size, status.st_mtime_ns) if status else None
    return hashlib.sha256(repr((row.video, of_file, row.question, row.choices, settings)).encode()).hexdigest()[:32]


def _known(path: Path) -> dict[str, dict[str, Any]]:
    """Results by key; a last line that was cut off when a run was killed is dropped from the file.

    Raises ValueError, and leaves the file alone, where another program wrote it.
    """
    if not path.is_file():
        return {}
    whole = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if line.endswith("\n")]
    try:
        found = {record["key"]: record["result"] for record in map(json.loads, whole)}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not of clipbert ask --jsonl; name another folder.") from error
    path.write_text("".join(whole), encoding="utf-8")
    return found
