"""Looks at a data set before training does: one report of all that would go wrong."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from clipbert.convert import read_labels
from clipbert.data.examples import answer_vocabulary
from clipbert.data.rows import Example
from clipbert.data.spec import SPLITS, DatasetSpec, read_spec
from clipbert.data.video_store import VideoStore, open_store
from clipbert.processing import ClipBertProcessor
from clipbert.source import source_of
from clipbert.tasks import TASKS
from clipbert.video import Video, VideoError

Progress = Callable[[int, int], None]  # videos looked at, of how many
FEW = 5


@dataclass(frozen=True)
class Problem:
    """One thing wrong; `loses` if training would go on without examples that the files promise."""

    kind: str
    message: str
    loses: bool


@dataclass(frozen=True)
class SplitSummary:
    """Sizes of a split; lengths are of texts in word pieces with [CLS] and [SEP]: shortest, median, longest."""

    name: str
    num_examples: int
    num_videos: int
    lengths: tuple[int, int, int]

    def line(self) -> str:
        return (
            f"{self.name}: {self.num_examples} examples of {self.num_videos} videos or images, "
            f"texts of {self.lengths[0]} to {self.lengths[2]} word pieces, half of them up to {self.lengths[1]}"
        )


@dataclass(frozen=True)
class DatasetReport:
    """What was found; `loses_examples` decides the exit code of `clipbert data check`."""

    splits: tuple[SplitSummary, ...]
    problems: tuple[Problem, ...]

    @property
    def loses_examples(self) -> bool:
        return any(problem.loses for problem in self.problems)

    def lines(self) -> list[str]:
        found = [f"{'LOSES EXAMPLES' if problem.loses else 'note'}: {problem.kind}: {problem.message}" for problem in self.problems]
        return [*(split.line() for split in self.splits), *(found or ["no problem found"])]


def check_dataset(spec: DatasetSpec | str | Path, *, progress: Progress | None = None) -> DatasetReport:
    """Every problem of a data set: annotations, videos, answers, duplicates, lengths, overlap.

    Each video is opened and its first, middle and last frame decoded; damage
    elsewhere is not seen.  Raises ValueError only if the spec itself is wrong.
    """
    spec = spec if isinstance(spec, DatasetSpec) else read_spec(spec)
    store = open_store(spec.folder / spec.videos)
    splits, problems = _read_splits(spec)
    vocabulary = _vocabulary(spec, splits)
    summaries = []
    for name, examples in splits.items():
        lengths = _lengths(examples)
        summaries.append(SplitSummary(name, len(examples), len({e.video for e in examples}), (lengths[0], lengths[len(lengths) // 2], lengths[-1])))
        problems += _long_texts(name, lengths, spec.max_text_length) + _duplicates(name, examples) + _answers(name, examples, vocabulary)
    problems += _overlaps(splits) + _videos(splits, store, progress)
    return DatasetReport(tuple(summaries), tuple(problems))


def _read_splits(spec: DatasetSpec) -> tuple[dict[str, list[Example]], list[Problem]]:
    splits: dict[str, list[Example]] = {}
    problems = []
    for name in SPLITS:
        for file in getattr(spec, name):
            try:
                splits.setdefault(name, []).extend(file.read(spec.folder))
            except ValueError as error:
                problems.append(Problem("annotations", f"{name}: {error}", loses=True))
    return {name: examples for name, examples in splits.items() if examples}, problems


def _vocabulary(spec: DatasetSpec, splits: dict[str, list[Example]]) -> list[str] | None:
    if isinstance(spec.vocabulary, str):
        return read_labels(spec.folder / spec.vocabulary)
    return None if spec.vocabulary is None else answer_vocabulary(splits.get("train", []), max_size=spec.vocabulary)


def _lengths(examples: Sequence[Example]) -> list[int]:
    """Word pieces of every text the model would read, ascending."""
    tokenizer = ClipBertProcessor(image_size=1, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3).tokenizer
    texts = [text for e in examples for text in TASKS["multiple_choice" if e.choices else "qa"].texts(e.text, e.choices)]
    return sorted(len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"])


def _long_texts(split: str, lengths: list[int], max_text_length: int) -> list[Problem]:
    num_cut = sum(length > max_text_length for length in lengths)
    message = (
        f"{split}: {num_cut} of {len(lengths)} texts are longer than max_text_length={max_text_length} and will be cut; the longest has {lengths[-1]}"
    )
    return [Problem("long texts", message, loses=False)] * bool(num_cut)


def _duplicates(split: str, examples: Sequence[Example]) -> list[Problem]:
    problems = []
    same = Counter((e.video, e.question, e.caption, e.choices, e.answer) for e in examples)
    repeated = [f"{video} {question or caption!r}" for (video, question, caption, *_), count in same.items() if count > 1]
    if repeated:
        problems.append(Problem("duplicates", f"{split}: {len(repeated)} examples appear more than once: {_few(repeated)}", loses=False))
    identifiers = [name for name, count in Counter(e.id for e in examples).items() if count > 1]
    if identifiers:
        problems.append(Problem("duplicate ids", f"{split}: {len(identifiers)} ids name several examples: {_few(identifiers)}", loses=False))
    return problems


def _answers(split: str, examples: Sequence[Example], vocabulary: list[str] | None) -> list[Problem]:
    """Of train, what cannot be learnt; of the others, what counts as wrong whatever the model says."""
    problems, trains, known = [], split == "train", frozenset(vocabulary or ())
    unanswered = [e.id for e in examples if e.answer is None and (e.question or e.choices)]
    if unanswered:
        problems.append(Problem("no answer", f"{split}: {len(unanswered)} questions have no answer: {_few(unanswered)}", loses=trains))
    outside = Counter(e.answer for e in examples if isinstance(e.answer, str) and known.isdisjoint({e.answer, *dict(e.answer_scores)}))
    if vocabulary is not None and outside:
        lost = f"{outside.total()} examples have one of {len(outside)} answers outside the vocabulary of {len(known)}"
        problems.append(Problem("answers", f"{split}: {lost}: {_few(str(answer) for answer, _ in outside.most_common())}", loses=trains))
    return problems


def _overlaps(splits: dict[str, list[Example]]) -> list[Problem]:
    problems = []
    for (one, first), (two, second) in combinations(splits.items(), 2):
        shared = sorted({e.video for e in first} & {e.video for e in second})
        if shared:
            problems.append(Problem("overlap", f"{one} and {two} share {len(shared)} videos: {_few(shared)}", loses=False))
    return problems


def _videos(splits: dict[str, list[Example]], store: VideoStore, progress: Progress | None) -> list[Problem]:
    """One problem for each video that is missing, unreadable, or readable in part."""
    examples: dict[str, list[tuple[str, Example]]] = {}
    for name, split in splits.items():
        for example in split:
            examples.setdefault(example.video, []).append((name, example))
    problems = []
    for done, (video, uses) in enumerate(examples.items(), 1):
        count = ", ".join(f"{number} examples of {name}" for name, number in Counter(name for name, _ in uses).items())
        try:
            notices = _look_at(store, uses[0][1])
            problems += [Problem("partly readable video", f"{video}: {notice}", loses=False) for notice in notices]
        except VideoError as error:
            problems.append(Problem("unreadable video", f"{video} ({count}): {error}", loses=True))
        if progress is not None:
            progress(done, len(examples))
    return problems


def _look_at(store: VideoStore, example: Example) -> tuple[str, ...]:
    with store.file(example.video) as path, source_of(path, None).open() if example.is_image else Video.open(path) as video:
        last = video.timeline.num_frames - 1
        video.decode(sorted({0, last // 2, last}))
        return tuple(video.notices)


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
