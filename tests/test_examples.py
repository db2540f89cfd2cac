"""Annotation readers: on the real rows of ../shared, on small files made here, and on rows that break a rule."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED

from clipbert.data.examples import (
    FORMATS,
    answer_vocabulary,
    detect_format,
    msrvtt_local_val,
    read_examples,
    read_video_ids,
)
from clipbert.data.formats import vqa_soft_scores
from clipbert.data.rows import Example


@pytest.fixture
def annotations() -> Path:
    if not (SHARED / "annotations").is_dir():
        pytest.skip(f"needs the rows of the official formats in {SHARED / 'annotations'}")
    return SHARED / "annotations"


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def as_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("file", "format", "num_examples", "num_videos", "types"),
    [
        ("MSRVTT_JSFUSION_test.csv", "msrvtt_1ka", 1000, 1000, {""}),
        ("MSRVTT_JSFUSION_test.semicolon_variant.csv", "msrvtt_1ka", 1000, 1000, {""}),
        ("MSRVTT_val_fold_1.csv", "msrvtt_1ka", 2250, 2250, {""}),
        ("coco_captions_val2017_100images.json", "coco_captions", 500, 100, {""}),
        ("didemo_val_data_200.json", "didemo", 181, 181, {""}),
        ("hqga_csv_msrvtt_val.csv", "hqga", 200, 9, {"what", "who", "how"}),
        ("hqga_csv_msvd_val.csv", "hqga", 200, 8, {"what", "who", "how"}),
        ("hqga_csv_tgifqa_frameqa_test.csv", "hqga", 200, 198, {""}),
        ("hqga_csv_tgifqa_frameqa_train.csv", "hqga", 200, 200, {""}),
        ("tgif_Test_action_question.csv", "tgif_choice", 200, 200, {"action"}),
        ("tgif_Test_transition_question.csv", "tgif_choice", 200, 100, {"transition"}),
        ("tgif_Total_action_question.csv", "tgif_choice", 200, 200, {"action"}),
        ("tgif_Train_action_question.csv", "tgif_choice", 200, 200, {"action"}),
        ("tgif_Test_count_question.csv", "tgif_count", 200, 200, {"count"}),
        ("tgif_Total_count_question.csv", "tgif_count", 200, 200, {"count"}),
        ("tgif_Train_count_question.csv", "tgif_count", 200, 200, {"count"}),
        ("tgif_Test_frameqa_question.csv", "tgif_frameqa", 200, 198, {"object", "number", "color", "location"}),
    ],
)
def test_every_real_row_is_read(annotations: Path, file: str, format: str, num_examples: int, num_videos: int, types: set[str]) -> None:
    assert detect_format(annotations / file) == format
    examples = read_examples(annotations / file)
    assert len(examples) == len({e.id for e in examples}) == num_examples and len({e.video for e in examples}) == num_videos
    assert {e.answer_type for e in examples} == types


def test_both_variants_of_the_1ka_test_are_the_same_pairs(annotations: Path) -> None:
    comma, semicolon = (read_examples(annotations / f"MSRVTT_JSFUSION_test{end}.csv") for end in ("", ".semicolon_variant"))
    assert comma == semicolon and comma[0] == Example("video9770", "ret0", caption="a person is connecting something to system")


def test_the_9k_list_is_all_but_the_1ka_test_and_the_7k_list_part_of_it(annotations: Path) -> None:
    test, train_9k, train_7k = (set(read_video_ids(annotations / f"MSRVTT_{n}.csv")) for n in ("JSFUSION_test", "train.9k", "train.7k"))
    assert (len(test), len(train_9k), len(train_7k)) == (1000, 9000, 7010)
    assert not test & train_9k and test | train_9k == {f"video{i}" for i in range(10000)} and not train_7k & test
    with pytest.raises(ValueError, match=r"lists videos: pass read_video_ids"):
        read_examples(annotations / "MSRVTT_train.7k.csv")


def test_real_choices_hold_the_answer_at_its_index(annotations: Path) -> None:
    first = read_examples(annotations / "tgif_Test_action_question.csv")[0]
    assert first.question == "What does the butterfly do 10 or more than 10 times ?" and first.answer == 4 and first.choices[4] == "flap wings"
    count = read_examples(annotations / "tgif_Test_count_question.csv")[0]
    assert count.answer == "3" and not count.choices


def test_frame_questions_of_both_files_agree(annotations: Path) -> None:
    ours = read_examples(annotations / "tgif_Test_frameqa_question.csv")
    theirs = {e.id: e for e in read_examples(annotations / "hqga_csv_tgifqa_frameqa_test.csv")}
    assert [theirs[e.id].answer for e in ours] == [e.answer for e in ours]
    assert {e.answer for e in ours if e.answer_type == "color"} <= set("red blue green white black brown gray yellow pink purple orange".split())


def test_real_descriptions_of_a_video_join_to_a_paragraph(annotations: Path) -> None:
    rows = json.loads((annotations / "didemo_val_data_200.json").read_text())
    by_video = {e.video: e.caption for e in read_examples(annotations / "didemo_val_data_200.json")}
    for row in rows:
        assert row["description"].strip() in by_video[row["video"].rsplit(".", 1)[0]]
    assert sum(len(c.split()) for c in by_video.values()) == sum(len(r["description"].split()) for r in rows)


def test_real_questions_find_their_answers_in_the_second_file(annotations: Path) -> None:
    questions, answers = (annotations / f"activitynetqa_val_{part}_200.json" for part in "qa")
    examples = read_examples(questions, answers=answers)
    assert len(examples) == 200 and examples[0].video == "v_TIEzvhv6xaI"
    assert {e.answer for e in examples if e.answer_type == "yes/no"} == {"yes", "no"}
    assert all(e.answer is None for e in read_examples(questions))
    with pytest.raises(ValueError, match="answers alone: pass it as answers="):
        read_examples(answers)


def test_real_vqa_rows_get_the_official_soft_scores(annotations: Path) -> None:
    examples = read_examples(annotations / "vqav2_questions_3.json", answers=annotations / "vqav2_annotations_3.json")
    assert [e.video for e in examples] == ["COCO_train2014_000000458752"] * 3 and all(e.is_image for e in examples)
    assert dict(examples[0].answer_scores) == {"net": 1.0, "netting": 0.3, "mesh": 0.3, "pitcher": 0.3, "orange": 0.3}
    assert dict(examples[1].answer_scores) == {"pitcher": 1.0, "catcher": 0.3} and examples[2].answer_scores == (("orange", 1.0),)


def test_the_users_own_photos_and_clips_are_read(shared_data: Path) -> None:
    expected = {"flickr8k/captions": 4000, "coco/captions": 1816, "panda70m/captions": 72, "daquar/qa_train": 6795}
    for name, number in expected.items():
        assert len(read_examples(shared_data / f"{name}.jsonl")) == number
    assert len(read_examples(shared_data / "flickr8k" / "captions.jsonl", split="val")) == 500
    qa = read_examples(shared_data / "msrvtt" / "qa.json", video_name="video{}")
    assert len(qa) == 99 and all((shared_data / "msrvtt" / "videos" / f"{e.video}.mp4").is_file() for e in qa)


@pytest.mark.parametrize("k", range(11))
def test_soft_score_is_the_mean_over_sets_that_leave_one_annotator_out(k: int) -> None:
    answers = ["yes"] * k + ["no"] * (10 - k)
    brute = [min(1.0, (answers[:i] + answers[i + 1 :]).count("yes") / 3) for i in range(10)]
    assert dict(vqa_soft_scores(answers)).get("yes", 0.0) == pytest.approx(sum(brute) / 10)


MSRVTT = {
    "videos": [{"video_id": f"video{i}", "split": "train" if i < 2 else "test"} for i in range(8)],
    "sentences": [{"video_id": f"video{i}", "sen_id": 10 * i + j, "caption": f"caption {j} of {i}"} for i in range(8) for j in range(3)],
}
Q = {"question": "what is it", "answer": "dog", "answer_type": "what"}
FILES: dict[str, tuple[str, Callable[[Path], Path], Example, int]] = {
    "msrvtt": ("a.json", lambda p: as_json(p, MSRVTT), Example("video0", "0", caption="caption 0 of 0", split="train"), 24),
    "msrvtt_qa": (
        "a.json",
        lambda p: as_json(p, [{"answer": "dog", "category_id": 14, "id": 7, "question": "what is it?", "video_id": 6513}]),
        Example("video6513", "7", "what is it?", answer="dog", answer_type="what"),
        1,
    ),
    "activitynet_captions": (
        "a.json",
        lambda p: as_json(p, {"v_a": {"duration": 3.0, "timestamps": [[0, 1], [1, 3]], "sentences": ["One. ", " Two."]}}),
        Example("v_a", "v_a", caption="One. Two."),
        1,
    ),
    "visual_genome": (
        "a.json",
        lambda p: as_json(p, [{"id": 5, "regions": [{"region_id": n, "image_id": 5, "phrase": f"a dog {n}", "x": 0} for n in range(2)]}]),
        Example("5", "0", caption="a dog 0", is_image=True),
        2,
    ),
    "jsonl": ("a.jsonl", lambda p: lines(p, {"video": "a/b.mp4", "caption": "a dog", "source": "mine"}), Example("a/b.mp4", "0", caption="a dog"), 1),
}


@pytest.mark.parametrize("format", sorted(FILES))
def test_formats_without_real_rows_here(tmp_path: Path, format: str) -> None:
    name, write, first, number = FILES[format]
    path = write(tmp_path / name)
    assert detect_format(path) == format
    examples = read_examples(path)
    assert examples[0] == first and len(examples) == number
    assert set(FORMATS) - set(FILES) == {"original", "msrvtt_1ka", "hqga", "tgif_choice", "tgif_count", "tgif_frameqa", "didemo",
                                         "activitynet_qa", "vqa", "coco_captions"}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "example"),
    [
        ({"coco_id": 9, "caption": "a dog"}, Example("9", "0", caption="a dog", is_image=True)),
        ({"vg_id": 9, "caption": "a dog"}, Example("9", "0", caption="a dog", is_image=True)),
        ({"clip_name": "video7", "caption": "a dog"}, Example("video7", "0", caption="a dog")),
        ({"qid": 3, "clip_name": "video7", "answer": 1, "options": list("abcde")}, Example("video7", "3", choices=tuple("abcde"), answer=1)),
        ({"gif_name": "g", "question": "q?", "options": list("abcde"), "answer": 4}, Example("g", "0", "q?", choices=tuple("abcde"), answer=4)),
        ({"gif_name": "g", **Q, "answer_type": "object"}, Example("g", "0", "what is it", answer="dog", answer_type="object")),
        ({"video_id": "video7", **Q}, Example("video7", "0", "what is it", answer="dog", answer_type="what")),
        (
            {"question": "q?", "image_id": "COCO_1", "question_id": 5, "labels": {"no": 0.3, "yes": 1}, "answer_type": "yes/no"},
            Example("COCO_1", "5", "q?", answer="yes", answer_scores=(("yes", 1.0), ("no", 0.3)), answer_type="yes/no", is_image=True),
        ),
        ({"question": "q?", "image_id": "COCO_1", "question_id": 5}, Example("COCO_1", "5", "q?", is_image=True)),
    ],
)
def test_each_row_of_the_originals_jsonl(tmp_path: Path, row: dict[str, Any], example: Example) -> None:
    path = lines(tmp_path / "train.jsonl", row)
    assert detect_format(path) == "original" and read_examples(path) == [example]


def test_own_answers_may_be_a_choice_or_its_index(tmp_path: Path) -> None:
    rows = [{"video": "a.mp4", "question": "q?", "choices": ["x", "y"], "answer": answer} for answer in ("y", 1)]
    assert [e.answer for e in read_examples(lines(tmp_path / "a.jsonl", *rows))] == [1, 1]
    several = read_examples(lines(tmp_path / "b.jsonl", {"image": "a.png", "captions": ["one", "two"]}))
    assert [(e.id, e.caption) for e in several] == [("0.0", "one"), ("0.1", "two")] and several[0].is_image


OWN = {"video": "a.mp4", "question": "q?"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", json.dumps(OWN) + "\n{\n", r"a\.jsonl, line 2: must be one JSON object"),
        ("a.jsonl", json.dumps(OWN) + '\n{"video": "b.mp4"}\n', r"a\.jsonl, line 2: an example must have either a question or a caption, or choices"),
        ("a.jsonl", json.dumps(OWN) + '\n{"video": "", "question": "q?"}\n', r"a\.jsonl, line 2: must name either a video or an image"),
        ("a.jsonl", json.dumps(OWN | {"question": 7.5, "caption": "c"}), "line 1: an example must have either"),
        ("a.jsonl", json.dumps(OWN | {"question": ["q"]}), r"line 1: question must be a text that is not empty, got \['q'\]"),
        ("a.jsonl", json.dumps(OWN | {"choises": ["x", "y"]}), "line 1: field 'choises' is not known; did you mean 'choices'"),
        ("a.jsonl", json.dumps(OWN | {"choices": ["x", "y"], "answer": "z"}), "answer must be one of the choices, or its index from 0, got 'z'"),
        ("a.jsonl", json.dumps(OWN | {"choices": ["x", "y"], "answer": 2}), "line 1: answer must be the index of one of the 2 choices"),
        ("a.jsonl", '{"clip_name": "v", "options": ["a", "b"], "answer": "a"}', "line 1: answer must be a whole number, got 'a'"),
        ("a.jsonl", '{"name": "v"}', "first row: fits no known format, its fields are name; give format="),
        ("a.jsonl", "", "first row: fits no known format, its fields are none"),
        ("a.json", '{"videos": [', "line 1: is no JSON"),
        ("a.json", '{"videos": [{"video_id": "v"}], "sentences": [{"video_id": "w", "sen_id": 1, "caption": "c"}]}', r"sentences\[0\]: video_id w"),
        ("a.json", '[{"video": "v.mp4", "description": "d"}, {"video": "v.mp4"}]', r"entry\[1\]: field 'description' is missing; there are video"),
        ("a.csv", "key,vid_key,video_id,sentence\nret0,msr1,video1\n", "line 2: must have 4 columns as the header has, got 3"),
        ("a.csv", "key;vid_key;video_id;sentence\nret0;msr1;video1;a;b\n", "line 2: must have 4 columns as the header has, got 5"),
        ("a.csv", "key,vid_key,video_id,sentence\nret0,msr1,video1, \n", "line 2: sentence must be a text that is not empty, got ' '"),
        ("a.csv", "gif_name\tquestion\tanswer\ttype\tvid_id\ng\tq?\tdog\t4\tF1\n", "line 2: type must be between 0 and 3, got 4"),
        ("a.csv", "gif_name\tquestion\tanswer\tvid_id\ng\tq?\tmany\tC1\n", "line 2: answer must be a whole number, got 'many'"),
    ],
)  # fmt: skip
def test_a_row_that_breaks_a_rule_is_named_with_its_file_and_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_examples(tmp_path / name)


def test_questions_and_answers_must_match_one_to_one(tmp_path: Path) -> None:
    questions = as_json(tmp_path / "q.json", [{"video_name": "a", "question": "q?", "question_id": "1"}])
    other = as_json(tmp_path / "a.json", [{"answer": "yes", "type": 3, "question_id": "2"}])
    both = as_json(tmp_path / "b.json", [{"answer": "yes", "type": 3, "question_id": n} for n in "12"])
    with pytest.raises(ValueError, match=r"q\.json, entry\[0\]: question_id 1 has no answer in .*a\.json"):
        read_examples(questions, answers=other)
    with pytest.raises(ValueError, match=r"b\.json, entry\[1\]: question_id 2 is not among the questions"):
        read_examples(questions, answers=both)
    with pytest.raises(ValueError, match="answers go with the formats vqa and activitynet_qa"):
        read_examples(lines(tmp_path / "c.jsonl", OWN), answers=other)


def test_unknown_formats_splits_and_videos_name_what_there_is(tmp_path: Path) -> None:
    path = as_json(tmp_path / "a.json", MSRVTT)
    with pytest.raises(ValueError, match="did you mean 'msrvtt'"):
        read_examples(path, format="msvtt")
    with pytest.raises(ValueError, match="must be one of test, train"):
        read_examples(path, split="val")
    assert {e.video for e in read_examples(path, split="train")} == {"video0", "video1"}
    assert {e.video for e in read_examples(path, videos=["video3"])} == {"video3"}
    with pytest.raises(ValueError, match="no example of 1 of the 2 videos asked for, among them video9"):
        read_examples(path, videos=["video3", "video9"])


def test_local_val_takes_one_caption_of_unused_test_videos_by_seed(tmp_path: Path) -> None:
    examples = read_examples(as_json(tmp_path / "a.json", MSRVTT))
    pairs = msrvtt_local_val(examples, test_videos=["video2", "video3"], num_pairs=3, seed=0)
    assert len({e.video for e in pairs}) == 3 and {e.video for e in pairs} <= {f"video{i}" for i in range(4, 8)}
    assert pairs == msrvtt_local_val(examples, test_videos=["video3", "video2"], num_pairs=3, seed=0)
    assert len({tuple(msrvtt_local_val(examples, test_videos=[], num_pairs=3, seed=seed)) for seed in range(5)}) > 1
    with pytest.raises(ValueError, match="at most the 4 unused test videos, got 5"):
        msrvtt_local_val(examples, test_videos=["video2", "video3"], num_pairs=5)


def test_vocabulary_is_by_frequency_then_alphabet() -> None:
    answers = Counter({"dog": 3, "cat": 2, "ant": 2, "bee": 1})
    examples = [Example("v", "0", "q?", answer=answer) for answer in answers.elements()]
    assert answer_vocabulary(examples, max_size=10) == ["dog", "ant", "cat", "bee"]
    assert answer_vocabulary(examples, max_size=2) == ["dog", "ant"] and answer_vocabulary(examples, max_size=9, at_least=2) == ["dog", "ant", "cat"]
