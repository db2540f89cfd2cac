"""Cost: Figure 5 on this machine: time and memory of a training step against clips and frames, beside what the paper tells."""

import csv
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.pictures import Picture, save_buttons
from app.shared import Shared, Updates
from app.state import Session
from clipbert.results import cost_result

if TYPE_CHECKING:
    from clipbert.cost import CostPoint
    from clipbert.cost_settings import CostSettings
    from clipbert.viz.chart import Chart

TITLE, PLACE = "Cost", 6
MODELS = [("Small: 0.3 million parameters", "small"), ("The paper's sizes: much memory, and slow without a GPU", "paper")]
METHOD = """\
What one training step (forward and backward) costs: (a, b) against the number of clips N_train with T = 1, (c, d) against the frames of a clip T
with N_train = 1. Method: each point runs in a process of its own with random weights and random pixels; 3 passes warm up, then the median of the
passes that count. On a GPU: CUDA events, the peak that PyTorch allocates, and the largest batch by doubling and halving. On a CPU: wall-clock
time and the process's peak resident memory; **a CPU has no fixed memory to fill, so the paper's largest batch becomes memory a video there**.
Other work on this machine slows the points."""


def build(shared: Shared) -> None:
    gr.Markdown(METHOD, elem_classes="soft")
    asked = _choices()
    with gr.Row():
        go = gr.Button("Measure", variant="primary", elem_id="cost-go")
        stop = gr.Button("Stop", variant="stop", elem_id="cost-stop")
    state = gr.HTML(elem_id="cost-state")
    notice = gr.HTML(elem_id="cost-notice")
    pictures = _pictures(shared, notice)
    with gr.Column(visible=False) as saving:
        save_buttons(shared, "cost", notice, {"csv": _write_csv, "json": _write_json})

    def run(session: Session, *values: Any) -> Iterator[Updates]:
        from clipbert.cost import measure

        session.stop.clear()
        settings, sizes = _settings(*values)
        total, start, points = 2 * len(sizes) - 1, time.perf_counter(), []
        yield {state: _progress(0, total, 0.0), saving: gr.Column(visible=False), **_updates(picture.clear() for picture in pictures.values())}
        for point in measure(settings, clips=sizes, frames=sizes, stopped=session.stop.is_set):
            points.append(point)
            session.kept["cost"] = (settings, points)
            drawn = _updates(pictures[place].show(session, chart) for place, chart in _charts(settings, points).items())
            yield {state: _progress(len(points), total, time.perf_counter() - start) + _failed(points), **drawn}
        stopped = f'<p class="state" role="status"><b class="partial">Partial:</b> stopped after {len(points)} of {total} points</p>'
        told = stopped if len(points) < total else _progress(total, total, time.perf_counter() - start)
        yield {state: told + _failed(points), saving: gr.Column(visible=bool(points))}

    outputs = [state, saving, *(output for picture in pictures.values() for output in picture.outputs)]
    shared.on(go.click, run, asked, outputs, notice=notice, concurrency_id="cost")
    shared.stops(stop)


def _choices() -> list[Any]:
    """What is to be measured, in the order of the arguments of `_settings`."""
    with gr.Row():
        model = gr.Radio(MODELS, value="small", label="Model", elem_id="cost-model")
        batch = gr.Slider(1, 16, 8, step=1, precision=0, label="Batch (videos)", info="The paper: 8.", elem_id="cost-batch")
    with gr.Row():
        largest = gr.Radio(["4", "8", "16"], value="16", label="Up to N_train and T of", elem_id="cost-largest")
        repeats = gr.Slider(1, 20, 5, step=1, precision=0, label="Passes that count", elem_id="cost-repeats")
        cap = gr.Number(
            0, minimum=0, label="Memory cap (GiB)", elem_id="cost-cap",
            info="0: what is free. 32 asks the paper's question: how many videos would fit its GPU; on a CPU that is predicted.",
        )  # fmt: skip
    return [model, batch, largest, repeats, cap]


def _settings(name: str, batch_size: int, largest: str, repeats: int, cap: float | None) -> "tuple[CostSettings, list[int]]":
    """What is measured, and the N_train and T that it is measured at."""
    from clipbert.cost import sizes_up_to
    from clipbert.cost_settings import CostSettings
    from clipbert.per_clip import find_device

    memory_cap = int((cap or 0) * 2**30)
    settings = CostSettings(model=name, batch_size=batch_size, repeats=repeats, device=find_device("auto").type, memory_cap=memory_cap)
    return settings, sizes_up_to(int(largest))


def _pictures(shared: Shared, notice: gr.HTML) -> dict[str, Picture]:
    """Places for the paper's four panels, by letter, and for the parts of a step."""
    pictures = {}
    for letters in ("ab", "cd"):
        with gr.Row():
            for letter in letters:
                with gr.Column(min_width=560):
                    pictures[letter] = Picture(shared, f"cost-{letter}", notice)
    return pictures | {"parts": Picture(shared, "cost-parts", notice)}


def _charts(settings: "CostSettings", points: "list[CostPoint]") -> "dict[str, Chart]":
    """Charts of what is known so far, by the place of their picture."""
    from clipbert.cost_panels import panels
    from clipbert.viz.figures import cost_breakdown, cost_panel

    name = f"{settings.model}, random weights"
    charts = {panel.letter: cost_panel(panel, model=name) for panel in panels(points) if any(getattr(point, panel.y) for point in panel.points)}
    return charts | ({"parts": cost_breakdown(settings, points, model=name)} if any(point.parts for point in points) else {})


def _updates(parts: Iterable[Updates]) -> Updates:
    return {component: value for part in parts for component, value in part.items()}


def _progress(done: int, total: int, seconds: float) -> str:
    bar = f'<progress value="{done}" max="{total}"></progress> ' if done < total else ""
    return f'<p class="state" role="status">{bar}{done}/{total} points, {seconds:.0f} s</p>'


def _failed(points: "list[CostPoint]") -> str:
    return "".join(
        f'<p class="soft">N_train={point.settings.num_clips}, T={point.settings.num_frames}: {point.error}</p>' for point in points if point.error
    )


def _write_json(session: Session, path: Path) -> None:
    path.write_text(json.dumps(cost_result(*session.kept["cost"]), ensure_ascii=False, indent=1), encoding="utf-8")


def _write_csv(session: Session, path: Path) -> None:
    rows: list[dict[str, Any]] = [point.row() for point in session.kept["cost"][1]]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
