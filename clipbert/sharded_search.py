"""One search over indexes that several processes hold a part of each: the same hits as of the whole, in every process.

torchrun --nproc_per_node 2 search.py      # each process: index = VideoIndex.load(f"shard-{rank}.index")
"""

from collections.abc import Sequence
from typing import Any

import torch.distributed

from clipbert.hits import Hit, ranked
from clipbert.retrieval import SHORTLIST, VideoIndex


def search_shards(
    shard: VideoIndex, text: str, *, top_k: int = 10, aggregation: str | None = None, cascade: str | None = None, shortlist: int = SHORTLIST
) -> list[Hit]:
    """`VideoIndex.search` of the union of all processes' shards; torch.distributed must be up.

    Two small exchanges a query, the second only with a cascade: `shortlist` (path, score)
    pairs of each process, so that the candidates are those of the whole, and
    `top_k` hits.  Raises ValueError like `search`.
    """
    if cascade is None:
        mine = shard.search(text, top_k=top_k, aggregation=aggregation)
    else:
        if shortlist < top_k:
            raise ValueError(f"shortlist must be at least top_k, {top_k} videos, got {shortlist}.")
        pairs = _everybodys(shard.candidates(text, cascade, shortlist, aggregation=aggregation))
        chosen = {path for path, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:shortlist]}
        mine = shard.search_among([path for path in shard.entries if path in chosen], text, top_k=top_k, aggregation=aggregation)
    return ranked(_everybodys(mine))[:top_k]


def _everybodys(items: Sequence[Any]) -> list[Any]:
    """Those of all processes."""
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, list(items))
    return [item for one in gathered for item in one]
