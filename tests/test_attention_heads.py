"""Where heads look, between text and image."""

import pytest
import torch
from inside_case import QUESTION

from clipbert.attention_heads import HeadAttention, head_attention
from clipbert.attribution_attention import attention_maps
from clipbert.attribution_target import answer_target, inside
from clipbert.predict import Predictor
from clipbert.transformer import _RECORD
from clipbert.types import EncodedVideo


@pytest.fixture(scope="module")
def found(predictor: Predictor, video: EncodedVideo) -> HeadAttention:
    return head_attention(predictor, video, QUESTION, clip=1)


def test_what_a_token_gives_adds_up_to_all_it_has(found: HeadAttention) -> None:
    assert found.text_to_image.shape == found.within_image.shape and found.text_to_image.ndim == 2
    torch.testing.assert_close(found.text_to_image + found.within_text, torch.ones_like(found.within_text))
    torch.testing.assert_close(found.image_to_text + found.within_image, torch.ones_like(found.within_text))
    assert float(found.text_to_image.min()) > 0


def test_a_text_among_choices_is_read_without_its_padding(predictor: Predictor, video: EncodedVideo) -> None:
    short = head_attention(predictor, video, QUESTION, clip=0, choices=["red", "a blue car here and there"])
    torch.testing.assert_close(short.text_to_image + short.within_text, torch.ones_like(short.within_text))


def test_means_are_over_text_and_over_cells(predictor: Predictor, video: EncodedVideo, found: HeadAttention) -> None:
    """By hand, from the attention of the last layer."""
    case = inside(predictor, video, answer_target(predictor, video, QUESTION, None, None, None, None), [1], baseline="", steps=1, seed=0)
    with torch.no_grad():
        last = attention_maps(case, case.features[0])[-1]
    num_text = last.shape[-1] - 9  # 3 x 3 cells
    assert float(found.text_to_image[-1, 0]) == pytest.approx(float(last[0, :num_text, num_text:].sum()) / num_text, rel=1e-5)
    assert float(found.within_image[-1, 1]) == pytest.approx(float(last[1, num_text:, num_text:].sum()) / 9, rel=1e-5)


def test_maps_say_which_cells_the_shares_are_of(found: HeadAttention) -> None:
    to_cells, from_cells, among_cells = (found.cells[name].flatten(2) for name in ("text to image", "image to text", "within image"))
    assert found.cells["text to image"].shape == (*found.text_to_image.shape, 3, 3)
    torch.testing.assert_close(to_cells.sum(dim=-1), found.text_to_image)
    torch.testing.assert_close(from_cells.mean(dim=-1), found.image_to_text)
    torch.testing.assert_close(among_cells.sum(dim=-1), found.within_image)
    assert found.grid is not None and found.grid.shape == (3, 3)


def test_rows_are_tidy_and_nothing_is_left_behind(found: HeadAttention) -> None:
    rows = found.rows()
    assert len(rows) == 4 * found.text_to_image.numel() and rows[0]["direction"] == "text to image"
    last = rows[-1]
    assert (last["layer"], last["head"]) == tuple(found.within_image.shape) and last["share"] == pytest.approx(float(found.within_image[-1, -1]))
    assert _RECORD.get() is None


def test_a_clip_that_is_not_there_is_an_error(predictor: Predictor, video: EncodedVideo) -> None:
    with pytest.raises(ValueError, match="numbered 0 to 2 here, so there is no clip 3"):
        head_attention(predictor, video, QUESTION, clip=3)
