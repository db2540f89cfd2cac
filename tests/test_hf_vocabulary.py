"""A model that another package registered for visual question answering, behind `hf:`."""

from pathlib import Path

import pytest
import torch
import transformers
from conftest import GOLDEN
from hf_models import AnsweringModel, write_answering
from test_hf_dual_encoder import frames_of
from videos import write_video

from clipbert.attribution import attribute
from clipbert.predict import Predictor

VIDEO = GOLDEN / "video_a30.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_answering(tmp_path_factory.mktemp("answering"))


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return Predictor.from_pretrained(f"hf:{folder}", device="cpu")


def test_it_answers_as_it_does_by_itself(folder: Path, predictor: Predictor) -> None:
    video = predictor.encode(VIDEO, num_clips=3)
    found = predictor.answer(video, "what is it?")
    processor, tokenizer = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil"), transformers.AutoTokenizer.from_pretrained(folder)
    frames = processor(frames_of(VIDEO, video.times[:, 0]), return_tensors="pt")
    with torch.no_grad():
        expected = AnsweringModel.from_pretrained(folder)(**tokenizer(["what is it?"] * 3, return_tensors="pt"), **frames).logits
    assert found.candidates == ("red", "green")
    torch.testing.assert_close(found.clip_logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["clip_shapley", "frame_shapley"])
def test_its_clips_and_frames_can_be_explained(method: str, predictor: Predictor) -> None:
    assert attribute(predictor, predictor.encode(VIDEO, num_clips=2, num_frames=2), "what is it?", method=method).gap == pytest.approx(0, abs=1e-5)


def test_its_cells_are_covered_in_the_pixels(predictor: Predictor, tmp_path: Path) -> None:
    found = attribute(predictor, write_video(tmp_path / "a.mp4"), "what is it?", method="cell_occlusion", clips=[0])
    assert found.cells is not None and found.cells.shape == (1, 7, 7) and bool((found.cells != 0).any())


def test_a_model_that_names_no_answers_is_refused(tmp_path: Path) -> None:
    write_answering(tmp_path, {0: "LABEL_0", 1: "LABEL_1"})
    with pytest.raises(ValueError, match="whose id2label names no answers"):
        Predictor.from_pretrained(f"hf:{tmp_path}")
