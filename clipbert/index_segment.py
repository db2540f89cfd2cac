"""A segment of an index file: some videos as plain arrays, of which the parts that are asked for are read, and no others.

Features are stored as float16 (a relative error of at most 2^-11 a value) or as
int8 with one scale a cell (an error of at most 1/254 of the cell's largest
value), vectors of the contrastive head as float16.
"""

import json
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor

from clipbert.index_entry import Entry, IndexedFile
from clipbert.source import digest
from clipbert.types import EncodedVideo

STORES = ("float16", "int8")
"""How features may be stored."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Videos in the order of `paths`; `blocks` are arrays in memory or of a mapped file.

    `clip_ends[i]` and `row_ends[i]` say where video i's clips and its row of JSON end.
    """

    blocks: dict[str, np.ndarray]
    paths: list[str]

    @classmethod
    def of_blocks(cls, blocks: dict[str, np.ndarray]) -> "Segment":
        return cls(blocks, json.loads(blocks["paths"].tobytes()))

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def num_bytes(self) -> int:
        """Of features and vectors."""
        return sum(block.nbytes for name, block in self.blocks.items() if name in ("features", "scales", "vectors"))

    def entry(self, i: int) -> Entry:
        row = self._row(i)
        about: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.pop("video").items()}
        times, spans = (torch.tensor(about.pop(name), dtype=torch.float64) for name in ("times", "spans"))
        features = torch.from_numpy(self._between("features", "clip_ends", i))
        stored = str(features.dtype)  # rounded features have clip logits of their own in the predictor's cache
        if "scales" in self.blocks:
            features = widened(features, torch.from_numpy(self._between("scales", "clip_ends", i)))
        vectors = torch.from_numpy(self._between("vectors", "clip_ends", i)) if "vectors" in self.blocks else None
        about["key"] = digest(about["key"], stored)
        about["clip_keys"] = tuple(digest(key, stored) for key in about["clip_keys"])
        video = EncodedVideo(features=features, times=times, spans=spans, **about)
        return Entry(video=video, vectors=vectors, **row)

    def file(self, i: int) -> IndexedFile:
        row = self._row(i)
        return IndexedFile(**{name: value for name, value in row.items() if name != "video"})

    def notices(self, i: int) -> tuple[str, ...]:
        return tuple(self._row(i)["video"]["notices"])

    def _row(self, i: int) -> dict[str, Any]:
        return json.loads(self._between("rows", "row_ends", i).tobytes())

    def _between(self, block: str, ends: str, i: int) -> np.ndarray:
        return self.blocks[block][self.blocks[ends][i - 1] if i else 0 : self.blocks[ends][i]]


def segment_of(entries: Sequence[Entry], store: str) -> Segment:
    """The entries as arrays; float16 gives way to float32 where a value is too large for it."""
    rows = [_row(entry) for entry in entries]
    paths = [entry.path for entry in entries]
    features = torch.cat([entry.video.features for entry in entries])
    blocks = {
        "paths": np.frombuffer(json.dumps(paths).encode(), np.uint8),
        "rows": np.frombuffer(b"".join(rows), np.uint8),
        "row_ends": np.cumsum([len(row) for row in rows]),
        "clip_ends": np.cumsum([entry.video.num_clips for entry in entries]),
    }
    if store == "int8":
        narrow, scales = narrowed(features)
        blocks |= {"features": narrow.numpy(), "scales": scales.numpy()}
    else:
        half = features.half()
        blocks["features"] = (half if bool(half.isfinite().all()) else features.float()).numpy()
    vectors = [entry.vectors for entry in entries if entry.vectors is not None]
    if len(vectors) == len(entries):
        blocks["vectors"] = torch.cat(vectors).half().numpy()
    return Segment(blocks, paths)


def _row(entry: Entry) -> bytes:
    video: dict[str, Any] = {name: value for name, value in vars(entry.video).items() if name not in ("features", "times", "spans")}
    video |= {"times": entry.video.times.tolist(), "spans": entry.video.spans.tolist()}
    return json.dumps({name: value for name, value in vars(entry).items() if name not in ("video", "vectors")} | {"video": video}).encode()


def narrowed(features: Float[Tensor, "C T h w D"]) -> tuple[Int8[Tensor, "C T h w D"], Float[Tensor, "C T h w"]]:
    """As int8 and each cell's scale, its largest value / 127."""
    scales = features.float().abs().amax(dim=-1) / 127
    return (features.float() / scales.clamp(min=1e-30)[..., None]).round().to(torch.int8), scales


def widened(narrow: Int8[Tensor, "C T h w D"], scales: Float[Tensor, "C T h w"]) -> Float[Tensor, "C T h w D"]:
    return narrow.float() * scales[..., None]


class Entries(MutableMapping[str, Entry]):
    """Path -> entry: new ones in memory, stored ones made of their segment each time they are asked for."""

    def __init__(self) -> None:
        self._places: dict[str, Entry | tuple[Segment, int]] = {}

    def __getitem__(self, path: str) -> Entry:
        place = self._places[path]
        return place if isinstance(place, Entry) else place[0].entry(place[1])

    def __setitem__(self, path: str, entry: Entry) -> None:
        self._places[path] = entry

    def __delitem__(self, path: str) -> None:
        del self._places[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def file(self, path: str) -> IndexedFile:
        """What was known of the file then, without its features."""
        place = self._places[path]
        return place if isinstance(place, Entry) else place[0].file(place[1])

    def notices(self, path: str) -> tuple[str, ...]:
        """What of the file was unreadable, without its features."""
        place = self._places[path]
        return place.video.notices if isinstance(place, Entry) else place[0].notices(place[1])

    def put_stored(self, segment: Segment, alive: Iterable[int]) -> None:
        """These videos of a segment, in place of those of the same paths."""
        self._places |= {segment.paths[i]: (segment, i) for i in alive}

    def only(self, paths: Iterable[str]) -> "Entries":
        """These alone, where they are."""
        part = Entries()
        part._places = {path: self._places[path] for path in paths}
        return part

    def new(self) -> list[Entry]:
        """Those that no file holds yet."""
        return [place for place in self._places.values() if isinstance(place, Entry)]

    def stored(self) -> dict[int, tuple[Segment, list[int]]]:
        """Segments by identity, each with those of its videos that are still listed."""
        found: dict[int, tuple[Segment, list[int]]] = {}
        for place in self._places.values():
            if not isinstance(place, Entry):
                found.setdefault(id(place[0]), (place[0], []))[1].append(place[1])
        return found
