"""Adaptive N_test: clips in nested order until the answer leads by a margin, which is calibrated on validation questions."""

import json
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN
from test_predict import Counting, make_predictor
from tiny import tiny_model, tiny_processor

from clipbert.adaptive import answer_adaptive
from clipbert.aggregation import AGGREGATIONS, aggregate
from clipbert.cli import main
from clipbert.metrics import binomial_interval
from clipbert.settling import calibrated_margin, clips_read, last_change, leads, settling
from train.settle import main as settle

VIDEO, QUESTION = GOLDEN / "video_a30.mp4", "what colour?"


@pytest.fixture(scope="module")
def asked() -> list[torch.Tensor]:
    """Questions that most clips do not answer: noise, and in one clip evidence for an answer."""
    generator, found = torch.Generator().manual_seed(0), []
    for q in range(60):
        logits = torch.randn(16, 5, generator=generator)
        logits[q % 16, q % 5] += 6
        found.append(logits)
    return found


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_the_lead_after_n_clips_is_that_of_the_first_n_pooled(asked: list[torch.Tensor], how: str) -> None:
    for n, lead in enumerate(leads(asked[0], how).tolist(), 1):
        first, second = aggregate(asked[0][None, :n], how)[0].topk(2).values.tolist()
        assert lead == pytest.approx(first - second, abs=1e-5)


def test_a_larger_margin_never_reads_fewer_clips(asked: list[torch.Tensor]) -> None:
    for logits in asked:
        read = [clips_read(logits, "lse", margin) for margin in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 1e9)]
        assert read == sorted(read) and (read[0], read[-1]) == (1, 16)


def test_settling_counts_clips_and_answers_that_differ(asked: list[torch.Tensor]) -> None:
    found = settling(asked, "max", 1.0)
    read = [clips_read(logits, "max", 1.0) for logits in asked]
    differs = [aggregate(x[None, :n], "max").argmax() != aggregate(x[None], "max").argmax() for x, n in zip(asked, read, strict=True)]
    assert (found.mean_clips, found.num_disagreeing) == (pytest.approx(sum(read) / 60), sum(map(int, differs)))
    assert 0 < found.num_disagreeing < 60 and found.disagreement_at_most == binomial_interval(found.num_disagreeing, 60)[1] > found.disagreement
    with pytest.raises(ValueError, match="at least one question"):
        settling([], "max", 1.0)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_after_the_last_change_the_answer_is_that_of_all_clips(asked: list[torch.Tensor], how: str) -> None:
    for logits in asked:
        answers = [int(aggregate(logits[None, :n], how).argmax()) for n in range(1, 17)]
        n = last_change(logits, how)
        assert set(answers[n - 1 :]) == {answers[-1]} and (n == 1 or answers[n - 2] != answers[-1])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_a_calibrated_margin_is_the_least_that_keeps_to_the_share(asked: list[torch.Tensor], share: float) -> None:
    margin = calibrated_margin(asked, "lse", disagreement=share)
    assert settling(asked, "lse", margin).disagreement <= share < settling(asked, "lse", margin - 0.05).disagreement
    assert settling(asked, "lse", margin).mean_clips < 16


@pytest.mark.parametrize("margin", [0.0, 0.3, 1e9])
def test_an_adaptive_answer_is_that_of_the_clips_it_read_and_of_no_more_frames(margin: float) -> None:
    predictor = make_predictor()
    predictor.model.__class__ = Counting
    found = answer_adaptive(predictor, VIDEO, QUESTION, margin=margin, num_clips=8, num_frames=1)
    assert predictor.model.encoded == found.num_read  # one frame each, of a video long enough for eight
    whole = make_predictor().encode(VIDEO, num_clips=8, num_frames=1, policy="nested")
    logits = make_predictor().candidate_logits(whole, QUESTION)[1]
    assert found.num_read == clips_read(logits, "lse", margin) and found.num_planned == 8
    assert found.settled == (float(leads(logits, "lse")[found.num_read - 1]) >= margin)
    pooled = aggregate(logits[None, : found.num_read], "lse")[0].softmax(dim=-1)
    torch.testing.assert_close(found.prediction.scores, pooled, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_adaptive_is_refused() -> None:
    with pytest.raises(ValueError, match='model tiny has no calibrated margin for aggregation "lse"; give one in nats'):
        answer_adaptive(make_predictor(), VIDEO, QUESTION)
    with pytest.raises(ValueError, match='in the order of policy "nested", got "paper"'):
        answer_adaptive(make_predictor(), VIDEO, QUESTION, margin=1.0, policy="paper")


@pytest.fixture
def model_dir(tmp_path: Path) -> str:
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    tiny_processor(model).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_margins_are_calibrated_saved_and_used_by_the_command(tmp_path: Path, model_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / "val.jsonl", tmp_path / "test.jsonl"]
    for path, video in zip(files, ("video_b25.mp4", "video_f12avi.avi"), strict=True):
        rows = [{"video": video, "question": f"what colour number {k}?", "answer": "red", "answer_type": "color"} for k in range(6)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = ["--model", model_dir, "--videos", str(GOLDEN), "--num-clips", "4", "--questions", str(files[0])]
    assert settle([*common, "--test", str(files[1]), "--save"]) == 0
    found = json.loads(capsys.readouterr().out)["aggregations"]["lse"]
    assert found["validation"]["num_disagreeing"] == 0 and {"mean_clips", "disagreement_at_most", "accuracy"} < set(found["test"])
    assert settle([*common, "--test", str(files[0])]) == 2 and "1 videos are in both" in capsys.readouterr().err

    assert settle(common) == 2 and "at least two videos to be halved, got 1" in capsys.readouterr().err
    assert settle([*common, str(files[1])]) == 0
    assert [part["num_questions"] for part in json.loads(capsys.readouterr().out)["aggregations"]["lse"].values()] == [6, 6]

    ask = ["ask", str(VIDEO), QUESTION, "--model", model_dir]
    assert main([*ask, "--adaptive", "--num-clips", "4", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["adaptive"]["margin"] == found["test"]["margin"] and answer["adaptive"]["num_read"] == len(answer["clips"]) <= 4
    assert main([*ask, "--adaptive", "--margin", "0"]) == 0
    assert "read 1 of 16 clips, until the answer was settled (a lead of 0.00 nats)" in capsys.readouterr().out
    assert main([*ask, "--margin", "1"]) == 2 and "give --adaptive too" in capsys.readouterr().err
    assert main([*ask, "--adaptive", "--policy", "paper"]) == 2 and "--adaptive does not go with --policy" in capsys.readouterr().err
