"""Covering the pixels of cells: which pixels a cell owns, what stays, and what the model then says."""

from typing import Any

import pytest
import torch
from conftest import GOLDEN
from inside_case import QUESTION
from tiny import tiny_model, tiny_processor

from clipbert.attribution import attribute
from clipbert.covering import CoveredClip, gaussian_blur
from clipbert.faithfulness import faithfulness
from clipbert.per_clip import ClipBertPerClip
from clipbert.predict import Predictor
from clipbert.types import EncodedVideo
from clipbert.video import VideoError

VIDEO = GOLDEN / "video_a30.mp4"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    model = tiny_model(image_size=192)  # 3 x 3 cells
    return Predictor(model, tiny_processor(model, num_clips=2), name="tiny")


@pytest.fixture(scope="module")
def video(predictor: Predictor) -> EncodedVideo:
    return predictor.encode(VIDEO)


def per_clip(predictor: Predictor) -> ClipBertPerClip:
    assert isinstance(predictor.model, ClipBertPerClip)
    return predictor.model


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_blurring_a_cell_changes_the_pixels_of_its_own_square_alone(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def look(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels)
        return torch.zeros(len(pixels), 3, 3, 16)

    monkeypatch.setattr(predictor.model, "encode_pixels", look)
    clip = CoveredClip.blurred(per_clip(predictor), noise(192, 192), (3, 3))
    kept = ~torch.eye(9, dtype=torch.bool).reshape(9, 3, 3)
    clip.without_cells(kept)
    for cell, pixels in enumerate(seen[0]):
        row, col = divmod(cell, 3)
        square = torch.zeros(192, 192, dtype=torch.bool)
        square[64 * row : 64 * (row + 1), 64 * col : 64 * (col + 1)] = True
        changed = (pixels != clip.sharp[0]).any(dim=0)
        assert not bool(changed[~square].any()) and float(changed[square].float().mean()) > 0.99


def test_pixels_past_the_last_cell_go_with_it(predictor: Predictor) -> None:
    model = tiny_model(image_size=224)  # 7 x 7 of stride 32; pooling loses the last, so 3 x 3 cells of 64
    clip = CoveredClip.blurred(per_clip(Predictor(model, tiny_processor(model), name="odd")), noise(224, 224), (3, 3))
    assert clip.row_of.bincount().tolist() == [64, 64, 96]


def test_nothing_of_the_padding_comes_into_the_picture(predictor: Predictor) -> None:
    grey = torch.full((1, 3, 96, 192), 100, dtype=torch.uint8)
    clip = CoveredClip.blurred(per_clip(predictor), grey, (3, 3))
    torch.testing.assert_close(clip.cover, clip.sharp, atol=1e-3, rtol=0)
    assert float(clip.cover[:, :, 96:].abs().max()) == 0, "padding stays as it is"


def test_a_blur_keeps_the_mean_and_is_that_of_a_gaussian() -> None:
    point = torch.zeros(1, 1, 61, 61)
    point[0, 0, 30, 30] = 1
    soft = gaussian_blur(point, 5.0)[0, 0]
    assert float(soft.sum()) == pytest.approx(1, abs=1e-5)
    assert float(soft[30, 35] / soft[30, 30]) == pytest.approx(torch.tensor(-0.5).exp().item(), abs=1e-4)
    torch.testing.assert_close(soft, soft.T)


def test_with_all_cells_sharp_the_model_says_what_it_said(predictor: Predictor, video: EncodedVideo) -> None:
    clip = CoveredClip.blurred(per_clip(predictor), predictor.clip_frames(VIDEO, video, 1), (3, 3))
    torch.testing.assert_close(clip.without_cells(torch.ones(1, 3, 3, dtype=torch.bool))[0], video.features[1], atol=1e-4, rtol=1e-4)
    gone = clip.without_cells(torch.zeros(1, 3, 3, dtype=torch.bool))[0]
    torch.testing.assert_close(gone, clip.frames(), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(gone, video.features[1], atol=1e-2)


def test_the_frames_of_a_clip_are_read_with_the_decoder_that_is_named(predictor: Predictor, video: EncodedVideo) -> None:
    with pytest.raises(ValueError, match="backend must be one of pyav, decord, process, got 'nonsense'"):
        predictor.clip_frames(VIDEO, video, 1, backend="nonsense")


@pytest.mark.parametrize("method", ["cell_gradient_x_activation", "frame_leave_one_out"])
def test_curves_with_blurred_units_lead_from_the_sharp_clip_to_the_blurred(predictor: Predictor, video: EncodedVideo, method: str) -> None:
    own = attribute(predictor, video, QUESTION, method=method, clips=[1], target="red")
    found = faithfulness(predictor, video, QUESTION, own, perturbation="blur", file=VIDEO, target="red")
    masked = faithfulness(predictor, video, QUESTION, own, target="red")
    assert found.perturbation == "blur" and found.num_units == masked.num_units
    assert float(found.deletion.attributed[0]) == pytest.approx(float(masked.deletion.attributed[0]), abs=1e-5)
    assert float(found.insertion.attributed[0]) != pytest.approx(float(masked.insertion.attributed[0]), abs=1e-6)
    assert float(found.deletion.attributed[-1]) == pytest.approx(float(found.insertion.attributed[0]), abs=1e-6)


def test_the_cnn_runs_on_each_set_of_cells_and_once_for_frames(predictor: Predictor, video: EncodedVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    encode: Any = per_clip(predictor).encode_pixels
    frames: list[int] = []
    monkeypatch.setattr(predictor.model, "encode_pixels", lambda pixels: (frames.append(len(pixels)), encode(pixels))[1])
    for method, runs in (("cell_grad_cam", None), ("frame_leave_one_out", 1)):
        frames.clear()
        own = attribute(predictor, video, QUESTION, method=method, clips=[0])
        found = faithfulness(predictor, video, QUESTION, own, perturbation="blur", file=VIDEO)
        assert sum(frames) == 2 * (runs or found.num_runs)


def test_another_file_than_the_encoded_one_is_refused(predictor: Predictor, video: EncodedVideo) -> None:
    own = attribute(predictor, video, QUESTION, method="cell_grad_cam", clips=[0])
    with pytest.raises(ValueError, match="is not the video that was encoded: it has no frames at those times"):
        faithfulness(predictor, video, QUESTION, own, perturbation="blur", file=GOLDEN / "video_b25.mp4")
    with pytest.raises(VideoError):
        faithfulness(predictor, video, QUESTION, own, perturbation="blur", file="nothing.mp4")


def test_a_video_that_is_not_encoded_is_blurred_from_its_own_file(predictor: Predictor, video: EncodedVideo) -> None:
    own = attribute(predictor, video, QUESTION, method="frame_leave_one_out", clips=[0])
    named = faithfulness(predictor, video, QUESTION, own, perturbation="blur", file=VIDEO)
    assert faithfulness(predictor, VIDEO, QUESTION, own, perturbation="blur").rows() == named.rows()


def test_clips_and_words_have_no_pixels_to_blur(predictor: Predictor, video: EncodedVideo) -> None:
    own = attribute(predictor, video, QUESTION)
    with pytest.raises(ValueError, match='"blur" is of frames and cells, and clip_shapley explains clips; take "mask"'):
        faithfulness(predictor, video, QUESTION, own, perturbation="blur", file=VIDEO)
