"""A trained contrastive head, pulled back towards the ridge map it started from.

    python train/anchor.py --config train/configs/real_finetune.yaml --model runs/real_finetune/step_00001120 --captions val.jsonl --out FOLDER

Training on a thousand pictures gains on pictures like them and loses on
others; between start and end lies a head that does both (Wortsman et al. 2022,
WiSE-FT).  The share of the trained head is chosen on validation captions.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, `train` must be the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clipbert.data.dataset import group_by_video
from clipbert.data.examples import read_examples
from clipbert.data.video_store import open_store
from clipbert.heads import ContrastiveHead
from clipbert.model import ClipBertForSequenceClassification
from clipbert.processing import ClipBertProcessor
from train.baselines import mean_grids
from train.bootstrap import reciprocal_ranks
from train.command import exit_code
from train.grids import FrozenCnn, GridDataset, means
from train.settings import read_settings
from train.train import Run

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the trained head; 0 is the ridge map."""


def tokens(model: Any, grids: Float[Tensor, "n C"]) -> Float[Tensor, "n D"]:
    """The mean visual token of pictures with these mean grids: the grid encoder is linear."""
    encoder = model.clipbert.backbone.grid_encoder[0]
    return grids @ encoder.weight[:, :, 0, 0].T + encoder.bias


def least_squares(x: Float[Tensor, "n D"], y: Float[Tensor, "n E"]) -> tuple[Float[Tensor, "E D"], Float[Tensor, " E"]]:
    """Weight and bias of the linear map of x that comes closest to y."""
    mean = x.mean(dim=0)
    weight = torch.linalg.lstsq((x - mean).double(), (y - y.mean(dim=0)).double()).solution.T.float()
    return weight, y.mean(dim=0) - weight @ mean


@torch.no_grad()
def ends(start: Any, trained: Any, head: str, grids: Float[Tensor, "n C"]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The head's weights at start and end of training, both on the trained model's tokens."""
    weight, bias = least_squares(tokens(trained, grids), tokens(start, grids))
    own, first = trained.heads[head].state_dict(), start.heads[head].state_dict()
    kept = {name: own[name] for name in ("log_scale", "offset")}
    first = first | kept | {"visual.weight": first["visual.weight"] @ weight, "visual.bias": first["visual.weight"] @ bias + first["visual.bias"]}
    return first, {name: value.clone() for name, value in own.items()}


@torch.no_grad()
def scores(model: Any, head: str, grids: Float[Tensor, "B C"], texts: tuple[Tensor, Tensor]) -> Float[Tensor, "M B"]:
    part: ContrastiveHead = model.heads[head]
    visual = part.embed_clips(model.clipbert, tokens(model, grids)[:, None, None, None, None])[:, 0]
    return part.embed_texts(model.clipbert, *texts) @ visual.T


def anchor(
    start: Any, trained: Any, processor: ClipBertProcessor, head: str, training: Float[Tensor, "n C"], validation: Float[Tensor, "B C"],
    captions: Sequence[str], own: Int[Tensor, " M"],
) -> dict[str, float]:  # fmt: skip
    """Set the trained model's head to the best mix; the mean reciprocal rank of each share."""
    first, last = ends(start, trained, head, training)
    texts, found = processor.texts(captions), {}
    for share in SHARES:
        trained.heads[head].load_state_dict({name: share * last[name] + (1 - share) * first[name] for name in last})
        found[share] = float(reciprocal_ranks(scores(trained, head, validation, texts), own).mean())
    best = max(SHARES, key=lambda share: found[share])
    trained.heads[head].load_state_dict({name: best * last[name] + (1 - best) * first[name] for name in last})
    return {"share of the trained head": best} | {f"MRR at {share}": value for share, value in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="settings that trained the model")
    parser.add_argument("--model", type=Path, required=True, help="a checkpoint of that run")
    parser.add_argument("--captions", type=Path, required=True, help="captions of validation data")
    parser.add_argument("--videos", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    return exit_code("anchor", lambda: run(args))


def run(args: argparse.Namespace) -> dict[str, float]:
    """Mix, choose and save; what was found."""
    started = Run(read_settings(args.config, [f"run.output={args.out}.run"]))
    by_head = {s.settings.head_name: s.dataset for s in started.train if s.settings.task == "contrastive" and isinstance(s.dataset, GridDataset)}
    if not by_head or not started.settings.model.ridge_penalty:
        raise ValueError(f"{args.config} trains no contrastive head from a ridge map.")
    head, dataset = next(iter(by_head.items()))
    trained = ClipBertForSequenceClassification.from_pretrained(args.model, dtype=torch.float32)
    processor, examples = ClipBertProcessor.from_pretrained(args.model), read_examples(args.captions)
    cnn = FrozenCnn(trained.clipbert.backbone, processor)
    seen = mean_grids(examples, open_store(args.videos), cnn, processor.sampling)
    groups = group_by_video(examples)
    own = torch.tensor([b for b, group in enumerate(groups) for _ in group])
    found = anchor(
        started.engine.model.eval(), trained.eval(), processor, head, torch.stack([mean for _, mean in means([dataset])]),
        torch.stack([seen[group[0].video] for group in groups]), [example.caption for group in groups for example in group], own,
    )  # fmt: skip
    trained.save_pretrained(args.out)
    processor.save_pretrained(args.out)
    (args.out / "anchor.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    sys.exit(main())
