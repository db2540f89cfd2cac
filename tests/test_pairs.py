"""Every text with every clip: equal to asking pair by pair, texts padded to their neighbours only, the CNN once a frame."""

import pytest
import torch
from conftest import GOLDEN
from test_predict import Counting, make_predictor
from tiny import HEADS, tiny_model, tiny_processor

from clipbert.data.rows import Example
from clipbert.data.video_store import open_store
from clipbert.evaluate import evaluate
from clipbert.predict import Predictor

VIDEOS = ("video_a30.mp4", "video_b25.mp4", "video_f12avi.avi")
TEXTS = ["a dog", "what colour is the large ball that the dog runs after?", "blue", "a man on a bicycle", "a red ball rolls"] * 4


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor()


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return 3 * torch.randn(9, 2, 1, 1, 16, generator=torch.Generator().manual_seed(0))


def pair_by_pair(predictor: Predictor, clips: torch.Tensor, texts: list[str], head: str) -> torch.Tensor:
    """By the path that training uses, a text at a time, so nothing is padded."""
    own = [predictor.model.processor.texts([text]) for text in texts]
    with torch.no_grad():
        return torch.cat([predictor.model.model.score(clips[None], ids, mask, torch.tensor([0]), head) for ids, mask in own])


@pytest.mark.parametrize("head", HEADS)
def test_all_pairs_equal_pair_by_pair(predictor: Predictor, clips: torch.Tensor, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pair_by_pair(predictor, clips, TEXTS, head)
    for rows in (2, 50, 1000):
        monkeypatch.setattr("clipbert.per_clip.ROWS_AT_ONCE", rows)
        torch.testing.assert_close(predictor.model.score(clips, TEXTS, head), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layers", [1, 3])
def test_all_pairs_equal_pair_by_pair_at_any_depth(clips: torch.Tensor, layers: int) -> None:
    model = tiny_model(num_hidden_layers=layers, temporal_fusion="conv3d")
    predictor = Predictor(model, tiny_processor(model), name="tiny")
    expected = pair_by_pair(predictor, clips, TEXTS[:3], "match")
    torch.testing.assert_close(predictor.model.score(clips, TEXTS[:3], "match"), expected, atol=1e-5, rtol=1e-4)


def test_a_text_is_padded_to_its_batch_and_no_further(predictor: Predictor) -> None:
    batches, order = predictor.model._batches(TEXTS, 8)
    lengths = [int(mask.sum(dim=1).max()) for _, mask in batches]
    assert [ids.shape for ids, _ in batches] == [(8, lengths[0]), (8, lengths[1]), (4, lengths[2])] and lengths == sorted(lengths)
    read = [predictor.model.processor.tokenizer.decode(ids, skip_special_tokens=True) for batch, _ in batches for ids in batch]
    assert [read[i] for i in order.argsort()] == [text.replace("?", " ?").replace(" ?", "?") for text in TEXTS]


def test_a_contrastive_heads_vectors_are_its_score(predictor: Predictor, clips: torch.Tensor) -> None:
    model = predictor.model
    scale, offset = model.vector_scale("contrast")
    texts, vectors = model.text_vectors(TEXTS, "contrast"), model.clip_vectors(clips, "contrast")
    torch.testing.assert_close((scale * texts @ vectors.T + offset)[..., None], model.score(clips, TEXTS, "contrast"), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat([texts, vectors]).norm(dim=1), torch.ones(len(TEXTS) + 9))
    with pytest.raises(ValueError, match="head match is no contrastive head"):
        model.text_vectors(TEXTS, "match")


def test_retrieval_runs_the_cnn_on_each_sampled_frame_once() -> None:
    counting = make_predictor()
    counting.model.__class__ = Counting
    examples = [Example(video, f"{video} {k}", caption=f"{text} {k}") for k, video in enumerate(VIDEOS * 30) for text in ("a dog", "a red ball")]
    evaluate(counting, examples, open_store(GOLDEN), "retrieval", sizes=(4,), num_frames=2, policy="official")
    assert counting.model.encoded == len(VIDEOS) * 4 * 2  # V * N * T, however many texts
