"""The Retrieve tab: a gallery, a streamed ranking that plays from the best clip, and how often it is right."""

import base64
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from test_predict import make_predictor
from videos import write_video

from app.gallery import PREVIEW_FRAMES, PREVIEW_SIZE, Gallery, names_of, poster
from app.ground_truth import Pairs, judged, read_pairs, score_all, synthetic_pairs
from app.retrieval_views import captions_html, clips_strip, cost_html, gallery_html, indexing_html, percent, ranking_html, slices_html, why_html
from app.slices import MOST_SLICES, Choice, Slice, measured_table, sliced, with_choice
from app.state import Session
from app.tabs.retrieve import estimate
from clipbert.config import SamplingConfig
from clipbert.retrieval import Hit, Ranking, VideoIndex
from clipbert.video import Video


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    names = {}
    for number in range(3):
        path = write_video(tmp_path / f"v{number}.mp4", num_frames=20 + 10 * number)
        names[path.resolve()] = path.name
    return Gallery(names)


def indexed(gallery: Gallery) -> Gallery:
    list(gallery.index_all(make_predictor(), 2, SamplingConfig()))
    return gallery


def test_indexing_tells_videos_megabytes_and_seconds(gallery: Gallery) -> None:
    steps = list(gallery.index_all(make_predictor(), 2, SamplingConfig()))
    assert [step.done for step in steps] == [1, 2, 3] and steps[0].num_bytes < steps[-1].num_bytes
    assert "3/3 videos" in indexing_html(steps[-1]) and "MB" in indexing_html(steps[-1])
    assert "Stopped" in indexing_html(steps[0], stopped=True)


def test_a_video_is_indexed_once(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, read = make_predictor(), []
    encode = predictor.encode
    monkeypatch.setattr(predictor, "encode", lambda path, **settings: read.append(path) or encode(path, **settings))
    for _ in range(2):
        assert [step.done for step in gallery.index_all(predictor, 2, SamplingConfig())] == [1, 2, 3]
    assert len(read) == 3


def test_a_search_says_what_it_reads_and_once_it_knows_its_speed_how_long_that_takes(gallery: Gallery) -> None:
    session = Session()
    assert estimate(session, indexed(gallery), 2) == "reading the query with 7 clips"  # one of each of three, then two of each of two
    session.kept["seconds per pass"] = 0.5
    assert estimate(session, gallery, 2) == "reading the query with 7 clips; est. 3.5 s"


def moving_frames(path: Path) -> list[np.ndarray]:
    """Those that a card runs through."""
    strip = Image.open(io.BytesIO(base64.b64decode(poster(path).moving.partition(",")[2])))
    width, height = PREVIEW_SIZE
    assert strip.size == (PREVIEW_FRAMES * width, height)
    return [np.asarray(strip)[:, n * width : (n + 1) * width].astype(float) for n in range(PREVIEW_FRAMES)]


def test_a_card_holds_frames_of_the_whole_video_in_order(tmp_path: Path) -> None:
    frames = moving_frames(write_video(tmp_path / "a.mp4", num_frames=50))
    assert all(np.abs(a - b).mean() > 1 for a, b in itertools.pairwise(frames))


def test_a_damaged_frame_of_a_card_gives_way_to_a_sound_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Video.decode
    monkeypatch.setattr(Video, "decode", lambda self, wanted: ({i: p for i, p in decode(self, wanted)[0].items() if i < 20}, (25, 35, 45)))
    frames = moving_frames(write_video(tmp_path / "a.mp4", num_frames=50))
    alike = [np.abs(a - b).mean() < 1 for a, b in itertools.pairwise(frames)]
    assert alike == [False, True, True, True]


def test_a_card_of_what_cannot_be_read_says_why_without_a_path(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    shown = gallery_html(Gallery({tmp_path / "bad.mp4": "bad.mp4"}))
    assert "cannot be read" in shown and "is text, not a video" in shown and str(tmp_path) not in shown


def test_a_video_that_left_the_gallery_leaves_the_index(gallery: Gallery) -> None:
    predictor = make_predictor()
    list(gallery.index_all(predictor, 2, SamplingConfig()))
    gone = next(iter(gallery.names))
    del gallery.names[gone]
    list(gallery.index_all(predictor, 2, SamplingConfig()))
    assert gallery.index is not None and str(gone) not in gallery.index.entries and len(gallery.index) == 2


def test_a_gallery_that_would_be_too_large_is_refused(gallery: Gallery) -> None:
    with pytest.raises(ValueError, match="at most 200 videos"):
        gallery.add([Path("a.mp4")] * 198)


def test_files_of_the_same_name_keep_apart() -> None:
    assert list(names_of([Path("/x/a.mp4"), Path("/y/a.mp4"), Path("/y/b.mp4")]).values()) == ["a.mp4", "a.mp4 (2)", "b.mp4"]


def test_a_partial_ranking_says_so_and_escapes_what_it_shows(gallery: Gallery) -> None:
    path = next(iter(gallery.names))
    gallery.names[path] = "<b>cat</b>.mp4"
    hit = Hit(str(path), 0.0, 0.5, 1.5, (-1.0, 0.0), ((0.0, 1.0), (0.5, 1.5)), 2.0, exact=False)
    shown = ranking_html(Ranking((hit,), "one clip", 1, 3, True), gallery, "<i>", "tiny", seconds=0.5, stopped=True)
    assert "Partial ranking" in shown and "1/3 videos" in shown and "50.0 %" in shown and "one clip" in shown
    assert "<b>cat" not in shown and "<i>”" not in shown and "00:00.5–00:01.5" in shown


def test_captions_show_probability_and_log_odds() -> None:
    assert "a cat (+0.00)" in captions_html([("a cat", 0.0)], "v.mp4", "tiny") and percent(0.0) == "50.0 %"
    assert percent(-1000.0) == "0.0 %"


def test_captions_find_their_videos_by_name_with_or_without_suffix(gallery: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "captions.jsonl"
    rows = [{"video": "v0.mp4", "caption": "a"}, {"video": "v2", "caption": "b"}, {"video": "elsewhere.mp4", "caption": "c"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = read_pairs(file, gallery)
    assert [(text, path.name) for text, path in pairs.captions] == [("a", "v0.mp4"), ("b", "v2.mp4")] and pairs.left_out == 1
    file.write_text(json.dumps(rows[2]) + "\n")
    with pytest.raises(ValueError, match="none of the 1 captions"):
        read_pairs(file, gallery)


def test_every_score_is_the_match_score(gallery: Gallery) -> None:
    predictor, paths = make_predictor(), list(gallery.names)
    list(gallery.index_all(predictor, 2, SamplingConfig()))
    *_, (done, scores) = score_all(gallery, predictor, Pairs((("a cat", paths[0]), ("a dog", paths[1]))), "lse")
    assert gallery.index is not None and done == 3
    expected = [predictor.match(entry.video, ["a cat", "a dog"]) for entry in gallery.index.entries.values()]
    torch.testing.assert_close(scores, torch.stack(expected, dim=1))


def test_ranks_put_the_worst_first_and_name_what_stood_first(gallery: Gallery) -> None:
    paths = list(indexed(gallery).names)
    scores = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    metrics, queries = judged(gallery, Pairs((("right", paths[0]), ("wrong", paths[1]))), scores)
    assert metrics["text_to_video/recall_at_1"] == 0.5
    assert [(query.caption, query.rank, query.first) for query in queries] == [("wrong", 3.0, "v0.mp4"), ("right", 1.0, "v0.mp4")]


def test_slices_rank_their_captions_among_all_videos(gallery: Gallery) -> None:
    paths = list(indexed(gallery).names)
    scores = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    table = measured_table(gallery, Pairs((("right", paths[0]), ("wrong", paths[1]))), scores)
    found = {part.name: part for part in sliced(table)}
    assert set(found) == {"shorter than 3 s"}  # v0 and v1 last 0.8 and 1.2 s, lie on their side, and stand at ranks 1 and 3
    short = found["shorter than 3 s"]
    assert (short.num_captions, short.recall_at_1, short.recall_at_10, short.median_rank) == (2, 0.5, 1.0, 2.0)
    assert "50.0 %" in slices_html([short], 2) and slices_html([], 2) == ""


def test_a_named_slice_holds_the_captions_for_which_all_of_it_holds(gallery: Gallery) -> None:
    paths = list(indexed(gallery).names)
    table = measured_table(gallery, Pairs((("a cat", paths[0]), ("a Cat sits", paths[1]), ("a dog", paths[1]))), torch.tensor([[3.0, 1.0, 2.0]] * 3))
    choices = (Choice("cats", "cat"), Choice("lost cats", "cat", above_rank=2), Choice("brief", below_seconds=1), Choice("none", "bird"))
    found = {part.name: part for part in sliced(table, choices)}
    assert [found[choice.name].num_captions for choice in choices] == [2, 1, 1, 0]
    assert (found["cats"].recall_at_1, found["lost cats"].median_rank) == (0.5, 3.0)
    assert "<td class=number>–</td>" in slices_html([found["none"]], 3) and "&lt;i&gt;" in slices_html([Slice("<i>", 0, 0.0, 0.0, 0.0)], 3)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": " ", "word": "a"}, "needs a name"),
        ({"name": "x" * 99, "word": "a"}, "at most 60"),
        ({"name": "all"}, "would hold every caption"),
        ({"name": "a", "below_seconds": 0}, "a length above 0 s"),
    ],
)
def test_a_slice_without_a_name_or_a_choice_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Choice(**given)


def test_a_slice_of_a_name_that_is_taken_replaces_the_one_before() -> None:
    assert with_choice((Choice("a", "cat"), Choice("b", "dog")), Choice("a", "bird")) == (Choice("b", "dog"), Choice("a", "bird"))
    with pytest.raises(ValueError, match="always shown"):
        with_choice((), Choice("portrait", "cat"))
    with pytest.raises(ValueError, match="which is the most"):
        with_choice([Choice(f"{n}", "cat") for n in range(MOST_SLICES)], Choice("new", "cat"))


def test_what_a_search_costs_follows_the_heads_of_the_match(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = make_predictor()
    assert "cross-encoder" in cost_html(predictor) and "one vector" in cost_html(predictor)
    for head, absent, present in (("match", "cross-encoder", "one vector"), ("contrast", "one vector", "cross-encoder")):
        monkeypatch.setattr(predictor.model, "match_weight", lambda name, zero=head: 0.0 if name == zero else 1.0)
        assert absent not in cost_html(predictor) and present in cost_html(predictor)


def test_why_shows_both_videos_on_one_scale_and_the_words_that_differ(gallery: Gallery) -> None:
    paths = list(indexed(gallery).names)
    pairs = Pairs((("a red <b>cat</b>", paths[1]), ("a blue cat", paths[0])))
    _, queries = judged(gallery, pairs, torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]))
    assert gallery.index is not None
    hits = [gallery.index.hit(path, queries[0].caption) for path in (queries[0].video_path, queries[0].first_path)]
    shown = why_html(queries[0], hits, pairs.captions_of(queries[0].first_path))
    assert "<b>red, b</b>" in shown and "<b>blue</b>" in shown and "rank 3, its video: v1.mp4" in shown and "<b>cat" not in shown


def test_strips_beside_each_other_share_their_scale() -> None:
    short = Hit("a", 0.0, 0.0, 1.0, (0.0,), ((0.0, 1.0),), 1.0)
    long = Hit("b", 0.0, 0.0, 1.0, (1.0,), ((0.0, 1.0),), 4.0)
    assert "width:max(3px,100.0%);height:100%" in clips_strip(short)
    assert "width:max(3px,25.0%);height:25%" in clips_strip(short, long) and "height:100%" in clips_strip(long, short)


def test_synthetic_videos_are_drawn_once(tmp_path: Path) -> None:
    names, pairs = synthetic_pairs(tmp_path, 2)
    before = [path.stat().st_mtime_ns for path in names]
    assert len(names) == len(pairs.captions) == 2
    assert [path.stat().st_mtime_ns for path in synthetic_pairs(tmp_path, 2)[0]] == before


def test_the_endpoint_ranks_as_the_package_does(client: Any, gallery: Gallery) -> None:
    found = client.predict([handle_file(path) for path in gallery.names], "a cat", num_clips=2, aggregation="mean", api_name="/retrieve")
    hits = VideoIndex.build(list(gallery.names), make_predictor(), num_clips=2).search("a cat", aggregation="mean")
    assert [hit["video"] for hit in found["hits"]] == [Path(hit.path).name for hit in hits] and found["videos"] == 3
    assert [hit["score"] for hit in found["hits"]] == pytest.approx([hit.score for hit in hits], abs=1e-5)


def test_the_endpoint_refuses_an_empty_query(client: Any, gallery: Gallery) -> None:
    with pytest.raises(AppError, match="query"):
        client.predict([handle_file(next(iter(gallery.names)))], " ", api_name="/retrieve")


def test_a_search_ranks_the_gallery_and_plays_from_the_best_clip(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Retrieve").click()
    page.wait_for_selector("#retrieve-gallery li")
    before = page.locator("#retrieve-gallery li").count()
    with page.expect_file_chooser() as chooser:
        page.click("#retrieve-add")
    chooser.value.set_files(str(write_video(tmp_path / "mine.mp4", num_frames=45)))
    page.wait_for_function(f"document.querySelectorAll('#retrieve-gallery li').length == {before + 1}")
    page.fill("#retrieve-query textarea, #retrieve-query input", "a cat")
    page.click("#retrieve-search")
    page.wait_for_selector("#retrieve-ranking .js-plotly-plot")
    assert page.locator("#retrieve-hits .hit").count() == before + 1
    assert "tiny" in page.inner_text("#retrieve-hits") and "MB" not in page.inner_text("#retrieve-notice")
    page.locator("#retrieve-hits .hit", has_text="mine.mp4").click()
    page.wait_for_selector("#retrieve-player video")
    start = float(page.inner_text("#retrieve-player label").split("from ")[1].split(" s")[0])
    page.wait_for_function(f"Math.abs(document.querySelector('#retrieve-player video').currentTime - {start}) < 3")


def test_captions_of_the_current_video_are_ranked(page: Any) -> None:
    page.get_by_role("tab", name="Retrieve").click()
    page.get_by_label("Find the caption of the current video").check()
    page.wait_for_selector("#retrieve-query textarea[rows='4']")
    page.fill("#retrieve-query textarea", "a cat\na dog\n")
    page.click("#retrieve-search")
    page.wait_for_selector("#retrieve-hits .bar")
    assert page.locator("#retrieve-hits .bar").count() == 2


def test_an_empty_query_is_refused_in_the_page(page: Any) -> None:
    page.get_by_role("tab", name="Retrieve").click()
    page.click("#retrieve-search")
    page.wait_for_selector("#retrieve-notice .bad")


def test_synthetic_captions_give_recall_and_a_row_a_caption(page: Any) -> None:
    page.get_by_role("tab", name="Retrieve").click()
    page.click("#retrieve-measure > button")
    number, shown = "#retrieve-synthetic-count input[type=number]", "document.querySelector('#retrieve-synthetic-count input[type=range]').value"
    for _ in range(50):  # what is typed before the slider listens is lost
        page.fill(number, "4")
        page.press(number, "Tab")
        page.wait_for_timeout(200)
        if page.evaluate(shown) == "4":
            break
    page.click("#retrieve-synthetic")
    page.wait_for_selector("#retrieve-metrics table", timeout=60_000)
    assert "R@10" in page.inner_text("#retrieve-metrics") and "4 captions" in page.inner_text("#retrieve-metrics")
    page.wait_for_selector("#retrieve-ranks .js-plotly-plot")
    page.click("#slice-form > button")
    page.fill("#slice-name input, #slice-name textarea", "mine")
    page.fill("#slice-word input, #slice-word textarea", "a")
    page.click("#slice-save")
    page.wait_for_selector("#retrieve-slices th:has-text('mine')")
    with page.expect_download() as table:
        page.click("#retrieve-slices-csv")
    assert "mine,4," in table.value.path().read_text()
    page.wait_for_selector("#retrieve-queries [data-testid='cell-0-1']")
    assert page.locator("#retrieve-why").count() == 0 or not page.locator("#retrieve-why").is_visible()
    page.click("#retrieve-queries [data-testid='cell-0-1']")
    page.wait_for_selector("#retrieve-why-view .why li")
    caption = page.inner_text("#retrieve-why-view p").strip("“”")
    page.click("#retrieve-explain-0")
    page.wait_for_selector("#attribution-clips [data-clip]")
    assert page.input_value("#attribution-text textarea, #attribution-text input") == caption
    assert "match log-odds" in page.inner_text("#attribution-clips")
