"""Laws of every policy, and the original decoder's frame indices for every golden entry."""

import json
import math
from fractions import Fraction
from functools import cache

import av
import pytest
import torch
from conftest import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from clipbert.sampling import POLICIES, ClipTimes, clip_at, coverage, official_clip, official_uniform, sample_clips, sweep_plan
from clipbert.types import Timeline

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
RECORDED = json.loads((GOLDEN / "frame_sampling.json").read_text())
SECONDS = 1e-6


@cache
def demuxed(name: str) -> Timeline:
    """What the golden file itself says."""
    with av.open(str(GOLDEN / RECORDED["videos"][name]["file"])) as container:
        stream = container.streams.video[0]
        ticks = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        assert stream.time_base is not None and stream.average_rate is not None
        pts, fps = torch.tensor(ticks), float(stream.average_rate)
        times = (pts - pts[0]).double() * float(stream.time_base)
        return Timeline(times, float(times[-1]) + 1 / fps, fps, pts, stream.frames, stream.duration)


@cache
def as_recorded(name: str) -> Timeline:
    """The same from the recording's facts alone."""
    facts = RECORDED["videos"][name]
    fps, time_base = Fraction(facts["average_rate"]), Fraction(facts["time_base"])
    pts = torch.tensor([round(k / fps / time_base) for k in range(facts["decoded"])])
    times = pts.double() * float(time_base)
    return Timeline(times, float(times[-1]) + float(1 / fps), float(fps), pts, facts["stream_frames"], facts["stream_duration"])


def parsed(entry: str) -> tuple[str, int, int, str]:
    """ "a30|fps1|T2|N4" -> a30, 1, 2, "N4"."""
    name, fps, num_frames, *rest = entry.split("|")
    return name, int(fps[3:]), int(num_frames[1:]), "".join(rest)


def frames(clips: tuple[ClipTimes, ...]) -> list[list[int]]:
    return [clip.frame_index.tolist() for clip in clips]


@pytest.mark.parametrize("name", RECORDED["videos"])
def test_golden_files_are_as_recorded(name: str) -> None:
    file, facts = demuxed(name), as_recorded(name)
    assert torch.equal(file.pts, facts.pts)
    assert (file.stream_frames, file.stream_duration, file.fps) == (facts.stream_frames, facts.stream_duration, facts.fps)


@pytest.mark.parametrize("timeline_of", [demuxed, as_recorded])
@pytest.mark.parametrize("entry", RECORDED["multi"])
def test_official_clips_equal_the_original_decoder(entry: str, timeline_of) -> None:
    name, fps, num_frames, num_clips = parsed(entry)
    clips = sample_clips(timeline_of(name), num_clips=int(num_clips[1:]), num_frames=num_frames, fps=fps, policy="official")
    assert frames(clips) == RECORDED["multi"][entry]


@pytest.mark.parametrize("timeline_of", [demuxed, as_recorded])
@pytest.mark.parametrize("entry", RECORDED["single"])
def test_official_single_clips_equal_the_original_decoder(entry: str, timeline_of) -> None:
    name, fps, num_frames, strategy = parsed(entry)
    timeline, recorded = timeline_of(name), RECORDED["single"][entry]
    if strategy == "uniform":
        assert official_uniform(timeline, num_frames=num_frames).frame_index.tolist() == recorded
        return
    third = ("start", "middle", "end").index(strategy)
    assert official_clip(timeline, third, 3, num_frames=num_frames, fps=fps).frame_index.tolist() == recorded
    if strategy == "middle":
        assert frames(sample_clips(timeline, num_clips=1, num_frames=num_frames, fps=fps, policy="official-middle")) == [recorded]


@pytest.mark.parametrize("entry", RECORDED["rand"])
def test_training_clips_equal_the_original_decoder(entry: str) -> None:
    name, fps, num_frames, _ = parsed(entry)
    for u, recorded in RECORDED["rand"][entry].items():
        clip = official_clip(demuxed(name), float(u), 1, num_frames=num_frames, fps=fps)
        assert clip.frame_index.tolist() == recorded["picked"]


def test_official_random_is_the_originals_clip_at_uniform_draws() -> None:
    timeline, draws = demuxed("a30"), torch.rand(5, generator=torch.Generator().manual_seed(3), dtype=torch.float64).tolist()
    generator = torch.Generator().manual_seed(3)
    clips = sample_clips(timeline, num_clips=5, num_frames=2, fps=2, policy="official-random", generator=generator)
    assert frames(clips) == [official_clip(timeline, u, 1, num_frames=2, fps=2).frame_index.tolist() for u in draws]


def transcribed(timeline: Timeline, start: float, size: float, num_frames: int) -> list[int]:
    """The original decoder as a loop over frames, in the words of OFFICIAL section 3."""
    pts, n, duration = timeline.pts.tolist(), timeline.stream_frames, timeline.stream_duration
    if not n or not duration:
        listed, offset = list(range(len(pts))), start
    else:
        if max(pts) < 0.8 * duration:
            duration = max(pts)
        begin, end = int(start * duration / n), int((start + size - 1) * duration / n)
        listed, offset = [], 0.0
        for i, tick in enumerate(pts):
            if tick >= begin:
                listed.append(i)
            if tick >= begin and tick > end:
                break
    picked = []
    for position in torch.linspace(offset, offset + size - 1, num_frames).tolist():
        picked.append(listed[int(min(max(position, 0), len(listed) - 1))])
    return picked


@st.composite
def timelines(draw, *, irregular: bool = True) -> Timeline:
    """Constant or variable rate, honest or silent container; fps, frame count and first tick of many sizes."""
    num_frames = draw(st.integers(1, 90))
    fps = draw(st.sampled_from([1.0, 7.5, 24.0, 30000 / 1001, 30.0, 60.0]))
    if not irregular:
        return Timeline.regular(num_frames, fps)
    gaps = draw(st.lists(st.integers(1, 400), min_size=num_frames, max_size=num_frames))
    pts = torch.tensor([draw(st.sampled_from([0, 3, 100])), *gaps]).cumsum(0)
    times = (pts[:-1] - pts[0]).double() / 1000
    last = float(pts[-1] - pts[0]) / 1000
    stream_frames = draw(st.sampled_from([num_frames, 0, num_frames + 3]))
    stream_duration = draw(st.sampled_from([int(pts[-1]), None, int(pts[-1] * 2)]))
    return Timeline(times, last, num_frames / last, pts[:-1], stream_frames, stream_duration)


sizes = st.integers(1, 9)
rates = st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0, 120.0])
policies = st.sampled_from(sorted(POLICIES))
seeds = st.integers(0, 2**31)


@given(timelines(), sizes, sizes, rates)
def test_official_clips_equal_a_literal_transcription(timeline: Timeline, num_clips: int, num_frames: int, fps: float) -> None:
    n = timeline.stream_frames if timeline.stream_frames and timeline.stream_duration else timeline.num_frames
    size = num_frames / fps * timeline.fps
    for k in range(num_clips):
        start = max(n - size, 0) * k / num_clips
        try:
            expected = transcribed(timeline, start, max(size, 1), num_frames)
        except IndexError:  # the original fails on an empty window
            expected = [timeline.num_frames - 1] * num_frames
        assert official_clip(timeline, k, num_clips, num_frames=num_frames, fps=fps).frame_index.tolist() == expected


@given(timelines(), sizes, sizes, rates, policies, seeds)
def test_every_policy_gives_n_clips_of_t_frames_inside_the_video(
    timeline: Timeline, num_clips: int, num_frames: int, fps: float, policy: str, seed: int
) -> None:
    clips = sample_clips(timeline, num_clips=num_clips, num_frames=num_frames, fps=fps, policy=policy, generator=torch.Generator().manual_seed(seed))
    assert len(clips) == num_clips
    for clip in clips:
        assert clip.frame_index.shape == (num_frames,) == clip.times.shape
        assert torch.equal(clip.times, timeline.times[clip.frame_index])
        assert bool((clip.times.diff() >= 0).all())
        assert 0 <= clip.start <= clip.end <= timeline.duration
        assert float(clip.times[-1]) <= clip.end


@given(timelines(irregular=False), sizes, sizes, rates, policies, seeds)
def test_frames_lie_inside_their_clip_which_lasts_t_over_fps(
    timeline: Timeline, num_clips: int, num_frames: int, fps: float, policy: str, seed: int
) -> None:
    clips = sample_clips(timeline, num_clips=num_clips, num_frames=num_frames, fps=fps, policy=policy, generator=torch.Generator().manual_seed(seed))
    frame = 1 / timeline.fps
    for clip in clips:
        assert clip.end - clip.start == pytest.approx(min(num_frames / fps, timeline.duration), abs=frame)
        assert float(clip.times[0]) >= clip.start - frame * (num_frames / fps < frame) - SECONDS
        assert float(clip.times[-1]) <= clip.end + SECONDS
        assert clip.shortened == (num_frames / fps > timeline.duration + frame / 2)


@given(timelines(), sizes, sizes, rates, policies, seeds)
def test_the_same_seed_gives_the_same_clips(timeline: Timeline, num_clips: int, num_frames: int, fps: float, policy: str, seed: int) -> None:
    first, second = (
        sample_clips(timeline, num_clips=num_clips, num_frames=num_frames, fps=fps, policy=policy, generator=torch.Generator().manual_seed(seed))
        for _ in range(2)
    )
    assert frames(first) == frames(second)
    assert [clip.start for clip in first] == [clip.start for clip in second]


@given(timelines(irregular=False), sizes, sizes, rates, st.sampled_from(sorted(POLICIES)), seeds)
def test_a_slower_clock_leaves_the_frames_unchanged(timeline: Timeline, num_clips: int, num_frames: int, fps: float, policy: str, seed: int) -> None:
    slow = Timeline(timeline.times * 2, timeline.duration * 2, timeline.fps / 2, timeline.pts, timeline.stream_frames, timeline.stream_duration)
    usual, slowed = (
        sample_clips(line, num_clips=num_clips, num_frames=num_frames, fps=rate, policy=policy, generator=torch.Generator().manual_seed(seed))
        for line, rate in ((timeline, fps), (slow, fps / 2))
    )
    assert frames(usual) == frames(slowed)


@given(st.integers(30, 90), st.integers(0, 60), st.integers(1, 4), st.integers(1, 4))
def test_clips_by_seconds_and_by_official_ticks_show_the_same_frames(num_source: int, start: int, num_frames: int, source_per_frame: int) -> None:
    index = torch.arange(num_source)
    timeline = Timeline(index.double() / 10, num_source / 10, 10.0, index * 512, num_source, num_source * 512)
    room = num_source - num_frames * source_per_frame
    start, fps = min(start, room), 10 / source_per_frame
    by_seconds = clip_at(timeline, start / 10, num_frames=num_frames, fps=fps)
    by_ticks = official_clip(timeline, start, room, num_frames=num_frames, fps=fps)
    assert by_seconds.frame_index.tolist() == by_ticks.frame_index.tolist()


@given(timelines(), sizes, rates, st.integers(1, 40))
def test_a_nested_sample_is_a_prefix_of_every_larger_one(timeline: Timeline, num_frames: int, fps: float, num_clips: int) -> None:
    small = sample_clips(timeline, num_clips=num_clips, num_frames=num_frames, fps=fps, policy="nested")
    large = sample_clips(timeline, num_clips=num_clips + 7, num_frames=num_frames, fps=fps, policy="nested")
    assert frames(small) == frames(large[:num_clips])


@given(timelines(), sizes, rates, st.sampled_from([1, 2, 4, 8, 16]))
def test_nested_equals_official_as_a_set_at_powers_of_two(timeline: Timeline, num_frames: int, fps: float, num_clips: int) -> None:
    nested, official = (
        sample_clips(timeline, num_clips=num_clips, num_frames=num_frames, fps=fps, policy=policy) for policy in ("nested", "official")
    )
    assert sorted(frames(nested)) == sorted(frames(official))


@pytest.mark.parametrize("num_clips", [3, 5, 6, 7, 11, 13])
def test_nested_gaps_differ_by_at_most_a_factor_of_two(num_clips: int) -> None:
    starts = sorted(clip.start for clip in sample_clips(Timeline.regular(1000, 10.0), num_clips=num_clips, num_frames=1, fps=1, policy="nested"))
    gaps = [b - a for a, b in zip(starts, [*starts[1:], 99.0], strict=True)]
    assert max(gaps) <= 2 * min(gaps) + 0.3  # ticks are whole frames here


def test_one_paper_clip_is_the_centre_and_more_are_official() -> None:
    timeline = Timeline.regular(300, 30.0)
    (clip,) = sample_clips(timeline, num_clips=1, num_frames=2, fps=1, policy="paper")
    assert (clip.start + clip.end) / 2 == pytest.approx(5)
    assert clip.frame_index.tolist() == [120, 179]
    for n in (2, 4, 16):
        paper, official = (sample_clips(timeline, num_clips=n, num_frames=2, fps=1, policy=policy) for policy in ("paper", "official"))
        assert frames(paper) == frames(official)


@pytest.mark.parametrize("num_clips", [1, 2, 4, 8, 16])
def test_dense_is_official(num_clips: int) -> None:
    dense, official = (
        sample_clips(Timeline.regular(300, 30.0), num_clips=num_clips, num_frames=2, fps=2, policy=policy) for policy in ("dense", "official")
    )
    assert frames(dense) == frames(official)


def test_centered_clips_sit_in_the_middle_of_equal_segments() -> None:
    clips = sample_clips(Timeline.regular(400, 10.0), num_clips=4, num_frames=2, fps=1, policy="centered")
    assert [(clip.start + clip.end) / 2 for clip in clips] == pytest.approx([5, 15, 25, 35])


def test_centered_sampling_mirrors_with_the_video() -> None:
    timeline = Timeline.regular(100, 10.0)
    clips = sample_clips(timeline, num_clips=4, num_frames=2, fps=2, policy="centered")
    assert [timeline.duration - clip.end for clip in reversed(clips)] == pytest.approx([clip.start for clip in clips])


@given(st.integers(1, 12), seeds)
def test_stratified_clips_lie_one_in_each_segment(num_clips: int, seed: int) -> None:
    timeline = Timeline.regular(600, 30.0)
    clips = sample_clips(timeline, num_clips=num_clips, num_frames=1, fps=1, policy="stratified", generator=torch.Generator().manual_seed(seed))
    segment = timeline.duration / num_clips
    for k, clip in enumerate(clips):
        assert k * segment - SECONDS <= clip.start and clip.end <= (k + 1) * segment + SECONDS


@given(seeds)
def test_stratified_clips_too_long_for_a_segment_keep_their_order(seed: int) -> None:
    clips = sample_clips(
        Timeline.regular(100, 10.0), num_clips=16, num_frames=2, fps=1, policy="stratified", generator=torch.Generator().manual_seed(seed)
    )
    starts = [clip.start for clip in clips]
    assert starts == sorted(starts)


def test_random_starts_are_uniform_over_the_room() -> None:
    generator = torch.Generator().manual_seed(0)
    timeline = Timeline.regular(3000, 30.0)
    starts = [
        clip.start for _ in range(20) for clip in sample_clips(timeline, num_clips=200, num_frames=2, fps=1, policy="random", generator=generator)
    ]
    room, standard_error = 98.0, 98 / math.sqrt(12 * len(starts))
    assert sum(starts) / len(starts) == pytest.approx(room / 2, abs=4 * standard_error)
    counts = torch.histc(torch.tensor(starts), bins=7, min=0, max=room)
    assert bool(((counts - len(starts) / 7).abs() < 4 * math.sqrt(len(starts) / 7)).all())


def test_random_draws_go_on_within_one_generator() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (
        sample_clips(Timeline.regular(3000, 30.0), num_clips=2, num_frames=1, fps=1, policy="random", generator=generator) for _ in range(2)
    )
    assert frames(first) != frames(second)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_clip_longer_than_the_video_is_marked_shortened(policy: str) -> None:
    clips = sample_clips(Timeline.regular(20, 10.0), num_clips=2, num_frames=4, fps=1, policy=policy)
    assert all(clip.shortened and (clip.start, clip.end) == (0, 2) for clip in clips)


def test_beyond_the_end_official_repeats_the_last_frame_and_centered_shortens() -> None:
    timeline = Timeline.regular(20, 10.0)
    official, centered = (sample_clips(timeline, num_clips=1, num_frames=4, fps=1, policy=policy)[0] for policy in ("official", "centered"))
    assert official.frame_index.tolist() == [0, 13, 19, 19]
    assert centered.frame_index.tolist() == [0, 6, 12, 19]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_video_of_one_frame_repeats_it(policy: str) -> None:
    clips = sample_clips(Timeline.regular(1, 25.0), num_clips=3, num_frames=2, fps=2, policy=policy)
    assert frames(clips) == [[0, 0]] * 3


def test_a_frozen_stretch_shows_the_frame_on_display() -> None:
    times = torch.tensor([0.0, 0.1, 0.2, 9.0, 9.1], dtype=torch.float64)
    timeline = Timeline(times, 10.0, 0.5, (times * 10).long(), 5, 100)
    assert clip_at(timeline, 4.0, num_frames=2, fps=2).frame_index.tolist() == [2, 2]


def test_coverage_counts_overlaps_once_and_finds_the_widest_gap() -> None:
    timeline = Timeline.regular(100, 10.0)
    clips = [clip_at(timeline, start, num_frames=2, fps=1) for start in (0.0, 1.0, 6.0)]
    covered = coverage(clips, timeline)
    assert covered.fraction == pytest.approx(0.5)
    assert covered.largest_gap_seconds == pytest.approx(3.0)


@given(timelines(), sizes, sizes, rates, policies)
def test_coverage_is_a_fraction_and_bounded_by_the_clips(timeline: Timeline, num_clips: int, num_frames: int, fps: float, policy: str) -> None:
    clips = sample_clips(timeline, num_clips=num_clips, num_frames=num_frames, fps=fps, policy=policy)
    covered = coverage(clips, timeline)
    assert 0 <= covered.fraction * timeline.duration <= sum(clip.end - clip.start for clip in clips) + SECONDS
    assert 0 <= covered.largest_gap_seconds <= timeline.duration


SWEEP = (1, 2, 4, 8, 16)


@pytest.mark.parametrize(
    ("policy", "num_clips", "reruns"),
    [
        *[(policy, 16, False) for policy in ("official", "dense", "nested", "paper")],
        ("official-middle", 17, False),
        *[(policy, 31, True) for policy in ("centered", "random", "stratified")],
    ],
)
def test_a_sweep_encodes_each_clip_once(policy: str, num_clips: int, reruns: bool) -> None:
    timeline = Timeline.regular(900, 30.0)
    plan = sweep_plan(timeline, SWEEP, num_frames=2, fps=2, policy=policy, generator=torch.Generator().manual_seed(0))
    assert (len(plan.clips), plan.reruns) == (num_clips, reruns)


@given(timelines(), sizes, rates, policies, seeds)
def test_a_sweep_holds_the_clips_of_every_size(timeline: Timeline, num_frames: int, fps: float, policy: str, seed: int) -> None:
    plan = sweep_plan(timeline, SWEEP, num_frames=num_frames, fps=fps, policy=policy, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    for size in SWEEP:
        clips = sample_clips(timeline, num_clips=size, num_frames=num_frames, fps=fps, policy=policy, generator=generator)
        assert frames(tuple(plan.clips[i] for i in plan.index[size])) == frames(clips)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_clips": 0}, r'num_clips must be between 1 and 256, got 0; for the whole video use policy="dense"'),
        ({"num_clips": 257}, "num_clips must be between 1 and 256, got 257"),
        ({"num_frames": 0}, "num_frames must be between 1 and 256, got 0"),
        ({"fps": 0.0}, "fps must be between 0.001 and 1000, got 0.0"),
        ({"fps": float("nan")}, "fps must be between 0.001 and 1000, got nan"),
        ({"policy": "offical"}, 'policy must be one of official, .*, got "offical"; did you mean "official"?'),
        ({"policy": "center"}, 'did you mean "centered"?'),
    ],
)
def test_a_wrong_setting_is_named_with_its_rule_and_fix(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_clips(Timeline.regular(30, 30.0), **{"num_clips": 1, "num_frames": 1, "fps": 1.0, "policy": "official"} | wrong)
