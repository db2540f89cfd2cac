"""Cascades: candidates by something cheap, then the exact score; one search over several shards."""
# ruff: noqa: F811, F401 (fixtures of another file)

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from conftest import GOLDEN
from hf_models import write_clip
from test_retrieval import QUERY, folder, index, make_predictor, model_dir, predictor

from clipbert.aggregation import AGGREGATIONS
from clipbert.cascade import shortlist_recall
from clipbert.cli import main
from clipbert.gallery_scores import pooled_log_odds, with_clips
from clipbert.predict import Predictor
from clipbert.retrieval import CASCADES, VideoIndex
from clipbert.sharded_search import search_shards
from clipbert.tasks import match_log_odds

QUERIES = [QUERY, "a dog", "a red ball rolls over a green field", "two people"]


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_pooled_log_odds_of_many_videos_are_those_of_each(how: str) -> None:
    clips = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (3, 1, 7, 2)]
    pooled = pooled_log_odds(torch.cat(clips), np.cumsum([len(one) for one in clips]), how)
    torch.testing.assert_close(pooled, torch.cat([match_log_odds(one[None, :, None], how) for one in clips]))


@pytest.mark.parametrize("cascade", CASCADES)
def test_a_cascade_that_lists_every_video_is_the_exact_search(index: VideoIndex, cascade: str) -> None:
    assert index.search(QUERY, cascade=cascade) == index.search(QUERY)


@pytest.mark.parametrize("cascade", CASCADES)
def test_hits_of_a_cascade_are_its_candidates_with_their_exact_scores(index: VideoIndex, cascade: str) -> None:
    exact = {hit.path: hit.score for hit in index.search(QUERY)}
    candidates = [path for path, _ in index.candidates(QUERY, cascade, 2)]
    found = index.search(QUERY, top_k=2, cascade=cascade, shortlist=2)
    assert [hit.path for hit in found] == sorted(candidates, key=lambda path: -exact[path])
    assert [hit.score for hit in found] == pytest.approx([exact[hit.path] for hit in found], abs=1e-5)


def test_candidates_by_vectors_are_in_the_order_of_the_contrastive_head(index: VideoIndex, predictor: Predictor) -> None:
    own = {path: float(predictor.match_parts(predictor.encode(path, num_clips=3), [QUERY])["contrast"][0]) for path in index.entries}
    found = index.candidates(QUERY, "vectors", 4)
    assert dict(found) == pytest.approx(own, abs=1e-4) and [path for path, _ in found] == sorted(own, key=lambda path: -own[path])


def test_a_model_of_vectors_alone_is_searched_exactly_without_the_features(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = make_predictor(heads=("contrast",))
    index = VideoIndex.build(folder, predictor, num_clips=3)
    expected = {path: float(predictor.match(predictor.encode(path, num_clips=3), [QUERY])[0]) for path in index.entries}
    monkeypatch.setattr(predictor.model, "score", None)
    assert {hit.path: hit.score for hit in index.search(QUERY)} == pytest.approx(expected, abs=1e-4)


def test_a_stream_by_vectors_begins_with_a_ranking_of_all_and_ends_with_the_search(index: VideoIndex) -> None:
    rankings = list(index.search_stream(QUERY, cascade="vectors"))
    assert [(r.stage, r.done, r.partial) for r in rankings] == [("vectors", 4, True), *(("all clips", n, n < 4) for n in (1, 2, 3, 4))]
    assert [hit.path for hit in rankings[0].hits] == [path for path, _ in index.candidates(QUERY, "vectors", 4)]
    assert not any(hit.exact for hit in rankings[0].hits) and list(rankings[-1].hits) == index.search(QUERY)


def test_recall_of_a_shortlist_grows_to_all_of_the_exact_hits(index: VideoIndex) -> None:
    rows = shortlist_recall(index, QUERIES, cascade="one-clip", shortlists=(1, 2, 3, 4))
    assert [row.top_10 for row in rows] == [0.25, 0.5, 0.75, 1.0] and rows[-1].top_1 == 1.0
    best = [[index.search(query, top_k=1, **how)[0].path for how in ({}, {"cascade": "one-clip", "shortlist": 2})] for query in QUERIES]
    same = [exact == found for exact, found in best]
    assert rows[1].top_1 == sum(same) / len(same)


@pytest.mark.parametrize(("count", "kept"), [(1, [8]), (2, [4, 12]), (4, [2, 6, 10, 14]), (16, list(range(16))), (40, list(range(16)))])
def test_few_clips_are_those_in_the_middle_of_equal_parts(predictor: Predictor, count: int, kept: list[int]) -> None:
    (entry,) = VideoIndex.build([GOLDEN / "video_a30.mp4"], predictor, num_clips=16).entries.values()
    few = with_clips(entry, count)
    assert few.video.spans.tolist() == entry.video.spans[kept].tolist() and torch.equal(few.video.features, entry.video.features[kept])
    assert list(few.video.clip_keys) == [entry.video.clip_keys[n] for n in kept] and len(few.vectors) == len(kept)


def test_a_cascade_that_reads_all_clips_is_the_search(index: VideoIndex) -> None:
    assert index.candidates(QUERY, "four-clips", 4) == [(hit.path, hit.score) for hit in index.search(QUERY)]  # of three clips each
    assert index.candidates(QUERY, "two-clips", 4) != index.candidates(QUERY, "one-clip", 4)


def test_cascades_that_cannot_be_are_refused(folder: Path, index: VideoIndex) -> None:
    for search in (index.search, index.search_stream):
        with pytest.raises(ValueError, match="cascade must be one of vectors, one-clip, two-clips, four-clips"):
            list(search(QUERY, cascade="magic"))
    with pytest.raises(ValueError, match="shortlist must be at least top_k, 10 videos, got 3"):
        index.search(QUERY, cascade="vectors", shortlist=3)
    with pytest.raises(ValueError, match='has no contrastive head, so no vectors; use cascade "one-clip"'):
        VideoIndex.build(folder, make_predictor(heads=("match",)), num_clips=1).search(QUERY, cascade="vectors")
    with pytest.raises(ValueError, match="queries must hold at least one text"):
        shortlist_recall(index, [], cascade="one-clip", shortlists=(1,))


def search_as(rank: int, shard: VideoIndex, meeting: Path, out: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    found = [
        [(Path(hit.path).name, hit.score) for hit in search_shards(shard, QUERY, top_k=top_k, cascade=cascade, shortlist=shortlist)]
        for top_k, cascade, shortlist in ((3, None, 64), (2, "vectors", 2), (2, "one-clip", 3))
    ]
    out.write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def test_two_processes_with_half_of_the_videos_each_find_what_one_with_all_finds(index: VideoIndex, predictor: Predictor, tmp_path: Path) -> None:
    paths = [tmp_path / f"{rank}.index" for rank in range(2)]
    index.save(tmp_path / "all.index")
    whole = VideoIndex.load(tmp_path / "all.index", predictor=predictor)
    for rank, path in enumerate(paths):
        whole.part(rank, 2).save(path)
    children = []
    for rank, path in enumerate(paths):
        shard, child = VideoIndex.load(path, predictor=predictor), os.fork()
        if child == 0:
            try:
                search_as(rank, shard, tmp_path / "meeting", tmp_path / f"{rank}.json")
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    asked = (
        whole.search(QUERY, top_k=3),
        whole.search(QUERY, top_k=2, cascade="vectors", shortlist=2),
        whole.search(QUERY, top_k=2, cascade="one-clip", shortlist=3),
    )
    for rank in range(2):
        for found, expected in zip(json.loads((tmp_path / f"{rank}.json").read_text()), asked, strict=True):
            assert [name for name, _ in found] == [Path(hit.path).name for hit in expected]
            assert [score for _, score in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)


def test_shards_share_the_videos(index: VideoIndex) -> None:
    shards = [index.part(rank, 3) for rank in range(3)]
    assert sorted(path for shard in shards for path in shard.entries) == sorted(index.entries) and [len(shard) for shard in shards] == [2, 1, 1]
    with pytest.raises(ValueError, match="rank must be between 0 and 2, got 3"):
        index.part(3, 3)


def test_the_command_searches_by_a_cascade(folder: Path, tmp_path: Path, model_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "my.index")
    for told in ("4 of them new or changed, 0 as they were; 0 removed", "0 of them new or changed, 4 as they were; 0 removed"):
        assert main(["index", str(folder), "-o", out, "--model", model_dir, "--num-clips", "2", "--store", "int8"]) == 0
        assert told in capsys.readouterr().out
    assert main(["search", out, QUERY, "-k", "1", "--cascade", "vectors", "--shortlist", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cascade"], found["shortlist"], len(found["hits"])) == ("vectors", 2, 1)
    assert main(["search", out, QUERY, "-k", "1", "--cascade", "one-clip"]) == 0
    assert "64 candidates by one-clip of 4 videos" in capsys.readouterr().out
    assert main(["search", out, QUERY, "--shortlist", "2"]) == 2
    assert "--shortlist is the number of candidates of a cascade" in capsys.readouterr().err


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{write_clip(tmp_path_factory.mktemp('clip'))}"


def test_a_dual_encoder_finds_the_candidates_that_another_model_ranks(index: VideoIndex, clip_folder: str) -> None:
    first = VideoIndex.build(list(index.entries), Predictor.from_pretrained(clip_folder, device="cpu"), num_clips=2)
    exact = {hit.path: hit.score for hit in index.search(QUERY)}
    for how in ({}, {"cascade": "one-clip"}):
        candidates = {path for path, _ in first.candidates(QUERY, how.get("cascade", "vectors"), 2)}
        found = index.search(QUERY, top_k=2, shortlist=2, first=first, **how)
        assert {hit.path for hit in found} == candidates and [hit.score for hit in found] == pytest.approx(
            [exact[hit.path] for hit in found], abs=1e-5
        )
    index.remove(list(index.entries)[:1])
    with pytest.raises(ValueError, match="is in the first index alone; build both of the same videos"):
        index.search(QUERY, first=first)


def test_the_command_takes_the_candidates_from_another_models_index(
    folder: Path, tmp_path: Path, model_dir: str, clip_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, model in (("own.index", model_dir), ("clip.index", clip_folder)):
        assert main(["index", str(folder), "-o", str(tmp_path / name), "--model", model, "--num-clips", "1"]) == 0
    capsys.readouterr()
    assert main(["search", str(tmp_path / "own.index"), QUERY, "-k", "1", "--first", str(tmp_path / "clip.index"), "--shortlist", "2"]) == 0
    assert f"2 candidates by vectors ({clip_folder}) of 4 videos" in capsys.readouterr().out
