"""Whatever is uploaded or asked, the app says what, why and what to do, names no path of the server, and goes on working."""

import json
import os
import re
import tempfile
import time
import urllib.error
import urllib.request
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GOLDEN
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from test_app import open_file
from videos import repeat_packets, rotate, write_sound, write_video

from app.app import clear_abandoned
from app.chooser import limit_html
from app.shared import explain
from clipbert.memory import InParts

VIDEO = GOLDEN / "video_a30.mp4"
SERVER_FOLDERS = (tempfile.gettempdir(), str(Path(__file__).parents[1]), str(Path.home()))


def told(client: Any, path: Path, question: str = "what?", **settings: Any) -> str:
    """The error that asking about a file ends in."""
    with pytest.raises(AppError) as caught:
        client.predict(handle_file(path), question, 2, **settings, api_name="/ask")
    message = str(caught.value)
    assert not any(folder in message for folder in SERVER_FOLDERS) and "Traceback" not in message
    return message


def ask(client: Any, path: Path, question: str = "what?") -> dict[str, Any]:
    return client.predict(handle_file(path), question, 2, api_name="/ask")


def zip_file(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")


def cut(path: Path, share: float) -> None:
    path.write_bytes(write_video(path).read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.write_text("no video\n" * 99), "is text, not a video; try MP4"),
        (zip_file, "is a zip archive, not a video; try MP4"),
        (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
        (lambda path: path.write_bytes(bytes(range(256)) * 20), "is not a video that can be decoded"),
        (write_sound, "has no video stream"),
        (lambda path: cut(path, 0.5), "cut off"),
    ],
    ids=["text", "zip", "0 bytes", "noise", "sound only", "truncated"],
)
def test_what_is_no_video_is_refused_with_its_reason(client: Any, tmp_path: Path, make: Callable[[Path], object], why: str) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    message = told(client, path)
    assert re.search(why, message) and "clip.mp4" in message


def still(path: Path) -> Path:
    Image.new("RGB", (40, 30), "red").save(path, "JPEG")
    return path


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("picture.mp4", still),
        ("silent.mp4", write_video),
        ("sound.mp4", lambda path: write_video(path, sound_too=True)),
        ("portrait.mp4", lambda path: write_video(path, size=(96, 54))),
        ("wide.mp4", lambda path: write_video(path, size=(16, 160))),
        ("rotated.mp4", lambda path: rotate(write_video(path), 90)),
        ("moving.gif", lambda path: write_video(path, codec="gif", pix_fmt="rgb8", num_frames=8, fps=10)),
        ("hevc.mkv", lambda path: write_video(path, codec="libx265")),
        ("one-frame.mp4", lambda path: write_video(path, num_frames=1)),
        ("uneven.mp4", lambda path: write_video(path, num_frames=6, pts=[0, 100, 900, 1000, 4000, 9000])),
        ("unusual name é 🦖.mp4", write_video),
    ],
)
def test_unusual_videos_are_answered(client: Any, tmp_path: Path, name: str, make: Callable[[Path], Path]) -> None:
    found = ask(client, make(tmp_path / name))
    assert found["answer"] in found["candidates"] and found["clips"] and not found["partial"]


def test_clips_of_an_uneven_video_lie_by_its_times_not_by_its_frames(client: Any, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=6, pts=[0, 100, 900, 1000, 4000, 9000])
    assert ask(client, path)["duration"] > 9000 / 3000
    assert client.predict(handle_file(path), num_clips=1, api_name="/sample")["clips"][0]["times"][0] > 1000 / 3000


def test_a_cut_off_video_is_answered_from_what_is_left_and_says_so(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    path.write_bytes(write_video(path, num_frames=200).read_bytes()[: path.stat().st_size // 2])
    found = ask(client, path)
    assert found["partial"] and found["notices"]


@pytest.mark.parametrize(
    ("question", "notice"), [("what " * 400, "362 of its 400 pieces were not read"), ("🦖?", "knows no piece of: 🦖")], ids=["long", "emoji"]
)
def test_a_question_the_model_cannot_read_in_full_is_answered_and_says_so(client: Any, question: str, notice: str) -> None:
    notices = " ".join(ask(client, VIDEO, question)["notices"])
    assert notice in notices, notices


def test_an_upload_above_the_limit_is_refused_with_the_limit(app_url: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n' + bytes(6 << 20) + b"\r\n--x--\r\n"
    request = urllib.request.Request(f"{app_url}gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value as refused:
        assert refused.code == 413 and "exceeded" in refused.read().decode()
    assert "up to 5 MB" in limit_html(5 * 1024**2) and "--max-file-size" in limit_html(5 * 1024**2)


def test_the_page_refuses_a_file_above_the_limit_before_it_is_sent(page: Any, tmp_path: Path) -> None:
    large, sent = tmp_path / "large.mp4", []
    large.write_bytes(bytes(6 << 20))
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" and "/upload" in request.url else None)
    open_file(page, large)
    page.wait_for_selector(".toast-body:has-text('maximum allowed size of 5.0 Mb')")
    assert sent == [] and "--max-file-size" in page.inner_text("#limit")
    assert page.locator("#answer .big").count() == 1  # the video before stays


def test_an_upload_named_with_a_path_stays_in_the_folder_of_uploads(app_url: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../../evil.mp4"\r\n\r\nx\r\n--x--\r\n'
    request = urllib.request.Request(f"{app_url}gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        stored = Path(json.load(answer)[0])
    assert stored.resolve().is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve()) and stored.name == "evil.mp4"


def refusal(app_url: str, path: str) -> str:
    """What /ask says about a file of the server, asked as gradio_client never would: it uploads what it names."""
    body = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "what?", 2, 2, "paper", "lse", 0]}).encode()
    request = urllib.request.Request(f"{app_url}gradio_api/call/ask", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{app_url}gradio_api/call/ask/{event}", timeout=60) as answer:
            said = answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            said = f"event: error {error.read().decode()}"
    assert "event: error" in said and "event: complete" not in said
    return said


@pytest.mark.parametrize(
    "path", ["/etc/passwd", str(VIDEO), "../../../../etc/passwd", "{uploads}/../../../../etc/passwd", "https://example.org/a.mp4"]
)
def test_a_file_that_was_not_uploaded_is_refused_and_no_folder_named(app_url: str, path: str) -> None:
    said = refusal(app_url, path.format(uploads=os.environ["GRADIO_TEMP_DIR"]))
    assert not any(folder in said for folder in SERVER_FOLDERS)


def test_a_link_among_the_uploads_to_a_file_elsewhere_is_refused(app_url: str) -> None:
    link = Path(os.environ["GRADIO_TEMP_DIR"]) / "link.mp4"
    link.symlink_to(VIDEO)
    assert "answer" not in refusal(app_url, str(link))
    link.unlink()


def spoil(path: Path, share: float) -> Path:
    """`path`, with zeros for some of its bytes from `share` of its length on."""
    content = bytearray(path.read_bytes())
    start = int(share * len(content))
    content[start : start + 3000] = bytes(3000)
    path.write_bytes(content)
    return path


def test_clips_that_cannot_be_decoded_are_hatched_once_the_answer_left_them_out(page: Any, tmp_path: Path) -> None:
    open_file(page, spoil(write_video(tmp_path / "spoilt.mp4", num_frames=200), 0.5))
    page.wait_for_selector("#answer .big", state="detached")
    page.fill("#question textarea", "what is left?")
    page.click("#ask")
    page.wait_for_selector("#answer .notices:has-text('could not be decoded')")
    page.click("#tab-sampling-button")
    page.wait_for_selector("#timeline .tl-lane.chosen .clip.lost")
    assert "cannot be decoded" in (page.locator("#timeline .clip.lost").first.get_attribute("aria-label") or "")


def test_too_little_memory_for_all_clips_is_met_with_fewer_at_a_time(client: Any, app_predictor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    score, sizes = app_predictor.model.score, []

    def small(features: Any, *rest: Any) -> Any:
        sizes.append(len(features))
        if len(features) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return score(features, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(app_predictor.model, "score", small)
        patch.setattr(app_predictor, "clips_in_parts", InParts())
        found = ask(client, VIDEO, "does half of it fit?")
    assert sizes == [2, 1, 1] and len(found["clips"]) == 2
    assert "they were read 1 at a time; N_test stays as it was" in " ".join(found["notices"])


def test_a_strip_of_a_picture_is_answered_with_a_warning_over_the_endpoint_too(client: Any, tmp_path: Path) -> None:
    found = ask(client, write_video(tmp_path / "wide.mp4", size=(16, 160)))
    assert "90 % of what it gets is padding" in " ".join(found["notices"]) and not found["partial"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError(), RuntimeError("can't allocate memory: 9")])
def test_a_lack_of_memory_says_what_to_lower(error: Exception) -> None:
    assert "lower Clips (N_test)" in explain(error)


def test_after_a_lack_of_memory_the_next_question_is_answered(client: Any, app_predictor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(app_predictor.model, "score", full)
        assert "not enough memory" in told(client, VIDEO, "does it fit?")
    assert ask(client, VIDEO, "does it fit?")["answer"]


def test_a_lack_of_memory_gives_back_what_the_failed_work_held(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied, held = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append([reference() for reference in held]))

    def full() -> None:
        large = torch.zeros(9)
        held.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory")

    try:
        full()
    except torch.OutOfMemoryError as error:
        assert "not enough memory" in explain(error)
    assert emptied == [[None]]


def test_of_a_film_of_two_hours_the_first_clip_is_shown_soon_and_a_trim_advised(page: Any, tmp_path: Path) -> None:
    minute = write_video(tmp_path / "minute.mp4", num_frames=300, fps=5, gop=250, size=(36, 64), options={"crf": "51"})  # below the limit of uploads
    film = repeat_packets(minute, tmp_path / "film.mp4", 120)
    before = resident_bytes()
    open_file(page, film)
    page.wait_for_selector("#video-notice .notice:has-text('this video lasts 2:00:00.0')")
    assert "Trim it to the part you ask about" in page.inner_text("#video-notice")
    page.fill("#question textarea", "what is it about?")
    start = time.monotonic()
    page.click("#ask")
    page.wait_for_selector("#clips .clip-card")
    assert time.monotonic() - start < 20  # 5 s on a calm machine
    page.wait_for_function("document.querySelector('#answer .state')?.innerText == 'after all 4 clips'")
    assert resident_bytes() - before < 200e6
    page.click("#tab-sampling-button")
    page.wait_for_selector("#sampling-warnings .chip:has-text('of 7,200 s are seen')")


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_a_video_that_no_browser_plays_is_shown_as_one_that_it_does(page: Any, tmp_path: Path) -> None:
    open_file(page, write_video(tmp_path / "hevc.mkv", codec="libx265", num_frames=20))
    page.wait_for_selector("#answer .big", state="detached")
    page.wait_for_function("document.querySelector('#player video')?.readyState >= 2")


def test_where_it_cannot_be_encoded_anew_the_page_says_so_and_answers(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hevc = write_video(tmp_path / "hevc.mkv", codec="libx265", num_frames=21)
    monkeypatch.setattr("app.preview.ENCODER", "not in this build")
    open_file(page, hevc)
    page.wait_for_selector("#video-notice .note:has-text('your browser cannot play hevc.mkv')")
    page.fill("#question textarea", "what is it?")
    page.click("#ask")
    page.wait_for_selector("#answer .big")


def test_memory_returns_after_fifty_questions(client: Any, tmp_path: Path) -> None:
    def about(n: int) -> None:
        path = tmp_path / f"{n}.mp4"
        path.write_bytes(VIDEO.read_bytes() + bytes([n]))  # another video, to every cache
        ask(client, path, f"number {n}?")

    for n in range(10):
        about(n)
    before = resident_bytes()
    for n in range(10, 60):
        about(n)
    assert resident_bytes() - before < 50e6


@pytest.fixture
def slow(app_predictor: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scoring a clip takes a second."""
    score = app_predictor.model.score

    def slowly(*arguments: Any) -> Any:
        time.sleep(1.0)
        return score(*arguments)

    monkeypatch.setattr(app_predictor.model, "score", slowly)
    yield


def test_two_users_at_once_each_get_the_answer_about_their_own_video(app_url: str, client: Any, tmp_path: Path) -> None:
    other = Client(app_url, verbose=False)
    short = write_video(tmp_path / "short.mp4", num_frames=12)
    jobs = [user.submit(handle_file(path), "whose?", 2, api_name="/ask") for user, path in ((client, VIDEO), (other, short)) for _ in range(2)]
    durations = [job.result(timeout=90)["duration"] for job in jobs]
    other.close()
    assert durations == [pytest.approx(seconds, abs=0.1) for seconds in (durations[0], durations[0], 0.4, 0.4)] and durations[0] > 0.6


def test_who_waits_is_told_so_and_an_empty_question_waits_for_nobody(page: Any, client: Any, slow: None) -> None:
    jobs = [client.submit(handle_file(VIDEO), f"who is first? {n}", 4, api_name="/ask") for n in range(6)]
    page.fill("#question textarea", " ")
    page.wait_for_selector("#pieces details", state="detached")  # the reply to what was typed would wipe the word on it
    page.click("#ask")
    page.wait_for_function("document.querySelector('#question').innerText.includes('Write a question first.')")
    page.fill("#question textarea", "do I wait?")
    page.click("#ask")
    page.wait_for_function("/queue: \\d+\\/\\d+/.test(document.querySelector('#answer').innerText)")
    for job in jobs:
        job.cancel()


def test_a_page_without_ffmpeg_plays_and_answers_an_upload(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    gif = write_video(tmp_path / "moving.gif", codec="gif", pix_fmt="rgb8", num_frames=8, fps=10)
    open_file(page, gif)
    page.wait_for_selector("#answer .big", state="detached")
    page.wait_for_function("document.querySelector('#player video')?.readyState >= 2")
    page.fill("#question textarea", "what moves?")
    page.click("#ask")
    page.wait_for_selector("#answer .big")


def test_an_upload_is_deleted_when_its_page_closes(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Path(os.environ["GRADIO_TEMP_DIR"])
    before = set(uploads.rglob("mine.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        open_file(page, write_video(Path(folder) / "mine.mp4"))
        page.wait_for_selector("#answer .big", state="detached")
        assert len(set(uploads.rglob("mine.mp4")) - before) == 1
    page.close()
    until = time.monotonic() + 60
    while set(uploads.rglob("mine.mp4")) - before and time.monotonic() < until:
        time.sleep(0.5)
    assert not set(uploads.rglob("mine.mp4")) - before


def test_uploads_of_a_server_that_was_killed_are_cleared_and_those_of_a_running_one_stay(tmp_path: Path) -> None:
    no_process = 2**22 + 1  # above the largest number that Linux gives
    dead, alive, foreign = (tmp_path / f"clipbert-uploads-{name}" for name in (f"{no_process}-a", f"{os.getpid()}-b", "x"))
    for folder in (dead, alive, foreign):
        (folder / "deep").mkdir(parents=True)
    clear_abandoned(tmp_path)
    assert not dead.exists() and alive.exists() and foreign.exists()
