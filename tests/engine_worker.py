"""One process of tests/test_engine.py: trains a tiny model with the engine that the command line names; prints losses as JSON.

torchrun --standalone --nproc_per_node 2 tests/engine_worker.py STAGE FOLDER
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from tiny import tiny_model
from torch.nn import functional as F

from clipbert import two_pass
from clipbert.model import ClipBertForSequenceClassification
from train.engine import DeepSpeedEngine, Engine, LocalEngine
from train.optimizer import AdamW, parameter_groups
from train.sections import EngineSettings, OptimizerSettings

ACCUMULATION, MAX_NORM = 2, 0.5


def make_batch(number: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return {
        "pixel_values": 30 * torch.randn(2, 2, 1, 3, 64, 64, generator=generator),
        "input_ids": torch.randint(1, 60, (2, 5), generator=generator),
        "attention_mask": torch.ones(2, 5, dtype=torch.bool),
    }


def make_model() -> ClipBertForSequenceClassification:
    """Without dropout, so that processes and passes compare."""
    model = tiny_model(vocab_size=64, attention_probs_dropout_prob=0.0).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def make_optimizer(model: torch.nn.Module) -> AdamW:
    return AdamW(parameter_groups(model.named_parameters(), learning_rate=1e-2, weight_decay=1e-2, cnn_learning_rate=5e-3, cnn_weight_decay=1e-2))


def backward(engine: Engine, batch: dict[str, Any], labels: torch.Tensor, num_batches: int, is_last: bool) -> torch.Tensor:
    """Three backward passes: the first clip at once, the second in two passes; and the sum of both losses' shares."""
    texts = {name: batch[name] for name in ("input_ids", "attention_mask")} | {"head": "qa"}
    first, second = batch["pixel_values"].split(1, dim=1)
    loss = F.cross_entropy(engine.forward(first, **texts).clip_logits[:, 0], labels) / num_batches
    engine.backward(loss, last=False)
    return loss.detach() + two_pass.split(
        second,
        lambda x: engine.forward(x, part="encode_clips"),
        lambda features: engine.forward(features, **texts, part="score"),
        lambda logits: F.cross_entropy(logits[:, 0], labels) / num_batches,
        lambda value, last: engine.backward(value, last=is_last and last),
        clips_per_pass=1,
        model=engine.model,
    )


def train(engine: Engine, steps: range, *, batches_per_process: int) -> list[float]:
    """Loss of each update; a batch is three backward passes, an update is ACCUMULATION batches."""
    losses = []
    for step in steps:
        total = torch.zeros(())
        for micro in range(ACCUMULATION):
            for k in range(batches_per_process):
                number = (step * ACCUMULATION + micro) * engine.num_processes * batches_per_process + k * engine.num_processes + engine.rank
                batch, is_last = make_batch(number), (micro, k) == (ACCUMULATION - 1, batches_per_process - 1)
                total += backward(engine, batch, torch.tensor([number % 4, 1]), ACCUMULATION * batches_per_process, is_last)
        engine.step(lambda base_lr, step=step: base_lr / (1 + step))
        if engine.num_processes > 1:
            torch.distributed.all_reduce(total)
            total /= engine.num_processes
        losses.append(float(total))
    return losses


def deepspeed_engine(stage: int, folder: Path) -> DeepSpeedEngine:
    knobs = json.loads((Path(__file__).parent.parent / f"train/deepspeed/zero{stage}.json").read_text())
    if stage == 3:
        knobs["zero_optimization"]["stage3_param_persistence_threshold"] = 0  # so that a tiny model is spread at all
    (folder / f"knobs{stage}.json").write_text(json.dumps(knobs))
    model = make_model()
    settings = OptimizerSettings(batch_size=2, accumulation=ACCUMULATION, max_grad_norm=MAX_NORM)
    engine = EngineSettings(kind="deepspeed", zero_stage=stage, knobs=str(folder / f"knobs{stage}.json"))
    return DeepSpeedEngine(model, make_optimizer(model), engine, settings)


def local_engine() -> LocalEngine:
    model = make_model()
    return LocalEngine(model, make_optimizer(model), max_grad_norm=MAX_NORM)


def main() -> None:
    warnings.simplefilter("ignore")  # DeepSpeed's own, of many kinds
    stage, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    engine = deepspeed_engine(stage, folder)
    losses = train(engine, range(3), batches_per_process=1)
    engine.save(folder / f"stage{stage}")
    losses += train(engine, range(3, 5), batches_per_process=1)
    resumed = deepspeed_engine(stage, folder)
    resumed.load(folder / f"stage{stage}")
    again = train(resumed, range(3, 5), batches_per_process=1)
    if engine.rank == 0:
        (folder / f"losses{stage}.json").write_text(json.dumps({"losses": losses, "resumed": again}))


if __name__ == "__main__":
    main()
