"""VideoIndex: exact scores, saving and loading, files that move, change or cannot be read, streaming."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN
from tiny import HEADS, tiny_model, tiny_processor

from clipbert.cli import main
from clipbert.predict import Predictor
from clipbert.retrieval import VideoIndex

NAMES = ("video_a30.mp4", "video_b25.mp4", "video_c15.mp4", "video_e10gif.gif")
QUERY = "a white bar moves to the right"


def make_predictor(seed: int = 0, heads: tuple[str, ...] = tuple(HEADS)) -> Predictor:
    model = tiny_model(seed, heads={name: HEADS[name] for name in heads})
    return Predictor(model, tiny_processor(model), name="tiny")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four videos, one of them below, a damaged one, a text and a hidden file."""
    videos = tmp_path / "videos"
    (videos / "more").mkdir(parents=True)
    for name in NAMES:
        shutil.copy(GOLDEN / name, videos / ("more" if name.endswith("gif") else "") / name)
    (videos / "broken.mp4").write_bytes((GOLDEN / NAMES[0]).read_bytes()[:100])
    (videos / "notes.txt").write_text("not a video")
    (videos / ".hidden.mp4").write_bytes(b"")
    return videos


@pytest.fixture
def index(folder: Path, predictor: Predictor) -> VideoIndex:
    return VideoIndex.build(folder, predictor, num_clips=3)


@pytest.mark.parametrize("aggregation", [None, "mean", "max"])
def test_a_search_scores_as_match_does_on_each_video(index: VideoIndex, predictor: Predictor, aggregation: str | None) -> None:
    hits = index.search(QUERY, aggregation=aggregation)
    assert len(hits) == 4 and [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for hit in hits:
        video = predictor.encode(hit.path, num_clips=3)
        assert hit.score == pytest.approx(float(predictor.match(video, [QUERY], aggregation=aggregation)), abs=1e-5)
        best = max(range(3), key=hit.clip_scores.__getitem__)
        assert (hit.start, hit.end) == hit.spans[best] == tuple(video.spans[best].tolist()) and hit.exact


def test_the_first_hits_are_the_first_of_all_hits(index: VideoIndex) -> None:
    assert index.search(QUERY, top_k=2) == index.search(QUERY)[:2]


def test_what_is_left_out_is_reported(index: VideoIndex, folder: Path) -> None:
    assert {Path(path).name for path in index.entries} == set(NAMES)
    assert [Path(path).name for path in index.report.unreadable] == ["broken.mp4"]
    assert "download or export it again" in index.report.unreadable[str(folder / "broken.mp4")]
    assert index.report.not_videos == [str(folder / "notes.txt")]


def test_a_saved_index_finds_the_same_within_the_rounding(index: VideoIndex, predictor: Predictor, tmp_path: Path) -> None:
    index.save(tmp_path / "my.index")
    loaded = VideoIndex.load(tmp_path / "my.index", predictor=predictor)
    for path, entry in index.entries.items():
        torch.testing.assert_close(loaded.entries[path].video.features.float(), entry.video.features, rtol=2**-11, atol=1e-7)
    scores = {hit.path: hit.score for hit in index.search(QUERY)}
    assert {hit.path: hit.score for hit in loaded.search(QUERY)} == pytest.approx(scores, abs=0.02)
    assert loaded.report == index.report and loaded.settings == index.settings
    assert 0 < index.num_bytes == loaded.num_bytes < (tmp_path / "my.index").stat().st_size


def test_a_loaded_index_saves_the_same_features_again(index: VideoIndex, predictor: Predictor, tmp_path: Path) -> None:
    index.save(tmp_path / "a.index")
    first = VideoIndex.load(tmp_path / "a.index", predictor=predictor)
    first.save(tmp_path / "a.index")
    again = VideoIndex.load(tmp_path / "a.index", predictor=predictor)
    assert [hit.score for hit in again.search(QUERY)] == [hit.score for hit in first.search(QUERY)]


def test_features_beyond_float16_are_kept_in_float32(index: VideoIndex, predictor: Predictor, tmp_path: Path) -> None:
    path, entry = next(iter(index.entries.items()))
    entry.video.features[0, 0, 0, 0, 0] = 1e6
    index.save(tmp_path / "my.index")
    assert torch.equal(VideoIndex.load(tmp_path / "my.index", predictor=predictor).entries[path].video.features, entry.video.features)


def test_a_saved_index_loads_its_model_by_itself(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_model()
    model.save_pretrained("model")
    tiny_processor(model).save_pretrained("model")
    index = VideoIndex.build(folder, Predictor.from_pretrained("model"), num_clips=2)
    index.save("my.index")
    monkeypatch.chdir(folder)
    found = VideoIndex.load(tmp_path / "my.index").search(QUERY)
    assert [hit.path for hit in found] == [hit.path for hit in index.search(QUERY)]
    tiny_model(seed=1).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="features of different models do not mix"):
        VideoIndex.load(tmp_path / "my.index").search(QUERY)
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(ValueError, match="cannot load the model of this index"):
        VideoIndex.load(tmp_path / "my.index").search(QUERY)


def test_another_model_is_refused_at_loading(index: VideoIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "my.index")
    with pytest.raises(ValueError, match="features of different models do not mix"):
        VideoIndex.load(tmp_path / "my.index", predictor=make_predictor(seed=1))


def test_a_model_without_a_match_score_is_refused_before_any_video_is_read(folder: Path) -> None:
    with pytest.raises(ValueError, match="no match score"):
        VideoIndex.build(folder, make_predictor(heads=("qa",)))


def test_files_that_are_gone_or_changed_since_are_said_so(index: VideoIndex, folder: Path) -> None:
    (folder / NAMES[0]).unlink()
    shutil.copy(GOLDEN / NAMES[2], folder / NAMES[1])
    os.utime(folder / NAMES[2], (1, 1))
    notices = {Path(hit.path).name: " ".join(hit.notices) for hit in index.search(QUERY)}
    assert "no longer where" in notices[NAMES[0]] and "has changed" in notices[NAMES[1]]
    assert notices[NAMES[2]] == ""  # touched only: the content is the same


def test_adding_encodes_only_what_is_new_or_changed(index: VideoIndex, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    encode = index.predictor.encode
    monkeypatch.setattr(index.predictor, "encode", lambda path, **settings: encoded.append(Path(path).name) or encode(path, **settings))
    shutil.copy(GOLDEN / "video_f12avi.avi", folder / NAMES[1])
    shutil.copy(GOLDEN / NAMES[0], folder / "broken.mp4")
    index.add(sorted(folder.glob("[!.]*.mp4")))
    assert encoded == ["broken.mp4", NAMES[1]] and index.report.unreadable == {} and len(index) == 5


def test_removed_videos_are_not_found(index: VideoIndex, folder: Path) -> None:
    index.remove([folder / NAMES[0]])
    assert NAMES[0] not in {Path(hit.path).name for hit in index.search(QUERY)}
    with pytest.raises(ValueError, match="is not in the index"):
        index.remove([folder / NAMES[0]])


def test_a_stream_ends_with_the_search_and_is_partial_until_then(index: VideoIndex) -> None:
    rankings = list(index.search_stream(QUERY))
    assert [(r.stage, r.done) for r in rankings] == [(stage, n) for stage in ("one clip", "all clips") for n in (1, 2, 3, 4)]
    assert list(rankings[-1].hits) == index.search(QUERY)
    assert [r.partial for r in rankings] == [True] * 7 + [False]
    assert not any(hit.exact for hit in rankings[3].hits) and [len(r.hits) for r in rankings[:4]] == [1, 2, 3, 4]


def test_a_stream_that_refines_a_few_stays_partial(index: VideoIndex) -> None:
    *_, coarse, _, last = index.search_stream(QUERY, refine=2)
    assert last.partial and [hit.exact for hit in last.hits] == [True, True, False, False]
    assert {hit.path for hit in last.hits[:2]} == {hit.path for hit in coarse.hits[:2]}


def test_a_stopped_stream_runs_no_more_of_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, scored = VideoIndex.build(folder, make_predictor(), num_clips=2), []
    score = index.predictor.model.score
    monkeypatch.setattr(index.predictor.model, "score", lambda *args: scored.append(args) or score(*args))
    monkeypatch.setattr("clipbert.retrieval.STREAM_CLIPS", 1)
    stream = index.search_stream(QUERY)
    next(stream)
    stream.close()
    assert [len(features) for features, *_ in scored] == [1]  # the retrieval head, on one clip of one video; the vectors are in the index


def test_texts_are_ranked_for_a_video_indexed_or_not(index: VideoIndex, predictor: Predictor, folder: Path) -> None:
    texts = ["a dog", "a red ball", "two people"]
    for path in (folder / NAMES[0], GOLDEN / "video_d30mkv.mkv"):
        scores = predictor.match(predictor.encode(path, num_clips=3), texts).tolist()
        ranked = index.rank_texts(path, texts)
        assert [text for text, _ in ranked] == sorted(texts, key=lambda text: -scores[texts.index(text)])
        assert dict(ranked) == pytest.approx(dict(zip(texts, scores, strict=True)), abs=1e-5)


def test_a_failed_save_leaves_the_old_index_as_it_was(index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.save(tmp_path / "my.index")
    before = (tmp_path / "my.index").read_bytes()
    index.remove(list(index.entries)[:1])
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ValueError, match=r"cannot write .* \(disk full\)"):
        index.save(tmp_path / "my.index")
    assert (tmp_path / "my.index").read_bytes() == before and not list(tmp_path.glob(".*.part"))


@pytest.fixture
def model_dir(tmp_path: Path) -> str:
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    tiny_processor(model).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_the_commands_index_and_search(folder: Path, tmp_path: Path, model_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "my.index")
    assert main(["index", str(folder), "-o", out, "--model", model_dir, "--num-clips", "2", "--num-frames", "1", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["videos"] == 4 and list(made["unreadable"]) == [str(folder / "broken.mp4")] and made["settings"]["num_frames"] == 1
    assert main(["search", out, QUERY, "-k", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["hits"]) == 2 and {"path", "score", "start", "end", "clip_scores", "duration"} <= set(found["hits"][0])
    assert main(["search", out, QUERY]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and all(name in shown.out for name in NAMES) and "1 more could not be read" in shown.out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["index", "EMPTY", "-o", "OUT"], "no videos in"),
        (["index", "MISSING", "-o", "OUT"], "is no folder"),
        (["index", "VIDEOS", "-o", "NOTES"], "exists and is no index"),
        (["index", "VIDEOS", "-o", "MISSING/my.index"], "no folder that can be written"),
        (["index", "BROKEN", "-o", "OUT"], "none of the 1 videos can be read"),
        (["index", "VIDEOS", "-o", "OUT", "--num-clips", "0"], "num_clips must be a whole number between 1 and 256, got 0"),
        (["index", "VIDEOS"], "the following arguments are required: -o/--out"),
        (["search", "MISSING", "a dog"], "there is no index"),
        (["search", "NOTES", "a dog"], "is no index of clipbert"),
        (["search", "WEIGHTS", "a dog"], "is no index of clipbert"),
        (["search", "NOTES", "  "], "the query is empty"),
        (["search", "INDEX", "a dog", "-k", "0"], "top_k must be at least 1, got 0"),
        (["search", "INDEX", "a dog", "--aggregate", "sum"], "aggregation must be one of mean, max, lse"),
    ],
)
def test_bad_input_gets_one_line_and_exit_2(
    argv: list[str], message: str, folder: Path, tmp_path: Path, model_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    shutil.move(folder / "broken.mp4", tmp_path / "bad")
    if "INDEX" in argv:
        VideoIndex.build(folder, Predictor.from_pretrained(model_dir), num_clips=1).save(tmp_path / "an.index")
    names = {
        "VIDEOS": folder, "EMPTY": tmp_path / "empty", "BROKEN": tmp_path / "bad", "MISSING": tmp_path / "missing", "NOTES": folder / "notes.txt",
        "OUT": tmp_path / "out", "MISSING/my.index": tmp_path / "missing" / "my.index", "INDEX": tmp_path / "an.index",
        "WEIGHTS": Path(model_dir) / "model.safetensors",
    }  # fmt: skip
    words = [str(names.get(word, word)) for word in argv] + (["--model", model_dir] if argv[0] == "index" and argv != ["index", "VIDEOS"] else [])
    try:
        code = main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and len(err.strip().splitlines()) == 1 and message in err, err
    assert not (tmp_path / "out").exists() and (folder / "notes.txt").read_text() == "not a video"
