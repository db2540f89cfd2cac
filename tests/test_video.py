"""Videos open by their packets, planned decoding equals full decoding, and bad files get one clear line."""

import gc
import itertools
import random
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from videos import copy_packets, repeat_packets, rotate, write_sound, write_video

from clipbert import video_packets
from clipbert.video import PartialDecodeError, Video, VideoError

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
GOLDEN = sorted((ROOT / "tests" / "golden").glob("video_*"))
REAL = [
    SHARED / name
    for name in (
        "clips/decord_flipping_a_pancake.mkv",
        "clips/mmaction2_demo.mp4",
        "clips/torchcodec_h265_video.mp4",
        "clips/torchcodec_av1_video.mkv",
        "clips/torchvision_TrumanShow_wave_f_nm_np1_fr_med_26.avi",
        "tgif/gifs/transition_1.gif",
    )
]
OPEN_GOP = "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3"
DELAYS = [100 * sum([3, 10, 50, 7][j % 4] for j in range(i)) for i in range(40)]
UNEVEN = list(itertools.accumulate(random.Random(0).choice([20, 100, 130, 700]) for _ in range(60)))


def full_decode(path):
    """Every frame in presentation order, upright, as PyAV gives them when it reads the file from its start."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams.video if s.codec_context.name != "mjpeg" or path.suffix == ".avi")
        frames = [np.rot90(f.to_ndarray(format="rgb24"), f.rotation // 90).transpose(2, 0, 1) for f in container.decode(stream)]
    return torch.from_numpy(np.stack(frames))


def encoded(name, **options):
    return pytest.param(name, options, id=name)


MATRIX = [
    *[encoded(f"gop{gop}-b{b}.mp4", gop=gop, max_b_frames=b, num_frames=100) for gop, b in itertools.product((12, 30, 60, 250), (0, 3))],
    encoded("open-gop.mp4", max_b_frames=3, options={"x264-params": OPEN_GOP, "preset": "medium"}),
    encoded("open-gop.mkv", max_b_frames=3, options={"x264-params": OPEN_GOP, "preset": "medium"}),
    encoded("hevc-open-gop.mp4", codec="libx265", max_b_frames=3, options={"x265-params": f"{OPEN_GOP}:log-level=none:pools=1"}),
    encoded("uneven.mp4", pts=UNEVEN, max_b_frames=2),
    encoded("uneven.mkv", pts=UNEVEN, max_b_frames=2),
    encoded("late-start.mp4", pts=[31234 + 100 * i for i in range(60)], max_b_frames=2),
    encoded("late-start.mkv", pts=[31234 + 100 * i for i in range(60)], max_b_frames=2),
    encoded("stream.ts", max_b_frames=3),
    encoded("late-start.ts", pts=[31234 + 100 * i for i in range(60)], max_b_frames=2),
    encoded("simple.avi", codec="mpeg4"),
    encoded("b-frames.avi", codec="mpeg4", max_b_frames=2),
    encoded("h264.avi", max_b_frames=2),
    encoded("raw.h264", max_b_frames=2),
    encoded("fragments.mp4", max_b_frames=2, container_options={"movflags": "frag_keyframe+empty_moov"}),
    encoded("delays.gif", codec="gif", pix_fmt="rgb8", fps=100, pts=DELAYS, num_frames=40),
    encoded("hidden.webm", codec="libvpx", gop=30, options={"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8", "b": "60k"}),
    encoded("vp9.webm", codec="libvpx-vp9", gop=30, options={"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8", "b": "60k"}),
    encoded("av1.mp4", codec="libsvtav1", gop=12, num_frames=40, options={"preset": "12", "svtav1-params": "lp=1"}),
    encoded("10-bit.mp4", pix_fmt="yuv420p10le"),
    encoded("full-colour.mp4", pix_fmt="yuv444p"),
    encoded("full-range.mp4", pix_fmt="yuvj420p"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def plain(folder):
    """300 frames, 30 fps, GOP 30, B-frames, index first."""
    return write_video(folder / "plain.mp4", num_frames=300, gop=30, max_b_frames=2, container_options={"movflags": "faststart"})


def check_planned_equals_full(path, num_trials=4):
    full = full_decode(path)
    chance = random.Random(0)
    for _ in range(num_trials):
        indices = [chance.randrange(len(full)) for _ in range(chance.choice([1, 5, 20]))]
        with Video.open(path) as video:
            assert video.num_frames == len(full)
            assert video.notices == ()
            assert torch.equal(video.frames_by_index(indices).frames, full[indices])
            assert video.frames_decoded <= len(full)
            again = [chance.randrange(len(full)) for _ in range(6)]
            assert torch.equal(video.frames_by_index(again).frames, full[again])


@pytest.mark.parametrize(("name", "options"), MATRIX)
def test_planned_frames_equal_a_full_decode(name, options, folder):
    check_planned_equals_full(write_video(folder / name, **options))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_planned_frames_of_the_golden_videos_equal_a_full_decode(path):
    check_planned_equals_full(path, num_trials=1)


@pytest.mark.parametrize("path", REAL, ids=lambda p: p.stem)
def test_planned_frames_of_real_videos_equal_a_full_decode(path):
    if not path.exists():
        pytest.skip(f"{path} is not here")
    check_planned_equals_full(path, num_trials=1)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_a_cut_inside_a_group_of_pictures_gives_only_decodable_frames(plain, folder, suffix):
    check_planned_equals_full(copy_packets(plain, folder / f"cut{suffix}", first=17), num_trials=1)


def test_frames_before_an_edit_list_never_come_out(plain, folder):
    path = copy_packets(plain, folder / "edit.mp4", shift=-512 * 20, options={"avoid_negative_ts": "disabled"})
    with Video.open(path) as video:
        assert video.num_frames < 300
        assert video.notices == ()
    check_planned_equals_full(path)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=12), min_size=1, max_size=4))
def test_any_sequence_of_requests_equals_a_full_decode(plain_frames, requests):
    path, full = plain_frames
    with Video.open(path) as video:
        for number, indices in enumerate(requests):
            before = video.frames_decoded if number else 0
            assert torch.equal(video.frames_by_index(indices).frames, full[indices])
            assert video.frames_decoded - before <= len(full)


@pytest.fixture(scope="module")
def plain_frames(plain):
    return plain, full_decode(plain)


def test_only_the_touched_groups_of_pictures_are_decoded(plain):
    with Video.open(plain) as video:
        opening = video.frames_decoded
        video.frames_by_index([95, 92, 275])
        assert opening <= 2
        assert video.frames_decoded - opening == 6 + 6  # 90-95 and 270-275


def test_going_on_inside_a_group_of_pictures_does_not_start_it_again(plain):
    with Video.open(plain) as video:
        for i in range(60):
            video.frames_by_index([i])
        assert video.frames_decoded == 60


def test_false_key_flags_cost_decoding_but_never_a_wrong_frame(folder):
    path = write_video(folder / "refresh.mp4", options={"x264-params": "intra-refresh=1:keyint=12:scenecut=0"})
    full = full_decode(path)
    with Video.open(path) as video:
        assert torch.equal(video.frames_by_index([30, 55, 3]).frames, full[[30, 55, 3]])


def test_frames_at_gives_the_last_frame_shown_by_then(folder):
    path = write_video(folder / "times.mp4", pts=[9000 + 100 * i for i in range(60)])
    with Video.open(path) as video:
        assert video.frame_times[0] == 0
        times = video.frame_times
        clip = video.frames_at([float(times[7]), float(times[7]) - 1e-6, 0.0, 1e9, float(times[7])])
        assert torch.equal(clip.times, times[[7, 6, 0, 59, 7]])
        assert torch.equal(clip.frames, video.frames_by_index([7, 6, 0, 59, 7]).frames)


@pytest.mark.parametrize("seconds", [[-0.1], [float("nan")]])
def test_times_before_the_first_frame_are_refused(plain, seconds):
    with Video.open(plain) as video, pytest.raises(ValueError, match="seconds must be a list of times >= 0"):
        video.frames_at(seconds)


def test_indices_past_the_end_are_refused(plain):
    with Video.open(plain) as video, pytest.raises(ValueError, match=r"indices must be in \[0, 300\), got 3 to 300"):
        video.frames_by_index([3, 300])


def test_an_empty_request_gives_an_empty_clip(plain):
    with Video.open(plain) as video:
        assert video.frames_by_index([]).frames.shape == (0, 3, 48, 64)


def test_the_timeline_is_the_containers(plain):
    with Video.open(plain) as video, av.open(str(plain)) as container:
        stream, timeline = container.streams.video[0], video.timeline
        assert (timeline.stream_frames, timeline.stream_duration) == (stream.frames, stream.duration)
        assert timeline.pts.tolist() == sorted(frame.pts for frame in container.decode(stream))
        assert (timeline.fps, timeline.duration, video.size) == (30.0, 10.0, (48, 64))


def test_gif_delays_are_kept(folder):
    with Video.open(write_video(folder / "d.gif", codec="gif", pix_fmt="rgb8", fps=100, pts=DELAYS, num_frames=40)) as video:
        assert torch.allclose(video.frame_times, torch.tensor(DELAYS, dtype=torch.float64) / 1e4)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_videos_come_out_upright(folder, degrees):
    path = write_video(folder / f"turn{degrees}.mp4", num_frames=5)
    with Video.open(path) as video:
        stored = video.frames_by_index([3]).frames
    with Video.open(rotate(path, degrees)) as video:
        assert video.size == ((48, 64) if degrees == 180 else (64, 48))
        assert torch.equal(video.frames_by_index([3]).frames, stored.rot90(-degrees // 90, (2, 3)))


def test_cover_art_and_sound_are_passed_over(folder):
    path = write_video(folder / "cover.mp4", num_frames=40, cover=True, sound_too=True)
    with Video.open(path) as video:
        assert (video.num_frames, video.size) == (40, (48, 64))


def bad_files(folder):
    (folder / "text.mp4").write_text("not a video\n" * 9)
    (folder / "latin.mp4").write_bytes("café\n".encode("latin-1") * 900)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "noise.mp4").write_bytes(random.Random(0).randbytes(300_000))
    (folder / "folder.mp4").mkdir()
    for kind in ("jpeg", "png", "webp", "ppm"):
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / f"{kind}.mp4", format=kind)
    with zipfile.ZipFile(folder / "zip.mp4", "w") as archive:
        archive.writestr("a", "b")
    write_sound(folder / "sound.mp4")
    write_sound(folder / "sound-cover.mp4", cover=True)
    content = write_video(folder / "whole.mp4").read_bytes()
    (folder / "header.mp4").write_bytes(content[: len(content) // 2])
    (folder / "stub.mp4").write_bytes(content[:20])
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.mp4", "does not exist"),
        ("text.mp4", "is text, not a video; try MP4"),
        ("latin.mp4", "is text"),
        ("empty.mp4", "is empty"),
        ("noise.mp4", "is not a video that can be decoded"),
        ("folder.mp4", "is a directory"),
        ("jpeg.mp4", "is an image (JPEG), not a video; Predictor.encode treats an image as a one-frame video"),
        ("png.mp4", "is an image (PNG)"),
        ("webp.mp4", "is an image (WebP)"),
        ("ppm.mp4", "is an image"),
        ("zip.mp4", "is a zip archive"),
        ("sound.mp4", "has no video stream"),
        ("sound-cover.mp4", "has no video stream"),
        ("header.mp4", "moov atom missing"),
        ("stub.mp4", "moov atom missing"),
    ],
)
def test_a_bad_file_gets_one_clear_line(name, words, tmp_path, capfd):
    path = bad_files(tmp_path) / name
    began = time.monotonic()
    with pytest.raises(VideoError) as caught:
        Video.open(path)
    assert time.monotonic() - began < 5
    message = str(caught.value)
    assert message.startswith(f"cannot open video: {path} ") and words in message and "\n" not in message
    assert capfd.readouterr().err == ""


def test_damage_in_the_middle_leaves_out_what_it_spoils_and_nothing_else(plain_frames, tmp_path):
    path, full = plain_frames
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1000] = random.Random(0).randbytes(1000)
    (tmp_path / "damaged.mp4").write_bytes(content)
    with Video.open(tmp_path / "damaged.mp4") as video:
        pictures, missing = video.decode(range(300))
        assert 0 < len(missing) <= 60
        assert all(torch.equal(picture, full[i]) for i, picture in pictures.items())
        assert video.notices == (f"{len(missing)} of the 300 frames could not be decoded: {missing[0]}-{missing[-1]}.",)
        with pytest.raises(PartialDecodeError, match=f"frames {missing[0]}; the file is damaged there") as caught:
            video.frames_by_index([0, missing[0]])
        assert caught.value.missing == missing[:1]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_file_cut_short_says_how_much_was_readable(folder, tmp_path, suffix):
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    whole = write_video(folder / f"long{suffix}", codec=codec, num_frames=300, container_options=options)
    (tmp_path / f"cut{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    full = full_decode(whole)
    with Video.open(tmp_path / f"cut{suffix}") as video:
        assert 100 < video.num_frames < 260
        assert f"using the readable part 0-{video.duration:.1f} s" in video.notices[0]
        pictures, missing = video.decode(range(video.num_frames))
        assert len(missing) < 5
        assert all(torch.equal(picture, full[i]) for i, picture in pictures.items())


def spoil(content, seed):
    chance, spoilt = random.Random(seed), bytearray(content)
    how = seed % 3
    if how == 0:
        return spoilt[: chance.randrange(len(spoilt))]
    for _ in range(30 if how == 1 else 3):
        at = chance.randrange(len(spoilt))
        spoilt[at : at + 1 + 40 * (how == 2)] = chance.randbytes(1 + 40 * (how == 2))
    return spoilt


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_spoilt_files_raise_nothing_but_a_video_error(path, tmp_path, capfd):
    for seed in range(12):
        spoilt = tmp_path / f"{seed}{path.suffix}"
        spoilt.write_bytes(spoil(path.read_bytes(), seed))
        began = time.monotonic()
        try:
            with Video.open(spoilt) as video:
                video.decode([0, video.num_frames // 2, video.num_frames - 1])
        except VideoError as error:
            assert "\n" not in str(error)
        assert time.monotonic() - began < 5
    assert capfd.readouterr().err == ""


def test_a_decoder_that_hangs_is_given_up(plain, monkeypatch):
    with Video.open(plain, time_limit_seconds=0.2) as video:
        monkeypatch.setattr(video._decoder, "pictures", lambda wanted: time.sleep(3))
        began = time.monotonic()
        with pytest.raises(VideoError, match=r"gave no frame for 0\.2 s"):
            video.frames_by_index([1])
        assert time.monotonic() - began < 2
        with pytest.raises(VideoError, match="is closed"):
            video.frames_by_index([1])


def test_a_closed_video_says_so(plain):
    with Video.open(plain) as video:
        pass
    with pytest.raises(VideoError, match="is closed; open it again"):
        video.frames_by_index([1])


def test_an_unknown_backend_is_refused(plain):
    with pytest.raises(ValueError, match="backend must be one of pyav, decord, process, got 'opencv'"):
        Video.open(plain, backend="opencv")


def test_the_environment_chooses_the_backend(plain, monkeypatch):
    monkeypatch.setenv("CLIPBERT_VIDEO_BACKEND", "opencv")
    with pytest.raises(ValueError, match="got 'opencv'"):
        Video.open(plain)
    Video.open(plain, backend="pyav").close()


@pytest.mark.parametrize("name", ["plain.mp4", "video_a30.mp4", "video_c15.mp4", "video_d30mkv.mkv"])
def test_decord_gives_the_same_frames(name, plain):
    pytest.importorskip("decord")
    path = plain if name == "plain.mp4" else ROOT / "tests" / "golden" / name
    with Video.open(path) as ours, Video.open(path, backend="decord") as decord:
        indices = [random.Random(0).randrange(ours.num_frames) for _ in range(20)]
        assert torch.equal(ours.frames_by_index(indices).frames, decord.frames_by_index(indices).frames)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("d.gif", {"codec": "gif", "pix_fmt": "rgb8"}, "GIF"),
        ("d.ts", {}, "MPEG-TS"),
        ("d.mp4", {"codec": "libx265"}, "HEVC"),
        ("d2.mp4", {"pix_fmt": "yuv420p10le"}, "more than 8 bits"),
        ("d3.mp4", {"codec": "mpeg4", "max_b_frames": 2}, "MPEG-4 part 2 with B-frames"),
    ],
)
def test_decord_is_refused_what_it_gets_wrong(folder, name, options, words):
    pytest.importorskip("decord")
    path = write_video(folder / name, num_frames=24, **options)
    with pytest.raises(VideoError, match=rf'decord gets .*{words}.* wrong; use backend="pyav"'):
        Video.open(path, backend="decord")


def test_decord_is_refused_a_file_cut_inside_a_group_of_pictures(plain, folder):
    pytest.importorskip("decord")
    with pytest.raises(VideoError, match='use backend="pyav"'):
        Video.open(copy_packets(plain, folder / "cut-decord.mp4", first=17), backend="decord")


def test_five_hundred_openings_do_not_grow_memory(folder):
    path = write_video(folder / "small.mp4", num_frames=12)

    def open_often(times):
        for _ in range(times):
            with Video.open(path) as video:
                video.frames_by_index([5])
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    if not Path("/proc/self/statm").exists():
        pytest.skip("resident memory is read from /proc")
    before = open_often(50)
    assert open_often(500) - before < 16 * 2**20


LONG = """
import resource, sys, time
import torch, av
from clipbert.video import Video
began = time.monotonic()
with Video.open(sys.argv[1]) as video:
    assert video.duration == 7200, video.duration
    video.frames_at([3600.0, 3600.5])
    first = time.monotonic() - began
    for k in range(16):
        video.frames_at([450.0 * k, 450.0 * k + 0.5])
    print(first, video.frames_decoded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_two_hours_cost_what_their_sampled_clips_cost(tmp_path, suffix):
    minute = write_video(tmp_path / "minute.mp4", num_frames=1800, gop=250, max_b_frames=2, size=(120, 160))
    path = repeat_packets(minute, tmp_path / f"long{suffix}", 120)
    run = subprocess.run([sys.executable, "-c", LONG, str(path)], capture_output=True, text=True, cwd=ROOT, check=True)
    first, frames_decoded, resident = map(float, run.stdout.split())
    assert first < 2
    assert frames_decoded < 17 * 250 + 2
    assert resident < 1e9


def test_a_time_limit_counts_from_the_last_sign_of_progress(plain, monkeypatch):
    slow = video_packets.Reader.frames

    def slowed(self):
        for frame in slow(self):
            time.sleep(0.03)
            yield frame

    monkeypatch.setattr(video_packets.Reader, "frames", slowed)
    with Video.open(plain, time_limit_seconds=0.5) as video:
        assert len(video.frames_by_index(range(29)).frames) == 29  # 0.9 s in all


STOPPED = """
import time
from clipbert.video_watch import Watch
def work():
    print("begun", flush=True)
    for _ in range(8):
        time.sleep(0.1)
print(Watch("a.mp4", 1.2).result_of(work))
"""


def test_what_was_stopped_is_not_taken_for_a_decoder_that_hangs():
    child = subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begun\n"
    child.send_signal(signal.SIGSTOP)  # Ctrl-Z
    time.sleep(2)
    child.send_signal(signal.SIGCONT)
    assert child.communicate(timeout=60) == ("None\n", "")
