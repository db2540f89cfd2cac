"""The clip timeline says where clips lie, what they cost and what does not suit the video; without a browser."""

import re
from pathlib import Path

import pytest
from PIL import Image
from videos import write_video

from app.clip_card import clip_card, write_reel
from app.timeline import clip_rows, count, counts_html, num_cells, warnings
from clipbert.sampling import sample_clips
from clipbert.sampling_config import RANDOM_POLICIES
from clipbert.source import source_of
from clipbert.types import Timeline
from clipbert.viz.clip_timeline import lane_name, policy_lanes, timeline_html

TEN_SECONDS = Timeline.regular(250, 25.0)
SETTINGS = {"num_clips": 4, "num_frames": 2, "fps": 2.0}


def lanes_of(policy: str = "paper", seed: int = 0):
    return policy_lanes(TEN_SECONDS, **SETTINGS, policy=policy, seed=seed)


@pytest.mark.parametrize("policy", ["paper", "nested", "official-middle", *RANDOM_POLICIES])
def test_the_first_lane_is_what_the_settings_sample(policy: str) -> None:
    import torch

    name, clips = next(iter(lanes_of(policy, 5).items()))
    expected = sample_clips(TEN_SECONDS, **SETTINGS, policy=policy, generator=torch.Generator().manual_seed(5))
    assert name == lane_name(policy, 5)
    assert [clip.frame_index.tolist() for clip in clips] == [clip.frame_index.tolist() for clip in expected]


def test_every_clip_is_a_button_that_names_its_seconds_and_frames() -> None:
    lanes = lanes_of()
    page = timeline_html(lanes, TEN_SECONDS, chosen="paper")
    assert page.count('class="clip"') == sum(map(len, lanes.values()))
    first = lanes["paper"][0]
    assert f"clip 1 of 4, {first.start:.2f} to {first.end:.2f} s; source frames {first.frame_index[0]} at" in page
    assert page.count("tl-lane chosen") == 1


def test_clips_with_a_damaged_frame_are_hatched_in_every_lane_and_say_so() -> None:
    lanes = lanes_of()
    bad = int(lanes["paper"][0].frame_index[1])
    spoilt = sum(bad in clip.frame_index.tolist() for clips in lanes.values() for clip in clips)
    page = timeline_html(lanes, TEN_SECONDS, chosen="paper", damaged={bad})
    assert page.count('class="clip lost"') == page.count("cannot be decoded: the file is damaged there") == spoilt > 0
    assert "k-lost" in page and "lost" not in timeline_html(lanes, TEN_SECONDS, chosen="paper")


def test_clips_lie_at_their_share_of_the_duration() -> None:
    page = timeline_html({"paper": lanes_of()["paper"]}, TEN_SECONDS, chosen="paper")
    found = [(float(left), float(width)) for left, width in re.findall(r'style="left:([\d.]+)%;width:([\d.]+)%"', page)]
    assert found == [pytest.approx((10 * clip.start, 10 * (clip.end - clip.start)), abs=1e-3) for clip in lanes_of()["paper"]]


def test_a_policys_name_is_never_markup() -> None:
    assert "<b>x" not in timeline_html({"<b>x": lanes_of()["paper"]}, TEN_SECONDS, chosen="")


@pytest.mark.parametrize(("image_size", "cells"), [(224, 9), (448, 49), (768, 144), (1000, 256)])
def test_cells_per_clip_are_the_papers(image_size: int, cells: int) -> None:
    assert num_cells(image_size) == cells


@pytest.mark.parametrize("encoder", ["conv-pool", "linear"])
def test_cells_are_those_that_a_model_makes(encoder: str) -> None:
    import torch

    from clipbert.backbone import GridBackbone
    from clipbert.config import ClipBertConfig

    config = ClipBertConfig(grid_encoder=encoder, stem_channels=4, bottleneck_channels=4, res2_channels=8, hidden_size=12, num_attention_heads=2)
    for image_size in (96, 224, 250):
        _, height, width, _ = GridBackbone(config)(torch.zeros(1, 3, image_size, image_size)).shape
        assert num_cells(image_size, encoder) == height * width


def test_counts_tell_fed_from_different_frames() -> None:
    clips = lanes_of()["official"]
    twice = count([*clips, *clips], TEN_SECONDS, num_frames=2, fps=2.0, num_cells=49)
    once = count(clips, TEN_SECONDS, num_frames=2, fps=2.0, num_cells=49)
    assert (once.num_frames, once.num_distinct, once.token_passes) == (8, 8, 4 * 49)
    assert (twice.num_frames, twice.num_distinct, twice.covered_percent) == (16, 8, once.covered_percent)
    assert "40.0 %" in counts_html(once)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_frames": 30}, "The video lasts 10.00 s, a clip 15.00 s: the last frame is repeated."),
        ({"num_clips": 16}, "Clips overlap: 16 clips of 1.00 s are 16.0 s, the video has 10.0 s."),
        ({"num_frames": 16, "fps": 100.0}, "are fed more than once."),
        ({"num_clips": 1, "num_frames": 1, "fps": 4.0}, "Sparse: 0.25 s of 10 s are seen, 2.5 %. More clips see more of it; or trim"),
    ],
)
def test_what_does_not_suit_the_video_is_said(settings: dict[str, float], said: str) -> None:
    chosen = {**SETTINGS, **settings}
    clips = sample_clips(TEN_SECONDS, **chosen, policy="official")
    sentences = warnings(clips, TEN_SECONDS, num_frames=int(chosen["num_frames"]), fps=chosen["fps"], policy="official")
    assert any(said in sentence for sentence in sentences), sentences


def test_settings_that_suit_the_video_are_not_warned_of() -> None:
    assert warnings(lanes_of()["official"], TEN_SECONDS, num_frames=2, fps=2.0, policy="official") == []


def test_rows_give_each_fed_frame_with_its_tick() -> None:
    rows = clip_rows({"paper": lanes_of()["paper"]}, TEN_SECONDS)
    assert len(rows) == 8
    assert all(row["frame_seconds"] == float(TEN_SECONDS.times[row["frame_index"]]) for row in rows)
    assert all(row["pts"] == int(TEN_SECONDS.pts[row["frame_index"]]) for row in rows)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a.mp4")


def test_a_card_shows_every_frame_of_its_clip(video: Path) -> None:
    timeline, _ = source_of(video, None).timeline()
    clip = sample_clips(timeline, num_clips=1, num_frames=3, fps=6.0, policy="paper")[0]
    card = clip_card(video, "paper", 0, clip)
    assert card.count("data:image/jpeg;base64,") == 3
    assert all(f"frame {int(index)}, " in card for index in clip.frame_index)


def test_a_reel_holds_every_fed_frame_in_order(video: Path, tmp_path: Path) -> None:
    timeline, _ = source_of(video, None).timeline()
    clips = sample_clips(timeline, num_clips=3, num_frames=2, fps=8.0, policy="official")
    write_reel(video, clips, tmp_path / "reel.gif")
    with Image.open(tmp_path / "reel.gif") as reel:
        assert reel.n_frames == 6
