"""The notebook's explorer: controls ask again, the last request wins, Stop, errors in the widget, session zips of the app."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GOLDEN
from test_predict import make_predictor

from app.links import read_link
from clipbert.attribution import METHODS, attribute
from clipbert.predict import Predictor
from clipbert.session import SAME_LOGITS
from clipbert.session_file import load_session, save_session
from clipbert.viz import widgets
from clipbert.viz.clip_timeline import lane_name, script
from clipbert.viz.snapshot import attribution_chart
from clipbert.viz.widgets import Explorer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VIDEO, OTHER = GOLDEN / "video_a30.mp4", GOLDEN / "video_e10gif.gif"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor()


@pytest.fixture
def explorer(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> Explorer:
    monkeypatch.setattr(widgets, "DEBOUNCE_SECONDS", 0.05)
    return Explorer(predictor, {"a": VIDEO, "gif": OTHER}, "what colour?")


def test_the_first_question_is_answered_at_once_as_the_predictor_answers_it(explorer: Explorer, predictor: Predictor) -> None:
    assert explorer.result is not None and explorer.session is not None
    expected = predictor.answer(predictor.encode(VIDEO), "what colour?")
    torch.testing.assert_close(explorer.result.clip_logits, expected.clip_logits, atol=SAME_LOGITS, rtol=0)
    torch.testing.assert_close(explorer.attribution.clips, attribute(predictor, VIDEO, "what colour?").clips)  # pyright: ignore[reportOptionalMemberAccess]
    assert explorer.result.answer in explorer.message and "model tiny" in explorer.message


def test_a_changed_control_asks_again(explorer: Explorer) -> None:
    explorer.controls["num_clips"].value, explorer.controls["policy"].value = 2, "centered"
    explorer.controls["aggregation"].value = "max"
    assert explorer.wait() and explorer.session is not None
    assert (explorer.session.num_clips, explorer.session.policy, explorer.session.aggregation) == (2, "centered", "max")
    explorer.controls["video"].value = "gif"
    assert explorer.wait() and explorer.session.video == OTHER.name


@pytest.mark.parametrize("method", ["clip_responsibility", "frame_shapley", "cell_occlusion", "token_ablation"])
def test_every_level_is_explained_and_drawn(explorer: Explorer, method: str) -> None:
    explorer.controls["clip"].value, explorer.controls["method"].value = 2, method
    assert explorer.wait() and explorer.attribution is not None
    assert explorer.attribution.method == method and METHODS[method].level == explorer.attribution.level
    assert explorer.attribution.level == "clips" or explorer.attribution.clip_index == (1,)
    assert explorer.result is not None and explorer.explained is not None
    assert METHODS[method].about in attribution_chart(explorer.result, explorer.explained).caption


def test_choices_make_it_multiple_choice_and_without_a_question_a_match(explorer: Explorer) -> None:
    explorer.controls["choices"].value = "red\nblue"
    assert explorer.wait() and explorer.session is not None and explorer.result is not None
    assert explorer.session.task == "choices" and set(explorer.result.candidates) == {"red", "blue"}
    explorer.controls["question"].value = ""
    assert explorer.wait() and explorer.session.task == "match" and "log-odds" in explorer.message
    assert explorer.attribution is not None and explorer.attribution.target == explorer.result.answer


def test_what_is_wrong_stands_in_the_widget_and_the_last_answer_stays(explorer: Explorer) -> None:
    before = explorer.result
    explorer.controls["question"].value = "   "
    assert explorer.wait() and "question" in explorer.message
    assert widgets.WRONG in explorer._state.value and explorer.result is before
    explorer.controls["question"].value, explorer.controls["target"].value = "what colour?", "purple <b>"
    assert explorer.wait() and "purple" in explorer.message and "&lt;b&gt;" in explorer._state.value and "<b>" not in explorer._state.value


class Slow:
    """A model that takes its time and counts the questions it is asked."""

    def __init__(self, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, encode = [], predictor.model.encode

        def slowly(frames: torch.Tensor) -> torch.Tensor:
            time.sleep(0.2)
            return encode(frames)

        def score(*arguments: Any, own: Any = predictor.model.score) -> torch.Tensor:
            self.asked += arguments[1]
            return own(*arguments)

        monkeypatch.setattr(predictor.model, "encode", slowly)
        monkeypatch.setattr(predictor.model, "score", score)


def test_of_many_changes_only_the_last_is_asked(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(explorer.predictor, monkeypatch)
    for n in range(5):
        explorer.controls["question"].value = f"what colour is number {n}?"
    assert explorer.wait() and set(slow.asked) == {"what colour is number 4?"}


def test_a_newer_question_drops_the_one_under_way(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(explorer.predictor, monkeypatch)
    explorer.controls["seed"].value, explorer.controls["policy"].value = 5, "random"
    time.sleep(0.15)  # it is reading clips by now
    explorer.controls["question"].value = "what shape?"
    assert explorer.wait() and explorer.session is not None and explorer.session.question == "what shape?"
    assert set(slow.asked) == {"what shape?"}


def test_stop_keeps_the_answer_on_show(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, before = Slow(explorer.predictor, monkeypatch), explorer.result
    explorer.controls["seed"].value, explorer.controls["policy"].value = 6, "random"
    assert not explorer._stop.disabled
    time.sleep(0.15)
    explorer._stop.click()
    assert explorer.wait(1) and explorer.message == "stopped" and explorer._stop.disabled
    with explorer._working:
        assert explorer.result is before and not slow.asked


def test_a_zip_of_the_app_opens_here_and_one_from_here_loads_anywhere(
    explorer: Explorer, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert explorer.result is not None
    monkeypatch.chdir(tmp_path)
    explorer._save.click()
    assert load_session(tmp_path / "video_a30-session.zip").session == explorer.session and "video_a30-session.zip" in explorer.message
    save_session(explorer.result, tmp_path / "whole.zip", video=VIDEO)
    whole = Explorer.load(tmp_path / "whole.zip", predictor=predictor, method="frame_shapley")
    assert whole.session == explorer.session and whole.attribution is not None and whole.attribution.level == "frames"
    explorer._open.value = [
        {"name": "whole.zip", "type": "", "size": 1, "content": memoryview((tmp_path / "whole.zip").read_bytes()), "last_modified": NOW}
    ]
    assert explorer.controls["video"].value == VIDEO.name and explorer.session == whole.session


def test_a_session_without_its_video_is_shown_and_says_so_when_asked_anew(explorer: Explorer, predictor: Predictor, tmp_path: Path) -> None:
    explorer.save(tmp_path / "here.zip")
    bare = Explorer.load(tmp_path / "here.zip", predictor=predictor)
    assert bare.session == explorer.session and bare.attribution is None and bare._shown()[0].data.startswith(b"\x89PNG")
    bare.controls["num_clips"].value = 2
    assert bare.wait() and "came without its video" in bare.message
    with pytest.raises(ValueError, match="has other content"):
        Explorer.load(tmp_path / "here.zip", predictor=predictor, video=OTHER)


def test_a_video_can_be_opened_in_the_widget(explorer: Explorer, tmp_path: Path) -> None:
    content = memoryview((GOLDEN / "video_f12avi.avi").read_bytes())
    explorer._open.value = [{"name": "../mine.avi", "type": "", "size": len(content), "content": content, "last_modified": NOW}]
    assert explorer.wait() and explorer.session is not None and explorer.session.video == "mine.avi"


def test_what_is_shown_stays_in_the_notebook_without_a_kernel(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handle:
        def __init__(self) -> None:
            self.shown: list[Any] = []

        def update(self, shown: Any) -> None:
            self.shown.append(shown)

    displayed, handles = [], []

    def display(shown: Any, display_id: bool = False, raw: bool = False) -> Handle | None:
        displayed.append(shown)
        handles.append(Handle())
        return handles[-1] if display_id else None

    monkeypatch.setattr(widgets, "display", display)
    explorer._ipython_display_()
    assert "application/vnd.jupyter.widget-view+json" in displayed[0] and displayed[0]["text/plain"] == widgets.NO_KERNEL
    assert [type(shown).__name__ for shown in displayed[1:]] == ["Image", "HTML"]
    assert displayed[1].data.startswith(b"\x89PNG") and len(displayed[1].data) < 200_000 and displayed[2].data.count("<tr>") == 1 + 4
    explorer.controls["num_clips"].value = 2
    assert explorer.wait() and handles[2].shown[0].data.count("<tr>") == 1 + 2  # renewed in place


def test_the_link_to_the_app_asks_the_same(explorer: Explorer) -> None:
    explorer.controls["choices"].value = "red\nblue"
    assert explorer.wait()
    link = read_link(explorer.to_app().partition("?")[2], ())
    assert explorer.session is not None and link.question is not None
    assert (link.question.text, link.question.texts) == (explorer.session.question, explorer.session.candidates)
    assert dict(link.settings) == {name: getattr(explorer.session, name) for name in link.settings} and len(link.settings) >= 5


def test_a_wrong_setting_is_refused_by_name(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="num_clip"):
        Explorer(predictor, VIDEO, "what colour?", num_clip=2)
    with pytest.raises(ValueError, match="method"):
        Explorer(predictor, VIDEO, "what colour?", method="magic")
    with pytest.raises(ValueError, match="at least one file"):
        Explorer(predictor, [], "what colour?")
    with pytest.raises(ValueError, match=r"two videos are called video_a30\.mp4"):
        Explorer(predictor, [VIDEO, Path("elsewhere") / VIDEO.name], "what colour?")


def test_a_single_path_is_one_video(predictor: Predictor) -> None:
    for videos in (VIDEO, str(VIDEO)):
        explorer = Explorer(predictor, videos, "what colour?", num_clips=1)
        assert explorer.controls["video"].options == (VIDEO.name,) and explorer.session is not None and explorer.session.video == VIDEO.name


def test_the_apps_timeline_follows_the_answers_and_a_chosen_clip_is_looked_into(explorer: Explorer) -> None:
    timeline = explorer.timeline()
    assert script() in timeline._esm and 'class="tl-lane chosen"' in timeline.value and "clip 4 of 4" in timeline.value
    timeline.chosen = ["random, seed 1", 2]  # another policy's clip
    assert explorer.controls["clip"].value == 0
    timeline.chosen = [lane_name("paper", 0), 2]
    assert explorer.wait() and explorer.controls["clip"].value == 3
    explorer.controls["num_clips"].value = 2
    assert explorer.wait() and "clip 2 of 2" in timeline.value and "paper: clip 3" not in timeline.value
