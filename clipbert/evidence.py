"""Does an attribution point at what is known to hold the answer?  Scores against the planted evidence of the synthetic benchmark.

evidence = Evidence.read(row["evidence"])                 # of a row of `clipbert data synthetic`
evidence_scores(found, evidence)["pointing"]              # EvidenceScore(value=1.0, random=0.11, best=1.0)

A model can be right for another reason than the planted one, and a map can be
true to it then: low scores say that a map or the model looks elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from clipbert.cell_grid import CellGrid
from clipbert.faithfulness_units import row_of, values_of
from clipbert.types import Attribution

Box = tuple[int, int, int, int]
NUM_PERMUTATIONS = 300


@dataclass(frozen=True)
class Evidence:
    """Where an answer is seen: `seconds` and `frames` are half-open, `boxes` [left, top, right, bottom) of each frame in upright source pixels."""

    seconds: tuple[float, float]
    frames: tuple[int, int]
    boxes: Mapping[int, tuple[Box, ...]]
    words: tuple[str, ...]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Evidence":
        """Of the field `evidence` of an example; raises ValueError for anything else."""
        try:
            boxes = {int(frame): tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in found) for frame, found in row["boxes"].items()}
            (start, end), (first, last) = row["seconds"], row["frames"]
            return cls((float(start), float(end)), (int(first), int(last)), boxes, tuple(map(str, row["words"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError("evidence must have seconds, frames, boxes and words, as clipbert data synthetic writes it.") from error

    def __post_init__(self) -> None:
        if not (self.seconds[0] < self.seconds[1] and self.frames[0] < self.frames[1]):
            raise ValueError(f"evidence must end after it begins, got seconds {self.seconds} and frames {self.frames}.")

    def frame_at(self, seconds: float) -> int:
        """The source frame shown from that time on."""
        per_second = (self.frames[1] - self.frames[0]) / (self.seconds[1] - self.seconds[0])
        return self.frames[0] + round((seconds - self.seconds[0]) * per_second)

    def shown_at(self, seconds: float) -> bool:
        return self.frames[0] <= self.frame_at(seconds) < self.frames[1]

    def boxes_at(self, seconds: float) -> tuple[Box, ...]:
        """Empty where it is not shown, and while its figures blink."""
        return self.boxes.get(self.frame_at(seconds), ()) if self.shown_at(seconds) else ()


@dataclass(frozen=True)
class EvidenceScore:
    """Of a map, beside the expected score of a random one and the best that any map of these units can have."""

    value: float
    random: float
    best: float


def planted_clips(times: Float64[Tensor, "N T"], evidence: Evidence, *, boxed: bool = False) -> Bool[Tensor, " N"]:
    """Clips of which a frame at least shows the evidence; with `boxed` something of it, since figures blink."""
    shows = evidence.boxes_at if boxed else evidence.shown_at
    return torch.tensor([any(shows(t) for t in clip) for clip in times.tolist()])


def evidence_scores(attribution: Attribution, evidence: Evidence, *, clip: int | None = None, seed: int = 0) -> dict[str, EvidenceScore]:
    """The scores of the attribution's level, each 0 to 1.  Of equal highest values each has its part of a hit.

    clips    "pointing": the highest of all clips has a frame in the evidence's seconds.
             "temporal_iou" of those seconds with the run of neighbours around the highest clip whose values reach half of
             its own, from the first one's start to the last one's end; "temporal_iou_at_0.5": whether that reaches 0.5.
    frames   "pointing": the highest frame is in the evidence's seconds.
    cells    "pointing" (Zhang 2018, arXiv 1608.00507): the highest cell's own box shares pixels with a planted box, at one
             of the clip's frames at least; that is the game with half a cell's tolerance, since a cell points no finer.
             "pointing_centre": the centre of the highest cell's box lies in a planted box; `best` is 0 where no cell's does.
             "energy" (Wang 2020, arXiv 1910.01279): the share of the positive values in planted boxes, each cell's value spread
             evenly over its own box; 0 of a map without positive values.  Cells on padding alone hold nothing planted.
    tokens   "pointing": the highest word piece belongs to a word that names the evidence.

    Values of single frames are summed over frames.  `clip` as in
    `faithfulness`.  The random map's units stand in random order (temporal
    IoU: the mean of 300 orders by `seed`; of the rest exact).  Raises
    ValueError where nothing planted is to be found: a clip without any of it, a
    text without its words, an attribution without times or grid.
    """
    row = row_of(attribution, clip)
    values = values_of(attribution, row).double()
    if attribution.level == "tokens":
        return {"pointing": _pointing(values, _named(attribution.pieces, evidence))}
    if attribution.times is None or attribution.spans is None:
        raise ValueError("the attribution does not say when its clips are; make it with attribute().")
    if attribution.level == "clips":
        planted = planted_clips(attribution.times, evidence)
        _check(bool(planted.any()), f"none of the {len(planted)} clips shows it; sample more clips", evidence)
        return {"pointing": _pointing(values, planted), **_temporal(values, attribution.spans, evidence.seconds, seed)}
    times = attribution.times[attribution.clip_index[row]].tolist()
    where = f"clip {attribution.clip_index[row]} (counted from 0, frames at {', '.join(f'{t:.2f}' for t in times)} s)"
    if attribution.level == "frames":
        shown = torch.tensor([evidence.shown_at(t) for t in times])
        _check(bool(shown.any()), f"{where} shows none of it; take one of planted_clips()", evidence)
        return {"pointing": _pointing(values, shown)}
    if attribution.grid is None:
        raise ValueError("the attribution does not say where its cells lie; encode the video with its frame size known.")
    boxes = [box for t in times for box in evidence.boxes_at(t)]
    _check(bool(boxes), f"{where} shows no box of it; take one of planted_clips(boxed=True)", evidence)
    return _spatial(values, attribution.grid, boxes)


def _check(found: bool, lack: str, evidence: Evidence) -> None:
    if not found:
        raise ValueError(f"the evidence lies between {evidence.seconds[0]:.2f} and {evidence.seconds[1]:.2f} s, and {lack}.")


def _pointing(values: Float64[Tensor, " U"], planted: Bool[Tensor, " U"]) -> EvidenceScore:
    highest = values == values.max()
    return EvidenceScore(float(planted[highest].double().mean()), float(planted.double().mean()), float(planted.any()))


def _named(pieces: tuple[str, ...], evidence: Evidence) -> Bool[Tensor, " L"]:
    """Pieces of words that name the evidence."""
    words: list[list[int]] = []
    for n, piece in enumerate(pieces):
        words[-1].append(n) if piece.startswith("##") and words else words.append([n])
    wanted, planted = {word.lower() for word in evidence.words}, torch.zeros(len(pieces), dtype=torch.bool)
    for word in words:
        planted[word] = "".join(pieces[n].removeprefix("##") for n in word) in wanted
    if not bool(planted.any()):
        raise ValueError(f"none of the words that name the evidence ({', '.join(evidence.words)}) is among the pieces {' '.join(pieces)}.")
    return planted


def _temporal(values: Float64[Tensor, " N"], spans: Float64[Tensor, "N 2"], seconds: tuple[float, float], seed: int) -> dict[str, EvidenceScore]:
    order = spans[:, 0].argsort(stable=True)
    ordered, ends = values[order], spans[order].tolist()
    best = max(_iou((ends[first][0], ends[last][1]), seconds) for first, last in combinations_with_replacement(range(len(ends)), 2))
    generator = torch.Generator().manual_seed(seed)
    drawn = [_iou(_run(ordered[torch.randperm(len(ordered), generator=generator)], ends), seconds) for _ in range(NUM_PERMUTATIONS)]
    own = _iou(_run(ordered, ends), seconds)
    return {
        "temporal_iou": EvidenceScore(own, sum(drawn) / len(drawn), best),
        "temporal_iou_at_0.5": EvidenceScore(float(own >= 0.5), sum(iou >= 0.5 for iou in drawn) / len(drawn), float(best >= 0.5)),
    }


def _run(values: Float64[Tensor, " N"], ends: list[list[float]]) -> tuple[float, float]:
    """From the start of the first to the end of the last clip around the highest that reaches half its value; that one alone if none is positive."""
    top = int(values.argmax())
    reach = (values >= values[top] / 2).tolist() if float(values[top]) > 0 else [n == top for n in range(len(values))]
    first = last = top
    while first > 0 and reach[first - 1]:
        first -= 1
    while last + 1 < len(values) and reach[last + 1]:
        last += 1
    return ends[first][0], ends[last][1]


def _iou(found: tuple[float, float], wanted: tuple[float, float]) -> float:
    both = max(0.0, min(found[1], wanted[1]) - max(found[0], wanted[0]))
    return both / (found[1] - found[0] + wanted[1] - wanted[0] - both)


def _spatial(values: Float64[Tensor, " U"], grid: CellGrid, boxes: list[Box]) -> dict[str, EvidenceScore]:
    planted = _pixels(grid, boxes)
    share = _inside(grid, planted).flatten()
    centres = torch.tensor([_at_centre(grid, row, col, planted) for row in range(grid.shape[0]) for col in range(grid.shape[1])])
    energy = values.clamp(min=0)
    inside = float((energy * share).sum() / energy.sum()) if bool(energy.any()) else 0.0
    return {
        "pointing": _pointing(values, share > 0),
        "pointing_centre": _pointing(values, centres),
        "energy": EvidenceScore(inside, float(share.mean()), float(share.max())),
    }


def _pixels(grid: CellGrid, boxes: list[Box]) -> Bool[Tensor, "H W"]:
    planted = torch.zeros(grid.frame_size, dtype=torch.bool)
    for left, top, right, bottom in boxes:
        planted[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return planted


def _inside(grid: CellGrid, planted: Bool[Tensor, "H W"]) -> Float64[Tensor, "h w"]:
    """The share of each cell's own box that is planted; of padding 0."""
    rows = _overlaps([grid.box(row, 0) for row in range(grid.shape[0])], 1, planted.shape[0])
    cols = _overlaps([grid.box(0, col) for col in range(grid.shape[1])], 0, planted.shape[1])
    area = rows.sum(dim=1)[:, None] * cols.sum(dim=1)
    return rows @ planted.double() @ cols.T / area.clamp(min=torch.finfo(torch.float64).tiny)


def _overlaps(boxes: list[tuple[float, float, float, float] | None], side: int, num_pixels: int) -> Float64[Tensor, "C P"]:
    """How much of each row (`side` 1) or column (0) of pixels lies in each row or column of cells."""
    start = torch.arange(num_pixels, dtype=torch.float64)
    low = torch.tensor([box[side] if box else 0.0 for box in boxes], dtype=torch.float64)[:, None]
    high = torch.tensor([box[side + 2] if box else 0.0 for box in boxes], dtype=torch.float64)[:, None]
    return (torch.minimum(high, start + 1) - torch.maximum(low, start)).clamp(min=0)


def _at_centre(grid: CellGrid, row: int, col: int, planted: Bool[Tensor, "H W"]) -> bool:
    box = grid.box(row, col)
    return box is not None and bool(planted[int((box[1] + box[3]) / 2), int((box[0] + box[2]) / 2)])
