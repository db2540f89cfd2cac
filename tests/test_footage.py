"""Footage: real videos that open, panning clips that repeat byte for byte, scenes, unfinished files, absent packages."""

from importlib import util
from pathlib import Path

import av
import pytest
from PIL import Image

from clipbert.data.footage import demo_videos, pan
from clipbert.video import Video


def test_demonstration_videos_are_real_videos_that_open(tmp_path: Path) -> None:
    videos = demo_videos(tmp_path)
    assert [v.name for v in videos] == ["street", "reel", "car"] and all(v.question.endswith("?") for v in videos)
    for video in videos:
        with Video.open(video.path) as opened:
            assert opened.duration > 3 and opened.num_frames > 100


def test_panning_over_photos_moves_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    Image.effect_noise((400, 300), 80).save(tmp_path / "a.png")
    pan([tmp_path / "a.png"], tmp_path / "one.mp4", seconds_each=1.0)
    pan([tmp_path / "a.png"], tmp_path / "two.mp4", seconds_each=1.0)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    with Video.open(tmp_path / "one.mp4") as video:
        first, last = video.frames_at([0.0, 0.9]).frames.float()
        assert video.num_frames == 15 and float((first - last).abs().mean()) > 5


def test_each_photo_is_a_scene_of_its_own_and_no_partial_file_remains(tmp_path: Path) -> None:
    photos = [tmp_path / "black.png", tmp_path / "white.png"]
    for photo in photos:
        Image.new("RGB", (130, 90), photo.stem).save(photo)
    pan(photos, tmp_path / "new.mp4", seconds_each=0.4)
    with av.open(str(tmp_path / "new.mp4")) as container:
        assert [round(float(f.to_ndarray(format="rgb24").mean() / 255)) for f in container.decode(video=0)] == [0] * 6 + [1] * 6
    assert {p.name for p in tmp_path.iterdir()} == {"black.png", "white.png", "new.mp4"}


def test_an_absent_package_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"need the package skimage; pip install") as error:
        demo_videos(tmp_path)
    assert "\n" not in str(error.value)
