"""Where cells lie on the true pixels."""

from typing import Any

import pytest
import torch
from PIL import Image
from tiny import tiny_model, tiny_processor

from clipbert.attribution import attribute
from clipbert.cell_grid import CellGrid
from clipbert.predict import Predictor
from clipbert.types import Attribution

WIDE = CellGrid(frame_size=(100, 400), content_size=(56, 224), cell_size=32.0, shape=(7, 7))


def test_a_box_undoes_the_resize() -> None:
    left, top, right, bottom = WIDE.box(0, 1) or (0, 0, 0, 0)
    assert (left, right) == pytest.approx((400 / 7, 800 / 7)) and (top, bottom) == pytest.approx((0, 100 * 32 / 56))


def test_a_cell_half_on_padding_ends_with_the_frame_and_one_beyond_has_no_box() -> None:
    assert (WIDE.box(1, 6) or ())[2:] == pytest.approx((400, 100))
    assert WIDE.box(2, 0) is None
    assert WIDE.on_padding().sum(dim=1).tolist() == [0, 0, 7, 7, 7, 7, 7]


def test_boxes_tile_the_frame() -> None:
    boxes = [box for row in range(7) for col in range(7) if (box := WIDE.box(row, col))]
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) == pytest.approx(100 * 400)


def test_a_cell_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="7 x 7 cells, so none at row 7, column 0"):
        WIDE.box(7, 0)


def test_the_share_on_padding_counts_both_signs_and_all_frames() -> None:
    cells = torch.zeros(2, 3, 7, 7)
    cells[0, 0, 0, 0], cells[1, 2, 6, 6] = 3.0, -1.0
    found = Attribution("red", "cell_integrated_gradients", "log p", cells=cells, clip_index=(0, 1), grid=WIDE)
    assert found.on_padding() == pytest.approx(0.25)
    assert Attribution("red", "cell_occlusion", "log p", cells=cells[:, 0]).on_padding() is None


PATCHES = {"wide": ((512, 256), (448, 192)), "tall": ((256, 512), (192, 448)), "square": ((384, 384), (48, 336))}


@pytest.mark.parametrize(("size", "patch"), PATCHES.values(), ids=PATCHES)
def test_a_patch_of_a_picture_lights_up_in_the_box_that_shows_it(
    size: tuple[int, int], patch: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(image_size=256)  # 4 x 4 cells
    predictor = Predictor(model, tiny_processor(model, num_clips=1, num_frames=1), name="tiny")
    per_clip: Any = predictor.model

    def mean_colours(frames: torch.Tensor) -> torch.Tensor:
        """In place of the CNN, whose cells see far beyond their box."""
        cells = torch.nn.functional.avg_pool2d(per_clip.processor.pixels(frames), 64)
        return torch.nn.functional.pad(cells.permute(0, 2, 3, 1), (0, 13))

    monkeypatch.setattr(per_clip, "encode", mean_colours)
    picture, (x, y) = Image.new("RGB", size, (124, 116, 104)), patch
    picture.paste((255, 255, 0), (x - 20, y - 20, x + 20, y + 20))
    video = predictor.encode(picture)
    found = attribute(predictor, video, "what colour?", method="cell_integrated_gradients")
    assert found.grid is not None and found.grid.frame_size == (size[1], size[0]) == video.frame_size
    (row, col), *others = (found.values[0, 0].abs() > 1e-6).nonzero().tolist()
    left, top, right, bottom = found.grid.box(row, col) or (0, 0, 0, 0)
    assert not others and left <= x <= right and top <= y <= bottom and found.on_padding() == 0


def test_on_a_plain_grey_picture_nothing_is_attributed_to_cells() -> None:
    model = tiny_model(image_size=192)
    predictor = Predictor(model, tiny_processor(model, num_clips=1), name="tiny")
    video = predictor.encode(Image.new("RGB", (192, 96), tuple(round(value) for value in model.config.pixel_mean)))
    found = attribute(predictor, video, "what colour?", method="cell_integrated_gradients", steps=4)
    assert float(found.values.abs().max()) < 1e-4, "the baseline is padded as the frame is, so that padding has no value"
