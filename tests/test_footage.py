from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from clipbert.data import footage
from clipbert.data.footage import demo_videos, package_file, pan


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    rows, cols = np.mgrid[:90, :130]
    return np.stack([rows * 2, cols * 2 % 256, (rows + cols) % 256], axis=-1).astype(np.uint8)


def test_a_pan_lasts_as_long_as_asked_and_moves(photo: np.ndarray, tmp_path: Path) -> None:
    pan([photo], tmp_path / "a.mp4", seconds=0.8, fps=10)
    frames = decode(tmp_path / "a.mp4").astype(int)
    assert frames.shape == (8, 240, 320, 3)
    assert all(abs(a - b).mean() > 1 for a, b in pairwise(frames))


def test_the_same_seed_writes_the_same_bytes_and_another_moves_otherwise(photo: np.ndarray, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        pan([photo], tmp_path / f"{name}.mp4", seconds=0.4, fps=10, seed=seed)
    a, b, c = ((tmp_path / f"{name}.mp4").read_bytes() for name in "abc")
    assert a == b != c


def test_each_photo_is_a_scene_of_its_own(photo: np.ndarray, tmp_path: Path) -> None:
    pan([np.zeros_like(photo), np.full_like(photo, 255)], tmp_path / "a.mp4", seconds=0.4, fps=10)
    assert [round(float(f.mean() / 255)) for f in decode(tmp_path / "a.mp4")] == [0] * 4 + [1] * 4


def test_a_pan_leaves_no_partial_file(photo: np.ndarray, tmp_path: Path) -> None:
    pan([photo], tmp_path / "new" / "a.mp4", seconds=0.2, fps=10)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.mp4"]


def test_a_pan_of_nothing_is_refused(photo: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got 0 photos of 1\.0 s"):
        pan([], tmp_path / "a.mp4", seconds=1.0)
    with pytest.raises(ValueError, match=r"got 1 photos of 0\.0 s"):
        pan([photo], tmp_path / "a.mp4", seconds=0.0)


def test_a_fresh_clone_has_footage_to_show_and_writes_it_once(tmp_path: Path) -> None:
    if not all(find_spec(package) for package in ("gradio", "skimage")):
        pytest.skip("the photos are gradio's and scikit-image's")
    videos = demo_videos(tmp_path)
    written = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert demo_videos(tmp_path) == videos
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == written
    for video in videos:
        assert video.question.endswith("?")
        with av.open(str(video.path)) as container:
            assert next(container.decode(video=0)).width >= 320


def test_a_missing_package_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footage, "find_spec", lambda package: None)
    with pytest.raises(ValueError, match=r"demo footage needs data/cat\.png of the package skimage.*pip install") as error:
        package_file("skimage", "data/cat.png")
    assert "\n" not in str(error.value)
