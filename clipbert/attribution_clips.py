"""Attribution to clips, from logits the model has already given."""

import torch

from clipbert.attribution_target import ClipMethod, Method, Target, Values


def clip_shapley(target: Target, seed: int) -> Values:
    found = target.pooled.contribution(target.aggregation, seed)
    everything = torch.ones(target.pooled.num_clips, dtype=torch.bool)
    whole = target.value(everything) - target.value(~everything)
    return Values(found.values, (found.values.sum() - whole)[None], found.standard_error if bool(found.standard_error.any()) else None)


def clip_leave_one_out(target: Target, seed: int) -> Values:
    everything = torch.ones(target.pooled.num_clips, dtype=torch.bool)
    rest = ~torch.eye(target.pooled.num_clips, dtype=torch.bool)
    return Values(target.value(everything) - torch.tensor([target.value(clips) for clips in rest], dtype=torch.float64))


def clip_responsibility(target: Target, seed: int) -> Values:
    return Values(target.pooled.responsibility(target.aggregation))


CLIP_METHODS: dict[str, tuple[Method, ClipMethod]] = {
    "clip_shapley": (
        Method(
            "clips", "nats", "no model run", True, "mean gain of a clip over all orders in which clips could come: exact up to 16 clips, else sampled"
        ),
        clip_shapley,
    ),
    "clip_leave_one_out": (
        Method("clips", "nats", "no model run", False, "loss of the score when only this clip is left out"), clip_leave_one_out,
    ),
    "clip_responsibility": (
        Method("clips", "share", "no model run", False, "how far the pooled logit of the target follows this clip's: softmax over clips under lse"),
        clip_responsibility,
    ),
}  # fmt: skip
