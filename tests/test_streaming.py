"""Streaming: the same answer as at once, clip by clip, stoppable, frugal."""

from pathlib import Path

import pytest
import torch
from test_predict import VIDEO, Counting, make_predictor
from videos import write_video

from clipbert.aggregation import AGGREGATIONS
from clipbert.streaming import encode_stream
from clipbert.video import VideoError


@pytest.mark.parametrize("policy", ["official", "paper", "random"])
def test_the_last_step_is_the_video_encoded_at_once(policy: str) -> None:
    steps = list(encode_stream(make_predictor(), VIDEO, policy=policy, seed=3))
    whole = make_predictor().encode(VIDEO, policy=policy, seed=3)
    assert [(step.num_done, step.num_planned, step.video.num_clips) for step in steps] == [(n, 4, n) for n in (1, 2, 3, 4)]
    last = steps[-1].video
    assert (last.key, last.clip_keys, last.shortened, last.notices, last.policy) == (
        whole.key, whole.clip_keys, whole.shortened, whole.notices, whole.policy,
    )  # fmt: skip
    assert torch.allclose(last.features, whole.features, atol=1e-5) and torch.equal(last.times, whole.times) and torch.equal(last.spans, whole.spans)
    assert steps[0].frames is not None and steps[0].frames.shape[0] == 2


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_streamed_answer_equals_the_answer_at_once(aggregation: str) -> None:
    streaming, at_once = make_predictor(), make_predictor()
    answers = [streaming.answer(step.video, "what colour?", aggregation=aggregation) for step in encode_stream(streaming, VIDEO)]
    expected = at_once.answer(at_once.encode(VIDEO), "what colour?", aggregation=aggregation)
    assert answers[-1].answer == expected.answer and len(answers[0].contribution) == 1
    assert torch.allclose(answers[-1].clip_logits, expected.clip_logits, atol=1e-5)
    assert torch.allclose(answers[-1].contribution, expected.contribution, atol=1e-5)


def test_each_clip_is_scored_once_while_its_answer_grows() -> None:
    predictor = make_predictor()
    predictor.model.__class__ = Counting
    for step in encode_stream(predictor, VIDEO):
        predictor.answer(step.video, "what colour?")
    assert predictor.model.encoded == 8 and predictor.model.scored == 4


def test_closing_the_stream_ends_the_work() -> None:
    predictor = make_predictor()
    predictor.model.__class__ = Counting
    steps = encode_stream(predictor, VIDEO, num_clips=4)
    next(steps)
    steps.close()
    assert predictor.model.encoded == 2


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads the resident memory from /proc")
def test_stopped_streams_leave_no_memory_behind() -> None:
    predictor = make_predictor()

    def stopped(seed: int) -> int:
        steps = encode_stream(predictor, VIDEO, num_clips=8, policy="random", seed=seed)
        predictor.answer(next(steps).video, f"what is {seed}?")
        steps.close()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = max(stopped(seed) for seed in range(5))
    assert max(stopped(seed) for seed in range(5, 45)) - before < 50e6


def test_clips_known_from_before_are_reused() -> None:
    predictor = make_predictor()
    predictor.encode(VIDEO, num_clips=2, policy="official")
    assert [step.num_reused for step in encode_stream(predictor, VIDEO, num_clips=4, policy="official")] == [1, 1, 2, 2]


def test_a_sweep_scores_each_clip_once() -> None:
    predictor = make_predictor(policy="official")
    parts, _ = predictor.encode_sweep(VIDEO, sizes=(1, 2, 4))
    rows = []
    score = predictor.model.score
    predictor.model.score = lambda features, texts, head: rows.append(len(features)) or score(features, texts, head)
    for part in parts.values():
        predictor.answer(part, "what colour?")
    assert sum(rows) == 4


def test_an_undecodable_clip_is_left_out_and_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "damaged.mp4", num_frames=120, gop=30)
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4 : len(content) * 3 // 4 + 4000] = bytes(4000)
    path.write_bytes(content)
    whole = make_predictor().encode(path, policy="official")
    steps = list(encode_stream(make_predictor(), path, policy="official"))
    assert steps[-1].video.notices == whole.notices and steps[-1].video.key == whole.key


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_text("no video\n" * 99)
    with pytest.raises(VideoError):
        next(encode_stream(make_predictor(), tmp_path / "no.mp4"))


def test_a_match_prediction_is_the_match_with_each_clips_part() -> None:
    predictor = make_predictor()
    video = predictor.encode(VIDEO)
    texts = ["a red ball", "a dog"]
    for how in AGGREGATIONS:
        found = predictor.match_prediction(video, texts, aggregation=how)
        log_odds = predictor.match(video, texts, aggregation=how)
        assert found.answer == texts[int(log_odds.argmax())] and torch.allclose(found.scores, log_odds.sigmoid())
        assert float(found.contribution.sum()) == pytest.approx(float(log_odds.max()), abs=1e-4)
