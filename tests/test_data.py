"""Footage and derived questions."""

from pathlib import Path

import pytest

from clipbert.data.caption_qa import answer_vocabulary, derive, yes_no
from clipbert.data.footage import demo_videos, pan
from clipbert.video import Video


def test_demonstration_videos_are_real_videos_that_open(tmp_path: Path) -> None:
    videos = demo_videos(tmp_path)
    assert [v.name for v in videos] == ["street", "reel", "earth"] and all(v.question.endswith("?") for v in videos)
    for video in videos:
        with Video.open(video.path) as opened:
            assert opened.duration > 5 and opened.num_frames > 100


def test_panning_over_photos_moves_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    from PIL import Image

    Image.effect_noise((400, 300), 80).save(tmp_path / "a.png")
    pan([tmp_path / "a.png"], tmp_path / "one.mp4", seconds_each=1.0)
    pan([tmp_path / "a.png"], tmp_path / "two.mp4", seconds_each=1.0)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    with Video.open(tmp_path / "one.mp4") as video:
        first, last = video.frames_at([0.0, 0.9]).frames.float()
        assert video.num_frames == 15 and float((first - last).abs().mean()) > 5


@pytest.mark.parametrize(
    ("caption", "question", "answer"),
    [
        ("A man is riding a brown horse on the beach.", "what is the man doing?", "riding"),
        ("A man is riding a brown horse on the beach.", "what is the man riding?", "horse"),
        ("A man is riding a brown horse on the beach.", "who is riding the horse?", "man"),
        ("A man is riding a brown horse on the beach.", "where is the man?", "beach"),
        ("A man is riding a brown horse on the beach.", "what color is the horse?", "brown"),
        ("Two children play in a pool .", "how many children are there?", "two"),
        ("The dogs run", "what animal is it?", "dog"),
        ("a girl in a grey coat", "what color is the coat?", "gray"),
        ("The woman wearing a hat is smiling", "what is the woman wearing?", "hat"),
        ("A lady walking", "who is walking?", "woman"),
    ],
)
def test_captions_give_question_and_answer(caption: str, question: str, answer: str) -> None:
    assert (question, answer) in {(pair.question, pair.answer) for pair in derive([caption])}


@pytest.mark.parametrize("caption", ["", "Snow .", "black and white picture", "a red-seated swing", "The building is going up", "sunset over hills"])
def test_captions_that_fit_no_template_give_no_pair(caption: str) -> None:
    assert derive([caption]) == []


def test_each_pair_knows_its_caption_and_no_pair_repeats() -> None:
    captions = ["A dog running on grass", "A dog running in the park"]
    pairs = derive(captions)
    assert len({(p.question, p.answer) for p in pairs}) == len(pairs) and all(p.caption in captions for p in pairs)


def test_yes_and_no_balance_and_no_means_that_no_caption_names_it() -> None:
    captions = [["a dog on the beach"], ["a cat on the bed", "a dog"], ["a man in the snow"]] * 4
    for own, pairs in zip(captions, yes_no(captions, seed=0), strict=True):
        assert sorted(p.answer for p in pairs) in ([], ["no", "yes"])
        for pair in pairs:
            thing = pair.question.removeprefix("is there a ").removesuffix("?")
            assert (pair.answer == "yes") == any(thing in caption.split() for caption in own)
    assert yes_no(captions, seed=1) == yes_no(captions, seed=1)


def test_the_vocabulary_is_ordered_by_frequency() -> None:
    pairs = derive(["a dog", "two dogs run", "a red ball"]) + derive(["a dog"])
    assert answer_vocabulary(pairs, at_least=2) == ["dog"]
