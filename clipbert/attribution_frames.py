"""Attribution to the frames of a clip, from their cached features: the CNN does not run.

A coalition of frames is the clip made of these frames alone, in their order:
their mean, or with temporal convolutions what these make of them, so that
frames that are left out leave no gap.  No frames is the text alone, with every
visual token masked.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clipbert.aggregation import exact_shapley
from clipbert.attribution_target import Inside, InsideMethod, Method, Values
from clipbert.clip_score import ClipScore

MAX_EXACT_FRAMES = 8
NUM_ORDERS = 32  # of the frames above that


def frame_shapley(case: Inside) -> Values:
    """Exact over all 2^T coalitions for up to 8 frames; beyond, the mean over random orders, each of which sums to the whole."""
    num_frames = case.features.shape[1]
    found = [_exact(case.score, clip) if num_frames <= MAX_EXACT_FRAMES else _sampled(case.score, clip, case.seed) for clip in case.features]
    gaps = torch.stack([values.sum() - whole for values, _, whole in found])
    error = torch.stack([error for _, error, _ in found]) if num_frames > MAX_EXACT_FRAMES else None
    return Values(torch.stack([values for values, _, _ in found]), gaps, error)


def frame_leave_one_out(case: Inside) -> Values:
    num_frames = case.features.shape[1]
    kept = torch.cat([torch.ones(1, num_frames, dtype=torch.bool), ~torch.eye(num_frames, dtype=torch.bool)])
    scores = torch.stack([coalition_scores(case.score, clip, kept) for clip in case.features])
    return Values(scores[:, :1] - scores[:, 1:])


def coalition_scores(score: ClipScore, clip: Float[Tensor, "T h w D"], kept: Bool[Tensor, "C T"]) -> Float[Tensor, " C"]:
    """The score of a clip made of the frames that each of C coalitions keeps."""
    scores = torch.empty(len(kept), dtype=torch.float64)
    sizes = kept.sum(dim=1)
    for size in sizes.unique().tolist():
        rows = (sizes == size).nonzero()[:, 0]
        frames = clip[None] if size == 0 else torch.stack([clip[kept[row]] for row in rows.tolist()])
        nothing = torch.zeros(1, *(score.per_clip.cells(frames) or (1, 1)), dtype=torch.bool, device=clip.device) if size == 0 else None
        scores[rows] = score.of_many(frames, nothing).double().cpu()
    return scores


def _exact(score: ClipScore, clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values, their errors and the whole: frame t is in coalition c where bit t of c is set."""
    num_frames = len(clip)
    kept = (torch.arange(2**num_frames)[:, None] >> torch.arange(num_frames)) % 2 == 1
    scores = coalition_scores(score, clip, kept)
    found = exact_shapley(scores, float(scores[0]))
    return found.values, found.standard_error, scores[-1] - scores[0]


def _sampled(score: ClipScore, clip: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    num_frames, generator = len(clip), torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(num_frames, generator=generator) for _ in range(NUM_ORDERS)])
    rank = orders.argsort(dim=1)
    prefixes = rank[:, None] < torch.arange(num_frames + 1)[:, None]  # [orders, T + 1, T]: the first k frames of each order
    kept, place = prefixes.flatten(0, 1).unique(dim=0, return_inverse=True)
    scores = coalition_scores(score, clip, kept)[place].reshape(NUM_ORDERS, -1)
    gains = scores.diff(dim=1).gather(1, rank)
    return gains.mean(dim=0), gains.std(dim=0) / math.sqrt(NUM_ORDERS), scores[0, -1] - scores[0, 0]


FRAME_METHODS: dict[str, tuple[Method, InsideMethod]] = {
    "frame_shapley": (
        Method(
            "frames", "nats", "2^T transformer runs a clip", True,
            "mean gain of a frame over all orders in which a clip's frames could come: exact up to 8 frames, else sampled", any_model=True,
        ),
        frame_shapley,
    ),
    "frame_leave_one_out": (
        Method(
            "frames", "nats", "T + 1 transformer runs a clip", False, "loss of the clip's score when only this frame is left out", any_model=True
        ),
        frame_leave_one_out,
    ),
}  # fmt: skip
