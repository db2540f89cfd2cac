"""Items to `ClipBatch`: which texts go with a video, their labels, negatives and masked words.

What is random here is drawn from the item's own seed, so a batch does not
depend on workers, and an item not on the others in its batch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad

from clipbert.data.dataset import Group, Item, Unreadable
from clipbert.data.rows import Example
from clipbert.data.seeds import derived_seed
from clipbert.processing import ClipBertProcessor
from clipbert.tasks import TASKS
from clipbert.types import ClipBatch

MAX_TRIES = 1000


@dataclass(frozen=True)
class Asked:
    """The texts that go with one item, and the labels of their loss; evaluation has none."""

    texts: tuple[str, ...]
    labels: tuple[Any, ...] = ()


@dataclass(frozen=True)
class LoadedBatch:
    """A `ClipBatch`, the examples it asks in order, and what loading has to report.

    With `mlm_labels` (-100 where a word is not to be predicted) the clips'
    `labels` are those of image-text matching.
    """

    clips: ClipBatch
    examples: tuple[Example, ...]
    mlm_labels: Int[Tensor, "M L"] | None = None
    replaced: tuple[Unreadable, ...] = ()
    notices: tuple[str, ...] = ()

    def pin_memory(self) -> "LoadedBatch":
        """The same in page-locked memory, which a GPU reads while it computes; itself without CUDA.  A DataLoader calls this."""
        if not torch.cuda.is_available():
            return self
        pinned = {f.name: _pinned(getattr(self.clips, f.name)) for f in fields(self.clips)}
        return replace(self, clips=ClipBatch(**pinned), mlm_labels=_pinned(self.mlm_labels))


def _pinned(value: Any) -> Any:
    if isinstance(value, list):
        return [one.pin_memory() for one in value]
    return None if value is None else value.pin_memory()


def collate(items: Sequence[Item], processor: ClipBertProcessor, asked: Sequence[Asked], *, word_multiple: int = 1) -> ClipBatch:
    """The items' clips with their texts, padded to the longest text here; `asked` is by item.

    With `word_multiple` the padded length is a multiple of it, or the longest
    that the processor allows, so that few shapes occur.
    """
    input_ids, attention_mask = processor.texts([text for one in asked for text in one.texts])
    length = input_ids.shape[1]
    more = max(min(length + -length % word_multiple, processor.max_text_length) - length, 0)
    input_ids, attention_mask = pad(input_ids, (0, more)), pad(attention_mask, (0, more))  # [PAD] is 0
    labels = [torch.as_tensor(label) for one in asked for label in one.labels]
    return ClipBatch(
        pixel_values=[item.frames for item in items],
        times=torch.stack([item.times for item in items]),
        input_ids=input_ids,
        attention_mask=attention_mask,
        video_index=torch.repeat_interleave(torch.tensor([len(one.texts) for one in asked])),
        labels=torch.stack(labels) if labels else None,
    )


class Collator:
    """`collate_fn` of a DataLoader; `ask` says which texts and labels an item has."""

    word_multiple = 1
    """See `collate`."""

    def __init__(self, processor: ClipBertProcessor, ask: Callable[[Item], Asked]) -> None:
        self.processor, self.ask = processor, ask

    def __call__(self, items: Sequence[Item]) -> LoadedBatch:
        return LoadedBatch(
            clips=collate(items, self.processor, [self.ask(item) for item in items], word_multiple=self.word_multiple),
            examples=tuple(example for item in items for example in item.examples),
            replaced=tuple(unreadable for item in items for unreadable in item.replaced),
            notices=tuple(notice for item in items for notice in item.notices),
        )


class Questions:
    """The texts of a task as `TASKS` forms them, without labels: evaluation compares answers itself."""

    def __init__(self, task: str) -> None:
        self.task = TASKS[task]

    def __call__(self, item: Item) -> Asked:
        return Asked(tuple(text for example in item.examples for text in self.task.texts(example.text, example.choices)))


class LabelledQuestions(Questions):
    """The same with the labels of the task's loss in `clipbert.tasks`; `vocabulary[j]` is the answer of output j.

    "qa": the answer's index.  "vqa": soft scores, answers outside the
    vocabulary left out as in the original.  "multiple_choice": the right
    choice.  "count": the number.  Raises ValueError for an answer that is
    withheld or, of "qa", not in the vocabulary.
    """

    def __init__(self, task: str, vocabulary: Sequence[str] = ()) -> None:
        if task not in ("qa", "vqa", "multiple_choice", "count"):
            raise ValueError(f"task must be qa, vqa, multiple_choice or count, got {task!r}; retrieval has CaptionsWithNegatives.")
        if bool(vocabulary) != (task in ("qa", "vqa")):
            raise ValueError(f"vocabulary {'is needed by' if not vocabulary else 'has no effect on'} the task {task}.")
        super().__init__(task)
        self.name, self.index = task, {answer: j for j, answer in enumerate(vocabulary)}

    def __call__(self, item: Item) -> Asked:
        return Asked(super().__call__(item).texts, tuple(self._label(example) for example in item.examples))

    def _label(self, example: Example) -> Any:
        where, answer = f"example {example.id} of {example.video}", example.answer
        if answer is None:
            raise ValueError(f"{where} has no answer to learn from.")
        if self.name == "vqa":
            return soft_labels(example, self.index)
        if self.name == "qa":
            if answer not in self.index:
                raise ValueError(f"{where}: answer {answer!r} is not in the vocabulary; leave such examples out with within_vocabulary.")
            return self.index[str(answer)]
        if self.name == "count":
            if not str(answer).isdecimal():
                raise ValueError(f"{where}: a count must be a number, got {answer!r}.")
            return float(answer)
        if not example.choices:
            raise ValueError(f"{where} has no choices.")
        return answer


def soft_labels(example: Example, index: Mapping[str, int]) -> Tensor:
    """`float[J]`: the example's soft scores, of answers without one only its own answer at 1."""
    labels = torch.zeros(len(index))
    for answer, score in example.answer_scores or ((str(example.answer), 1.0),):
        if answer in index:
            labels[index[answer]] = score
    return labels


def within_vocabulary(examples: Iterable[Example], vocabulary: Sequence[str]) -> tuple[list[Example], list[Example]]:
    """Examples whose answer is in the vocabulary, and the others, which the caller has to report."""
    examples, known = list(examples), frozenset(vocabulary)
    return [e for e in examples if e.answer in known], [e for e in examples if e.answer not in known]


class OtherCaptions:
    """Draws captions of other videos: first a group, then one of its captions, both uniformly.

    Unlike the original, a text that also is a caption of this video is not a
    negative and is drawn again.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = list(groups)
        self.own: dict[str, set[str]] = {}
        for group in self.groups:
            self.own.setdefault(group[0].video, set()).update(example.caption for example in group)
        if len(self.own) < 2:
            raise ValueError("negative captions need at least two videos, got one.")

    def draw(self, video: str, generator: torch.Generator) -> str:
        """Raises ValueError if no other caption is found, since all are the same."""
        for _ in range(MAX_TRIES):
            group = self.groups[_uniform(len(self.groups), generator)]
            caption = group[_uniform(len(group), generator)].caption
            if group[0].video != video and caption not in self.own[video]:
                return caption
        raise ValueError(f"no caption was found in {MAX_TRIES} draws that is not also one of {video}; are all captions the same?")


def _uniform(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


class CaptionsWithNegatives:
    """Each caption, then `num_negatives` captions of other videos; labels 1 and 0 (the original's retrieval training)."""

    def __init__(self, groups: Sequence[Group], *, num_negatives: int = 1) -> None:
        self.others, self.num_negatives = OtherCaptions(groups), num_negatives

    def __call__(self, item: Item) -> Asked:
        generator = torch.Generator().manual_seed(derived_seed(item.seed, "negatives"))
        texts: list[str] = []
        for example in item.examples:
            texts += [example.caption, *(self.others.draw(example.video, generator) for _ in range(self.num_negatives))]
        return Asked(tuple(texts), (1, *[0] * self.num_negatives) * len(item.examples))


class CaptionsOrOthers:
    """Each caption, with `probability` replaced by one of another image; label 1 where it is the image's own (ITM)."""

    def __init__(self, groups: Sequence[Group], *, probability: float = 0.5) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, got {probability}.")
        self.others, self.probability = OtherCaptions(groups), probability

    def __call__(self, item: Item) -> Asked:
        generator = torch.Generator().manual_seed(derived_seed(item.seed, "matching"))
        own = [bool(torch.rand((), generator=generator) >= self.probability) for _ in item.examples]
        texts = [e.caption if is_own else self.others.draw(e.video, generator) for e, is_own in zip(item.examples, own, strict=True)]
        return Asked(tuple(texts), tuple(map(int, own)))


class PretrainingCollator(Collator):
    """Captions for ITM with words masked for MLM, of mismatched captions too, as the original does."""

    def __init__(self, processor: ClipBertProcessor, ask: CaptionsOrOthers, *, mask_probability: float = 0.15) -> None:
        super().__init__(processor, ask)
        self.mask_probability = mask_probability

    def __call__(self, items: Sequence[Item]) -> LoadedBatch:
        batch = super().__call__(items)
        masked, labels = batch.clips.input_ids.clone(), torch.full_like(batch.clips.input_ids, -100)
        for b, item in enumerate(items):
            rows = batch.clips.video_index == b
            length = int(batch.clips.attention_mask[rows].sum(dim=1).max())
            generator = torch.Generator().manual_seed(derived_seed(item.seed, "masking"))
            masked[rows, :length], labels[rows, :length] = mask_words(
                batch.clips.input_ids[rows, :length], generator, tokenizer=self.processor.tokenizer, probability=self.mask_probability
            )
        return replace(batch, clips=replace(batch.clips, input_ids=masked), mlm_labels=labels)


def mask_words(
    input_ids: Int[Tensor, "M L"], generator: torch.Generator, *, tokenizer: Any, probability: float = 0.15
) -> tuple[Int[Tensor, "M L"], Int[Tensor, "M L"]]:
    """Ids to read and ids to predict (-100 elsewhere), as BERT and the original mask (OFFICIAL section 5).

    Each token that is not [CLS], [SEP] or [PAD] is chosen with `probability`;
    of the chosen, 80 % become [MASK], 10 % a random piece of the whole
    vocabulary, 10 % stay.
    """
    special = torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id])
    chance, fate = torch.rand(2, *input_ids.shape, generator=generator)
    pieces = torch.randint(len(tokenizer), input_ids.shape, generator=generator)
    chosen = (chance < probability) & ~torch.isin(input_ids, special)
    masked = torch.where(chosen & (fate < 0.8), tokenizer.mask_token_id, input_ids)
    return torch.where(chosen & (fate >= 0.8) & (fate < 0.9), pieces, masked), torch.where(chosen, input_ids, -100)
