"""Where each head of each layer looks, between text and image: a view of the model's insides, not an explanation of its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from clipbert.attribution_attention import attention_maps
from clipbert.attribution_target import find_target, inside
from clipbert.cell_grid import CellGrid
from clipbert.per_clip import ClipBertPerClip
from clipbert.predict import Predictor
from clipbert.types import EncodedVideo


@dataclass(frozen=True, eq=False)
class HeadAttention:
    """For one clip, which share of its attention a token gives, in each layer and head: the mean over tokens of text, or of the image.

    Text is every piece with [CLS] and [SEP], image every cell, those on
    padding too.  What text gives to the image and within text sums to 1, as
    does what the image gives.  `cells` says which cells: what each gets from a
    token of text, gives to text, or gets from a cell, so that the sum of the
    first and third and the mean of the second are the shares.
    """

    text_to_image: Float[Tensor, "layers heads"]
    image_to_text: Float[Tensor, "layers heads"]
    within_text: Float[Tensor, "layers heads"]
    within_image: Float[Tensor, "layers heads"]
    cells: dict[str, Float[Tensor, "layers heads h w"]]  # "text to image", "image to text", "within image"
    clip: int  # counted from 0
    text: str
    model: str
    grid: CellGrid | None = None  # where the cells lie; None: the frames' size is not known

    def rows(self) -> list[dict[str, Any]]:
        """A row for each direction, layer and head, both counted from 1."""
        return [
            {"direction": name.replace("_", " "), "layer": layer, "head": head, "share": share}
            for name in ("text_to_image", "image_to_text", "within_text", "within_image")
            for layer, heads in enumerate(getattr(self, name).tolist(), 1)
            for head, share in enumerate(heads, 1)
        ]


def head_attention(
    predictor: Predictor, video: EncodedVideo | str | Path, text: str, *, clip: int, task: str = "answer", choices: Sequence[str] | None = None
) -> HeadAttention:
    """Of one clip (counted from 0) and a question, or with task "match" a caption; of choices that are texts of their own, the answer's.

    Raises ValueError for another model than ClipBERT, a clip that is not there or a score that no attention
    leads to, and as `Predictor.answer` and `Predictor.match` do.
    """
    if not isinstance(predictor.model, ClipBertPerClip):
        raise ValueError(f"the heads of model {predictor.model.name} are not known; their attention is shown of ClipBERT alone.")
    encoded = video if isinstance(video, EncodedVideo) else predictor.encode(video)
    if not 0 <= clip < encoded.num_clips:
        raise ValueError(f"the clips are numbered 0 to {encoded.num_clips - 1} here, so there is no clip {clip}.")
    wanted = find_target(predictor, encoded, text, task, None, None, choices, None)
    case = inside(predictor, encoded, wanted, [clip])
    with case.score.evaluating(), torch.no_grad():
        maps = torch.stack(attention_maps(case, case.features[0])).cpu()  # [layers, heads, S, S]
    num_text, (h, w) = case.score.tokens()[0].shape[1], case.features.shape[2:4]
    words, cells = slice(0, num_text), slice(maps.shape[-1] - h * w, None)
    seen = {
        "text to image": maps[:, :, words, cells].mean(dim=2), "image to text": maps[:, :, cells, words].sum(dim=3),
        "within image": maps[:, :, cells, cells].mean(dim=2),
    }  # fmt: skip
    return HeadAttention(
        _share(maps, words, cells), _share(maps, cells, words), _share(maps, words, words), _share(maps, cells, cells),
        {name: rearrange(found, "l a (h w) -> l a h w", h=h) for name, found in seen.items()}, clip, text, predictor.model.name,
        case.score.per_clip.cell_grid(encoded.frame_size, case.features) if encoded.frame_size is not None else None,
    )  # fmt: skip


def _share(maps: Float[Tensor, "layers heads S S"], of: slice, to: slice) -> Float[Tensor, "layers heads"]:
    return maps[:, :, of, to].sum(dim=-1).mean(dim=-1)
