"""One report of everything wrong with a data set."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from videos import write_video

from clipbert.data.check import check_dataset
from clipbert.data.spec import read_spec


def write(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def question(video: str, answer: str | None, text: str = "what is it ?") -> dict[str, Any]:
    return {"video": video, "question": text} | ({} if answer is None else {"answer": answer})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    for name in "abc":
        write_video(tmp_path / "clips" / f"{name}.mp4", num_frames=15)
    return tmp_path


def spec(folder: Path, **settings: Any) -> Path:
    path = folder / "spec.json"
    path.write_text(json.dumps({"videos": "clips", **settings}))
    return path


def test_a_sound_data_set_has_no_problem(folder: Path) -> None:
    train = write(folder / "train.jsonl", question("a", "dog"), question("b", "cat"))
    val = write(folder / "val.jsonl", question("c", "dog"))
    (folder / "spec.yaml").write_text(f"videos: clips\ntrain: {train}\nval: [{val}]\nvocabulary: 2\n")
    seen: list[tuple[int, int]] = []
    report = check_dataset(folder / "spec.yaml", progress=lambda done, total: seen.append((done, total)))
    assert not report.problems and not report.loses_examples and seen == [(1, 3), (2, 3), (3, 3)]
    assert report.lines() == [
        "train: 2 examples of 2 videos or images, texts of 6 to 6 word pieces, half of them up to 6",
        "val: 1 examples of 1 videos or images, texts of 6 to 6 word pieces, half of them up to 6",
        "no problem found",
    ]


def test_missing_and_unreadable_videos_are_all_named(folder: Path) -> None:
    (folder / "clips" / "bad.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(400))
    Image.new("RGB", (8, 8)).save(folder / "clips" / "still.png")
    (folder / "clips" / "broken.png").write_bytes((folder / "clips" / "still.png").read_bytes()[:40])
    rows = [question(name, "dog") for name in ("a", "bad", "bad", "gone")] + [{"image": name, "caption": "grey"} for name in ("still", "broken")]
    report = check_dataset(spec(folder, train=write(folder / "train.jsonl", *rows)))
    videos = [problem.message for problem in report.problems if problem.kind == "unreadable video"]
    assert [message.split(":")[0] for message in videos] == [
        "bad (2 examples of train)",
        "gone (1 examples of train)",
        "broken (1 examples of train)",
    ]
    assert report.loses_examples and any("LOSES EXAMPLES: unreadable video: gone" in line for line in report.lines())


def test_a_cut_off_video_is_noted_but_loses_nothing(folder: Path) -> None:
    whole = write_video(folder / "clips" / "long.mkv", num_frames=120).read_bytes()
    (folder / "clips" / "long.mkv").write_bytes(whole[: len(whole) // 2])
    report = check_dataset(spec(folder, val=write(folder / "val.jsonl", question("long", "dog"))))
    assert [problem.kind for problem in report.problems] == ["partly readable video"] and not report.loses_examples


def test_answers_outside_the_vocabulary_lose_training_examples_only(folder: Path) -> None:
    (folder / "ans2label.json").write_text(json.dumps({"dog": 0}))
    rows = [question("a", "dog"), question("b", "cat"), question("b", "cow"), question("b", "cat", "who ?")]
    both = spec(
        folder, train=write(folder / "train.jsonl", *rows), val=write(folder / "val.jsonl", question("c", "emu")), vocabulary="ans2label.json"
    )
    problems = check_dataset(both).problems
    assert [(p.message, p.loses) for p in problems if p.kind == "answers"] == [
        ("train: 3 examples have one of 2 answers outside the vocabulary of 1: cat, cow", True),
        ("val: 1 examples have one of 1 answers outside the vocabulary of 1: emu", False),
    ]


def test_a_vqa_question_is_learnt_if_any_of_its_answers_is_known(folder: Path) -> None:
    rows = [{"image_id": "a", "question_id": n, "question": "q ?", "labels": labels} for n, labels in enumerate([{"cat": 1, "dog": 0.3}, {"cat": 1}])]
    report = check_dataset(spec(folder, train=write(folder / "train.jsonl", *rows), vocabulary=write(folder / "labels.json", {"dog": 0})))
    assert [p.message for p in report.problems if p.kind == "answers"] == ["train: 1 examples have one of 1 answers outside the vocabulary of 1: cat"]


def test_duplicates_overlaps_long_texts_and_withheld_answers_are_found(folder: Path) -> None:
    train = write(
        folder / "train.jsonl", question("a", "dog"), question("a", "dog"), question("b", "dog", "very " * 30), question("b", None, "who ?")
    )
    val = write(folder / "val.jsonl", {**question("a", "dog"), "id": "1"}, {**question("c", "dog"), "id": "1"})
    report = check_dataset(spec(folder, train=train, val=val, max_text_length=20))
    assert [(p.kind, p.message, p.loses) for p in report.problems] == [
        ("long texts", "train: 1 of 4 texts are longer than max_text_length=20 and will be cut; the longest has 32", False),
        ("duplicates", "train: 1 examples appear more than once: a 'what is it ?'", False),
        ("no answer", "train: 1 questions have no answer: 3", True),
        ("duplicate ids", "val: 1 ids name several examples: 1", False),
        ("overlap", "train and val share 1 videos: a", False),
    ]


def test_a_malformed_row_is_a_problem_and_the_other_files_are_still_checked(folder: Path) -> None:
    bad, good = write(folder / "bad.jsonl", question("a", "dog"), {"video": "b"}), write(folder / "good.jsonl", question("c", "dog"))
    report = check_dataset(spec(folder, train=[bad, good]))
    assert [problem.kind for problem in report.problems] == ["annotations"] and report.loses_examples
    assert "bad.jsonl, line 2: an example must have" in report.problems[0].message and report.splits[0].num_examples == 1


def test_settings_of_a_file_reach_its_reader(folder: Path) -> None:
    shutil.move(folder / "clips" / "a.mp4", folder / "clips" / "video7.mp4")
    (folder / "qa.csv").write_text("video,question,answer,qid\n7,what is it,dog,1\n")
    report = check_dataset(spec(folder, test={"annotations": "qa.csv", "format": "hqga", "video_name": "video{}"}))
    assert not report.problems and report.splits[0].name == "test"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trian": "a.jsonl"}, r"setting of .*spec\.json must be one of .* did you mean 'train'"),
        ({"train": {"annotations": "a.jsonl", "fromat": "jsonl"}}, "did you mean 'format'"),
        ({"train": {"annotations": "a.jsonl", "format": "hqa"}}, "did you mean 'hqga'"),
        ({"train": {"annotations": "a.jsonl", "video_name": "video"}}, "video_name must hold {}"),
        ({"train": {"format": "jsonl"}}, "a setting is missing or of the wrong kind .*annotations"),
        ({"train": 3}, "must map settings to values, got 3"),
        ({}, "at least one of train, val and test"),
        ({"train": "a.jsonl", "vocabulary": 0}, "vocabulary must be a file or a number above 0"),
        ({"train": "a.jsonl", "videos": "nowhere"}, "no folder of videos at"),
    ],
)
def test_a_wrong_spec_is_an_error_that_names_the_nearest_setting(folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_dataset(spec(folder, **settings))


def test_a_spec_that_is_no_yaml_says_where(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("videos: [clips\ntrain: x\n")
    with pytest.raises(ValueError, match=r"cannot read data set spec .*spec\.yaml: .*line 2"):
        read_spec(tmp_path / "spec.yaml")
    with pytest.raises(ValueError, match="No such file"):
        read_spec(tmp_path / "none.yaml")


def test_the_real_data_is_sound(shared_data: Path, tmp_path: Path) -> None:
    qa = {"annotations": str(shared_data / "msrvtt" / "qa.json"), "video_name": "video{}"}
    report = check_dataset(spec(tmp_path, videos=str(shared_data / "msrvtt" / "videos"), test=qa))
    assert not report.loses_examples and (report.splits[0].num_examples, report.splits[0].num_videos) == (99, 5)
