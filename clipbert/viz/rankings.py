"""Pictures of retrieval: a ranking, and where the right videos stand over many queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from clipbert.viz.chart import Axis, Bars, Chart, Row, percent_axis
from clipbert.viz.style import plain, time_range

RANK_EDGES = (1, 2, 3, 6, 11, 21, 51, 101, 201, 501, 1001)


@dataclass(frozen=True)
class Ranked:
    """A video in a ranking; `score` is its match log-odds, `start` and `end` its best clip's seconds."""

    name: str
    score: float
    start: float
    end: float


def retrieval_ranking(hits: Sequence[Ranked], query: str, *, model: str) -> Chart:
    """Match score of each video, best first; the time of its best clip is in the table and under the pointer, where no bar can hide it."""
    if not hits:
        raise ValueError("a ranking needs at least one hit, got none; index a folder that holds videos.")
    rows: list[Row] = [
        {
            "rank": rank, "video": hit.name, "score_log_odds": hit.score, "best_clip_start_seconds": hit.start, "best_clip_end_seconds": hit.end,
            "place": f"{rank}. {hit.name}", "best_clip": time_range(hit.start, hit.end),
        }
        for rank, hit in enumerate(hits, 1)
    ]  # fmt: skip
    bars = Bars(rows, "place", "score_log_odds", "{rank}. {video}\nmatch {score_log_odds:+.2f} log-odds\nbest clip {best_clip}", horizontal=True)
    return Chart(
        f"Videos for “{plain(query, 60)}”", model, "above 0 the model leans to a match", rows,
        Axis("match score (log-odds)"), Axis("", "category", tuple(row["place"] for row in rows)), (bars,),
    )  # fmt: skip


def rank_histogram(ranks: Sequence[float], *, num_videos: int, model: str, direction: str = "text to video") -> Chart:
    """At which rank the right one stands, over all queries; ranks count from 1."""
    if not ranks or min(ranks) < 1 or max(ranks) > num_videos:
        raise ValueError(f"ranks must lie in 1 to {num_videos}, and there must be some; got {len(ranks)} of them.")
    edges = [edge for edge in RANK_EDGES if edge <= num_videos] + [num_videos + 1]
    rows: list[Row] = []
    for low, above in pairwise(edges):
        count = sum(low <= rank < above for rank in ranks)
        rows.append({"ranks": str(low) if above - low == 1 else f"{low}–{above - 1}", "queries": count, "percent": 100 * count / len(ranks)})
    return Chart(
        "Rank of the right one", model, f"{direction}, {len(ranks)} queries over {num_videos} videos; median rank {median(ranks):g}", rows,
        Axis("rank", "category", tuple(row["ranks"] for row in rows)), percent_axis("queries (%)", [row["percent"] for row in rows]),
        (Bars(rows, "ranks", "percent", "rank {ranks}\n{queries} queries, {percent:.1f} %"),),
    )  # fmt: skip
