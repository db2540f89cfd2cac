"""Pictures of where clips lie: policies beside each other, a thousand training draws, answers by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from clipbert.sampling import POLICIES, ClipTimes, coverage, sample_clips
from clipbert.sampling_config import RANDOM_POLICIES
from clipbert.types import Timeline
from clipbert.viz.chart import Axis, Bars, Chart, Points, Row, percent_axis
from clipbert.viz.style import plain, time_range

CLIPS, SAME, OTHER = "clips", "the most given answer", "another answer"
POSITION_BINS, SHARE_BINS = 50, 25


def policy_lanes(
    timeline: Timeline, *, num_clips: int, num_frames: int, fps: float, seeds: Sequence[int] = (0, 1, 2)
) -> dict[str, tuple[ClipTimes, ...]]:
    """The clips of every policy, those that draw once for each seed; "dense" with the 16 clips it stands for."""
    lanes = {}
    for policy in POLICIES:
        for seed in seeds if policy in RANDOM_POLICIES else (None,):
            lanes[policy if seed is None else f"{policy}, seed {seed}"] = sample_clips(
                timeline, num_clips=16 if policy == "dense" else num_clips, num_frames=num_frames, fps=fps, policy=policy,
                generator=torch.Generator().manual_seed(seed or 0),
            )  # fmt: skip
    return lanes


def sampling_timeline(lanes: Mapping[str, Sequence[ClipTimes]], timeline: Timeline) -> Chart:
    """A lane for each policy: bars are clips, ticks the frames the model sees, grey what no clip touches."""
    duration = timeline.duration
    rows: list[Row] = [
        {
            "policy": policy, "clip": n, "start_seconds": clip.start, "end_seconds": clip.end, "frame_index": int(index),
            "frame_seconds": float(time), "shortened": bool(clip.shortened),
        }
        for policy, clips in lanes.items() for n, clip in enumerate(clips, 1) for index, time in zip(clip.frame_index, clip.times, strict=True)
    ]  # fmt: skip
    background: list[Row] = []
    bars: list[Row] = []
    for policy, clips in lanes.items():
        seen = coverage(clips, timeline)
        covered = f"{len(clips)} clips cover {100 * seen.fraction:.0f} % of the video\nlargest gap {seen.largest_gap_seconds:.1f} s"
        background.append({"policy": policy, "seconds": duration, "covered": covered})
        for n, clip in enumerate(clips, 1):
            when = time_range(clip.start, clip.end)
            bars.append({"policy": policy, "start": clip.start, "seconds": clip.end - clip.start, "clip": n, "when": when, "kind": CLIPS})
    return Chart(
        "Where each policy looks", "", "bars: clips · ticks: frames the model sees · grey: never seen", rows,
        Axis("time (s)", limits=(0, duration)), Axis("", "category", tuple(lanes)),
        (
            Bars(background, "policy", "seconds", "{policy}: {covered}", True, unseen=True),
            Bars(bars, "policy", "seconds", "{policy}, clip {clip}\n{when}", True, base="start", series="kind"),
            Points(rows, "frame_seconds", "policy", "{policy}, clip {clip}\nsource frame {frame_index} at {frame_seconds:.2f} s", shape="tick"),
        ),
        (CLIPS,),
    )  # fmt: skip


@dataclass(frozen=True)
class TrainingDraws:
    """What many independent training steps see of one video."""

    num_draws: int
    num_clips: int
    policy: str
    duration: float
    seen_percent: tuple[float, ...]
    """Of the draws, those that show each of POSITION_BINS equal parts of the video."""
    coverage_percent: tuple[float, ...]
    """For each draw, the part of the video inside its clips."""
    largest_gap_seconds: tuple[float, ...]


def training_draws(
    timeline: Timeline, *, num_clips: int, num_frames: int, fps: float, policy: str = "random", num_draws: int = 1000, seed: int = 0
) -> TrainingDraws:
    """Sampled `num_draws` times in a row from one generator, as training does."""
    generator = torch.Generator().manual_seed(seed)
    middles = (torch.arange(POSITION_BINS, dtype=torch.float64) + 0.5) * timeline.duration / POSITION_BINS
    seen, covered = torch.zeros(POSITION_BINS), []
    for _ in range(num_draws):
        clips = sample_clips(timeline, num_clips=num_clips, num_frames=num_frames, fps=fps, policy=policy, generator=generator)
        spans = torch.tensor([[clip.start, clip.end] for clip in clips], dtype=torch.float64)
        seen += ((middles >= spans[:, :1]) & (middles <= spans[:, 1:])).any(dim=0)
        covered.append(coverage(clips, timeline))
    return TrainingDraws(
        num_draws, num_clips, policy, timeline.duration, tuple((100 * seen / num_draws).tolist()),
        tuple(100 * c.fraction for c in covered), tuple(c.largest_gap_seconds for c in covered),
    )  # fmt: skip


def draw_positions(draws: TrainingDraws) -> Chart:
    """How often each part of the video is seen: random starts leave its edges under-sampled."""
    width = draws.duration / POSITION_BINS
    rows: list[Row] = [
        {"middle_seconds": (k + 0.5) * width, "width_seconds": width, "seen_percent": percent} for k, percent in enumerate(draws.seen_percent)
    ]
    bars = Bars(rows, "middle_seconds", "seen_percent", "{middle_seconds:.1f} s\nin {seen_percent:.1f} % of draws", thickness="width_seconds")
    time, share = Axis("time (s)", limits=(0, draws.duration)), percent_axis("draws that show it (%)", draws.seen_percent)
    return Chart("What training sees", "", _of(draws), rows, time, share, (bars,))


def draw_coverage(draws: TrainingDraws) -> Chart:
    """How much of the video one draw covers."""
    return _histogram("Coverage of one draw", "part of the video covered (%)", draws.coverage_percent, 100.0, draws)


def draw_gaps(draws: TrainingDraws) -> Chart:
    """The longest stretch that one draw leaves out."""
    return _histogram("Largest gap of one draw", "largest gap (s)", draws.largest_gap_seconds, draws.duration, draws)


@dataclass(frozen=True)
class SeedAnswer:
    """What the model answered on the clips of one seed; `score` is a probability in [0, 1]."""

    num_clips: int
    seed: int
    answer: str
    score: float


def seed_variance(answers: Sequence[SeedAnswer], *, model: str, policy: str = "random") -> Chart:
    """A dot for each seed's answer, and how many seeds of each N agree."""
    rows: list[Row] = []
    agree = []
    for size in dict.fromkeys(a.num_clips for a in answers):
        group = [a for a in answers if a.num_clips == size]
        given = [a.answer for a in group]
        usual = max(dict.fromkeys(given), key=given.count)
        agree.append(f"N={size}: {given.count(usual)} of {len(group)} draws say “{plain(usual, 20)}”")
        rows += [
            {
                "num_clips": size, "seed": a.seed, "answer": a.answer, "probability_percent": 100 * a.score,
                "agrees": SAME if a.answer == usual else OTHER, "place": size * 2 ** (0.4 * (k / max(len(group) - 1, 1) - 0.5)),
            }
            for k, a in enumerate(group)
        ]  # fmt: skip
    points = Points(rows, "place", "probability_percent", "N = {num_clips}, seed {seed}\n{answer}: {probability_percent:.1f} %", "agrees")
    return Chart(
        "Answer by seed", model, f"of the answer given, policy {policy}; " + "; ".join(agree), rows,
        Axis("clips drawn (N)", "log2", ticks=tuple(sorted({a.num_clips for a in answers}))),
        percent_axis("probability (%)", [row["probability_percent"] for row in rows]), (points,), (SAME, OTHER),
    )  # fmt: skip


def _histogram(title: str, label: str, values: Sequence[float], highest: float, draws: TrainingDraws) -> Chart:
    width = highest / SHARE_BINS
    counts = torch.histc(torch.tensor(values, dtype=torch.float64), SHARE_BINS, 0, highest).int().tolist()
    rows: list[Row] = [
        {"from": k * width, "to": (k + 1) * width, "middle": (k + 0.5) * width, "width": width, "draws": count} for k, count in enumerate(counts)
    ]
    bars = Bars(rows, "middle", "draws", "{from:.1f} to {to:.1f}\n{draws} draws", thickness="width")
    return Chart(title, "", _of(draws), rows, Axis(label, limits=(0, highest)), Axis("draws"), (bars,))


def _of(draws: TrainingDraws) -> str:
    return f"{draws.num_draws:,} draws of {draws.num_clips} clip{'s' * (draws.num_clips > 1)}, policy {draws.policy}"
