"""Texts, labels, negatives and masked words of a batch."""

from collections import Counter
from typing import Any

import pytest
import torch
from tiny import tiny_model, tiny_processor

from clipbert.data.collate import (
    CaptionsOrOthers,
    CaptionsWithNegatives,
    Collator,
    LabelledQuestions,
    OtherCaptions,
    PretrainingCollator,
    Questions,
    mask_words,
    within_vocabulary,
)
from clipbert.data.dataset import Group, Item, group_by_video
from clipbert.data.rows import Example
from clipbert.tasks import TASKS


def item(*examples: Example, seed: int = 0, num_frames: int = 1) -> Item:
    frames = torch.zeros(2, num_frames, 3, 8, 8 + seed % 5, dtype=torch.uint8)
    return Item(frames, torch.zeros(2, num_frames, dtype=torch.float64), examples, seed)


def captions(num_videos: int, each: int = 2) -> list[Group]:
    return group_by_video(Example(f"v{v}", f"{v}.{k}", caption=f"a dog {k} of {v}") for v in range(num_videos) for k in range(each))


@pytest.fixture(scope="module")
def processor() -> Any:
    return tiny_processor(tiny_model())


def test_texts_are_padded_to_the_longest_and_know_their_video(processor: Any) -> None:
    long = Example("v", "0", "what does the man do before he opens the door ?")
    batch = Collator(processor, Questions("qa"))([item(long, Example("v", "1", "who ?")), item(Example("w", "2", "where ?"), seed=3)])
    assert batch.clips.video_index.tolist() == [0, 0, 1] and batch.clips.labels is None and len(batch.examples) == 3
    assert batch.clips.attention_mask.sum(dim=1).tolist() == [13, 4, 4] and batch.clips.input_ids.shape == (3, 13)
    assert [tuple(p.shape) for p in batch.clips.pixel_values] == [(2, 1, 3, 8, 8), (2, 1, 3, 8, 11)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize(("multiple", "longest"), [(8, 14), (5, 30), (1, 30)])
def test_texts_are_padded_to_a_multiple_of_words_as_far_as_the_model_reads(multiple: int, longest: int) -> None:
    items = [item(Example("v", "0", "who ?")), item(Example("w", "1", "what is the man on the red horse doing ?"))]
    short = tiny_processor(tiny_model())
    short.max_text_length = longest
    collator = Collator(short, Questions("qa"))
    plain = collator(items).clips
    collator.word_multiple = multiple
    padded = collator(items).clips
    length = plain.input_ids.shape[1]
    assert padded.input_ids.shape[1] == min(-(-length // multiple) * multiple, longest)
    assert torch.equal(padded.input_ids[:, :length], plain.input_ids) and torch.equal(padded.attention_mask[:, :length], plain.attention_mask)
    assert not padded.attention_mask[:, length:].any() and not padded.input_ids[:, length:].any()


def test_pinning_has_no_effect_without_cuda(processor: Any) -> None:
    batch = Collator(processor, Questions("qa"))([item(Example("v", "0", "who ?"))])
    assert batch.pin_memory() is batch


@pytest.mark.gpu
def test_every_tensor_of_a_batch_is_pinned_and_the_same(processor: Any) -> None:
    batch = PretrainingCollator(processor, CaptionsOrOthers(captions(3)))([item(*captions(3)[0])])
    pinned = batch.pin_memory()
    assert batch.mlm_labels is not None and pinned.mlm_labels is not None
    assert torch.equal(pinned.mlm_labels, batch.mlm_labels) and pinned.mlm_labels.is_pinned()
    for name in ("times", "input_ids", "attention_mask", "video_index", "labels"):
        assert getattr(pinned.clips, name).is_pinned() and torch.equal(getattr(pinned.clips, name), getattr(batch.clips, name))
    assert all(frames.is_pinned() for frames in pinned.clips.pixel_values)


VOCABULARY = ["dog", "cat"]
QUESTION = {"video": "v", "id": "0", "question": "what ?"}


@pytest.mark.parametrize(
    ("task", "vocabulary", "fields", "label", "dtype"),
    [
        ("qa", VOCABULARY, {"answer": "cat"}, 1, torch.int64),
        ("multiple_choice", (), {"answer": 2, "choices": ("a", "b", "c")}, 2, torch.int64),
        ("count", (), {"answer": "7"}, 7.0, torch.float32),
        ("vqa", VOCABULARY, {"answer": "dog", "answer_scores": (("dog", 1.0), ("cow", 0.6), ("cat", 0.3))}, [1.0, pytest.approx(0.3)], torch.float32),
        ("vqa", VOCABULARY, {"answer": "cat"}, [0.0, 1.0], torch.float32),
    ],
)
def test_labels_are_what_the_tasks_loss_takes(processor: Any, task: str, vocabulary: Any, fields: Any, label: Any, dtype: torch.dtype) -> None:
    example = Example(**QUESTION, **fields)
    batch = Collator(processor, LabelledQuestions(task, vocabulary))([item(example), item(example)])
    labels = batch.clips.labels
    assert labels is not None and labels.dtype == dtype and labels.tolist() == [label, label]
    num_outputs = len(vocabulary) or 1
    loss = TASKS[task].loss(torch.zeros(len(batch.clips.input_ids), 2, num_outputs), labels, "mean")
    assert torch.isfinite(loss)


def test_options_follow_their_question_one_text_each(processor: Any) -> None:
    batch = Collator(processor, Questions("multiple_choice"))([item(Example(**QUESTION, choices=("run", "jump")))])
    texts = [processor.tokenizer.decode(ids, skip_special_tokens=True) for ids in batch.clips.input_ids]
    assert texts == ["what? run", "what? jump"] and batch.clips.video_index.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("task", "fields", "message"),
    [
        ("qa", {"answer": "cow"}, "example 0 of v: answer 'cow' is not in the vocabulary; leave such examples out with within_vocabulary"),
        ("qa", {}, "example 0 of v has no answer to learn from"),
        ("multiple_choice", {"answer": "cow"}, "example 0 of v has no choices"),
        ("count", {"answer": "many"}, "example 0 of v: a count must be a number, got 'many'"),
    ],
)
def test_an_answer_that_cannot_be_learnt_is_an_error(task: str, fields: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelledQuestions(task, VOCABULARY if task == "qa" else ())(item(Example(**QUESTION, **fields)))


def test_settings_that_have_no_effect_are_errors() -> None:
    with pytest.raises(ValueError, match="vocabulary has no effect on the task count"):
        LabelledQuestions("count", VOCABULARY)
    with pytest.raises(ValueError, match="vocabulary is needed by the task qa"):
        LabelledQuestions("qa")
    with pytest.raises(ValueError, match="retrieval has CaptionsWithNegatives"):
        LabelledQuestions("retrieval")


def test_examples_outside_the_vocabulary_are_handed_back() -> None:
    known, unknown = Example(**QUESTION, answer="dog"), Example(**QUESTION, answer="cow")
    assert within_vocabulary([known, unknown], VOCABULARY) == ([known], [unknown])


def test_each_caption_is_followed_by_captions_of_other_videos(processor: Any) -> None:
    groups = captions(5)
    asked = CaptionsWithNegatives(groups, num_negatives=2)(item(*groups[1], seed=9))
    assert asked.labels == (1, 0, 0, 1, 0, 0)
    assert (asked.texts[0], asked.texts[3]) == ("a dog 0 of 1", "a dog 1 of 1")
    assert all("of 1" not in text for i, text in enumerate(asked.texts) if i % 3)
    batch = Collator(processor, CaptionsWithNegatives(groups))([item(*groups[0]), item(*groups[1])])
    assert batch.clips.labels is not None and batch.clips.labels.tolist() == [1, 0] * 4 and batch.clips.video_index.tolist() == [0] * 4 + [1] * 4


def test_negatives_are_uniform_over_groups_and_never_a_caption_of_the_video() -> None:
    groups = [*captions(3, each=2), (Example("w", "9", caption="a dog 0 of 0"),)]
    others, generator = OtherCaptions(groups), torch.Generator().manual_seed(0)
    drawn = Counter(others.draw("v0", generator) for _ in range(4000))
    assert set(drawn) == {f"a dog {k} of {v}" for v in (1, 2) for k in (0, 1)} and min(drawn.values()) > 900


def test_captions_that_are_all_the_same_have_no_negative() -> None:
    with pytest.raises(ValueError, match="are all captions the same"):
        OtherCaptions([(Example(v, v, caption="same"),) for v in "ab"]).draw("a", torch.Generator())
    with pytest.raises(ValueError, match="at least two videos"):
        OtherCaptions(captions(1))


def test_half_of_the_captions_are_replaced_in_pretraining() -> None:
    groups = captions(40, each=2)
    ask = CaptionsOrOthers(groups)
    asked = [(group, ask(item(*group, seed=40 * epoch + i))) for epoch in range(20) for i, group in enumerate(groups)]
    labels = [label for _, one in asked for label in one.labels]
    assert 0.45 < sum(labels) / len(labels) < 0.55
    for group, one in asked:
        assert all((text == e.caption) == bool(label) for e, text, label in zip(group, one.texts, one.labels, strict=True))


def test_masking_takes_15_percent_80_10_10_and_no_special_token(processor: Any) -> None:
    tokenizer, ids = processor.tokenizer, torch.randint(1000, 30000, (400, 60), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[:, -6], ids[:, -5:] = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    masked, labels = mask_words(ids, torch.Generator().manual_seed(1), tokenizer=tokenizer)
    chosen = labels != -100
    assert not chosen[:, 0].any() and not chosen[:, -6:].any() and torch.equal(masked[~chosen], ids[~chosen])
    assert torch.equal(labels[chosen], ids[chosen]) and abs(chosen[:, 1:-6].float().mean() - 0.15) < 0.01
    is_mask, stays = masked[chosen] == tokenizer.mask_token_id, masked[chosen] == ids[chosen]
    assert abs(is_mask.float().mean() - 0.8) < 0.03 and abs(stays.float().mean() - 0.1) < 0.02
    assert len(set(masked[chosen][~is_mask & ~stays].tolist())) > 200


def test_what_is_masked_of_an_item_does_not_depend_on_its_batch(processor: Any) -> None:
    groups = captions(6, each=2)
    long = (Example("long", "0", caption="a man in a red coat rides a very small bicycle over the bridge"),)
    collator = PretrainingCollator(processor, CaptionsOrOthers([*groups, long]), mask_probability=0.5)
    alone, together = collator([item(*groups[2], seed=4)]), collator([item(*long, seed=1), item(*groups[2], seed=4)])
    length = alone.clips.input_ids.shape[1]
    assert alone.mlm_labels is not None and together.mlm_labels is not None and bool((alone.mlm_labels != -100).any())
    assert torch.equal(alone.clips.input_ids, together.clips.input_ids[1:, :length]) and torch.equal(
        alone.mlm_labels, together.mlm_labels[1:, :length]
    )
    assert bool((together.mlm_labels[1:, length:] == -100).all())
    assert alone.clips.labels is not None and set(alone.clips.labels.tolist()) <= {0, 1}
