"""The endpoints over several videos and over the paper's tables."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.api import endpoint
from app.gallery import names_of
from app.shared import Shared
from app.table_results import committed, imported
from clipbert.results import search_result, tables_result
from clipbert.retrieval import VideoIndex
from clipbert.tasks import require_text


def gallery_endpoints(shared: Shared) -> None:
    """Build /retrieve and /tables.  Call it inside the Blocks."""
    with gr.Column(visible=False):
        videos = gr.File(label="videos", type="filepath", file_count="multiple", file_types=None)
        query = gr.Textbox(label="query")
        top_k = gr.Number(10, precision=0, label="top_k")
        num_clips = gr.Number(4, precision=0, label="num_clips")
        aggregation = gr.Textbox("lse", label="aggregation")
        number = gr.Number(0, precision=0, label="number")
        files = gr.File(label="results", type="filepath", file_count="multiple")

    def retrieve(videos: list[str], query: str, top_k: int = 10, num_clips: int = 4, aggregation: str = "lse") -> dict[str, Any]:
        """The videos ranked by how well they match a text: match score (log-odds), each clip's own, the best clip's start and end (s)."""
        require_text(query, "query")
        if not videos:
            raise ValueError("videos must hold at least one video, got none.")
        paths = [Path(video) for video in videos]
        index = VideoIndex.build(paths, shared.engine.predictor(), num_clips=num_clips)
        result = search_result(index, query, index.search(query, top_k=top_k, aggregation=aggregation), names_of(paths))
        for hit in result["hits"]:
            hit["video"] = hit.pop("path")  # gradio_client takes an object with a path for a file, and asks for it
        return result

    def tables(number: int = 0, results: list[str] | None = None) -> dict[str, Any]:
        """Table `number` of the paper (0: all) beside what was measured here and in the result files given, and the sums of the paper's text."""
        own = [run for path in results or () for run in imported(Path(path))]
        return tables_result(number or None, committed() + own)

    endpoint(retrieve, [videos, query, top_k, num_clips, aggregation], concurrency_id="model")
    endpoint(tables, [number, files])
