"""CLIP, SigLIP and SigLIP 2 behind `hf:`: what transformers says of the same frames and texts, through the explorer's own ways."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import GOLDEN
from hf_models import DUAL_ENCODERS
from PIL import Image
from videos import write_video

from clipbert.attention_heads import head_attention
from clipbert.attribution import attribute
from clipbert.faithfulness import faithfulness
from clipbert.predict import Predictor
from clipbert.retrieval import VideoIndex
from clipbert.source import source_of

VIDEO = GOLDEN / "video_a30.mp4"
TEXTS = ["a red car", "what is it?"]


@pytest.fixture(scope="module", params=list(DUAL_ENCODERS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return DUAL_ENCODERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return Predictor.from_pretrained(f"hf:{folder}", device="cpu")


@pytest.fixture(scope="module")
def oblong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 x 64: what is not square shows which side is which."""
    return write_video(tmp_path_factory.mktemp("oblong") / "a.mp4")


def frames_of(video: Path, times: torch.Tensor) -> list[Image.Image]:
    """The frames at these times, as pictures."""
    source = source_of(video, None)
    index = torch.searchsorted(source.timeline()[0].times, times)
    with source.open() as opened:
        frames, _ = opened.decode(index.tolist())
    return [Image.fromarray(frames[int(i)].permute(1, 2, 0).numpy()) for i in index]


def straight(folder: Path, pictures: list[Image.Image], texts: list[str]) -> torch.Tensor:
    """float[frames, texts]: what transformers itself says."""
    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0]).from_pretrained(folder).eval()
    tokenizer, processor = transformers.AutoTokenizer.from_pretrained(folder), transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    padding: Any = True if config.model_type == "clip" else "max_length"
    words = tokenizer(texts, padding=padding, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        return model(**words, **processor(pictures, return_tensors="pt")).logits_per_image


def test_clip_logits_are_what_transformers_says_of_the_frames(predictor: Predictor, folder: Path) -> None:
    video = predictor.encode(VIDEO, num_clips=3, num_frames=2)
    expected = straight(folder, frames_of(VIDEO, video.times.flatten()), TEXTS).reshape(3, 2, 2).mean(dim=1)
    torch.testing.assert_close(predictor.clip_match(video, TEXTS).T, expected, atol=1e-5, rtol=1e-5)


def test_the_model_ranks_choices_and_captions(predictor: Predictor) -> None:
    video = predictor.encode(VIDEO, num_clips=4)
    answer = predictor.answer(video, "what is it?", choices=["a car", "red"])
    assert float(answer.scores.sum()) == pytest.approx(1, abs=1e-5) and answer.clip_logits.shape == (4, 2)
    match = predictor.match_prediction(video, TEXTS)
    assert match.answer == TEXTS[int(predictor.match(video, TEXTS).argmax())]
    assert any("no probability" in told for told in match.notices) == (predictor.model.match_notice != "")


def test_an_open_question_needs_choices(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match=r"has no open-ended answers .*give choices"):
        predictor.answer(predictor.encode(VIDEO, num_clips=1), "what is it?")


def test_a_sweep_pools_the_same_clips(predictor: Predictor) -> None:
    rows, _ = predictor.sweep(VIDEO, "what is it?", choices=["a car", "red"])
    assert len(rows) == 15 and {row.answer for row in rows} <= {"a car", "red"}


def test_shapley_values_of_clips_sum_to_the_whole(predictor: Predictor) -> None:
    video = predictor.encode(VIDEO, num_clips=4)
    found = attribute(predictor, video, TEXTS[0], task="match")
    assert float(found.values.sum()) == pytest.approx(float(predictor.match(video, TEXTS[:1])), abs=1e-3)


def test_shapley_values_of_frames_sum_to_the_clip(predictor: Predictor) -> None:
    video = predictor.encode(VIDEO, num_clips=2, num_frames=3)
    found = attribute(predictor, video, TEXTS[0], task="match", method="frame_shapley")
    torch.testing.assert_close(found.values.sum(dim=1), predictor.clip_match(video, TEXTS[:1])[0], atol=1e-4, rtol=1e-4)


def test_a_map_of_cells_is_the_loss_of_the_score_when_each_is_covered_in_the_pixels(predictor: Predictor, oblong: Path) -> None:
    video = predictor.encode(oblong, num_clips=2, num_frames=2)
    found = attribute(predictor, video, TEXTS[0], task="match", method="cell_occlusion", clips=[1], file=oblong)
    assert found.cells is not None and found.cells.shape == (1, 7, 7) and "cells of a 7 x 7 grid covered" in found.value_function
    assert found.grid is not None and found.grid.box(2, 4) == pytest.approx((64 * 4 / 7, 48 * 2 / 7, 64 * 5 / 7, 48 * 3 / 7))
    pictures = predictor.clip_frames(oblong, video, 1)
    covered = pictures.clone()
    covered[:, :, 14:21, 37:46] = pictures.float().mean(dim=(0, 2, 3)).round().to(torch.uint8)[:, None, None]
    scores = [float(predictor.model.score(predictor.model.encode(frames)[None], TEXTS[:1], "match")) for frames in (pictures, covered)]
    assert float(found.cells[0, 2, 4]) == pytest.approx(scores[0] - scores[1], abs=1e-4) and scores[0] != pytest.approx(scores[1], abs=1e-3)


def test_a_cell_that_alone_makes_the_score_lights_up_at_its_row_and_column(
    predictor: Predictor, oblong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direction = predictor.model.text_vectors(TEXTS[:1], "match")[0]

    def seen(frames: torch.Tensor) -> torch.Tensor:
        return (frames[:, 0, 14:21, 46:54].float().mean(dim=(1, 2)) / 255)[:, None, None, None] * direction

    monkeypatch.setattr(predictor.model, "fingerprint", "of one that sees row 2, column 5 alone")
    monkeypatch.setattr(predictor.model, "encode", seen)
    found = attribute(predictor, oblong, TEXTS[0], task="match", method="cell_occlusion", clips=[0])
    assert found.cells is not None and float(found.cells[0, 2, 5].abs()) > 1e-3
    assert int((found.cells.abs() > 1e-5).sum()) == 1


def test_a_words_value_is_the_loss_of_the_score_of_a_text_without_it(predictor: Predictor) -> None:
    video = predictor.encode(VIDEO, num_clips=2)
    found = attribute(predictor, video, TEXTS[0], task="match", method="token_ablation")
    scores = predictor.clip_match(video, [TEXTS[0], "red car", "a car", "a red"])
    assert found.pieces == ("a", "red", "car") and found.tokens is not None
    torch.testing.assert_close(found.tokens, (scores[:1] - scores[1:]).T, atol=1e-4, rtol=1e-4)
    tested = faithfulness(predictor, video, TEXTS[0], found, task="match", clip=0, num_orders=19)
    assert float(tested.deletion.attributed[0]) == pytest.approx(float(scores[0, 0].sigmoid()), abs=1e-5)


def test_deleting_covered_cells_leads_from_the_frame_to_its_mean_colour(predictor: Predictor, oblong: Path) -> None:
    video = predictor.encode(oblong, num_clips=1)
    found = attribute(predictor, video, TEXTS[0], task="match", method="cell_occlusion", file=oblong)
    tested = faithfulness(predictor, video, TEXTS[0], found, task="match", file=oblong, steps=2, num_orders=19)
    mean = predictor.clip_frames(oblong, video, 0)
    mean = mean.float().mean(dim=(0, 2, 3)).round().to(torch.uint8)[:, None, None].expand_as(mean)
    whole, nothing = (
        float(score.sigmoid())
        for score in (predictor.match(video, TEXTS[:1]), predictor.model.score(predictor.model.encode(mean)[None], TEXTS[:1], "match"))
    )
    assert tested.num_units == 49
    assert tested.deletion.attributed[[0, -1]].tolist() == pytest.approx([whole, nothing], abs=1e-5)


@pytest.mark.parametrize(
    ("method", "told"), [("cell_grad_cam", "reads the layers of ClipBERT"), ("cell_occlusion", "needs the pixels, .* pass file=")]
)
def test_what_cannot_be_looked_into_is_said_in_one_line(predictor: Predictor, method: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        attribute(predictor, predictor.encode(VIDEO, num_clips=1), TEXTS[0], task="match", method=method)


def test_the_heads_of_another_model_are_not_known(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="their attention is shown of ClipBERT alone"):
        head_attention(predictor, VIDEO, TEXTS[0], clip=0, task="match")


def test_a_copy_of_the_folder_is_the_same_model(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    assert Predictor.from_pretrained(f"hf:{tmp_path / 'copy'}", device="cpu").model.fingerprint == predictor.model.fingerprint


def test_an_index_finds_its_model_again(predictor: Predictor, tmp_path: Path) -> None:
    index = VideoIndex.build([VIDEO, GOLDEN / "video_b25.mp4"], predictor, num_clips=2)
    index.save(tmp_path / "own.index")
    loaded = VideoIndex.load(tmp_path / "own.index").search(TEXTS[0])
    expected = {hit.path: hit.score for hit in index.search(TEXTS[0])}
    assert all(hit.score == pytest.approx(expected[hit.path], abs=0.05) for hit in loaded) and len(loaded) == 2
