"""Sessions: strict JSON, the same logits again, a zip that reopens without the video and trusts nothing, a report that needs nothing."""

import io
import json
import re
import shutil
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN
from PIL import Image
from safetensors.torch import load, save
from tiny import HEADS, tiny_model, tiny_processor

from clipbert.predict import Predictor
from clipbert.processing import resize_and_pad
from clipbert.session import SAME_LOGITS, ExplorerSession, SessionResult, video_hash
from clipbert.session_file import extract_video, load_session, save_session
from clipbert.video import Video
from clipbert.viz.report import LARGEST_BYTES, report, save_report
from clipbert.viz.strip import SeenFrames, png, strip

VIDEO = GOLDEN / "video_a30.mp4"
EVIL = '<script>alert("1")</script>'


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    model = tiny_model(heads=HEADS)
    return Predictor(model, tiny_processor(model), name="tiny")


@pytest.fixture(scope="module")
def result(predictor: Predictor) -> SessionResult:
    return ExplorerSession.of(predictor, VIDEO, "what colour?").run(predictor, VIDEO)


@pytest.fixture(scope="module")
def match(predictor: Predictor) -> SessionResult:
    return ExplorerSession.of(predictor, VIDEO, task="match", candidates=["a dog", EVIL]).run(predictor, VIDEO)


def test_a_session_says_all_that_decides_the_answer(predictor: Predictor, result: SessionResult) -> None:
    session = result.session
    assert (session.num_clips, session.num_frames, session.fps, session.policy, session.aggregation, session.seed) == (4, 2, 2.0, "paper", "lse", 0)
    assert session.video == VIDEO.name and session.video_hash == video_hash(VIDEO) and session.fingerprint == predictor.model.fingerprint


def test_a_session_answers_as_the_predictor_does(predictor: Predictor) -> None:
    given = {"num_clips": 3, "num_frames": 1, "fps": 4.0, "policy": "random", "seed": 5}
    session = ExplorerSession.of(predictor, VIDEO, "what?", task="choices", candidates=["red", "a cow"], aggregation="max", **given)
    direct = predictor.answer(predictor.encode(VIDEO, **given), "what?", choices=["red", "a cow"], aggregation="max", seed=5)
    assert torch.equal(session.run(predictor, VIDEO).prediction.clip_logits, direct.clip_logits)
    assert torch.equal(session.run(predictor, VIDEO).prediction.contribution, direct.contribution)


def test_a_match_session_scores_as_the_predictor_does(predictor: Predictor, match: SessionResult) -> None:
    video = predictor.encode(VIDEO)
    assert torch.equal(match.scores, predictor.match(video, ["a dog", EVIL])) and match.answer == match.candidates[int(match.scores.argmax())]
    assert float(match.contribution.sum()) == pytest.approx(float(match.scores.max()), abs=1e-4)  # log-odds of no clips are 0
    with pytest.raises(ValueError, match="a match has a score for each text"):
        _ = match.prediction


def test_another_predictor_gives_the_same_logits(result: SessionResult) -> None:
    model = tiny_model(heads=HEADS)
    again = result.session.run(Predictor(model, tiny_processor(model), name="elsewhere"), VIDEO)
    assert again.difference(result) <= SAME_LOGITS


def test_a_session_survives_json(match: SessionResult, result: SessionResult) -> None:
    for session in (match.session, result.session):
        assert ExplorerSession.from_json(session.to_json()) == session


def altered(result: SessionResult, **values: object) -> str:
    return json.dumps({k: v for k, v in (json.loads(result.session.to_json()) | values).items() if v is not None})


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"nom_clips": 4}, "key of a session must be one of .*, got 'nom_clips'; did you mean 'num_clips'"),
        ({"num_clips": "4"}, "num_clips of a session must be a whole number, got '4'"),
        ({"num_clips": True}, "num_clips of a session must be a whole number, got True"),
        ({"num_clips": 0}, "num_clips must be a whole number between 1 and 256"),
        ({"fps": "NaN"}, "fps of a session must be a number"),
        ({"fps": float("nan")}, "fps must be above 0"),
        ({"candidates": ["a", 1]}, "candidates of a session must be a list of texts"),
        ({"candidates": ["red", "blue"]}, 'task "open" has no candidates'),
        ({"question": " "}, "question"),
        ({"policy": "papr"}, "policy must be one of .*did you mean 'paper'"),
        ({"task": "opn"}, "task of a session must be one of open, choices, match"),
        ({"aggregation": "sum"}, "aggregation must be one of"),
        ({"version": 2}, "reads sessions of version 1, got 2"),
        ({"seed": None}, "the session lacks seed"),
    ],
)
def test_a_wrong_session_is_one_clear_error(result: SessionResult, change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ExplorerSession.from_json(altered(result, **change))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_what_is_no_session_is_one_clear_error(text: str) -> None:
    with pytest.raises(ValueError, match="a session must be"):
        ExplorerSession.from_json(text)


def test_another_model_or_video_is_refused(predictor: Predictor, result: SessionResult, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the session was made with model tiny"):
        replace(result.session, fingerprint="0").run(predictor, VIDEO)
    other = tmp_path / "other.mp4"
    other.write_bytes(VIDEO.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"other\.mp4 has other content"):
        result.session.run(predictor, other)


def test_a_copy_of_the_video_is_the_same_video(predictor: Predictor, result: SessionResult, tmp_path: Path) -> None:
    copy = Path(shutil.copy(VIDEO, tmp_path / "renamed.mp4"))
    assert result.session.run(predictor, copy).difference(result) <= SAME_LOGITS


def test_a_zip_reopens_with_the_same_numbers_and_no_video(result: SessionResult, match: SessionResult, tmp_path: Path) -> None:
    for k, saved in enumerate((result, match)):
        save_session(saved, tmp_path / f"{k}.zip")
        loaded = load_session(tmp_path / f"{k}.zip")
        assert loaded.session == saved.session and loaded.difference(saved) == 0 and loaded.candidates == saved.candidates
        assert torch.equal(loaded.times, saved.times) and torch.equal(loaded.contribution, saved.contribution) and loaded.seen.size == saved.seen.size
        assert (loaded.seen.frames.float() - saved.seen.frames.float()).abs().mean() < 8  # JPEG
        assert extract_video(tmp_path / f"{k}.zip", tmp_path) is None


def test_the_same_result_is_the_same_zip(result: SessionResult, tmp_path: Path) -> None:
    save_session(result, tmp_path / "a.zip")
    save_session(result, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_a_zip_with_its_video_runs_again(predictor: Predictor, result: SessionResult, tmp_path: Path) -> None:
    save_session(result, tmp_path / "s.zip", video=VIDEO)
    video = extract_video(tmp_path / "s.zip", tmp_path)
    assert video is not None and video.parent == tmp_path
    assert load_session(tmp_path / "s.zip").session.run(predictor, video).difference(result) <= SAME_LOGITS


def test_no_video_is_written_outside_the_folder(result: SessionResult, tmp_path: Path) -> None:
    evil = replace(result, session=replace(result.session, video="../../..\\.ssh/authorized keys"))
    save_session(evil, tmp_path / "s.zip", video=VIDEO)
    assert extract_video(tmp_path / "s.zip", tmp_path) == tmp_path / "authorized_keys"


@pytest.mark.parametrize("largest", [VIDEO.stat().st_size - 1, 0])
def test_a_video_that_unpacks_to_more_than_allowed_is_refused_and_leaves_nothing(result: SessionResult, tmp_path: Path, largest: int) -> None:
    save_session(result, tmp_path / "s.zip", video=VIDEO)
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=r"is larger than 0 MB; open the video by itself"):
        extract_video(tmp_path / "s.zip", tmp_path / "out", largest_bytes=largest)
    assert not list((tmp_path / "out").iterdir())
    assert extract_video(tmp_path / "s.zip", tmp_path / "out", largest_bytes=VIDEO.stat().st_size) is not None


def test_a_damaged_video_in_a_zip_is_one_clear_error_and_leaves_nothing(result: SessionResult, tmp_path: Path) -> None:
    save_session(result, tmp_path / "s.zip", video=VIDEO)
    content, video = bytearray((tmp_path / "s.zip").read_bytes()), VIDEO.read_bytes()
    content[content.index(video) + len(video) // 2] ^= 255
    (tmp_path / "s.zip").write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="the video in the session zip cannot be read: Bad CRC"):
        extract_video(tmp_path / "s.zip", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_file_that_lies_where_the_video_would_go_stays(result: SessionResult, tmp_path: Path) -> None:
    save_session(result, tmp_path / "s.zip", video=VIDEO)
    (tmp_path / VIDEO.name).write_text("mine")
    with pytest.raises(ValueError, match="already in"):
        extract_video(tmp_path / "s.zip", tmp_path)
    assert (tmp_path / VIDEO.name).read_text() == "mine"


def rezipped(result: SessionResult, folder: Path, change: dict[str, bytes | None]) -> Path:
    save_session(result, folder / "good.zip")
    with zipfile.ZipFile(folder / "good.zip") as good, zipfile.ZipFile(folder / "bad.zip", "w", zipfile.ZIP_DEFLATED) as bad:
        contents = {name: good.read(name) for name in good.namelist()} | change
        for name, content in contents.items():
            if content is not None:
                bad.writestr(name, content)
    return folder / "bad.zip"


def picture(size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size).save(out, "JPEG")
    return out.getvalue()


FRAME = "frames/clip-001-frame-001.jpg"


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"../evil.txt": b""}, "holds '../evil.txt', which no session has"),
        ({"/etc/passwd": b""}, "which no session has"),
        ({"video/../x": b""}, "which no session has"),
        ({"evil.pkl": b""}, "which no session has"),
        ({"session.json": None}, "lacks session.json"),
        ({"session.json": b"\xff"}, "no UTF-8 text"),
        ({"session.json": b" " * (2 << 20)}, "session.json in the session zip is larger than 1 MB"),
        ({"result.json": b"{}"}, "result.json in the session zip is not what a session has"),
        ({"arrays.safetensors": b"\x80\x04."}, "arrays.safetensors in the session zip cannot be read"),
        ({"arrays.safetensors": save({"times": torch.zeros(1, 1)})}, "must hold scores"),
        ({FRAME: None}, f"lacks {FRAME}"),
        ({FRAME: b"GIF89a"}, "is no such picture"),
        ({FRAME: picture((5000, 4))}, r"it is \(5000, 4\) RGB where \(64, 64\) RGB is needed"),
    ],
)
def test_a_tampered_zip_is_one_clear_error(result: SessionResult, tmp_path: Path, change: dict[str, bytes | None], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        load_session(rezipped(result, tmp_path, change))


def test_numbers_that_do_not_fit_each_other_are_refused(result: SessionResult, tmp_path: Path) -> None:
    save_session(result, tmp_path / "good.zip")
    with zipfile.ZipFile(tmp_path / "good.zip") as good:
        arrays = load(good.read("arrays.safetensors"))
    for change, complaint in (
        ({"scores": torch.zeros(3)}, "do not fit"),
        ({"scores": torch.full((4,), torch.nan)}, "holds nan or inf"),
        ({"times": torch.zeros(3000, 90, dtype=torch.float64)}, "more than any session has"),
    ):
        with pytest.raises(ValueError, match=complaint):
            load_session(rezipped(result, tmp_path, {"arrays.safetensors": save(arrays | change)}))


def test_what_is_no_zip_is_one_clear_error(result: SessionResult, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK nonsense")
    for name, complaint in (("a.zip", "a.zip is no session zip"), ("none.zip", "cannot read none.zip")):
        with pytest.raises(ValueError, match=complaint):
            load_session(tmp_path / name)
    with pytest.raises(ValueError, match="cannot write the session"):
        save_session(result, tmp_path / "none" / "s.zip")


def test_a_damaged_zip_is_one_clear_error(result: SessionResult, tmp_path: Path) -> None:
    save_session(result, tmp_path / "s.zip")
    content = bytearray((tmp_path / "s.zip").read_bytes())
    content[200:260] = b"\0" * 60
    (tmp_path / "s.zip").write_bytes(content)
    with pytest.raises(ValueError, match="in the session zip cannot be read"):
        load_session(tmp_path / "s.zip")


class Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_report_needs_no_network_and_no_script(result: SessionResult, match: SessionResult) -> None:
    for shown in (result, match):
        page = Page(report(shown))
        assert not {"script", "link", "iframe", "object"} & set(page.tags) and {"svg", "table", "img"} <= set(page.tags)
        assert all(re.match(r"#|data:image/(jpeg|png);base64,", link) for link in page.links)


def test_a_report_shows_users_text_as_text(predictor: Predictor) -> None:
    page = Page(report(ExplorerSession.of(predictor, VIDEO, f"what {EVIL}?").run(predictor, VIDEO)))
    assert "script" not in page.tags and f"what {EVIL}?" in page.texts


def test_a_report_shows_every_clip_and_every_setting(result: SessionResult) -> None:
    page = report(result)
    assert page.count("<img") == 8 and all(f"<td>{name}</td>" in page for name in vars(result.session))
    assert "00:00.0–" in page and "padding" in page


def test_the_largest_report_stays_below_5_mb(result: SessionResult) -> None:
    noise = torch.randint(0, 256, (256, 4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    many = {name: getattr(result, name).repeat(64, *[1] * (getattr(result, name).ndim - 1)) for name in ("clip_logits", "spans")}
    times = torch.arange(1024, dtype=torch.float64).reshape(256, 4)
    largest = replace(result, contribution=result.contribution.repeat(64), times=times, seen=SeenFrames(noise, (64, 64)), **many)
    assert len(report(largest).encode()) < LARGEST_BYTES


def test_a_report_that_cannot_be_written_says_so(result: SessionResult, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write the report"):
        save_report(result, tmp_path / "none" / "report.html")


def test_the_pictures_are_what_the_model_gets(predictor: Predictor) -> None:
    video = predictor.encode(VIDEO)
    frames, size = predictor.clip_pictures(VIDEO, video)
    with Video.open(VIDEO) as opened:
        for n in range(4):
            expected = resize_and_pad(opened.frames_at(video.times[n].tolist()).frames, 64).round().to(torch.uint8)
            assert torch.equal(frames[n], expected)
    assert frames.shape == (4, 2, 3, 64, 64) and max(size) == 64


def test_padding_is_hatched_and_counted() -> None:
    seen = SeenFrames(torch.zeros(1, 1, 3, 40, 40, dtype=torch.uint8), (40, 10))
    image = seen.image(0, 0, 80)
    assert seen.padding_fraction == 0.75 and image.crop((0, 0, 20, 80)).getextrema() == ((0, 0),) * 3
    assert image.crop((20, 0, 80, 80)).getextrema()[0] == (150, 255)


@pytest.mark.parametrize("num_clips, num_frames", [(1, 1), (4, 2), (5, 2), (3, 16)])
def test_a_strip_has_room_for_every_clip(num_clips: int, num_frames: int) -> None:
    seen = SeenFrames(torch.zeros(num_clips, num_frames, 3, 32, 32, dtype=torch.uint8), (32, 32))
    spans = torch.arange(2.0 * num_clips).reshape(num_clips, 2)
    page = strip(seen, spans, side=32, captions=["an answer – 跳"] * num_clips)
    rows = -(-num_clips // max(1, min(num_clips, 4, 16 // num_frames)))
    assert page.height == rows * (32 + 36 + 6) + 6 and png(page).startswith(b"\x89PNG")
