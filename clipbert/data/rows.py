"""Rows of annotation files (JSON lines, JSON, CSV, TSV) that know where they stand, and the `Example` made of them.

A field that is missing or not what it should be is a ValueError naming file,
line (or place in the JSON) and rule.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DELIMITERS = ("\t", ";", ",")


@dataclass(frozen=True, slots=True)
class Example:
    """One text about one video or image; either `question` or `caption`, or neither where `choices` are whole captions."""

    video: str
    """File name without folder and extension; in files of the user's own, as written there."""
    id: str
    """Unique within its file."""
    question: str = ""
    caption: str = ""
    choices: tuple[str, ...] = ()
    answer: str | int | None = None
    """The answer's text; with `choices` its index among them; None where it is withheld."""
    answer_scores: tuple[tuple[str, float], ...] = ()
    """Soft labels in [0, 1] by answer, of the VQA data."""
    answer_type: str = ""
    split: str = ""
    is_image: bool = False

    def __post_init__(self) -> None:
        if not self.video:
            raise ValueError("an example must name its video")
        if bool(self.question) + bool(self.caption) != 1 and not (self.choices and not self.caption):
            raise ValueError("an example must have either a question or a caption, or choices")
        if self.choices and self.answer is not None and not (isinstance(self.answer, int) and 0 <= self.answer < len(self.choices)):
            raise ValueError(f"answer must be the index of one of the {len(self.choices)} choices, counted from 0, got {self.answer!r}")
        if not self.choices and isinstance(self.answer, int):
            raise ValueError(f"answer must be a text where there are no choices, got {self.answer!r}")

    @property
    def text(self) -> str:
        return self.question or self.caption


class Row:
    """The fields of one row and its place in its file."""

    def __init__(self, path: Path, place: str, fields: Any) -> None:
        self.path, self.place = path, place
        self.fields: Mapping[str, Any] = fields
        if not isinstance(fields, dict):
            raise self.error(f"must be an object with named fields, got {_brief(fields)}")

    def error(self, rule: str) -> ValueError:
        return ValueError(f"{self.path}, {self.place}: {rule}.")

    def example(self, **fields: Any) -> Example:
        """The example of these fields; the row's place is in the message if they contradict each other."""
        try:
            return Example(**fields)
        except ValueError as error:
            raise self.error(str(error)) from None

    def __contains__(self, name: object) -> bool:
        """Whether the field is there and says something."""
        return self.fields.get(name) not in (None, "")  # type: ignore[arg-type]

    def _value(self, name: str) -> Any:
        if name not in self.fields:
            raise self.error(f"field {name!r} is missing; there are {', '.join(map(str, self.fields)) or 'none'}")
        return self.fields[name]

    def text(self, name: str) -> str:
        """A string, or a number as a string, stripped, not empty."""
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
            raise self.error(f"{name} must be a text that is not empty, got {_brief(value)}")
        return str(value).strip()

    def optional_text(self, name: str) -> str:
        return self.text(name) if name in self else ""

    def whole(self, name: str) -> int:
        """A whole number, written as such or as its digits."""
        value = self._value(name)
        try:
            if isinstance(value, int | str) and not isinstance(value, bool):
                return int(value)
        except ValueError:
            pass
        raise self.error(f"{name} must be a whole number, got {_brief(value)}")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, none empty."""
        return tuple(Row(self.path, self.place, {name: value}).text(name) for value in self.items(name))

    def items(self, name: str) -> list[Any]:
        """A list that is not empty."""
        value = self._value(name)
        if not isinstance(value, list) or not value:
            raise self.error(f"{name} must be a list that is not empty, got {_brief(value)}")
        return value


def _brief(value: Any) -> str:
    return repr(value) if len(repr(value)) < 60 else repr(value)[:57] + "..."


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read annotations: {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read annotations: {path} is no UTF-8 text (byte {error.start}).") from None


def json_lines(path: Path) -> Iterator[Row]:
    """One JSON object a line; blank lines are allowed."""
    for number, line in enumerate(_content(path).split("\n"), 1):
        if line.strip():
            try:
                fields = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: must be one JSON object ({error.msg}, column {error.colno}).") from None
            yield Row(path, f"line {number}", fields)


def json_value(path: Path) -> Any:
    try:
        return json.loads(_content(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: is no JSON ({error.msg}, column {error.colno}).") from None


def json_rows(path: Path, name: str | None = None) -> Iterator[Row]:
    """The objects of a JSON file's list, or of the list its field `name` holds."""
    value, place = json_value(path), name or "entry"
    entries = Row(path, "top level", value).items(name) if name else value
    if not isinstance(entries, list):
        raise ValueError(f"{path}, top level: must be a list of objects, got {_brief(value)}.")
    for index, fields in enumerate(entries):
        yield Row(path, f"{place}[{index}]", fields)


def table_rows(path: Path) -> Iterator[Row]:
    """Rows of a table with a header; the delimiter is the first of tab, semicolon, comma that the header holds."""
    content = _content(path)
    header = content.split("\n", 1)[0]
    delimiter = next((mark for mark in DELIMITERS if mark in header), ",")
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    if not reader.fieldnames:
        raise ValueError(f"{path}, line 1: must name the columns, got an empty file.")
    try:
        for fields in reader:
            extra: Any = fields.pop(None, [])  # where the csv module puts what the header does not name
            row = Row(path, f"line {reader.line_num}", fields)
            found = sum(value is not None for value in fields.values()) + len(extra)
            if found != len(reader.fieldnames):
                raise row.error(f"must have {len(reader.fieldnames)} columns as the header has, got {found}")
            yield row
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: is no row of a table ({error}).") from None
