"""What the templates must not say; test_data.py holds what they say."""

import pytest

from clipbert.data.caption_qa import derive


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
