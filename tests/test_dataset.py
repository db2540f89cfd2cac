"""From examples to batches: shared decodes, exact draws, unreadable videos, negatives, masking, cache and LMDB."""

import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GOLDEN
from PIL import Image
from tiny import tiny_model, tiny_processor
from torch.utils.data import DataLoader
from videos import write_video

from clipbert.backbone import without_repeats
from clipbert.config import SamplingConfig
from clipbert.data.clip_cache import ClipCache
from clipbert.data.collate import (
    CaptionsWithNegatives,
    Collator,
    Questions,
)
from clipbert.data.dataset import Draw, Item, Unreadable, UnreadableVideos, VideoTextDataset, group_by_video, group_evenly
from clipbert.data.rows import Example
from clipbert.data.video_store import LmdbVideos, VideoFolder, open_store
from clipbert.sampling import sample_clips
from clipbert.types import Clip
from clipbert.video import Video, VideoError

TRAINING = SamplingConfig(num_clips=3, num_frames=2, fps=2.0, policy="random", seed=5)
EVALUATION = SamplingConfig(num_clips=2, num_frames=2, fps=2.0, policy="official")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos a..d of different size and length, one of them in a folder of its own, and a still."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "more").mkdir()
    write_video(folder / "a.mp4", num_frames=60)
    write_video(folder / "b.mkv", num_frames=45, size=(64, 48))
    write_video(folder / "c.mp4", num_frames=20)
    write_video(folder / "more" / "d.e.mp4", num_frames=30)
    Image.effect_noise((40, 30), 60).convert("RGB").save(folder / "still.png")
    (folder / "a.json").write_text("{}")
    return folder


def captions(*videos: str, each: int = 2) -> list[Example]:
    return [Example(video, f"{video}{k}", caption=f"caption {k} of {video}") for video in videos for k in range(each)]


def dataset(folder: Path, examples: list[Example], sampling: SamplingConfig = TRAINING, **settings: Any) -> VideoTextDataset:
    return VideoTextDataset(group_by_video(examples), VideoFolder(folder), sampling=sampling, **settings)


def same(one: Item, two: Item) -> bool:
    return torch.equal(one.frames, two.frames) and torch.equal(one.times, two.times) and (one.examples, one.seed) == (two.examples, two.seed)


@pytest.fixture(scope="session")
def processor() -> Any:
    return tiny_processor(tiny_model())


def test_an_item_is_what_the_policy_chooses_at_source_size(folder: Path) -> None:
    item = dataset(folder, captions("b"), EVALUATION)[0]
    with Video.open(folder / "b.mkv") as video:
        clips = sample_clips(video.timeline, num_clips=2, num_frames=2, fps=2.0, policy="official")
        expected = torch.stack([video.frames_by_index(clip.frame_index.tolist()).frames for clip in clips])
    assert torch.equal(item.frames, expected) and item.frames.shape == (2, 2, 3, 64, 48) and item.frames.dtype == torch.uint8
    assert torch.equal(item.times, torch.stack([clip.times for clip in clips]))


def test_several_captions_of_a_video_share_one_decode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, real = [], Video.open
    monkeypatch.setattr(Video, "open", lambda path, **settings: opened.append(path) or real(path, **settings))
    items = dataset(folder, captions("a", "c", each=20))
    assert [len(items[i].examples) for i in range(len(items))] == [20, 20] and len(opened) == 2


def test_draws_follow_from_seed_epoch_and_index_alone(folder: Path) -> None:
    one, two = (dataset(folder, captions("a", "b", "c")) for _ in range(2))
    forward = [one[Draw(epoch, i)] for epoch in range(2) for i in range(3)]
    backward = [two[Draw(epoch, i)] for epoch in reversed(range(2)) for i in reversed(range(3))]
    assert all(same(x, y) for x, y in zip(forward, reversed(backward), strict=True))
    assert not same(forward[0], forward[3]) and same(one[0], forward[0])
    other = dataset(folder, captions("a"), SamplingConfig(num_clips=3, num_frames=2, fps=2.0, policy="random", seed=6))
    assert not torch.equal(other[0].times, forward[0].times)


def test_worker_processes_change_nothing(folder: Path, processor: Any) -> None:
    items = dataset(folder, captions("a", "b", "c"))
    collator = Collator(processor, CaptionsWithNegatives(items.groups))
    plan = [Draw(1, 2), Draw(1, 0), Draw(1, 1)]
    here, there = (
        list(DataLoader(items, sampler=plan, batch_size=2, collate_fn=collator, num_workers=n, multiprocessing_context=context))
        for n, context in ((0, None), (2, "fork"))
    )
    for one, two in zip(here, there, strict=True):
        assert torch.equal(one.clips.input_ids, two.clips.input_ids) and one.examples == two.examples
        assert all(torch.equal(x, y) for x, y in zip(one.clips.pixel_values, two.clips.pixel_values, strict=True))
    assert pickle.loads(pickle.dumps(items)).groups == items.groups


def test_images_are_one_frame_videos(folder: Path) -> None:
    item = dataset(folder, [Example("still", "0", caption="noise", is_image=True)], SamplingConfig(num_clips=1, num_frames=1))[0]
    assert item.frames.shape == (1, 1, 3, 30, 40) and item.times.tolist() == [[0.0]]
    with Image.open(folder / "still.png") as still:
        assert bytes(item.frames[0, 0].permute(1, 2, 0).flatten().tolist()) == still.tobytes()


def test_a_photo_is_held_once_for_all_clips_and_frames(folder: Path) -> None:
    still = Example("still", "0", question="what is it?", is_image=True)
    items = dataset(folder, [still], SamplingConfig(num_clips=2, num_frames=3))
    collator = Collator(tiny_processor(tiny_model()), Questions("qa"))
    for num_workers, context in ((0, None), (1, "fork")):
        (batch,) = DataLoader(items, batch_size=1, collate_fn=collator, num_workers=num_workers, multiprocessing_context=context)
        (frames,) = batch.clips.pixel_values
        assert frames.shape == (2, 3, 3, 30, 40) and without_repeats(frames).shape == (1, 1, 3, 30, 40)


def test_golden_videos_load_by_name() -> None:
    examples = [Example(f"video_{name}", name, caption=name) for name in ("a30", "b25", "c15", "d30mkv")]
    items = dataset(GOLDEN, examples, EVALUATION)
    assert [items[i].frames.shape[:3] for i in range(4)] == [(2, 2, 3)] * 4


def test_groups_keep_file_order_and_lose_nothing() -> None:
    examples = captions("a", "b", each=5)
    shuffled = examples[::2] + examples[1::2]
    groups = group_by_video(shuffled, max_texts=2)
    assert [len(g) for g in groups] == [2, 2, 1, 2, 2, 1] and Counter(e for g in groups for e in g) == Counter(examples)
    even = group_evenly(shuffled, num_texts=2, seed=0)
    assert {len(g) for g in even} == {2} and {e for g in even for e in g} == set(examples) and all(len({e.video for e in g}) == 1 for g in even)
    assert [g[: len(h)] for g, h in zip(even, groups, strict=True)] == groups and even == group_evenly(shuffled, num_texts=2, seed=0)


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "v")
    (tmp_path / "v" / "bad.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(400))
    return tmp_path / "v"


def test_evaluation_raises_for_an_unreadable_or_missing_video(damaged: Path) -> None:
    items = dataset(damaged, captions("a", "bad", "gone"), EVALUATION)
    with pytest.raises(VideoError, match="none may be left out here; bad: cannot open"):
        items[1]
    with pytest.raises(VideoError, match="gone: no video or image called gone in"):
        items[2]


def test_training_replaces_counts_and_stops_past_the_limit(damaged: Path, processor: Any) -> None:
    items = dataset(damaged, captions("a", "bad", "gone", "c"), max_unreadable=2)
    drawn = [items[i] for i in range(4)]
    assert all(item.examples[0].video in "ac" for item in drawn) and same(drawn[1], items[1])
    batch = Collator(processor, Questions("retrieval"))(drawn)
    assert {u.video for u in batch.replaced} == {"bad", "gone"}
    count = UnreadableVideos(limit=2)
    count.add(batch.replaced)
    count.add(batch.replaced)
    assert len(count.lines()) == 2 and any("gone: no video" in line for line in count.lines())
    with pytest.raises(VideoError, match=r"3 of the videos cannot be read, more than the 2 allowed by max_unreadable; other: broken"):
        count.add([Unreadable("other", "broken.")])


def test_a_partly_readable_video_says_so_every_time(damaged: Path, tmp_path: Path) -> None:
    write_video(damaged / "long.mkv", num_frames=120)
    whole = (damaged / "long.mkv").read_bytes()
    (damaged / "long.mkv").write_bytes(whole[: len(whole) // 2])
    items = dataset(damaged, captions("long"), EVALUATION, cache=ClipCache(tmp_path / "cache", max_bytes=1 << 24))
    assert [any("readable part" in notice for notice in items[0].notices) for _ in range(2)] == [True, True]


def test_the_cache_gives_the_same_bits_without_decoding(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ClipCache(tmp_path, max_bytes=1 << 24)
    items = dataset(folder, captions("a", "b"), EVALUATION, cache=cache)
    decoded = [items[i] for i in range(2)]
    monkeypatch.setattr(Video, "open", None)
    assert all(same(items[i], decoded[i]) for i in range(2)) and (cache.hits, cache.misses) == (2, 2)
    with pytest.raises(ValueError, match='no effect with policy="random"'):
        dataset(folder, captions("a"), cache=cache)


def test_the_cache_sees_other_files_and_settings(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.mp4", tmp_path / "x.mp4")
    cache = ClipCache(tmp_path / "cache", max_bytes=1 << 24)
    first = dataset(tmp_path, captions("x"), EVALUATION, cache=cache)[0]
    shutil.copy(folder / "c.mp4", tmp_path / "x.mp4")
    assert not same(first, dataset(tmp_path, captions("x"), EVALUATION, cache=cache)[0])
    more = dataset(tmp_path, captions("x"), SamplingConfig(num_clips=4, num_frames=2, fps=2.0, policy="official"), cache=cache)[0]
    assert len(more.frames) == 4 and (cache.hits, cache.misses) == (0, 3)


def test_the_cache_stays_within_bounds_oldest_out_first(tmp_path: Path) -> None:
    clip = Clip(torch.zeros(2, 3, 10, 10, dtype=torch.uint8), torch.zeros(2, dtype=torch.float64))
    cache = ClipCache(tmp_path, max_bytes=3000)
    for key in range(8):
        cache.put(key, clip)
        assert cache.get(0) is not None or key > 3
        assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= 3000
    assert cache.get(7) is not None and cache.get(1) is None
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert cache.get(7) is None


def test_a_folder_finds_videos_by_name_or_path(folder: Path) -> None:
    videos = VideoFolder(folder)
    assert videos.find("a") == videos.find("a.mp4") == videos.find("a.avi") == folder / "a.mp4"
    assert videos.find("d.e") == videos.find("more/d.e.mp4") == folder / "more" / "d.e.mp4"
    with pytest.raises(VideoError, match="no video or image called d in"):
        videos.find("d")
    with pytest.raises(ValueError, match="no folder of videos"):
        VideoFolder(folder / "a.mp4")


def test_two_files_of_one_name_are_not_guessed_between(folder: Path, tmp_path: Path) -> None:
    for name in ("x.mp4", "x.webm"):
        shutil.copy(folder / "a.mp4", tmp_path / name)
    with pytest.raises(VideoError, match=r"x may be .*x\.mp4 or .*x\.webm; write its path, or keep one"):
        VideoFolder(tmp_path).find("x")


def test_an_lmdb_of_the_original_reads_like_its_files_and_becomes_them_again(folder: Path, tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    files = {"a": folder / "a.mp4", "b": folder / "b.mkv", "still": folder / "still.png"}
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for name, path in files.items():
            transaction.put(name.encode(), path.read_bytes())
    store = open_store(tmp_path / "db")
    assert isinstance(store, LmdbVideos) and store.names() == sorted(files)
    groups = group_by_video(captions("a", "b"))
    one, two = (VideoTextDataset(groups, videos, sampling=TRAINING) for videos in (store, open_store(folder)))
    assert all(same(one[i], two[i]) for i in range(2)) and same(pickle.loads(pickle.dumps(one))[0], two[0])
    there = list(DataLoader(one, batch_size=None, num_workers=1, multiprocessing_context="fork"))
    assert all(same(there[i], two[i]) for i in range(2))
    exported = store.export(tmp_path / "files")
    assert {path.stem: path.read_bytes() for path in exported} == {name: path.read_bytes() for name, path in files.items()}
    assert {path.name for path in exported} == {"a.mp4", "b.webm", "still.png"}
    with pytest.raises(ValueError, match="exists already"):
        store.export(tmp_path / "files")
    with pytest.raises(VideoError, match="no video or image called gone"):
        store.read("gone")
