"""Evaluation: equal to asking one by one, each video encoded once, nothing dropped."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GOLDEN, ROOT
from test_predict import Counting, make_predictor
from tiny import tiny_model, tiny_processor

from clipbert.adaptive import answer_adaptive
from clipbert.aggregation import AGGREGATIONS, aggregate
from clipbert.config import HeadConfig
from clipbert.data.rows import Example
from clipbert.data.video_store import open_store
from clipbert.evaluate import evaluate, only_head
from clipbert.metrics import accuracy, retrieval_metrics
from clipbert.predict import Predictor
from clipbert.settling import ORDER
from clipbert.video import VideoError

VIDEOS = ("video_a30.mp4", "video_b25.mp4", "video_f12avi.avi")
STORE = open_store(GOLDEN)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor()


def questions() -> list[Example]:
    asked = [(v, f"what colour number {k}?") for k in range(2) for v in VIDEOS]
    return [Example(v, str(i), question=q, answer=("red", "blue")[i % 2], answer_type=("what", "who")[i % 2]) for i, (v, q) in enumerate(asked)]


def test_accuracy_at_every_size_and_aggregation_equals_asking_one_by_one(predictor: Predictor) -> None:
    rows = evaluate(predictor, questions(), STORE, "qa", sizes=(1, 4))
    assert [(row.num_clips, row.aggregation) for row in rows] == [(n, how) for n in (1, 4) for how in AGGREGATIONS]
    for row in rows:
        answers = [
            predictor.answer(predictor.encode(GOLDEN / e.video, num_clips=row.num_clips), e.question, aggregation=row.aggregation).answer
            for e in questions()
        ]
        assert row.metrics["accuracy"] == accuracy(answers, [e.answer for e in questions()])
        assert {"accuracy/what", "accuracy/who"} < set(row.metrics)


def test_each_video_is_encoded_once_whatever_is_asked_of_it() -> None:
    counting = make_predictor()
    counting.model.__class__ = Counting
    evaluate(counting, questions(), STORE, "qa", sizes=(4,), policy="official")
    assert counting.model.encoded == len(VIDEOS) * 4 * 2


def test_retrieval_ranks_every_video_for_every_caption(predictor: Predictor) -> None:
    captions = ["a red ball", "a dog", "blue", "a green field"]
    examples = [Example(VIDEOS[i % 3], str(i), caption=c) for i, c in enumerate(captions)]
    [row] = [r for r in evaluate(predictor, examples, STORE, "retrieval", sizes=(2,)) if r.aggregation == "lse"]
    grouped = [captions[0], captions[3], captions[1], captions[2]]
    scores = torch.stack([predictor.match(predictor.encode(GOLDEN / v, num_clips=2), grouped, aggregation="lse") for v in VIDEOS], dim=1)
    assert row.metrics == pytest.approx(retrieval_metrics(scores, torch.tensor([0, 0, 1, 2])))


def test_choices_without_a_question_are_captions_and_the_best_match_wins(predictor: Predictor) -> None:
    choices = ("a red ball", "a dog", "blue")
    video = predictor.encode(GOLDEN / VIDEOS[0], num_clips=2)
    best = int(predictor.match(video, choices, aggregation="max").argmax())
    rows = evaluate(predictor, [Example(VIDEOS[0], "0", choices=choices, answer=best)], STORE, "multiple_choice", sizes=(2,))
    assert next(r for r in rows if r.aggregation == "max").metrics == {"accuracy": 1.0}


def test_vqa_gives_the_answers_soft_label(predictor: Predictor) -> None:
    scores = tuple((word, value) for word, value in (("red", 0.3), ("green", 0.6), ("blue", 0.9), ("white", 1.0)))
    rows = evaluate(predictor, [Example(VIDEOS[0], "0", question="what colour?", answer_scores=scores)], STORE, "vqa", sizes=(1,))
    answer = predictor.answer(predictor.encode(GOLDEN / VIDEOS[0], num_clips=1), "what colour?", aggregation="mean").answer
    assert rows[0].metrics == {"vqa_score": dict(scores)[answer]}


def test_a_missing_video_an_empty_set_and_a_withheld_answer_stop_it(predictor: Predictor) -> None:
    with pytest.raises(VideoError, match="no video or image called nowhere"):
        evaluate(predictor, [Example("nowhere", "0", question="what?", answer="red")], STORE, "qa")
    with pytest.raises(ValueError, match="no examples"):
        evaluate(predictor, [], STORE, "qa")
    with pytest.raises(ValueError, match="has no answer to compare with"):
        evaluate(predictor, [Example(VIDEOS[0], "0", question="what?")], STORE, "qa", sizes=(1,))


def counts() -> list[Example]:
    return [Example(v, str(i), question=f"how many times {i}?", answer=str(2 + i)) for i, v in enumerate(VIDEOS)]


def test_counting_is_judged_by_the_squared_error_of_whole_numbers(predictor: Predictor) -> None:
    rows = evaluate(predictor, counts(), STORE, "count", sizes=(2,))
    for row in rows:
        found = []
        for e in counts():
            logits = predictor.clip_logits(predictor.encode(GOLDEN / e.video, num_clips=2), [e.question], "count")
            found.append(min(max(round(float(aggregate(logits, row.aggregation))), 1), 10))
        assert row.metrics["mean_squared_error"] == pytest.approx(sum((n - 2 - i) ** 2 for i, n in enumerate(found)) / 3)
        assert row.metrics["accuracy"] == sum(n == 2 + i for i, n in enumerate(found)) / 3


def test_a_model_that_cannot_count_and_a_count_that_is_no_number_are_named(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match=r"cannot count \(its heads: classifier\)"):
        evaluate(only_head(predictor, "qa"), counts(), STORE, "count", sizes=(1,))
    with pytest.raises(ValueError, match="a count must be a number, got 'many'"):
        evaluate(predictor, [Example(VIDEOS[0], "0", question="how many?", answer="many")], STORE, "count", sizes=(1,))


def test_a_head_is_asked_by_name() -> None:
    heads = {name: HeadConfig("classifier", 2, labels) for name, labels in (("first", ("red", "blue")), ("second", ("dog", "cat")))}
    model = tiny_model(heads=heads)
    both = Predictor(model, tiny_processor(model))
    example = Example(VIDEOS[0], "0", question="what is it?", answer="dog")
    seen = {}
    for head in heads:
        scores = tuple((label, float(k + 1)) for k, label in enumerate(heads[head].labels))
        seen[head] = evaluate(both, [replace(example, answer_scores=scores)], STORE, "vqa", sizes=(1,), head=head)[0].metrics["vqa_score"]
    assert all(score > 0 for score in seen.values()), "each head gives one of its own answers"
    with pytest.raises(ValueError, match="did you mean 'second'"):
        evaluate(both, [example], STORE, "qa", head="secnd")


@pytest.mark.parametrize("margin", [0.0, 0.01, 100.0])
def test_an_adaptive_evaluation_gives_the_answers_of_asking_adaptively(predictor: Predictor, margin: float) -> None:
    [row] = evaluate(predictor, questions(), STORE, "qa", sizes=(8,), margins={"lse": margin})
    asked = [answer_adaptive(predictor, GOLDEN / e.video, e.question, margin=margin, aggregation="lse", num_clips=8) for e in questions()]
    whole = [predictor.answer(predictor.encode(GOLDEN / e.video, num_clips=8, policy=ORDER), e.question, aggregation="lse") for e in questions()]
    assert row.metrics["accuracy"] == accuracy([found.prediction.answer for found in asked], [e.answer for e in questions()])
    assert row.metrics["mean_clips"] == pytest.approx(sum(found.num_read for found in asked) / 6)
    changed = sum(found.prediction.answer != all_of.answer for found, all_of in zip(asked, whole, strict=True))
    assert row.metrics["disagreement"] == changed / 6 <= row.metrics["disagreement_at_most"]
    assert row.metrics["mean_clips"] == {0.0: 1, 100.0: 8}.get(margin, row.metrics["mean_clips"])


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("retrieval", {}, "adaptive N_test is of questions"),
        ("qa", {"policy": "official"}, 'in the order of policy "nested"'),
        ("qa", {"margins": {"median": 1.0}}, "aggregation must be one of mean, max, lse"),
    ],
)
def test_an_adaptive_evaluation_of_something_else_is_refused(predictor: Predictor, task: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(predictor, questions(), STORE, task, **{"margins": {"lse": 1.0}, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("task", ["qa", "retrieval"])
def test_two_processes_count_every_example_once(task: str, tmp_path: Path) -> None:
    """Under torchrun with gloo: three videos over two processes, so one reads twice as many as the other."""
    model = tiny_model()
    model.save_pretrained(tmp_path)
    tiny_processor(model).save_pretrained(tmp_path)
    rows = [{"video": e.video, "question": e.question, "answer": e.answer} for e in questions()]
    if task == "retrieval":
        rows = [
            {"video": e.video, "caption": f"a {color} ball"} for e, color in zip(questions(), ("red", "green", "blue", "tan", "pink"), strict=False)
        ]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    script = [str(ROOT / "train" / "evaluate.py"), "--model", str(tmp_path), "--task", task, "--num-clips", "1", "3"]
    script += ["--annotations", str(tmp_path / "rows.jsonl"), "--videos", str(GOLDEN)]
    shown = []
    for launcher in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, *launcher, *script], env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        shown.append(json.loads(done.stdout))
    assert shown[0] == shown[1] and shown[0]["num_examples"] == len(rows)


def test_the_script_prints_json_and_one_line_for_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from train.evaluate import main

    model = tiny_model()
    model.save_pretrained(tmp_path)
    tiny_processor(model).save_pretrained(tmp_path)
    rows = [{"video": e.video, "question": e.question, "answer": e.answer} for e in questions()]
    (tmp_path / "qa.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    common = ["--model", str(tmp_path), "--annotations", str(tmp_path / "qa.jsonl"), "--videos", str(GOLDEN)]
    assert main([*common, "--task", "qa", "--num-clips", "1", "2", "--out", str(tmp_path / "out.json")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["rows"]) == 6 and shown == json.loads((tmp_path / "out.json").read_text()) and shown["num_examples"] == 6
    assert main([*common, "--task", "qa", "--num-clips", "4", "--adaptive", "--margin", "2"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["policy"] == "nested" and shown["margins"]["lse"] == 2 and all(1 <= row["mean_clips"] <= 4 for row in shown["rows"])
    assert main([*common, "--task", "qa", "--adaptive"]) == 2
    assert "no calibrated margin" in capsys.readouterr().err
    assert main([*common, "--task", "caption"]) == 2
    error = capsys.readouterr().err.strip()
    assert "task must be one of" in error.splitlines()[-1]
