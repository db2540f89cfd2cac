"""Moving pictures of cells over all clips."""

from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from PIL import Image
from test_attribution_figures import WIDE, frames, planted

from clipbert.types import Attribution
from clipbert.viz.animation import overlay_pages, save_animation

TIMES = torch.tensor([[4.0, 4.5], [0.0, 0.5], [2.0, 2.5]], dtype=torch.float64)
FOUND = Attribution(
    "red", "cell_occlusion", "log p(red | one clip)", cells=torch.stack([planted(0, 0, 2.0), planted(1, 6, -1.0), planted(6, 6, 1.0)]),
    clip_index=(0, 1, 2), times=TIMES, grid=WIDE, model="m",
)  # fmt: skip
GREY = torch.full((2, 3, 40, 80), 128, dtype=torch.uint8)


def grey(_: int) -> torch.Tensor:
    return GREY


def color(page: Image.Image, x: float, y: float) -> tuple[int, int, int]:
    """At a place in pixels of the source, whose 80 columns are 480 of the page."""
    found = page.getpixel((round(6 * x), round(6 * y)))
    assert isinstance(found, tuple)
    return found[0], found[1], found[2]


def test_clips_come_in_the_order_of_time_each_with_its_own_map() -> None:
    asked: list[int] = []

    def clip_frames(clip: int) -> torch.Tensor:
        asked.append(clip)
        return GREY

    pages = list(overlay_pages(FOUND, clip_frames))
    assert asked == [1, 2, 0] and len(pages) == 6 and len({page.size for page in pages}) == 1
    red, blue = color(pages[0], 74, 17), color(pages[4], 5, 5)
    assert red[0] > red[2] + 10 and blue[2] > blue[0] + 50, "against in clip 2, for and stronger in clip 1"
    assert color(pages[4], 74, 17) == color(pages[4], 40, 17), "nothing where another clip has something"


def test_a_map_of_single_frames_changes_within_a_clip() -> None:
    cells = torch.stack([planted(0, 0), planted(0, 6)])[None]
    first, second = overlay_pages(replace(FOUND, method="cell_integrated_gradients", cells=cells, clip_index=(0,)), grey)
    assert color(first, 5, 5) == color(second, 74, 5) != color(second, 5, 5)


def test_without_strength_the_frame_alone_is_left() -> None:
    page = next(overlay_pages(FOUND, grey, opacity=0.0))
    assert color(page, 74, 17) == (128, 128, 128)


def test_pages_are_small_and_even_whatever_the_source() -> None:
    tall = replace(FOUND, grid=replace(WIDE, frame_size=(3001, 301), content_size=(224, 22)))
    page = next(overlay_pages(tall, lambda _: torch.zeros(1, 3, 3001, 301, dtype=torch.uint8)))
    assert page.width % 2 == page.height % 2 == 0 and page.width < 350 and page.height < 560


def test_a_gif_holds_every_frame(tmp_path: Path) -> None:
    save_animation(FOUND, grey, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        num_frames, seconds = getattr(image, "n_frames", 1), 0.0
        for n in range(num_frames):
            image.seek(n)
            seconds += image.info["duration"] / 1000
    assert seconds == pytest.approx(6 * 0.4) and num_frames == 6 and list(tmp_path.iterdir()) == [tmp_path / "a.gif"]


def test_a_video_holds_every_frame(tmp_path: Path) -> None:
    save_animation(FOUND, grey, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        decoded = [frame.to_image() for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        assert float(stream.average_rate or 0) == 2.5 and stream.pix_fmt == "yuv420p"
    blue = color(decoded[4], 5, 3)
    assert len(decoded) == 6 and blue[2] > blue[0] + 40


def test_what_cannot_be_animated_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="suffix of an animation must be one of gif, mp4, got 'png'"):
        save_animation(FOUND, grey, tmp_path / "a.png")
    with pytest.raises(ValueError, match="an animation shows cells where they lie, and frame_shapley has none"):
        save_animation(frames(), grey, tmp_path / "a.gif")
    for suffix in ("gif", "mp4"):
        with pytest.raises(ValueError, match="cannot write the animation to"):
            save_animation(FOUND, grey, tmp_path / "nowhere" / f"a.{suffix}")


def test_a_frame_that_is_lost_leaves_no_file(tmp_path: Path) -> None:
    def lost(clip: int) -> torch.Tensor:
        if clip == 2:
            raise ValueError("cannot decode clip 3")
        return GREY

    for suffix in ("gif", "mp4"):
        with pytest.raises(ValueError, match="cannot decode clip 3"):
            save_animation(FOUND, lost, tmp_path / f"a.{suffix}")
    assert not list(tmp_path.iterdir())
