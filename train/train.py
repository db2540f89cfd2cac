"""The only training loop: settings in, checkpoints out.

    python train/train.py --config train/configs/msrvtt_qa.yaml optimizer.lr=1e-5
    deepspeed --num_gpus 8 train/train.py --config train/configs/msrvtt_qa_official.yaml
    torchrun --nproc_per_node 8 train/train.py --config ...

Every random draw of an update follows from (seed, update, process), so a run
that is killed and resumed goes on to the last bit without saving any state of
a generator.
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, `import train` must find this folder, not this file
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from transformers.utils.logging import disable_progress_bar

from clipbert.allocator import keep_freed_memory
from clipbert.data.clip_cache import ClipCache
from clipbert.data.collate import LoadedBatch
from clipbert.data.dataset import UnreadableVideos
from clipbert.data.seeds import derived_seed
from clipbert.evaluate import Share
from clipbert.processing import ClipBertProcessor
from clipbert.recompute import blocks, checkpoint_activations
from train import checkpoints, record
from train.engine import DeepSpeedEngine, Engine, LocalEngine, mean_over_processes
from train.grids import FrozenCnn, GridDataset, fill
from train.muon import Muon, hidden_layers_apart
from train.objectives import Learner
from train.optimizer import AdamW, lr_at, parameter_groups
from train.ridge import start_from_ridge
from train.settings import Settings, dump_settings, read_settings
from train.sources import Batches, Source, fingerprint, heads_of, load, open_source, read_source, with_grids
from train.start import start_model
from train.validation import measure, score_of, validation_loss

EXIT_INTERRUPTED = 130
WORD_MULTIPLE = 8  # of a padded text, for compiled blocks


class Run:
    """A training run: its data, its engine, and how far it is."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.output = settings, Path(settings.run.output)
        self.fingerprint = fingerprint((*settings.train, *settings.validation))
        self.last = record.last_checkpoint(self.output, settings, self.fingerprint)
        all_sources = (*settings.train, *settings.validation)
        examples = [read_source(source) for source in all_sources]
        heads = heads_of(settings.train, examples[: len(settings.train)])
        model, self.notices = start_model(settings.model, heads, seed=settings.run.seed)
        if not model.config.frozen_norms and (settings.clips.two_pass != "off" or settings.engine.activation_checkpointing):
            rule = "model.config.frozen_norms=false needs each frame read once"
            raise ValueError(f"{rule}: set clips.two_pass=off and engine.activation_checkpointing=false.")
        self.processor = ClipBertProcessor.from_config(
            model.config, sampling=settings.test_sampling(), max_text_length=min(settings.model.max_text_length, model.config.max_position_embeddings)
        )
        cache = ClipCache(settings.run.clip_cache, max_bytes=int(settings.run.clip_cache_gigabytes * 1e9)) if settings.run.clip_cache else None
        opened, draws = [], derived_seed(settings.run.seed, "views")
        for number, (source, rows) in enumerate(zip(all_sources, examples, strict=True)):
            learns = number < len(settings.train)
            sampling = settings.train_sampling() if learns else settings.test_sampling()
            sampling = replace(sampling, seed=derived_seed(settings.run.seed, "source", number))
            views = settings.clips.views(draws) if learns else settings.clips.plain_views(draws)
            opened.append(open_source(source, rows, sampling, self.processor, heads, views, cache))
        if settings.engine.compile:
            for source in opened:
                source.collator.word_multiple = WORD_MULTIPLE
        if settings.clips.grid_cache:
            opened = keep_grids(opened, model, self.processor, settings)
        self.train, self.validation = opened[: len(settings.train)], opened[len(settings.train) :]
        self.notices += [source.notice for source in opened if source.notice]
        self.engine = make_engine(settings, model)
        scale, average = (1.0, "all") if settings.official else (1 / settings.optimizer.accumulation, "masked")
        self.learner = Learner(self.engine, self.processor, settings.clips, loss_scale=scale, mlm_average=average)
        self.total = self._num_updates()
        self.first = 0
        if self.last:
            self.engine.load(self.last)
            self.first = record.resumed_update(self.last, num_processes=self.engine.num_processes)
        self.unreadable = UnreadableVideos(max(source.max_unreadable for source in settings.train))

    def _num_updates(self) -> int:
        """As the original counts: epochs over all sources together."""
        s = self.settings
        per_update = s.optimizer.batch_size * s.optimizer.accumulation * self.engine.num_processes
        return s.run.max_steps or math.ceil(s.run.epochs * sum(len(source.dataset) for source in self.train) / per_update)

    def batches(self) -> Iterator[tuple[int, LoadedBatch]]:
        """What is left to read."""
        s, engine = self.settings, self.engine
        which = Batches(
            self.train, batch_size=s.optimizer.batch_size, accumulation=s.optimizer.accumulation, rank=engine.rank,
            num_processes=engine.num_processes, seed=s.run.seed, updates=range(self.first, self.total),
        )  # fmt: skip
        return load(self.train, which, num_workers=s.run.num_workers)

    def update(self, number: int, batches: Iterator[tuple[int, LoadedBatch]]) -> dict[str, Any]:
        """One update of the weights; what log.jsonl says of it."""
        s, began, waited, total = self.settings, time.perf_counter(), 0.0, torch.zeros((), device=self.engine.device)
        source = 0
        for micro in range(s.optimizer.accumulation):
            asked = time.perf_counter()
            source, batch = next(batches)
            waited += time.perf_counter() - asked
            self.unreadable.add(batch.replaced)
            torch.manual_seed(derived_seed(s.run.seed, "dropout", number, micro, self.engine.rank))
            total += self.learner.backward(self.train[source].settings, batch, last=micro + 1 == s.optimizer.accumulation)
        rate = partial(self.rate, number)
        norm = self.engine.step(rate)
        loss = float(mean_over_processes(total, self.engine)) / s.optimizer.accumulation
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss of update {number + 1} is {loss}; lower optimizer.lr, or look at the data with clipbert data check.")
        if not math.isfinite(norm) and s.engine.precision != "fp16":  # fp16 looks for the largest scale that does not overflow
            raise FloatingPointError(
                f"the gradients of update {number + 1} have the norm {norm} though its loss is {loss:.4g}; go on from the last checkpoint with "
                "run.resume=true and a lower optimizer.lr, or engine.precision=fp32."
            )
        seconds = time.perf_counter() - began
        return {
            "step": number + 1, "task": self.train[source].settings.task, "loss": loss, "lr": rate(s.optimizer.lr), "grad_norm": norm,
            "seconds": seconds, "data_wait": waited / seconds, "unreadable": len(self.unreadable.reasons),
        }  # fmt: skip

    def rate(self, number: int, base_lr: float) -> float:
        o = self.settings.optimizer
        schedule = "multi_step_official" if self.settings.official and o.schedule == "multi_step" else o.schedule
        return lr_at(number + 1, self.total, schedule, base_lr=base_lr, warmup_ratio=o.warmup_ratio, milestones=o.milestones)

    def validate(self, model: Path) -> dict[str, Any]:
        """What the validation sources say of the model just saved, for log.jsonl and results.json; nothing without any."""
        if not self.validation:
            return {}
        s, share = self.settings, Share(self.engine.rank, self.engine.num_processes)
        loss = validation_loss(self.learner, self.validation, batch_size=s.optimizer.batch_size, num_workers=s.run.num_workers)
        metrics = measure(model, self.validation, dtype="float32" if s.engine.precision == "fp32" else "bfloat16", share=share)
        name, score = score_of(self.validation[0], metrics[0], loss)
        return {"validation_loss": loss, "validation": metrics, "validation_score": score, "validation_score_of": name}

    def save(self, updates_done: int, line: dict[str, Any], log: record.Log | None) -> Path:
        """A checkpoint that `Predictor.from_pretrained` and `run.resume` read, with all that made it, and with what validation says of it.

        The line of its update is logged before the checkpoint is there, so that
        no kill leaves one without the other.
        """
        target = self.output / checkpoints.name_of(updates_done)
        barrier = torch.distributed.barrier if self.engine.num_processes > 1 else lambda: None

        def fill(folder: Path) -> None:
            self.engine.save(folder)
            if self.engine.rank == 0:
                self.processor.save_pretrained(folder)
                (folder / "settings.yaml").write_text(dump_settings(self.settings))
            barrier()
            whole = line | self.validate(folder)
            if log:
                results = record.results(self.settings, self.engine.num_processes, self.fingerprint) | whole
                (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
                log.write(whole, self.total)

        checkpoints.write(self.output, updates_done, fill, is_first=self.engine.rank == 0, barrier=barrier)
        if self.engine.rank == 0:
            checkpoints.prune(self.output, keep_last=self.settings.run.keep_last)
        return target


def make_engine(settings: Settings, model: Any) -> Engine:
    """The engine that the settings name, around a model in training mode."""
    o = settings.optimizer
    groups = parameter_groups(
        model.named_parameters(), learning_rate=o.lr, weight_decay=o.weight_decay, cnn_learning_rate=o.lr * o.cnn_lr_ratio,
        cnn_weight_decay=o.weight_decay, cnn_lr_mul=o.grid_encoder_lr_mul, lr_muls=o.lr_muls,
    )  # fmt: skip
    optimizer: torch.optim.Optimizer
    if settings.official:
        optimizer = AdamW(groups)
    elif o.kind == "muon":
        optimizer = Muon(hidden_layers_apart(groups, model.named_parameters()))
    else:
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=True)
    model.train()
    model.clipbert.backbone.max_frames_at_once = settings.clips.max_frames_at_once
    if settings.engine.activation_checkpointing:
        checkpoint_activations(model)
    if settings.engine.compile:
        for block in blocks(model):
            block.compile(dynamic=False)
    if settings.engine.kind == "deepspeed":
        return DeepSpeedEngine(model, optimizer, settings.engine, o)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError('several processes need engine.kind="deepspeed".')
    return LocalEngine(model, optimizer, max_grad_norm=o.max_grad_norm, precision=settings.engine.precision)


def keep_grids(sources: list[Source], model: Any, processor: ClipBertProcessor, settings: Settings) -> list[Source]:
    """The sources, reading grids that are all on disk; the model starts from their ridge map if the settings say so."""
    cnn, clips = FrozenCnn(model.clipbert.backbone, processor), settings.clips
    reading = [with_grids(source, clips.grid_cache, cnn.fingerprint) for source in sources]
    datasets = [source.dataset for source in reading if isinstance(source.dataset, GridDataset)]
    num_workers = torch.get_num_threads() if cnn.device.type == "cpu" else 0
    fill(datasets, cnn, max_bytes=int(clips.grid_cache_gb * 1e9), say=record.say, num_workers=num_workers)
    if settings.model.ridge_penalty:
        captioned = [d for d, source in zip(datasets, settings.train, strict=False) if source.task in ("contrastive", "pretrain")]
        start_from_ridge(model, processor, captioned, penalty=settings.model.ridge_penalty)
    return reading


class Interrupt:
    """Ctrl-C (or a polite kill) asks the run to end after this update; again, two seconds later, it ends at once.

    Not sooner: under torchrun each process hears one Ctrl-C twice, from the
    terminal and from the launcher.
    """

    def __init__(self) -> None:
        self.asked, self._since, self._process = False, 0.0, os.getpid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if os.getpid() != self._process:  # a process that decodes: it ends with this one
            return
        if not self.asked:
            self.asked, self._since = True, time.monotonic()
            print("\nsaving after this update; once more ends at once", file=sys.stderr, flush=True)
        elif time.monotonic() - self._since > 2:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def anywhere(self, engine: Engine) -> bool:
        """Whether any process was asked: all must end after the same update."""
        return bool(mean_over_processes(torch.tensor(float(self.asked), device=engine.device), engine) > 0)


def train(settings: Settings) -> int:
    """Run to the end or to Ctrl-C; the exit code."""
    disable_progress_bar()  # of saving a model
    try:
        run = Run(settings)
    except KeyboardInterrupt:
        print("\ninterrupted before the first update; grids made until now are kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    interrupt = Interrupt()
    is_first = run.engine.rank == 0
    log = record.Log(run.output, run.first, settings.run) if is_first else None
    if is_first:
        sizes = ", ".join(f"{len(source.dataset)} x {source.settings.task}" for source in run.train)
        resumed = f", resumed at {run.first}" if run.first else ""
        record.say(f"{sizes}; {run.total} updates on {run.engine.num_processes} x {run.engine.device}{resumed}", *run.notices)
    batches = run.batches()
    for number in range(run.first, run.total):
        line = run.update(number, batches)
        interrupted = interrupt.anywhere(run.engine)
        every, done = settings.run.save_every, number + 1
        if interrupted or done == run.total or (every and done % every == 0):
            saved = run.save(done, line, log)
            if is_first:
                record.say(f"saved {saved}", *run.unreadable.lines())
        elif log:
            log.write(line, run.total)
        if interrupted:
            if is_first:
                record.say(f"interrupted after update {done} of {run.total}; go on with run.resume=true")
            return EXIT_INTERRUPTED
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="YAML file of settings; see train/configs")
    parser.add_argument("--local_rank", help="given by the deepspeed launcher; not used")
    parser.add_argument("overrides", nargs="*", metavar="key.key=value", help="settings that differ from the file")
    args = parser.parse_intermixed_args(arguments)
    try:
        return train(read_settings(args.config, args.overrides))
    except (ValueError, FloatingPointError, OSError, checkpoints.DiskFull) as error:
        missing = isinstance(error, FileNotFoundError) and error.filename
        print(f"train: {missing} does not exist; correct its name in the settings, or make it." if missing else f"train: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
