"""The endpoints over several videos, over the paper's tables, and of costs."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.api import endpoint
from app.gallery import names_of
from app.shared import Shared
from app.table_results import committed, imported
from clipbert.checks import check_known, require_text
from clipbert.results import cost_result, search_result, tables_result


def gallery_endpoints(shared: Shared) -> None:
    """Build /retrieve, /tables and /cost.  Call it inside the Blocks."""
    with gr.Column(visible=False):
        videos = gr.File(label="videos", type="filepath", file_count="multiple", file_types=None)
        query = gr.Textbox(label="query")
        top_k = gr.Number(10, precision=0, label="top_k")
        num_clips = gr.Number(4, precision=0, label="num_clips")
        aggregation = gr.Textbox("lse", label="aggregation")
        number = gr.Number(0, precision=0, label="number")
        files = gr.File(label="results", type="filepath", file_count="multiple")
        model = gr.Textbox("small", label="model")
        largest, batch_size, repeats = (gr.Number(n, precision=0, label=label) for n, label in ((16, "largest"), (8, "batch_size"), (10, "repeats")))

    def retrieve(videos: list[str], query: str, top_k: int = 10, num_clips: int = 4, aggregation: str = "lse") -> dict[str, Any]:
        """The videos ranked by how well they match a text: match score (log-odds), each clip's own, the best clip's start and end (s)."""
        from clipbert.retrieval import VideoIndex

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

    def cost(model: str = "small", largest: int = 16, batch_size: int = 8, repeats: int = 10) -> dict[str, Any]:
        """Time and memory of a training step on this machine, for N_train and T up to `largest` (Figure 5); model "small" or "paper"."""
        from clipbert.cost import measure, sizes_up_to
        from clipbert.cost_settings import CostSettings
        from clipbert.per_clip import find_device

        check_known("model", model, ("small", "paper"))
        settings = CostSettings(model=model, batch_size=batch_size, repeats=repeats, device=find_device("auto").type)
        sizes = sizes_up_to(largest)
        return cost_result(settings, list(measure(settings, clips=sizes, frames=sizes)))

    endpoint(retrieve, [videos, query, top_k, num_clips, aggregation], concurrency_id="model")
    endpoint(tables, [number, files])
    endpoint(cost, [model, largest, batch_size, repeats], concurrency_id="cost")
