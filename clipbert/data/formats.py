"""The annotation formats of the published data sets, one small reader each (rows in ../shared/annotations).

Videos are named as their files are, without folder or extension.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from clipbert.data.rows import Example, Row, json_lines, json_rows, json_value, table_rows

QUESTION_WORDS = ("what", "who", "how", "where", "when")
FRAMEQA_TYPES = ("object", "number", "color", "location")
ACTIVITYNET_QA_TYPES = ("motion", "spatial", "temporal", "yes/no", "color", "object", "location", "number", "other")
ORIGINAL_KEYS = {"clip_name": False, "gif_name": False, "video_id": False, "coco_id": True, "vg_id": True, "image_id": True}
"""What names the video or image in a row of the original's jsonl -> whether it is an image."""


def _name(file: str) -> str:
    return PurePosixPath(file).stem


def _question_type(question: str) -> str:
    """MSRVTT-QA's answer types are the question words; "" for any other first word."""
    first = question.split()[0].lower()
    return first if first in QUESTION_WORDS else ""


def msrvtt(path: Path) -> Iterator[Example]:
    """MSR-VTT's own JSON, `videos` and `sentences`: 20 captions a video; split train, validate or test."""
    splits = {row.text("video_id"): row.optional_text("split") for row in json_rows(path, "videos")}
    for row in json_rows(path, "sentences"):
        video = row.text("video_id")
        if video not in splits:
            raise row.error(f"video_id {video} is not among the videos of the file")
        yield row.example(video=video, id=row.text("sen_id"), caption=row.text("caption"), split=splits[video])


def msrvtt_1ka(path: Path) -> Iterator[Example]:
    """The 1k-A test of MSR-VTT retrieval (JSFusion's), with commas or with semicolons; its validation folds look the same."""
    for row in table_rows(path):
        yield row.example(video=row.text("video_id"), id=row.text("key"), caption=row.text("sentence"))


def msrvtt_qa(path: Path) -> Iterator[Example]:
    """MSRVTT-QA's JSON: video 7010 is the file video7010; the answer type is the question's first word."""
    for row in json_rows(path):
        question = row.text("question")
        yield row.example(
            video=f"video{row.whole('video_id')}", id=row.text("id"), question=question,
            answer=row.optional_text("answer") or None, answer_type=_question_type(question),
        )  # fmt: skip


def hqga(path: Path) -> Iterator[Example]:
    """HQGA's csv of MSRVTT-QA, MSVD-QA and TGIF-QA, or its rows as JSON; videos are bare numbers, see `video_name`."""
    for row in json_rows(path) if path.suffix == ".json" else table_rows(path):
        question, number = row.text("question"), row.text("qid")
        answer_type = "" if number.startswith("FRAMEQA") else _question_type(question)
        yield row.example(video=row.text("video"), id=number, question=question, answer=row.text("answer"), answer_type=answer_type)


def tgif_choice(path: Path) -> Iterator[Example]:
    """TGIF-QA repeated action and state transition: five choices, `answer` counts from 0."""
    for row in table_rows(path):
        number = row.text("vid_id")
        yield row.example(
            video=row.text("gif_name"), id=number, question=row.text("question"), choices=tuple(row.text(f"a{k}") for k in range(1, 6)),
            answer=row.whole("answer"), answer_type="transition" if number.startswith("TRANS") else "action",
        )  # fmt: skip


def tgif_count(path: Path) -> Iterator[Example]:
    """TGIF-QA count: the answer is a number, kept as its digits."""
    for row in table_rows(path):
        answer = str(row.whole("answer"))
        yield row.example(video=row.text("gif_name"), id=row.text("vid_id"), question=row.text("question"), answer=answer, answer_type="count")


def tgif_frameqa(path: Path) -> Iterator[Example]:
    """TGIF-QA frame questions; `type` 0, 1, 2, 3 is object, number, color, location."""
    for row in table_rows(path):
        yield row.example(
            video=row.text("gif_name"), id=row.text("vid_id"), question=row.text("question"), answer=row.text("answer"),
            answer_type=_by_number(row, FRAMEQA_TYPES),
        )  # fmt: skip


def _by_number(row: Row, names: tuple[str, ...]) -> str:
    number = row.whole("type")
    if not 0 <= number < len(names):
        raise row.error(f"type must be between 0 and {len(names) - 1}, got {number}")
    return names[number]


def didemo(path: Path) -> Iterator[Example]:
    """DiDeMo's JSON: the descriptions of a video, joined in file order, are its paragraph."""
    sentences: dict[str, list[str]] = {}
    for row in json_rows(path):
        sentences.setdefault(_name(row.text("video")), []).append(row.text("description"))
    for video, parts in sentences.items():
        yield Example(video, video, caption=" ".join(parts))


def activitynet_captions(path: Path) -> Iterator[Example]:
    """ActivityNet Captions' JSON: the sentences of a video, in order, are its paragraph."""
    for video, fields in Row(path, "top level", json_value(path)).fields.items():
        row = Row(path, video, fields)
        yield row.example(video=video, id=video, caption=" ".join(row.texts("sentences")))


def activitynet_qa(path: Path, answers: Path | None) -> Iterator[Example]:
    """ActivityNet-QA's `_q.json` and `_a.json`; the file of video abc is v_abc."""
    found = _by_question(answers)
    for row in json_rows(path):
        number = row.text("question_id")
        answer = _answer_of(row, number, found, answers)
        yield row.example(
            video=f"v_{row.text('video_name')}", id=number, question=row.text("question"),
            answer=answer and answer.text("answer"), answer_type=_by_number(answer, ACTIVITYNET_QA_TYPES) if answer else "",
        )  # fmt: skip
    _require_none_left(found)


def vqa(path: Path, answers: Path | None) -> Iterator[Example]:
    """VQA v2's questions and annotations; image 42 of train2014 is the file COCO_train2014_000000000042.

    `answer` is the file's `multiple_choice_answer`, else the most frequent;
    `answer_scores` are those of `vqa_soft_scores`, answers as written.
    """
    found = _by_question(answers, "annotations")
    folder = Row(path, "top level", json_value(path)).text("data_subtype")
    for row in json_rows(path, "questions"):
        number, answer, scores = row.text("question_id"), None, ()
        annotation = _answer_of(row, number, found, answers)
        if annotation is not None:
            given = [Row(annotation.path, annotation.place, fields).text("answer") for fields in annotation.items("answers")]
            scores = vqa_soft_scores(given)
            answer = annotation.optional_text("multiple_choice_answer") or scores[0][0]
        yield row.example(
            video=f"COCO_{folder}_{row.whole('image_id'):012d}", id=number, question=row.text("question"), answer=answer, answer_scores=scores,
            answer_type=annotation.optional_text("answer_type") if annotation else "", is_image=True,
        )  # fmt: skip
    _require_none_left(found)


def vqa_soft_scores(answers: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """Each answer's VQA accuracy, most frequent first.

    The official formula: min(1, k/3) for k equal answers, averaged over the
    sets that leave one of the n annotators out, k*min(1, (k-1)/3)/n +
    (n-k)*min(1, k/3)/n.  Of ten annotators: 0.3, 0.6, 0.9 for k = 1, 2, 3, then 1.
    """
    counts = Counter(answers)
    n = counts.total()
    return tuple((answer, (k * min(3, k - 1) + (n - k) * min(3, k)) / (3 * n)) for answer, k in counts.most_common())


def _by_question(answers: Path | None, name: str | None = None) -> dict[str, Row]:
    rows = list(json_rows(answers, name)) if answers else []
    return {row.text("question_id"): row for row in rows}


def _answer_of(row: Row, question: str, found: dict[str, Row], answers: Path | None) -> Row | None:
    """The question's row in the answers file, taken out of `found`; None if there is no such file."""
    if answers is not None and question not in found:
        raise row.error(f"question_id {question} has no answer in {answers}")
    return found.pop(question, None)


def _require_none_left(found: dict[str, Row]) -> None:
    for question, row in found.items():
        raise row.error(f"question_id {question} is not among the questions")


def coco_captions(path: Path) -> Iterator[Example]:
    """COCO captions: `images` and `annotations`."""
    files = {row.whole("id"): _name(row.text("file_name")) for row in json_rows(path, "images")}
    for row in json_rows(path, "annotations"):
        if row.whole("image_id") not in files:
            raise row.error(f"image_id {row.whole('image_id')} is not among the images of the file")
        yield row.example(video=files[row.whole("image_id")], id=row.text("id"), caption=row.text("caption"), is_image=True)


def visual_genome(path: Path) -> Iterator[Example]:
    """Visual Genome's region_descriptions.json: each region's phrase is a caption of its image."""
    for image in json_rows(path):
        for fields in image.items("regions"):
            row = Row(path, image.place, fields)
            yield row.example(video=row.text("image_id"), id=row.text("region_id"), caption=row.text("phrase"), is_image=True)


def original(path: Path) -> Iterator[Example]:
    """The original repository's jsonl (OFFICIAL section 5): captions, MSRVTT multiple choice, TGIF-QA, MSRVTT-QA, VQA.

    Its keys (coco_id, vg_id, image_id, clip_name, gif_name, video_id) are its
    LMDB's keys; without an id of their own, rows are numbered from 0.
    """
    for index, row in enumerate(json_lines(path)):
        key = next((name for name in ORIGINAL_KEYS if name in row), None)
        if key is None:
            raise row.error(f"must name its video by one of {', '.join(ORIGINAL_KEYS)}")
        choices = row.texts("options") if "options" in row else ()
        scores = _original_labels(row) if "labels" in row else ()
        answer: str | int | None = scores[0][0] if scores else None
        if "answer" in row:
            answer = row.whole("answer") if choices else row.text("answer")
        yield row.example(
            video=row.text(key), id=row.optional_text("qid") or row.optional_text("question_id") or str(index),
            question=row.optional_text("question"), caption=row.optional_text("caption"), choices=choices,
            answer=answer, answer_scores=scores, answer_type=row.optional_text("answer_type"), is_image=ORIGINAL_KEYS[key],
        )  # fmt: skip


def _original_labels(row: Row) -> tuple[tuple[str, float], ...]:
    """`labels`, answer -> score, best first."""
    labels = row.fields["labels"]
    if not isinstance(labels, dict) or not all(isinstance(score, int | float) and 0 <= score <= 1 for score in labels.values()):
        raise row.error(f"labels must map answers to scores between 0 and 1, got {labels!r}")
    return tuple(sorted(((answer, float(score)) for answer, score in labels.items()), key=lambda item: -item[1]))
