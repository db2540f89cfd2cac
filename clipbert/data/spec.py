"""A data set as a YAML or JSON file says it: annotation files by split, where the videos are, the vocabulary."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from clipbert.config import check_known
from clipbert.data.examples import FORMATS, read_examples, read_video_ids
from clipbert.data.rows import Example

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class AnnotationFile:
    """One annotation file of a split, and what `read_examples` has to know of it."""

    annotations: str
    """Path, relative to the spec."""
    format: str | None = None
    """One of clipbert.data.examples.FORMATS; by default found from the first row."""
    answers: str | None = None
    """The answers' file, of the formats that have one."""
    split: str | None = None
    """Keep the rows of this split, as the file calls it."""
    videos: str | None = None
    """A table with a column video_id, to keep the rows of these videos."""
    video_name: str = "{}"
    """How a video file is called after the annotation's key, e.g. "video{}"."""

    def __post_init__(self) -> None:
        if self.format is not None:
            check_known("format", self.format, tuple(FORMATS))
        if "{}" not in self.video_name:
            raise ValueError(f'video_name must hold {{}} for the key, as in "video{{}}", got {self.video_name!r}.')

    def read(self, folder: Path) -> list[Example]:
        """Raises ValueError like `read_examples`."""
        return read_examples(
            folder / self.annotations, format=self.format, answers=self.answers and folder / self.answers, split=self.split,
            videos=read_video_ids(folder / self.videos) if self.videos else None, video_name=self.video_name,
        )  # fmt: skip


@dataclass(frozen=True)
class DatasetSpec:
    """What `clipbert data check` looks at; paths are relative to `folder`, that of the spec."""

    videos: str
    """Folder of the videos and images, or an LMDB of the original."""
    train: tuple[AnnotationFile, ...] = ()
    val: tuple[AnnotationFile, ...] = ()
    test: tuple[AnnotationFile, ...] = ()
    vocabulary: str | int | None = None
    """An ans2label.json (answer -> index), or a number: the so many most frequent answers of train; None without open-ended answers."""
    max_text_length: int = 100
    """Longer texts are cut, in word pieces with [CLS] and [SEP]."""
    folder: Path = Path()

    def __post_init__(self) -> None:
        if not (self.train or self.val or self.test):
            raise ValueError("a data set must have at least one of train, val and test.")
        if isinstance(self.vocabulary, bool) or (isinstance(self.vocabulary, int) and self.vocabulary < 1):
            raise ValueError(f"vocabulary must be a file or a number above 0, got {self.vocabulary!r}.")
        if self.max_text_length < 3:
            raise ValueError(f"max_text_length must be at least 3, got {self.max_text_length}.")


def read_spec(path: str | Path) -> DatasetSpec:
    """The spec in a YAML or JSON file; each split is a file name, a mapping of AnnotationFile's fields, or a list of these.

    Raises ValueError for an unknown key, naming the nearest known one.
    """
    path = Path(path)
    settings = _mapping(path, _load(path), DatasetSpec, without=("folder",))
    try:
        splits = {name: tuple(_file(path, entry) for entry in _as_list(settings[name])) for name in SPLITS if name in settings}
        return DatasetSpec(**{**settings, **splits, "folder": path.parent})
    except TypeError as error:
        raise ValueError(f"{path}: a setting is missing or of the wrong kind ({error}).") from None


def _load(path: Path) -> Any:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read data set spec {path}: {' '.join(str(error).split())}.") from None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _file(path: Path, entry: Any) -> AnnotationFile:
    return AnnotationFile(**_mapping(path, {"annotations": entry} if isinstance(entry, str) else entry, AnnotationFile))


def _mapping(path: Path, value: Any, kind: type, without: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{path}: must map settings to values, got {value!r}.")
    known = tuple(f.name for f in fields(kind) if f.name not in without)
    for key in value:
        check_known(f"setting of {path}", str(key), known)
    return value
