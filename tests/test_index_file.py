"""The file of an index: what it stores, how it grows, and that a crash loses nothing."""
# ruff: noqa: F811, F401 (fixtures of another file)

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_retrieval import NAMES, QUERY, folder, make_predictor, predictor

from clipbert import index_file
from clipbert.index_file import SLOTS
from clipbert.index_segment import narrowed, widened
from clipbert.predict import Predictor
from clipbert.retrieval import VideoIndex


@pytest.fixture
def saved(folder: Path, predictor: Predictor, tmp_path: Path) -> Path:
    VideoIndex.build([folder / name for name in NAMES[:3]], predictor, num_clips=2).save(tmp_path / "my.index")
    return tmp_path / "my.index"


def names_in(path: Path) -> set[str]:
    return {Path(video).name for video in VideoIndex.load(path).entries}


def test_int8_keeps_every_value_within_a_254th_of_its_cells_largest() -> None:
    features = torch.randn(3, 2, 4, 4, 32, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 4, 32)
    features[0, 0, 0, 0] = 0
    error = (widened(*narrowed(features)) - features).abs()
    assert bool((error <= features.abs().amax(dim=-1, keepdim=True) / 254 * 1.001).all())


def test_an_int8_index_is_half_as_large_and_scores_nearly_the_same(saved: Path, predictor: Predictor, tmp_path: Path) -> None:
    index = VideoIndex.load(saved, predictor=predictor)
    index.save(tmp_path / "narrow.index", store="int8")
    narrow = VideoIndex.load(tmp_path / "narrow.index", predictor=predictor)
    sizes = [next(iter(one.entries.stored().values()))[0].blocks["features"].nbytes for one in (narrow, index)]
    assert sizes[0] * 2 == sizes[1]
    for path in index.entries:
        before, after = (one.entries[path].video.features.float() for one in (index, narrow))
        assert bool(((after - before).abs() <= before.abs().amax(dim=-1, keepdim=True) / 254 * 1.001).all())
    scores = {hit.path: hit.score for hit in index.search(QUERY)}
    assert {hit.path: hit.score for hit in narrow.search(QUERY)} == pytest.approx(scores, abs=0.05)


def test_a_loaded_index_reads_features_from_the_file_when_asked(saved: Path) -> None:
    features = next(iter(VideoIndex.load(saved).entries.stored().values()))[0].blocks["features"]
    assert not features.flags.owndata and features.dtype == np.float16


def test_saving_where_it_was_loaded_appends_what_is_new(saved: Path, folder: Path, predictor: Predictor) -> None:
    before = saved.read_bytes()
    index = VideoIndex.load(saved, predictor=predictor)
    index.add([folder / "more" / NAMES[3]])
    index.remove([folder / NAMES[0]])
    index.save(saved)
    after = saved.read_bytes()
    assert after[4096 : len(before)] == before[4096:] and names_in(saved) == set(NAMES[1:])
    expected = {hit.path: hit.score for hit in VideoIndex.build([*index.entries], predictor, num_clips=2).search(QUERY)}
    for one in (index, VideoIndex.load(saved, predictor=predictor)):
        assert {hit.path: hit.score for hit in one.search(QUERY)} == pytest.approx(expected, abs=0.02)


def test_a_changed_file_replaces_its_old_features(saved: Path, folder: Path, predictor: Predictor) -> None:
    shutil.copy(folder / NAMES[1], folder / NAMES[0])
    index = VideoIndex.load(saved, predictor=predictor)
    index.add([folder / name for name in NAMES[:3]])
    index.save(saved)
    loaded = VideoIndex.load(saved, predictor=predictor)
    assert index.report.added == 3 + 1 and len(loaded) == 3
    one, other = (loaded.entries[str(folder / name)].video.features for name in NAMES[:2])
    assert torch.equal(one, other)


def test_a_file_that_mostly_holds_what_was_removed_is_written_anew(saved: Path, folder: Path, predictor: Predictor) -> None:
    index, size = VideoIndex.load(saved, predictor=predictor), saved.stat().st_size
    index.remove([folder / name for name in NAMES[:2]])
    index.save(saved)
    assert saved.stat().st_size < size and names_in(saved) == {NAMES[2]}
    index.add([folder / NAMES[0]])
    index.save(saved)
    assert names_in(saved) == {NAMES[0], NAMES[2]}


def test_two_writers_do_not_mix(saved: Path, folder: Path, predictor: Predictor) -> None:
    first, second = (VideoIndex.load(saved, predictor=predictor) for _ in range(2))
    first.remove([folder / NAMES[0]])
    first.save(saved)
    second.remove([folder / NAMES[1]])
    with pytest.raises(ValueError, match="was changed by another program since it was read; load it again"):
        second.save(saved)
    assert names_in(saved) == set(NAMES[1:3])


def killed(work: Callable[[], None]) -> None:
    """Run `work` in a process that must die by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["_write_blocks", "_commit", "_force", "_force again"])
def test_a_kill_while_saving_loses_nothing(saved: Path, folder: Path, predictor: Predictor, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = VideoIndex.load(saved, predictor=predictor).search(QUERY)
    index = VideoIndex.load(saved, predictor=predictor)
    index.add([folder / "more" / NAMES[3]])
    name, calls = moment.removesuffix(" again"), []
    real = getattr(index_file, name)

    def die(file: object, *args: object) -> object:
        calls.append(args)
        if len(calls) == 1 + moment.endswith("again"):
            file.write(b"half of a block")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(file, *args)

    monkeypatch.setattr(index_file, name, die)
    killed(lambda: index.save(saved))
    monkeypatch.undo()
    whole = moment.endswith("again")  # the slot was written: the commit is there, and what followed it is not read
    assert names_in(saved) == (set(NAMES) if whole else set(NAMES[:3]))
    again = VideoIndex.load(saved, predictor=predictor)
    if not whole:
        assert again.search(QUERY) == scores
        again.add([folder / "more" / NAMES[3]])
    again.save(saved)
    assert names_in(saved) == set(NAMES)


def test_a_torn_slot_leaves_the_commit_before(saved: Path, folder: Path, predictor: Predictor) -> None:
    index = VideoIndex.load(saved, predictor=predictor)
    index.remove([folder / NAMES[0]])
    index.save(saved)  # the second commit, in the first slot
    with saved.open("rb+") as file:
        file.seek(SLOTS[0] + 5)
        file.write(b"\xff")
    assert names_in(saved) == set(NAMES[:3])
    with saved.open("rb+") as file:
        file.seek(SLOTS[1] + 5)
        file.write(b"\xff")
    with pytest.raises(ValueError, match="is no index of clipbert, or is damaged"):
        VideoIndex.load(saved)


def test_an_index_that_grows_in_a_file_goes_on_where_it_was_stopped(
    folder: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, videos = tmp_path / "my.index", [folder / name for name in NAMES[:3]]
    monkeypatch.setattr("clipbert.index_build.COMMIT_BYTES", 0)

    def stop_at_the_second(_: str, done: int, __: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        VideoIndex.build(videos, predictor, num_clips=2, file=path, progress=stop_at_the_second)
    assert not path.exists()
    index = VideoIndex.build(videos, predictor, num_clips=2, file=path)
    assert index.report.added == 1 and names_in(path) == set(NAMES[:3]) and [p.name for p in tmp_path.iterdir() if "index" in p.name] == ["my.index"]
    again = VideoIndex.build(videos[1:], predictor, num_clips=2, file=path)
    assert (again.report.added, again.report.removed) == (0, 1) and names_in(path) == set(NAMES[1:3])


def test_other_settings_replace_a_file_only_when_done(saved: Path, folder: Path, predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="none of the 1 videos can be read"):
        VideoIndex.build([folder / "broken.mp4"], predictor, num_clips=1, file=saved)
    assert names_in(saved) == set(NAMES[:3]) and not list(saved.parent.glob(".*.part"))
    VideoIndex.build([folder / NAMES[0]], predictor, num_clips=1, file=saved)
    assert VideoIndex.load(saved).settings == {"num_clips": 1} and names_in(saved) == {NAMES[0]}


def write_first_format(path: Path, index: VideoIndex) -> None:
    """As `clipbert index` wrote files until November 2026."""
    tensors, rows = {}, []
    for entry in index.entries.values():
        tensors[entry.video.key] = entry.video.features.half()
        video = {name: value for name, value in vars(entry.video).items() if name not in ("features", "times", "spans")}
        video |= {"times": entry.video.times.tolist(), "spans": entry.video.spans.tolist()}
        rows.append({name: getattr(entry, name) for name in ("path", "content", "size", "modified")} | {"video": video})
    about = {"model": index.model, "settings": index.settings, "report": {"unreadable": {}, "not_videos": [], "seconds": 1.5}}
    save_file(tensors, path, metadata={"format": "clipbert-index-1", "about": json.dumps(about), "entries": json.dumps(rows)})


def test_a_file_of_the_first_format_still_loads_and_is_saved_as_the_new_one(folder: Path, predictor: Predictor, tmp_path: Path) -> None:
    index = VideoIndex.build([folder / name for name in NAMES[:3]], predictor, num_clips=2)
    path = tmp_path / "old.index"
    write_first_format(path, index)
    old = VideoIndex.load(path, predictor=predictor)
    scores = {hit.path: hit.score for hit in index.search(QUERY)}
    assert {hit.path: hit.score for hit in old.search(QUERY)} == pytest.approx(scores, abs=0.02) and old.report.seconds == 1.5
    old.save(path)
    assert path.read_bytes().startswith(b"clipbert-index-2")
    assert VideoIndex.load(path, predictor=predictor).search(QUERY) == old.search(QUERY)
