"""What goes into a video index: which files of a folder, and of each what was read and what it was then."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from clipbert.source import content_hash
from clipbert.types import EncodedVideo

SUFFIXES = tuple(".mp4 .m4v .mov .mkv .webm .avi .gif .flv .mpg .mpeg .ts .wmv .3gp .ogv".split())


@dataclass(frozen=True)
class IndexedFile:
    """A file as it was when it was indexed."""

    path: str
    content: str  # hash
    size: int
    modified: int  # nanoseconds

    def state(self) -> str | None:
        """What became of the file since it was indexed; None if it is the same."""
        try:
            now = os.stat(self.path)
            if (now.st_size, now.st_mtime_ns) == (self.size, self.modified) or content_hash(Path(self.path)) == self.content:
                return None
        except OSError:
            return "the file is no longer where it was indexed"
        return "the file has changed since it was indexed; index it again"


@dataclass(frozen=True, eq=False)
class Entry(IndexedFile):
    """An indexed file with its encoded clips."""

    video: EncodedVideo
    vectors: Tensor | None = None
    """float[N, V]: each clip's vector, of a model with a contrastive head."""


@dataclass
class IndexReport:
    """What indexing did: nothing is left out without a line here."""

    unreadable: dict[str, str] = field(default_factory=dict)  # path -> why
    not_videos: list[str] = field(default_factory=list)  # files of the folder whose names are no video's
    seconds: float = 0.0
    added: int = 0
    """Videos that were encoded, new or changed."""
    removed: int = 0
    """Videos of the file before that are not among those asked for any more."""


def videos_below(folder: Path) -> tuple[list[Path], list[str]]:
    """The videos in a folder and below by their names, and the other files; hidden ones are left alone.

    Raises ValueError if there is no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name one that holds videos.")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts))
    videos = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not videos:
        raise ValueError(
            f"no videos in {folder} or below ({len(files)} files of other kinds); videos are known by their names: {' '.join(SUFFIXES)}."
        )
    return videos, [str(path) for path in files if path.suffix.lower() not in SUFFIXES]
