"""Of footage, what test_data.py leaves open: scenes, unfinished files, absent packages."""

from importlib import util
from pathlib import Path

import av
import pytest
from PIL import Image

from clipbert.data.footage import demo_videos, pan


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
