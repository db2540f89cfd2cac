"""How much of the exact ranking a cascade's shortlist holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from clipbert.retrieval import VideoIndex


@dataclass(frozen=True)
class ShortlistRecall:
    """Shares in [0, 1], means over queries.

    `top_1` and `top_10`: of the exact search's first hit, and first ten hits, those
    in the shortlist.  A hit in the shortlist keeps its exact score, so `top_1`
    is also how often the cascade's first hit is the exact one.
    """

    cascade: str
    shortlist: int
    num_queries: int
    top_1: float
    top_10: float


def shortlist_recall(
    index: VideoIndex, queries: Sequence[str], *, cascade: str, shortlists: Sequence[int], aggregation: str | None = None
) -> list[ShortlistRecall]:
    """For each length of the shortlist; every query is also searched exactly.  Raises ValueError like `VideoIndex.search`, or for no queries."""
    if not queries:
        raise ValueError("queries must hold at least one text, got none.")
    found: list[tuple[list[str], list[str]]] = []
    for query in queries:
        exact = [hit.path for hit in index.search(query, top_k=10, aggregation=aggregation)]
        found.append((exact, [path for path, _ in index.candidates(query, cascade, max(shortlists), aggregation=aggregation)]))
    return [
        ShortlistRecall(
            cascade, length, len(queries), sum(exact[0] in coarse[:length] for exact, coarse in found) / len(found),
            sum(len(set(exact) & set(coarse[:length])) / len(exact) for exact, coarse in found) / len(found),
        )
        for length in shortlists
    ]  # fmt: skip
