"""Annotation files of the bundled model: readable, split as the data is, choices with one right answer."""

import json
from pathlib import Path

import pytest
from PIL import Image

from clipbert.convert import read_labels
from clipbert.data.examples import read_examples
from train.real_data import NUM_CHOICES, main


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files made of a small copy of the data's layout."""
    data = tmp_path_factory.mktemp("data")
    things = ("dog", "cat", "horse", "bird", "sheep", "cow")
    photos = [
        {"image": f"{k}.jpg", "captions": [f"a {thing} is running on the grass .", f"a white {thing} number {k}"]}
        | {"split": "val" if k % 7 == 0 else "train"}
        for k, thing in enumerate(things * 6)
    ]
    clips = [{"video": "p.mp4", "captions": ["a man is riding a horse on the beach ."], "split": "train"}]
    actions = [{"video": f"Surfing/{k}.mp4", "label": "Surfing", "group": k, "split": "train"} for k in range(6)]
    rooms = [{"image": f"room{k}.jpg", "question": "what is left of the bed?", "answer": "lamp"} for k in range(20)]
    for name, rows in (("flickr8k/captions", photos), ("coco/captions", photos), ("panda70m/captions", clips), ("ucf101/labels", actions)):
        write(data / f"{name}.jsonl", rows)
    write(data / "daquar/qa_train.jsonl", rooms)
    Image.new("RGB", (8, 8)).save(data / "0.jpg")
    assert main(["--data", str(data), "--out", str(data / "out"), "--seed", "3"]) == 0
    return data / "out"


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", ["stills", "captions", "qa", "rooms", "choices"])
def test_our_reader_reads_every_file_and_no_picture_is_in_both_splits(written: Path, name: str) -> None:
    videos = [{example.video for example in read_examples(written / f"{name}_{split}.jsonl")} for split in ("train", "val")]
    assert videos[0] and videos[1] and not videos[0] & videos[1]


def test_choices_hold_the_right_answer_once_and_no_other_answer_of_that_picture(written: Path) -> None:
    answers: dict[tuple[str, str], set[str]] = {}
    for example in read_examples(written / "qa_train.jsonl"):
        answers.setdefault((example.video, example.answer_type), set()).add(str(example.answer))
    for example in read_examples(written / "choices_train.jsonl"):
        assert len(set(example.choices)) == NUM_CHOICES
        if example.question:
            right = answers[example.video, example.answer_type]
            assert [choice in right for choice in example.choices] == [j == example.answer for j in range(NUM_CHOICES)]


def test_the_vocabulary_holds_answers_of_training_that_are_not_rare(written: Path) -> None:
    labels = read_labels(written / "ans2label.json")
    assert {"lamp", "surfing", "cat", "running", "yes"} <= set(labels) and "beach" not in labels


def test_the_same_seed_writes_the_same_files(written: Path) -> None:
    assert main(["--data", str(written.parent), "--out", str(written.parent / "again"), "--seed", "3"]) == 0
    for path in written.iterdir():
        assert path.read_bytes() == (written.parent / "again" / path.name).read_bytes()


def test_data_that_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "cannot read the data" in capsys.readouterr().err
