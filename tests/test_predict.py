"""Predictor: encode once, ask often; caches; choices; matching; sweeps; damaged and unusual input."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN
from PIL import Image
from tiny import HEADS, tiny_model, tiny_processor

from clipbert.aggregation import AGGREGATIONS, aggregate
from clipbert.caches import ENTRY_BYTES
from clipbert.per_clip import ClipBertPerClip
from clipbert.predict import Predictor
from clipbert.source import content_hash
from clipbert.types import EncodedVideo
from clipbert.video import VideoError

VIDEO = GOLDEN / "video_a30.mp4"


def make_predictor(heads: tuple[str, ...] = tuple(HEADS), **sampling: object) -> Predictor:
    model = tiny_model(heads={name: HEADS[name] for name in heads})
    return Predictor(model, tiny_processor(model, **sampling), name="tiny")


@pytest.fixture
def predictor() -> Predictor:
    return make_predictor()


class Counting(ClipBertPerClip):
    """Counts the two calls."""

    encoded = scored = 0

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        self.encoded += len(frames)
        return super().encode(frames)

    def score(self, features: torch.Tensor, texts: list[str], head: str) -> torch.Tensor:
        self.scored += len(texts)
        return super().score(features, texts, head)


@pytest.fixture
def counting(predictor: Predictor) -> Predictor:
    predictor.model.__class__ = Counting
    return predictor


def test_an_answer_comes_with_each_clips_vote_and_contribution(predictor: Predictor) -> None:
    prediction = predictor.answer(predictor.encode(VIDEO), "what colour?")
    assert prediction.answer in ("red", "green", "blue", "white") and prediction.clip_logits.shape == (4, 4)
    assert float(prediction.scores.sum()) == pytest.approx(1, abs=1e-5)
    pooled = aggregate(prediction.clip_logits[None], "lse")[0].log_softmax(-1)
    gained = float(pooled.max() + torch.tensor(4.0).log())
    assert float(prediction.contribution.sum()) == pytest.approx(gained, abs=1e-5)


def test_an_answer_below_the_stated_confidence_is_marked_not_sure_with_its_alternatives() -> None:
    for floor, sure in ((0.0, True), (1.0, False)):
        head = dataclasses.replace(HEADS["qa"], abstain_below=floor)
        model = tiny_model(heads={"qa": head})
        predictor = Predictor(model, tiny_processor(model))
        prediction = predictor.answer(predictor.encode(VIDEO), "what colour?")
        assert prediction.sure is sure and ("wavers between" in " ".join(prediction.notices)) is not sure


def test_a_new_question_neither_decodes_nor_runs_the_cnn(counting: Predictor) -> None:
    counting.encode(VIDEO)
    encoded = counting.model.encoded
    video = counting.encode(VIDEO)
    counting.answer(video, "one?")
    counting.answer(video, "two?")
    assert counting.model.encoded == encoded == 8 and counting.model.scored == 2
    assert counting.features.hits == 8


def test_a_new_aggregation_runs_no_model(counting: Predictor) -> None:
    video = counting.encode(VIDEO)
    answers = [counting.answer(video, "what colour?", aggregation=how) for how in AGGREGATIONS]
    assert counting.model.scored == 1 and len({a.aggregation for a in answers}) == 3


def test_more_clips_of_a_nesting_policy_reuse_the_frames_already_encoded(counting: Predictor) -> None:
    counting.encode(VIDEO, policy="official", num_clips=4)
    counting.encode(VIDEO, policy="official", num_clips=8)
    assert counting.model.encoded == 16


def test_caches_stay_within_their_bounds() -> None:
    model = tiny_model()
    predictor = Predictor(model, tiny_processor(model), cache_bytes=(500_000, 5_000, 5_000))
    video = predictor.encode(VIDEO, num_clips=8)
    for word in ("a", "b", "c", "d", "e"):
        predictor.answer(video, word)
    for cache in (predictor.frames, predictor.features, predictor.logits):
        assert 0 < cache.bytes <= cache.max_bytes and cache.bytes == sum(v.nbytes + ENTRY_BYTES for v in cache._values.values())


def test_the_cache_key_is_the_content_and_not_the_name(predictor: Predictor, tmp_path: Path) -> None:
    copy, other = tmp_path / "copy.mp4", tmp_path / "video_a30.mp4"
    shutil.copy(VIDEO, copy)
    shutil.copy(GOLDEN / "video_b25.mp4", other)
    assert predictor.encode(copy).key == predictor.encode(VIDEO).key != predictor.encode(other).key
    assert content_hash(copy) == content_hash(VIDEO)


def test_results_do_not_depend_on_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_predictor()
    expected = whole.match(whole.encode(VIDEO), ["a red ball", "a dog that runs", "blue"])
    monkeypatch.setattr("clipbert.encoding.FRAMES_AT_ONCE", 3)
    monkeypatch.setattr("clipbert.per_clip.ROWS_AT_ONCE", 2)
    parts = make_predictor()
    torch.testing.assert_close(parts.match(parts.encode(VIDEO), ["a red ball", "a dog that runs", "blue"]), expected, atol=1e-5, rtol=1e-5)


def test_folded_and_chunked_inference_equals_the_models_forward(predictor: Predictor) -> None:
    video = predictor.encode(VIDEO)
    model, processor = predictor.model.model, predictor.model.processor
    with torch.no_grad():
        from clipbert.video import Video

        with Video.open(VIDEO) as opened:
            frames = torch.stack([opened.frames_at(times).frames for times in video.times])
        expected = model(**processor(videos=[frames], texts=["what colour?"]), head="qa").clip_logits
    torch.testing.assert_close(predictor.clip_logits(video, ["what colour?"], "qa"), expected, atol=1e-4, rtol=1e-4)


def test_bfloat16_leaves_logits_within_two_hundredths_of_their_range_and_the_answer_as_it_was() -> None:
    model = tiny_model()
    exact, fast = (Predictor(tiny_model(), tiny_processor(model), dtype=dtype) for dtype in ("float32", "bfloat16"))
    a, b = (p.answer(p.encode(VIDEO), "what colour?") for p in (exact, fast))
    assert a.answer == b.answer
    assert float((a.clip_logits - b.clip_logits).abs().max()) < 0.02 * float(a.clip_logits.abs().max())


def test_choices_use_the_multiple_choice_head_then_a_classifier_that_knows_them_then_the_match_score() -> None:
    for heads in (("qa", "choice", "match"), ("qa", "match"), ("qa",)):
        predictor = make_predictor(heads)
        prediction = predictor.answer(predictor.encode(VIDEO), "what colour?", choices=["red", "blue"])
        assert prediction.candidates == ("red", "blue") and prediction.clip_logits.shape == (4, 2)
    matcher = make_predictor(("qa", "match"))
    video = matcher.encode(VIDEO)
    known, unknown = (matcher.answer(video, "what colour?", choices=["red", word]).clip_logits for word in ("blue", "mauve"))
    torch.testing.assert_close(known, matcher.clip_logits(video, ["what colour?"], "qa")[0][:, [0, 2]])
    match = matcher.clip_logits(video, ["what colour? red", "what colour? mauve"], "match")
    torch.testing.assert_close(unknown, (match[..., 1] - match[..., 0]).T)
    with pytest.raises(ValueError, match="knows no answer 'mauve'"):
        predictor.answer(predictor.encode(VIDEO), "what colour?", choices=["red", "mauve"])


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_match_is_the_sum_of_retrieval_and_contrastive_log_odds(predictor: Predictor, how: str) -> None:
    video, texts = predictor.encode(VIDEO), ["a red ball", "a dog"]
    parts = [make_predictor((head,)) for head in ("match", "contrast")]
    for part in parts:  # the same weights: heads are drawn after the trunk
        part.model.model.clipbert.load_state_dict(predictor.model.model.clipbert.state_dict())
    both = predictor.match(video, texts, aggregation=how)
    retrieval = predictor.clip_logits(video, texts, "match")
    pooled = aggregate(retrieval, how)
    contrast = predictor.clip_logits(video, texts, "contrast")
    alone = aggregate(torch.cat([torch.zeros_like(contrast), contrast], -1), how)
    torch.testing.assert_close(both, pooled[:, 1] - pooled[:, 0] + alone[:, 1] - alone[:, 0])


def test_match_is_the_sum_of_its_parts_each_times_its_weight() -> None:
    weights = {"match": 0.5, "contrast": 2.0}
    found = {}
    for name, factors in (("plain", {}), ("weighted", weights), ("one", {"match": 0.0})):
        heads = {head: dataclasses.replace(HEADS[head], match_weight=factors.get(head, 1.0)) for head in weights}
        model = tiny_model(heads=heads)
        predictor = Predictor(model, tiny_processor(model))
        video, texts = predictor.encode(VIDEO), ["a red ball", "a dog"]
        found[name] = predictor.match_parts(video, texts), predictor.match(video, texts)
    (plain, _), (weighted, both), (one, alone) = found.values()
    for head, weight in weights.items():
        torch.testing.assert_close(weighted[head], weight * plain[head])
    torch.testing.assert_close(both, weighted["match"] + weighted["contrast"])
    assert list(one) == ["contrast"] and torch.equal(alone, plain["contrast"])


def test_a_model_without_a_fitting_head_says_what_it_has() -> None:
    counter = make_predictor(("count",))
    video = counter.encode(VIDEO)
    with pytest.raises(ValueError, match=r"no open-ended answers \(its heads: regression\); give choices"):
        counter.answer(video, "what?")
    with pytest.raises(ValueError, match="cannot choose among answers"):
        counter.answer(video, "what?", choices=["a", "b"])
    with pytest.raises(ValueError, match="no match score"):
        counter.match(video, ["a dog"])


def test_a_sweep_equals_separate_runs_at_each_size(predictor: Predictor) -> None:
    rows, note = predictor.sweep(VIDEO, "what colour?", sizes=(1, 2, 4), policy="paper")
    assert "all sizes from one pass, 4 clips" in note and len(rows) == 9
    for row in rows:
        fresh = make_predictor()
        alone = fresh.answer(fresh.encode(VIDEO, num_clips=row.num_clips, policy="paper"), "what colour?", aggregation=row.aggregation)
        assert (row.answer, row.score) == (alone.answer, pytest.approx(float(alone.scores.max()), abs=1e-5))


def test_an_image_is_a_one_frame_video(predictor: Predictor, tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30), (200, 10, 10))
    image.save(tmp_path / "photo.png")
    for source in (image, tmp_path / "photo.png"):
        video = predictor.encode(source)
        assert video.duration == 1.0 and torch.equal(video.features, video.features[:1, :1].expand_as(video.features))


def test_the_random_policy_repeats_with_its_seed(predictor: Predictor) -> None:
    first, again, other = (predictor.encode(VIDEO, policy="random", seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.times, again.times) and not torch.equal(first.times, other.times)


def test_undecodable_clips_are_left_out_and_named(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipbert.video import Video

    decode = Video.decode
    monkeypatch.setattr(Video, "decode", lambda self, indices: decode(self, [i for i in indices if i < 200]))
    video = predictor.encode(VIDEO, policy="official", num_clips=4)
    assert video.partial and video.num_clips == 3 and "clip 4 of 4 could not be decoded and is left out; N_test=3" in " ".join(video.notices)
    monkeypatch.setattr(Video, "decode", lambda self, indices: ({}, tuple(indices)))
    with pytest.raises(VideoError, match="cannot decode any of the 4 clips"):
        make_predictor().encode(VIDEO)


def test_words_the_model_cannot_read_and_words_cut_off_are_said(predictor: Predictor) -> None:
    video = predictor.encode(VIDEO)
    notices = " ".join(predictor.answer(video, "where is 你好 " + "very " * 60).notices)
    assert "knows no piece of: 你好" in notices and "of its" in notices and "pieces were not read" in notices


@pytest.mark.parametrize(
    ("question", "choices", "message"),
    [
        ("  ", None, "the question is empty"),
        ("what?", ["a"], "at least two different"),
        ("what?", ["a", "a"], "at least two different"),
        ("what?", ["a", " "], "the choice is empty"),
    ],
)
def test_empty_questions_and_useless_choices_are_refused(predictor: Predictor, question: str, choices: list[str] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.answer(predictor.encode(VIDEO), question, choices=choices)


def test_a_pretraining_model_answers_nothing_and_says_so(tmp_path: Path) -> None:
    from clipbert.convert import convert_official, read_checkpoint

    model, _ = convert_official(read_checkpoint(GOLDEN / "official_pretrain_ckpt.pt"), "pretrain", num_heads=4)
    model.save_pretrained(tmp_path)
    tiny_processor(tiny_model()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no head that answers"):
        Predictor.from_pretrained(tmp_path)


def test_an_unknown_model_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no model 'reel'"):
        Predictor.from_pretrained("reel")


def test_a_saved_model_predicts_as_before(predictor: Predictor, tmp_path: Path) -> None:
    predictor.model.model.save_pretrained(tmp_path)
    predictor.model.processor.save_pretrained(tmp_path)
    loaded = Predictor.from_pretrained(tmp_path)
    assert dataclasses.asdict(loaded.sampling) == dataclasses.asdict(predictor.sampling)
    a, b = (p.answer(p.encode(VIDEO), "what colour?") for p in (predictor, loaded))
    torch.testing.assert_close(a.clip_logits, b.clip_logits)


def test_an_encoded_video_checks_its_shapes() -> None:
    with pytest.raises(ValueError, match=r"times has N=2 where 3 is needed"):
        EncodedVideo(torch.zeros(3, 1, 2, 2, 4), torch.zeros(2, 1, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64), 1.0)
    with pytest.raises(ValueError, match=r"clip_keys must be one for each of 1 clips, or none; got 2"):
        EncodedVideo(
            torch.zeros(1, 1, 2, 2, 4), torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64), 1.0, clip_keys=("a", "b")
        )  # fmt: skip
