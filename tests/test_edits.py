"""Counterfactual edits: each changes what its name says, nothing else, and computes no more than it must."""

import dataclasses

import pytest
import torch
from test_predict import VIDEO, Counting, make_predictor

from clipbert import edits
from clipbert.aggregation import AGGREGATIONS
from clipbert.edits import Footage, changes, footage
from clipbert.predict import Predictor
from clipbert.types import Prediction, Timeline

QUESTION = "what colour?"


@pytest.fixture
def counted() -> Predictor:
    predictor = make_predictor(num_frames=3)
    predictor.model.__class__ = Counting
    return predictor


def answer(predictor: Predictor, shown: Footage, how: str = "lse") -> Prediction:
    return predictor.answer(shown.encode(predictor), QUESTION, aggregation=how)


def work(predictor: Predictor) -> tuple[int, int]:
    return predictor.model.encoded, predictor.model.scored  # pyright: ignore[reportAttributeAccessIssue]


def test_unedited_footage_is_what_the_predictor_encodes(counted: Predictor) -> None:
    shown = footage(counted, VIDEO, policy="random", seed=3).encode(counted)
    whole = counted.encode(VIDEO, policy="random", seed=3)
    assert shown.key == whole.key and torch.equal(shown.times, whole.times) and shown.policy == "random"


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_reversed_clips_change_no_answer_and_run_no_model(counted: Predictor, how: str) -> None:
    before = footage(counted, VIDEO)
    asked, done = answer(counted, before, how), work(counted)
    found = answer(counted, edits.reversed_clips(before), how)
    assert work(counted) == done and torch.equal(found.times, asked.times.flip(0))
    torch.testing.assert_close(found.scores, asked.scores, atol=1e-6, rtol=0)


def test_a_clip_left_out_runs_no_model_and_leaves_the_votes_of_the_others(counted: Predictor) -> None:
    before = footage(counted, VIDEO)
    asked, done = answer(counted, before), work(counted)
    found = answer(counted, edits.without_clip(before, 1))
    assert work(counted) == done and torch.equal(found.clip_logits, asked.clip_logits[[0, 2, 3]])


def test_shuffled_frames_run_the_transformer_alone_and_change_nothing_under_mean_fusion(counted: Predictor) -> None:
    before = footage(counted, VIDEO)
    asked, (encoded, scored) = answer(counted, before), work(counted)
    shuffled = edits.shuffled_frames(before)
    found = answer(counted, shuffled)
    assert work(counted) == (encoded, scored + 1)
    assert not torch.equal(shuffled.encode(counted).features, before.encode(counted).features)
    torch.testing.assert_close(found.scores, asked.scores, atol=1e-5, rtol=0)
    assert answer(counted, edits.without_clip(shuffled, 0)).scores.shape == found.scores.shape
    assert work(counted) == (encoded, scored + 1), "leaving a clip out must not shuffle the others anew"


def test_streamed_footage_ends_as_encoded_at_once_and_shows_the_frames_in_its_order(counted: Predictor) -> None:
    shown = edits.shuffled_frames(edits.mirrored(footage(counted, VIDEO)), seed=5)
    *_, last = shown.stream(counted)
    assert torch.equal(last.video.features, shown.encode(counted).features) and last.video.clip_keys == shown.encode(counted).clip_keys
    *_, usual = edits.mirrored(footage(counted, VIDEO)).stream(counted)
    assert last.frames is not None and usual.frames is not None
    assert not torch.equal(last.frames, usual.frames) and torch.equal(last.frames.sum(dim=0), usual.frames.sum(dim=0))


@pytest.mark.parametrize("policy", ["paper", "official", "centered", "random"])
def test_a_trimmed_video_is_sampled_within_the_range_alone(counted: Predictor, policy: str) -> None:
    before = footage(counted, VIDEO, policy=policy)
    after = edits.trimmed(before, 2.0, 6.0)
    video = after.encode(counted)
    assert video.num_clips == 4 and float(video.times.min()) >= 2.0 and float(video.times.max()) < 6.0
    assert float(video.spans.min()) >= 2.0 and float(video.spans.max()) <= 6.0 + 1e-6
    again = edits.trimmed(before, 0.0, 60.0)
    assert [clip.frame_index.tolist() for clip in again.clips] == [clip.frame_index.tolist() for clip in before.clips]


def test_frames_of_a_trimmed_video_that_were_seen_are_not_computed_again(counted: Predictor) -> None:
    before = footage(counted, VIDEO, policy="official")
    answer(counted, before)
    seen = {int(i) for clip in before.clips for i in clip.frame_index}
    after = edits.trimmed(before, 0.0, 5.0)
    new = {int(i) for clip in after.clips for i in clip.frame_index} - seen
    encoded, _ = work(counted)
    answer(counted, after)
    assert counted.model.encoded == encoded + len(new)  # pyright: ignore[reportAttributeAccessIssue]


def test_a_frozen_video_shows_one_frame_everywhere(counted: Predictor) -> None:
    video = edits.frozen(footage(counted, VIDEO), 4.0).encode(counted)
    assert counted.model.encoded == 1  # pyright: ignore[reportAttributeAccessIssue]
    assert len(set(video.times.flatten().tolist())) == 1 and abs(float(video.times[0, 0]) - 4.0) < 0.1
    assert torch.equal(video.features, video.features[:1, :1].expand_as(video.features))


def test_frames_are_mirrored_and_grey_before_the_cnn(counted: Predictor) -> None:
    before = footage(counted, VIDEO)
    both = edits.grey(edits.mirrored(before))
    usual, edited = (counted.pictures(shown.source, shown.clips[0]) for shown in (before, both))
    assert torch.equal(edited[0], edits.grey_frame(usual[0].flip(-1)))
    assert both.edits == ("mirrored", "grey") and not torch.equal(both.encode(counted).features, before.encode(counted).features)
    red = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    assert edits.grey_frame(red).unique().tolist() == [76]


def test_another_video_is_sampled_in_the_same_way(counted: Predictor) -> None:
    other = VIDEO.with_name("video_b25.mp4")
    after = edits.swapped(footage(counted, VIDEO, num_clips=3), other)
    assert torch.equal(after.encode(counted).times, counted.encode(other, num_clips=3).times) and after.edits == (f"the video {other.name}",)


def test_edits_that_cannot_be_made_say_what_to_do(counted: Predictor) -> None:
    before, single = footage(counted, VIDEO), footage(counted, VIDEO, num_clips=1, num_frames=1)
    for wrong, message in (
        (lambda: edits.without_clip(before, 4), "must be between 0 and 3, got 4"),
        (lambda: edits.without_clip(single, 0), "ask with more clips"),
        (lambda: edits.shuffled_frames(single), "ask with more frames a clip"),
        (lambda: edits.trimmed(before, 5, 5), "got 5 to 5 s"),
        (lambda: edits.trimmed(before, 100, 110), "widen the range"),
        (lambda: edits.trimmed(edits.reversed_clips(before), 0, 5), r"\(clips in reverse order\); undo them"),
        (lambda: edits.frozen(before, 99), "no frame is on display at 99 s"),
        (lambda: edits.swapped(edits.grey(before), VIDEO), r"\(grey\); undo them"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


def test_part_of_a_timeline_is_a_timeline_of_its_own() -> None:
    whole = Timeline.regular(100, 10.0)
    part = edits._part(whole, 20, 50)
    assert (part.num_frames, part.duration, part.stream_frames, part.stream_duration) == (30, pytest.approx(3.0), 30, 30)
    silent = edits._part(dataclasses.replace(whole, stream_frames=0, stream_duration=None), 20, 50)
    assert (silent.stream_frames, silent.stream_duration) == (0, None)


def test_changes_are_of_the_candidates_that_both_predictions_have(counted: Predictor) -> None:
    video = counted.encode(VIDEO)
    before = counted.answer(video, QUESTION)
    after = counted.answer(video, QUESTION, choices=["blue", "red", "pink"])
    found = {change.candidate: change for change in changes(before, after)}
    assert set(found) == {"red", "blue"}
    assert found["red"].before == pytest.approx(float(before.scores[0])) and found["red"].after == pytest.approx(float(after.scores[1]))
    assert [change.before for change in changes(before, before)] == sorted(before.scores.tolist(), reverse=True)
