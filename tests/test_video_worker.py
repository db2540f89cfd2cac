"""Decoding in a process of its own: the same frames, and a decoder that crashes or hangs costs one line."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from test_predict import make_predictor
from videos import copy_packets, rotate, write_video

from clipbert import child_process, video_worker
from clipbert.source import source_of
from clipbert.streaming import encode_stream
from clipbert.video import Video, VideoError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="processes are ended by POSIX signals")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="module")
def path(folder: Path) -> Path:
    return write_video(folder / "plain.mp4")


@pytest.fixture(scope="module", autouse=True)
def no_worker_stays() -> Iterator[None]:
    yield
    video_worker.stop_workers()


@pytest.fixture
def crashing(path: Path) -> Iterator[Video]:
    """A video whose process can be ended by `crash`."""
    with Video.open(path, backend="process", time_limit_seconds=5.0) as video:
        yield video


def pid_of(video: Video) -> int:
    worker = video._decoder._worker  # pyright: ignore
    assert worker is not None
    return worker.pid


def runs(pid: int) -> bool:
    """Whether there is such a process that is no zombie."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return found.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.parametrize("kind", ["plain", "rotated", "cut", "gif"])
def test_a_process_of_its_own_reads_the_same(kind: str, path: Path, folder: Path) -> None:
    made = {
        "plain": lambda: path,
        "rotated": lambda: rotate(write_video(folder / "rotated.mp4", num_frames=20), 90),
        "cut": lambda: copy_packets(path, folder / "cut.mkv", first=17),
        "gif": lambda: write_video(folder / "d.gif", codec="gif", pix_fmt="rgb8", num_frames=10),
    }[kind]()
    with Video.open(made, backend="pyav") as here, Video.open(made, backend="process") as apart:
        for name in ("size", "rotation", "notices", "key_frames", "duration", "fps", "codec", "pixel_format"):
            assert getattr(apart, name) == getattr(here, name), name
        assert torch.equal(apart.timeline.pts, here.timeline.pts) and torch.equal(apart.frame_times, here.frame_times)
        wanted = [here.num_frames - 1, 0, here.num_frames // 2]
        (ours, missing), (theirs, missing_too) = apart.decode(wanted), here.decode(wanted)
        assert missing == missing_too and ours.keys() == theirs.keys()
        assert all(torch.equal(ours[i], theirs[i]) for i in ours)
        assert (apart.frames_decoded, apart.notices) == (here.frames_decoded, here.notices)
    assert source_of(made, "process").key == source_of(made, "pyav").key


def test_what_cannot_be_opened_is_refused_in_the_same_words(folder: Path) -> None:
    spoilt = folder / "spoilt.mp4"
    spoilt.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20)
    said = []
    for backend in ("pyav", "process"):
        with pytest.raises(VideoError) as refused:
            Video.open(spoilt, backend=backend)
        said.append(str(refused.value))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("sent", "words"), [(signal.SIGSEGV, r"crashed \(SIGSEGV\)"), (signal.SIGKILL, r"was ended by the system \(SIGKILL\), most likely for memory")]
)
def test_a_crash_is_one_line_and_the_next_call_works(
    sent: signal.Signals, words: str, crashing: Video, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    proceed, seen = crashing._decoder._proceed, []

    def crash_after_three() -> None:
        seen.append(None)
        if len(seen) == 3:
            os.kill(pid_of(crashing), sent)
        proceed()

    monkeypatch.setattr(crashing._decoder, "_proceed", crash_after_three)
    with pytest.raises(VideoError, match=rf"^cannot read video: on {path} the decoder {words}; ask again, or convert it to MP4 \(H\.264\)\.$"):
        while len(seen) < 1000:
            crashing.decode(range(60))
    assert len(caplog.records) == 1
    with Video.open(path, backend="pyav") as whole:
        assert torch.equal(crashing.frames_by_index([0, 33, 59]).frames, whole.frames_by_index([0, 33, 59]).frames)


def test_a_process_that_hangs_is_ended(path: Path) -> None:
    with Video.open(path, backend="process", time_limit_seconds=0.5) as video:
        pid = pid_of(video)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(VideoError, match=r"gave no frame for 0\.5 s"):
            video.decode([1])
        assert not runs(pid)
        with pytest.raises(VideoError, match="is closed"):
            video.decode([1])
    with Video.open(path, backend="process") as again:
        assert len(again.decode([1])[0]) == 1


def test_a_slow_decoder_that_gets_on_is_not_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = child_process.Child.answers

    def slowed(child: child_process.Child, request: object) -> Iterator[child_process.Message]:
        for message in answers(child, request):
            time.sleep(0.03)
            yield message

    monkeypatch.setattr(child_process.Child, "answers", slowed)
    with Video.open(path, backend="process", time_limit_seconds=0.5) as video:
        assert len(video.decode(range(29))[0]) == 29  # 0.9 s in all


def test_a_process_serves_one_video_after_another_and_one_that_died_waiting_is_replaced(path: Path) -> None:
    video_worker.stop_workers()
    pids = []
    for _ in range(2):
        with Video.open(path, backend="process") as video:
            pids.append(pid_of(video))
    assert pids[0] == pids[1]
    os.kill(pids[0], signal.SIGKILL)
    while runs(pids[0]):
        time.sleep(0.01)
    with Video.open(path, backend="process") as video:
        assert pid_of(video) != pids[0] and len(video.decode([3])[0]) == 1


def test_two_at_once_get_their_own_frames(path: Path, folder: Path) -> None:
    other = write_video(folder / "other.mp4", size=(96, 128), num_frames=60, gop=60)
    wrong = []

    def ask(own: Path) -> None:
        with Video.open(own, backend="pyav") as here:
            right = here.frames_by_index(range(0, 60, 7)).frames
        for _ in range(5):
            with Video.open(own, backend="process") as apart:
                wrong.extend([own] * (not torch.equal(apart.frames_by_index(range(0, 60, 7)).frames, right)))

    users = [threading.Thread(target=ask, args=[own]) for own in (path, other)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert wrong == []


ASKS = """
import sys, time
from clipbert.video_worker import WorkerDecoder
decoder = WorkerDecoder(sys.argv[1], 20.0, lambda: None)
decoder.open()
print(decoder._worker.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_parent(path: Path, sent: signal.Signals) -> None:
    """SIGINT goes to all of a terminal's processes, as Ctrl-C does."""
    command = [sys.executable, "-c", ASKS, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        pid = int(parent.stdout.readline())
        assert runs(pid)
        (os.killpg if sent == signal.SIGINT else os.kill)(parent.pid, sent)
        assert parent.stderr.read().count("Traceback") == (sent == signal.SIGINT)  # the parent's own
    until = time.monotonic() + 10
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not runs(pid)


def test_the_process_does_not_import_pytorch() -> None:
    script = "import sys, clipbert.video_worker; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True).stdout == "False\n"


def test_a_clip_on_which_the_decoder_crashes_is_left_out_and_the_others_are_answered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPBERT_VIDEO_BACKEND", "process")
    decode, calls = Video.decode, []

    def crash_at_the_second(video: Video, indices: list[int]) -> object:
        calls.append(indices)
        if len(calls) == 2:
            os.kill(pid_of(video), signal.SIGSEGV)
            while runs(pid_of(video)):
                time.sleep(0.01)
        return decode(video, indices)

    monkeypatch.setattr(Video, "decode", crash_at_the_second)
    predictor = make_predictor()
    for step in encode_stream(predictor, path, num_clips=4, num_frames=1, policy="centered"):
        last = step
    lost, why = last.video.notices
    assert lost == "clip 2 of 4 could not be decoded and is left out; N_test=3" and "the decoder crashed (SIGSEGV); ask again" in why
    assert predictor.encode(path, num_clips=4, num_frames=1, policy="centered").num_clips == 4
