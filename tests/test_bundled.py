"""The bundled models: small enough together, and `synthetic` finds the second that was planted in a video that it has never seen."""

import json
from collections import Counter
from pathlib import Path

import pytest

from clipbert.bundled import BUNDLED, model_folder
from clipbert.data.examples import read_examples
from clipbert.data.questions import rows
from clipbert.data.stories import make_story
from clipbert.data.story_video import write_video
from clipbert.data.video_store import open_store
from clipbert.evaluate import evaluate
from clipbert.evidence import Evidence, planted_clips
from clipbert.predict import Predictor


def test_together_they_are_at_most_80_megabytes_in_float16() -> None:
    assert 0 < sum(file.stat().st_size for name in BUNDLED for file in model_folder(name).iterdir()) <= 80e6


@pytest.mark.parametrize("name", BUNDLED)
def test_each_has_a_card_that_says_it_is_not_the_papers(name: str) -> None:
    assert "not the paper's model" in (model_folder(name) / "README.md").read_text()


def test_synthetic_answers_by_the_clips_that_see_the_answer(tmp_path: Path) -> None:
    predictor, told = Predictor.from_pretrained("synthetic"), Counter[str]()
    for index in range(3):
        story = make_story(77, "test", index)
        path = tmp_path / Path(story.path).name
        write_video(story, path)
        video = predictor.encode(path)
        for row in rows(story)["openqa"]:
            answer = predictor.answer(video, str(row["question"]))
            planted = planted_clips(video.times, Evidence.read(row["evidence"]))
            told["asked"] += 1
            told["right"] += answer.answer == row["answer"]
            told["found"] += answer.answer == row["answer"] and bool(planted[int(answer.contribution.argmax())])
    assert told["asked"] == 15 and told["right"] >= 8  # guessing among 41 answers: 0 or 1
    assert told["found"] >= 0.8 * told["right"]


@pytest.mark.slow
def test_synthetic_keeps_its_marks_on_the_test_split_of_its_card(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    asked, told = [], []
    for index in range(162):
        story = make_story(1, "test", index)
        write_video(story, tmp_path / story.path)
        row_of = rows(story)
        asked += row_of["openqa"] + row_of["frameqa"]
        told += row_of["captions"][:1] if index < 60 else []
    for name, found in (("asked", asked), ("told", told)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    predictor, store = Predictor.from_pretrained("synthetic"), open_store(tmp_path)
    score = {}
    for name, task, metric in (("asked", "qa", "accuracy"), ("told", "retrieval", "text_to_video/recall_at_1")):
        found = evaluate(predictor, read_examples(tmp_path / f"{name}.jsonl"), store, task, head=None if task == "qa" else task)
        score[task] = next(one.metrics[metric] for one in found if one.aggregation == predictor.sampling.aggregation)
    assert len(asked) == 1445 and score["qa"] >= 0.9, score
    assert len(told) == 60 and score["retrieval"] >= 0.5, score
