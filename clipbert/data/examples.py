"""Annotation files to `Example`s, with the paper's splits.

No row is ever skipped: one that does not fit its format is a ValueError with
file, line and rule.
"""

import difflib
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from clipbert.config import check_known
from clipbert.data import formats
from clipbert.data.rows import Example, Row, json_lines, json_value, table_rows

OWN_FIELDS = ("video", "image", "question", "caption", "captions", "answer", "choices", "answer_type", "id", "split")


def read_examples(
    path: str | Path,
    *,
    format: str | None = None,
    answers: str | Path | None = None,
    split: str | None = None,
    videos: Collection[str] | None = None,
    video_name: str = "{}",
) -> list[Example]:
    """The examples of an annotation file, in its order.

    `format` is one of FORMATS, by default found from the first row (which
    reads a JSON file twice).  `answers`
    is the second file of "vqa" and "activitynet_qa".  `split` keeps the rows
    that say so, `videos` those of the named videos (as `read_video_ids` gives
    them).  `video_name` turns a file's own key into the video file's name,
    e.g. "video{}".  Raises ValueError for a row that breaks a rule of its
    format, for a video without any, and if nothing is left.
    """
    path = Path(path)
    name = format or detect_format(path)
    check_known("format", name, tuple(FORMATS))
    if (answers is not None) and name not in TWO_FILES:
        raise ValueError(f"answers go with the formats {' and '.join(TWO_FILES)}; {path} is {name}.")
    examples = list(FORMATS[name](path, answers and Path(answers)) if name in TWO_FILES else FORMATS[name](path))
    if video_name != "{}":
        examples = [replace(example, video=video_name.format(example.video)) for example in examples]
    if split is not None:
        check_known(f"split of {path}", split, tuple(sorted({example.split for example in examples} - {""})))
        examples = [example for example in examples if example.split == split]
    if videos is not None:
        examples = _of_videos(path, examples, frozenset(videos))
    if not examples:
        raise ValueError(f"{path} holds no example; it was read as {name}.")
    return examples


def _of_videos(path: Path, examples: list[Example], videos: Collection[str]) -> list[Example]:
    missing = sorted(set(videos) - {example.video for example in examples})
    if missing:
        raise ValueError(f"{path} holds no example of {len(missing)} of the {len(videos)} videos asked for, among them {missing[0]}.")
    return [example for example in examples if example.video in videos]


def own(path: Path) -> Iterator[Example]:
    """A jsonl of the user's own: `video` or `image`, `question` or `caption` or a list of `captions`, `answer`, `choices`.

    `answer` is a text, with `choices` one of them or its index from 0; `id`,
    `split` and `answer_type` are optional.  Other fields are ignored, unless
    they look like one of these misspelt.
    """
    for index, row in enumerate(json_lines(path)):
        for field in row.fields:
            near = difflib.get_close_matches(field, OWN_FIELDS, n=1, cutoff=0.8)
            if near and near[0] != field:
                raise row.error(f"field {field!r} is not known; did you mean {near[0]!r}?")
        if ("video" in row) == ("image" in row):
            raise row.error("must name either a video or an image")
        choices = row.texts("choices") if "choices" in row else ()
        captions = row.texts("captions") if "captions" in row else (row.optional_text("caption"),)
        for number, caption in enumerate(captions):
            name = row.optional_text("id") or str(index)
            yield row.example(
                video=row.text("image" if "image" in row else "video"), id=name if len(captions) == 1 else f"{name}.{number}",
                question=row.optional_text("question"), caption=caption, choices=choices, answer=_own_answer(row, choices),
                answer_type=row.optional_text("answer_type"), split=row.optional_text("split"), is_image="image" in row,
            )  # fmt: skip


def _own_answer(row: Row, choices: Sequence[str]) -> str | int | None:
    if "answer" not in row:
        return None
    if not choices:
        return row.text("answer")
    if isinstance(row.fields["answer"], int):
        return row.whole("answer")
    if choices.count(row.text("answer")) != 1:
        raise row.error(f"answer must be one of the choices, or its index from 0, got {row.text('answer')!r}")
    return choices.index(row.text("answer"))


FORMATS: dict[str, Callable[..., Iterator[Example]]] = {
    "jsonl": own,
    "original": formats.original,
    "msrvtt": formats.msrvtt,
    "msrvtt_1ka": formats.msrvtt_1ka,
    "msrvtt_qa": formats.msrvtt_qa,
    "hqga": formats.hqga,
    "tgif_choice": formats.tgif_choice,
    "tgif_count": formats.tgif_count,
    "tgif_frameqa": formats.tgif_frameqa,
    "didemo": formats.didemo,
    "activitynet_captions": formats.activitynet_captions,
    "activitynet_qa": formats.activitynet_qa,
    "vqa": formats.vqa,
    "coco_captions": formats.coco_captions,
    "visual_genome": formats.visual_genome,
}
TWO_FILES = ("vqa", "activitynet_qa")
"""Formats with the answers in a second file."""
SIGNS = {
    "jsonl": (("jsonl", "video"), ("jsonl", "image"), *(("original", key) for key in formats.ORIGINAL_KEYS)),
    "json": (
        ("msrvtt", "videos sentences"),
        ("coco_captions", "images annotations"),
        ("vqa", "questions"),
        ("didemo", "video description"),
        ("visual_genome", "regions"),
        ("activitynet_qa", "video_name question_id"),
        ("msrvtt_qa", "video_id question"),
        ("hqga", "video question qid"),
        ("activitynet_captions", "sentences timestamps"),
    ),
    "table": (
        ("msrvtt_1ka", "video_id sentence"),
        ("tgif_choice", "gif_name a1 a5"),
        ("tgif_frameqa", "gif_name type"),
        ("tgif_count", "gif_name answer"),
        ("hqga", "video question qid"),
    ),
}
"""Fields that tell the formats of one kind of file apart; the first that fits is it."""


def detect_format(path: str | Path) -> str:
    """The format of an annotation file, by the fields of its first row; ValueError if it is none of FORMATS."""
    path = Path(path)
    kind = path.suffix[1:] if path.suffix in (".json", ".jsonl") else "table"
    fields = _first_fields(path, kind)
    for name, sign in SIGNS[kind]:
        if set(sign.split()) <= fields:
            return name
    hints = {
        "video_id": "; it lists videos: pass read_video_ids(...) as videos=",
        "question_id": "; answers alone: pass it as answers= of its questions",
    }
    hint = next((hint for field, hint in hints.items() if field in fields), "")
    raise ValueError(f"{path}, first row: fits no known format, its fields are {', '.join(sorted(fields)) or 'none'}{hint}; give format=.")


def _first_fields(path: Path, kind: str) -> set[str]:
    if kind != "json":
        first = next(json_lines(path) if kind == "jsonl" else table_rows(path), None)
        return set(first.fields) if first else set()
    value = json_value(path)
    if isinstance(value, list):
        value = value[0] if value else {}
    fields = Row(path, "first row", value).fields
    inner = next(iter(fields.values()), None)  # ActivityNet Captions: {video: fields}
    return set(fields) | (set(inner) if isinstance(inner, dict) else set())


def read_video_ids(path: str | Path) -> tuple[str, ...]:
    """The `video_id` column of a table: MSR-VTT's train.7k (7,010) and train.9k (9,000) lists, or the videos of its 1k-A test."""
    return tuple(row.text("video_id") for row in table_rows(Path(path)))


def msrvtt_local_val(examples: Iterable[Example], *, test_videos: Collection[str], num_pairs: int = 1000, seed: int = 0) -> list[Example]:
    """The validation pairs of the paper's ablations (Sec. 4.2): sampled from the test videos that the 1k-A test leaves unused.

    The paper says 1K pairs and no more; here each is of another video, with one
    of its captions at random.  Raises ValueError if there are too few.
    """
    captions: dict[str, list[Example]] = {}
    used = frozenset(test_videos)
    for example in examples:
        if example.split == "test" and example.video not in used:
            captions.setdefault(example.video, []).append(example)
    if len(captions) < num_pairs:
        raise ValueError(f"num_pairs must be at most the {len(captions)} unused test videos, got {num_pairs}; give the whole MSR-VTT JSON.")
    draw = random.Random(seed)
    return [draw.choice(captions[video]) for video in sorted(draw.sample(sorted(captions), num_pairs))]


def answer_vocabulary(examples: Iterable[Example], *, max_size: int, at_least: int = 1) -> list[str]:
    """The most frequent open-ended answers, at most `max_size`; equally frequent ones in alphabetical order."""
    if max_size < 1:
        raise ValueError(f"max_size must be at least 1, got {max_size}.")
    counts = Counter(example.answer for example in examples if isinstance(example.answer, str))
    common = sorted((answer for answer, count in counts.items() if count >= at_least), key=lambda answer: (-counts[answer], answer))
    return common[:max_size]
