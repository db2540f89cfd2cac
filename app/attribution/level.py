"""A level of the tab, such as the cells of a frame: its method, its map, and the sentences under the map."""

import html
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.attribution.explained import CELLS, CLIPS, FRAMES, STEPS, TOKENS, Explained, Look, look_of
from app.attribution.exports import level_writers
from app.attribution.lines import completeness_html, conclusion_html, padding_html
from app.attribution.method_names import makes_steps, method_choices
from app.attribution.sequence_files import sequence_files
from app.pictures import save_buttons
from app.shared import Shared, Updates

if TYPE_CHECKING:
    from clipbert.per_clip import PerClipModel
    from clipbert.types import Attribution

UNIT_NAMES = {CLIPS: "clip", FRAMES: "frame", CELLS: "cell", TOKENS: "word"}
FIRST = {
    CLIPS: ("Shapley value", "clip_shapley"), FRAMES: ("Shapley value", "frame_shapley"), CELLS: ("Occlusion", "cell_occlusion"),
    TOKENS: ("Ablation", "token_ablation"),
}  # fmt: skip
"""Each level's method until another is chosen; the page is drawn before the package, which knows them all, is imported."""
BASELINES = {"grey": "a grey frame", "mean": "the clip's mean cell", "mask": "[MASK] for each word", "pad": "[PAD] for each word"}


class Level:
    """Built where it shall stand; `outputs` are what `shown` updates."""

    def __init__(self, level: str, title: str, *, js: str | None = None) -> None:
        self.level = level
        with gr.Row(elem_classes="how-row"):
            self.heading = gr.HTML(elem_id=f"attribution-{level}-heading")
            self.method = gr.Dropdown(
                [FIRST[level]], value=FIRST[level][1], label=f"Method ({title})", show_label=False, container=False,
                filterable=False, scale=2, min_width=200,
                elem_id=f"attribution-{level}-method",
            )  # fmt: skip
            self.baseline = gr.Dropdown(
                [], visible=False, label="Baseline: what stands for “absent”", filterable=False, scale=2, min_width=160,
                elem_id=f"attribution-{level}-baseline",
            )  # fmt: skip
            self.steps = gr.Number(
                STEPS, precision=0, minimum=1, maximum=1000, visible=False, label="Steps", scale=1, min_width=90, elem_id=f"attribution-{level}-steps"
            )
        self.view = gr.HTML(elem_id=f"attribution-{level}", js_on_load=js)
        self.lines = gr.HTML(elem_id=f"attribution-{level}-lines")
        self.choosers = [self.method, self.baseline, self.steps]
        self.outputs = [self.heading, self.baseline, self.steps, self.view, self.lines]

    def files_and_table(self, shared: Shared, notice: gr.HTML) -> None:
        """The map as files and as a table, built where it shall stand."""
        with gr.Accordion("Save, or read as a table", open=False, elem_id=f"attribution-{self.level}-files"):
            save_buttons(shared, f"attribution-{self.level}", notice, level_writers(shared, self.level))
            if self.level == CELLS:
                sequence_files(shared, notice)
            self.table = gr.HTML(elem_id=f"attribution-{self.level}-table", elem_classes="scrolls")
        self.outputs.append(self.table)

    def offered(self, model: "PerClipModel") -> Updates:
        """The methods to choose from."""
        return {self.method: gr.Dropdown(choices=method_choices(self.level, model))}

    def wire_settings(self, shared: Shared, notice: gr.HTML) -> None:
        """Show a baseline and steps where the method has them."""
        shared.on(self.method.input, self.settings_of, [self.method], [self.baseline, self.steps], notice=notice, show_progress="hidden", queue=False)

    def settings_of(self, _session: Any, method: str) -> Updates:
        from clipbert.attribution import METHODS

        baselines = METHODS[method].baselines
        listed = [(BASELINES.get(name, name), name) for name in baselines]
        shown = gr.Dropdown(choices=listed, value=baselines[0] if baselines else None, visible=bool(baselines))
        return {self.baseline: shown, self.steps: gr.Number(visible=makes_steps(method))}

    def look(self, clip: int | None, method: str, baseline: str | None, steps: float | None) -> Look:
        """What the choosers ask for."""
        return look_of(method, clip, baseline, steps)

    def lines_html(self, shown: Explained, look: Look, found: "Attribution") -> str:
        """The sentences under the map."""
        told = conclusion_html(found, 0, UNIT_NAMES[self.level], shown.tested(look)) + completeness_html(found, 0, look)
        return told + (padding_html(found) if self.level == CELLS else "")

    def cleared(self) -> Updates:
        return {self.heading: "", self.view: "", self.lines: "", self.table: ""}


def heading_html(text: str) -> str:
    return f'<h2 class="chart-title">{html.escape(text)}</h2>'
