"""Questions derived from captions: what the templates say, and what they must not."""

import pytest

from clipbert.data.caption_qa import derive, yes_no


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


def asked(*captions: str) -> set[tuple[str, str]]:
    return {(pair.question, pair.answer) for pair in derive(captions)}


def test_wearing_is_no_doing() -> None:
    assert asked("A man wearing a red shirt") == {("what is the man wearing?", "shirt"), ("what color is the shirt?", "red")}


@pytest.mark.parametrize(
    ("caption", "question"),
    [
        ("A boy wearing blue jumps off the step", "what color are the jumps?"),
        ("A man in a black shirt feeds ice cream to a girl", "what color is the cream?"),
        ("A black man poses", "what color is the man?"),
        ("A man kayaks on a grey day", "what color is the day?"),
        ("A girl in a baby swing on the playground", "where is the baby?"),
        ("A dog runs towards three other dogs", "how many dogs are there?"),
        ("A child and a teddy bear", "what animal is it?"),
        ("A man watches a boy in the water", "where is the man?"),
    ],
)
def test_a_phrase_that_only_looks_like_one_asks_nothing(caption: str, question: str) -> None:
    assert question not in {q for q, _ in asked(caption)}


def test_mass_nouns_get_no_article() -> None:
    assert ("who is drinking water?", "dog") in asked("A dog is drinking water from a hose")
    assert ("who is holding the ball?", "dog") in asked("A dog is holding a ball")


def test_color_count_and_animal_are_what_most_captions_say() -> None:
    captions = ["a brown dog", "a brown dog on grass", "a white dog", "two dogs", "three cats", "a dog"]
    assert {("what color is the dog?", "brown"), ("what animal is it?", "dog")} <= asked(*captions)
    assert ("what color is the dog?", "white") not in asked(*captions)
    assert not {q for q, _ in asked("a black dog and a white dog")} & {"what color is the dog?"}
