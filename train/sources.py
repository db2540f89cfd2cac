"""Data sets as training reads them: examples, answers, texts and labels; and which items each process reads when."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from clipbert.config import HeadConfig, SamplingConfig
from clipbert.convert import read_labels
from clipbert.data.clip_cache import ClipCache
from clipbert.data.collate import (
    CaptionsOrOthers,
    CaptionsWithNegatives,
    Collator,
    LabelledQuestions,
    LoadedBatch,
    PretrainingCollator,
    within_vocabulary,
)
from clipbert.data.dataset import Draw, Item, VideoTextDataset, group_evenly
from clipbert.data.examples import answer_vocabulary, read_examples, read_video_ids
from clipbert.data.rows import Example
from clipbert.data.seeds import derived_seed
from clipbert.data.video_store import open_store
from clipbert.data.views import Views
from clipbert.processing import ClipBertProcessor
from clipbert.sampling_config import RANDOM_POLICIES
from clipbert.tasks import TASKS
from train.grids import GridDataset, outlive_signals
from train.sections import CLASSIFIERS, SourceSettings


@dataclass(frozen=True)
class Source:
    """One data set, ready to be read."""

    settings: SourceSettings
    examples: Sequence[Example]
    """All of them; the data set of a classifier leaves out those whose answers are no outputs."""
    dataset: VideoTextDataset | GridDataset
    collator: Collator
    notice: str
    """What was left out, if anything."""


def read_source(source: SourceSettings) -> list[Example]:
    """Its examples; ValueError naming the file for one that cannot be learnt from."""
    examples = read_examples(
        source.annotations, format=source.format or None, answers=source.answers or None, split=source.split or None,
        videos=read_video_ids(source.video_list) if source.video_list else None, video_name=source.video_name,
    )  # fmt: skip
    if source.task in ("pretrain", "contrastive") or source.task.startswith("retrieval"):
        wrong = next((example for example in examples if not example.caption), None)
        if wrong:
            raise ValueError(f"{source.annotations}: example {wrong.id} has no caption, which the task {source.task} learns from.")
    return examples


def heads_of(sources: Sequence[SourceSettings], examples: Sequence[Sequence[Example]]) -> dict[str, HeadConfig]:
    """The heads that the sources teach; sources of one head share it, and its answers."""
    heads: dict[str, HeadConfig] = {}
    for source in sources:
        if source.task == "pretrain" or source.head_name in heads:
            continue
        same = [i for i, other in enumerate(sources) if other.head_name == source.head_name]
        if any(sources[i].task != source.task for i in same):
            raise ValueError(f"the head {source.head_name!r} cannot learn two tasks; name another with head.")
        if source.task in CLASSIFIERS:
            labels = read_labels(source.vocabulary) if source.vocabulary else _frequent([e for i in same for e in examples[i]], source)
            heads[source.head_name] = HeadConfig("classifier", len(labels), labels, pooled_path=source.pooled_path)
        elif source.task == "contrastive":
            heads[source.head_name] = HeadConfig("contrastive", 1)
        else:
            kind = TASKS[source.task].head
            heads[source.head_name] = HeadConfig(kind, 2 if source.task == "retrieval" else 1)
    return heads


def _frequent(examples: list[Example], source: SourceSettings) -> list[str]:
    labels = answer_vocabulary(examples, max_size=source.num_answers)
    if not labels:
        raise ValueError(f"{source.annotations} has no answers to learn.")
    return labels


def open_source(
    source: SourceSettings, examples: Sequence[Example], sampling: SamplingConfig, processor: ClipBertProcessor, heads: dict[str, HeadConfig],
    views: Views, cache: ClipCache | None = None,
) -> Source:  # fmt: skip
    """The source's items, grouped and labelled for its task; every draw follows from `sampling.seed`, fixed ones from `views`.

    `cache` keeps decoded clips, where they come back.
    """
    left_out: Sequence[Example] = ()
    everything = examples
    vocabulary = tuple(heads[source.head_name].labels) if source.task in CLASSIFIERS else ()
    if source.task == "qa":
        examples, left_out = within_vocabulary(examples, vocabulary)
        if not examples:
            raise ValueError(f"no answer of {source.annotations} is among the {len(vocabulary)} outputs of the head {source.head_name!r}.")
    groups = group_evenly(examples, num_texts=source.num_texts, seed=sampling.seed)
    if source.task == "pretrain":
        collator: Collator = PretrainingCollator(processor, CaptionsOrOthers(groups))
    elif source.task in ("qa", "vqa", "multiple_choice", "count"):
        collator = Collator(processor, LabelledQuestions(source.task, vocabulary))
    else:
        collator = Collator(processor, CaptionsWithNegatives(groups, num_negatives=source.num_negatives))
    kept = None if sampling.policy in RANDOM_POLICIES else cache
    views = replace(views, mirror=views.mirror and source.mirror)
    dataset = VideoTextDataset(
        groups, open_store(source.videos), sampling=sampling, max_unreadable=source.max_unreadable, cache=kept, views=views
    )  # fmt: skip
    notice = f"{len(left_out)} examples of {source.annotations} are left out: their answers are no outputs." if left_out else ""
    return Source(source, everything, dataset, collator, notice)


def with_grids(source: Source, folder: str, fingerprint: str) -> Source:
    """The source, which reads a frozen CNN's grids instead of frames."""
    assert isinstance(source.dataset, VideoTextDataset)
    return replace(source, dataset=GridDataset(source.dataset, folder, fingerprint))


def fingerprint(sources: Sequence[SourceSettings]) -> str:
    """Hash of all annotation files, so that a result names its data."""
    digest = hashlib.sha256()
    for source in sources:
        for path in (source.annotations, source.answers, source.video_list, source.vocabulary):
            digest.update(Path(path).read_bytes() if path else b"-")
    return digest.hexdigest()[:16]


Key = tuple[int, Draw]
"""Number of a source, and what to draw from it."""


class Batches:
    """Which items this process reads in each backward pass; a function of seed and update, so a resumed run needs no other state.

    Every update reads one source, chosen at random by ratio.  A source is read
    in shuffled epochs without end.
    """

    def __init__(
        self, sources: Sequence[Source], *, batch_size: int, accumulation: int, rank: int, num_processes: int, seed: int, updates: range
    ) -> None:
        self.sources, self.batch_size, self.accumulation = sources, batch_size, accumulation
        self.rank, self.num_processes, self.seed, self.updates = rank, num_processes, seed, updates
        self._order: dict[int, tuple[int, list[int]]] = {}

    def __iter__(self) -> Iterator[list[Key]]:
        choose, ratios = random.Random(derived_seed(self.seed, "source")), [source.settings.ratio for source in self.sources]
        used = [0] * len(self.sources)
        per_pass = self.batch_size * self.num_processes
        for update in range(self.updates.stop):
            number = choose.choices(range(len(ratios)), weights=ratios)[0]
            if update >= self.updates.start:
                for micro in range(self.accumulation):
                    first = used[number] + micro * per_pass + self.rank * self.batch_size
                    yield [(number, self._draw(number, position)) for position in range(first, first + self.batch_size)]
            used[number] += per_pass * self.accumulation

    def _draw(self, number: int, position: int) -> Draw:
        epoch, place = divmod(position, len(self.sources[number].dataset))
        if self._order.get(number, (-1,))[0] != epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", number, epoch))
            self._order[number] = epoch, torch.randperm(len(self.sources[number].dataset), generator=generator).tolist()
        return Draw(epoch, self._order[number][1][place])


class Together(Dataset[Any]):
    """All sources as one data set, by `Key`."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources

    def __getitem__(self, key: Key) -> tuple[int, Item]:
        return key[0], self.sources[key[0]].dataset[key[1]]

    def collate(self, items: Sequence[tuple[int, Item]]) -> tuple[int, LoadedBatch]:
        number = items[0][0]
        return number, self.sources[number].collator([item for _, item in items])


def load(sources: Sequence[Source], batches: Any, *, num_workers: int) -> Iterator[tuple[int, LoadedBatch]]:
    """Batches with the number of their source, read ahead by `num_workers` processes."""
    together = Together(sources)
    generator = torch.Generator()  # its own: the loader must not draw from the generator of dropout
    loader = DataLoader(
        together, batch_sampler=batches, collate_fn=together.collate, num_workers=num_workers, generator=generator,
        worker_init_fn=outlive_signals, pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    yield from loader
