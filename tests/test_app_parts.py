"""Parts of the app without a browser: sessions, errors, previews, the model's banner."""

import logging
from pathlib import Path
from typing import Any

import pytest
from test_predict import VIDEO, make_predictor
from torch import nn
from videos import write_video

from app.app import build_app, launch
from app.chooser import advice
from app.engine import Engine, is_untrained
from app.preview import preview
from app.settings import sampling
from app.shared import explain
from app.state import SESSIONS_KEPT, Sessions
from clipbert.video import Video, VideoError


def test_a_closed_session_deletes_its_upload_unless_another_uses_it(tmp_path: Path) -> None:
    sessions, upload = Sessions(tmp_path), tmp_path / "a.mp4"
    upload.write_bytes(b"x")
    for name in ("one", "two"):
        sessions.get(name).choose(upload, "a.mp4")
    sessions.close("one")
    assert upload.exists()
    two = sessions.get("two")
    sessions.close("two")
    assert not upload.exists() and two.stop.is_set() and len(sessions) == 0


def test_a_closed_session_leaves_files_that_are_no_uploads(tmp_path: Path) -> None:
    example = tmp_path / "example.mp4"
    example.write_bytes(b"x")
    sessions = Sessions(tmp_path / "uploads")
    sessions.get("one").choose(example, "example.mp4")
    sessions.close("one")
    assert example.exists()


def test_the_longest_unused_sessions_go_first(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    first = sessions.get("first")
    first.results["ask"] = 1
    for n in range(SESSIONS_KEPT):
        sessions.get(str(n))
    assert len(sessions) == SESSIONS_KEPT and first.stop.is_set() and not sessions.get("first").results


def test_another_video_stops_the_work_and_forgets_results(tmp_path: Path) -> None:
    session = Sessions(tmp_path).get("one")
    session.results["ask"] = 1
    session.choose(tmp_path / "gone.mp4", "gone.mp4")
    assert session.stop.is_set() and not session.results
    with pytest.raises(ValueError, match=r"gone\.mp4 is no longer on the server"):
        session.current_video()


def test_errors_for_users_lose_their_paths_and_others_become_a_number(caplog: pytest.LogCaptureFixture) -> None:
    assert explain(VideoError("cannot read /tmp/x-1/abc/clip.mp4: 20/30 frames")) == "cannot read clip.mp4: 20/30 frames"
    with caplog.at_level(logging.ERROR):
        told = explain(RuntimeError("secret /etc/passwd"))
    assert "secret" not in told and caplog.records[0].exc_info is not None
    assert caplog.records[0].getMessage().split()[-1] in told


def test_a_playable_video_is_its_own_preview_and_a_gif_becomes_an_mp4(tmp_path: Path) -> None:
    assert preview(VIDEO, tmp_path) == VIDEO
    gif = write_video(tmp_path / "a.gif", codec="gif", pix_fmt="rgb8", num_frames=6, fps=10)
    made = preview(gif, tmp_path / "made")
    assert made is not None and made.suffix == ".mp4"
    with Video.open(made) as converted, Video.open(gif) as original:
        assert converted.num_frames == original.num_frames and converted.duration == pytest.approx(original.duration, abs=0.12)


def test_what_no_browser_plays_becomes_an_mp4_where_it_can_be_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hevc = write_video(tmp_path / "a.mkv", codec="libx265", num_frames=6)
    made = preview(hevc, tmp_path / "made")
    assert made is not None and preview(made, tmp_path) == made
    monkeypatch.setattr("app.preview.ENCODER", "not in this build")
    assert preview(write_video(tmp_path / "b.mkv", codec="libx265", num_frames=7), tmp_path / "made") is None


def test_a_strip_of_a_video_is_answered_with_advice_and_an_ordinary_one_without(tmp_path: Path) -> None:
    assert advice(VIDEO) == []
    told = " ".join(advice(write_video(tmp_path / "wide.mp4", size=(16, 160))))
    assert "160 x 16" in told and "90 % of what it gets is padding" in told
    assert "16 x 96" in " ".join(advice(write_video(tmp_path / "tall.mp4", size=(96, 16))))


def test_untrained_weights_are_recognised_and_trained_ones_are_not() -> None:
    predictor = make_predictor()
    assert is_untrained(predictor)
    next(m for m in predictor.model.model.modules() if isinstance(m, nn.LayerNorm)).weight.data[0] = 1.01
    assert not is_untrained(predictor)


def test_the_banner_tells_illustrative_weights_from_random_ones() -> None:
    predictor = make_predictor()
    engine = Engine(lambda: predictor, then=lambda predictor: None)
    engine.wait()
    assert engine.banner()[0] == "bad" and "random weights: it was never trained" in engine.banner()[1]
    next(m for m in predictor.model.model.modules() if isinstance(m, nn.LayerNorm)).weight.data[0] = 1.01
    assert engine.banner() == ("note", f"model {predictor.model.name} — illustrative weights: not the paper's")


def test_the_server_serves_this_machine_alone_and_tells_nobody() -> None:
    given: dict[str, Any] = {}

    class Recorded:
        def launch(self, **settings: Any) -> tuple[None, str, None]:
            given.update(settings)
            return None, "http://127.0.0.1:1/", None

    launch(Recorded())  # pyright: ignore[reportArgumentType]
    assert given["server_name"] == "127.0.0.1" and given["auth"] is None and given["max_file_size"] == "500mb"
    assert not any(given[name] for name in ("share", "enable_monitoring", "mcp_server", "pwa", "show_error"))


def test_usage_is_not_reported_and_uploads_are_cleared_after_a_day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("app.engine.HEAD_START_SECONDS", 600)
    monkeypatch.setattr("app.examples.HEAD_START_SECONDS", 600)
    app = build_app(make_predictor, examples=tmp_path)
    assert app.analytics_enabled is False and app.delete_cache == (3600, 86400)


def test_a_model_that_cannot_be_loaded_is_named_in_the_banner() -> None:
    def fails() -> None:
        raise ValueError("no model 'x': give real.")

    engine = Engine(fails, then=lambda predictor: None)
    engine.wait()
    assert engine.banner() == ("bad", "no model: no model 'x': give real.")
    with pytest.raises(ValueError, match="give real"):
        engine.predictor()


def test_settings_from_the_page_are_checked() -> None:
    assert sampling([4, 2, 2, "paper", "lse", 0]).fps == 2.0
    with pytest.raises(ValueError, match="between 1 and 256"):
        sampling([0, 2, 2, "paper", "lse", 0])
    with pytest.raises(ValueError, match="empty"):
        sampling([4, 2, 2, "paper", "lse", None])
