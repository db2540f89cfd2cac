"""A chart on the page: drawn in the page's theme, saved as PNG, SVG or CSV, read as a table."""

import html
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from gradio.utils import get_upload_folder

from app.shared import Shared, Updates
from app.state import Session

if TYPE_CHECKING:
    from clipbert.viz.figures import Chart

Writer = Callable[[Session, Path], None]
HAND_OVER = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  Object.assign(link, { href: file.url, download: file.orig_name });
  link.click();
}"""
READ_THEME = "() => document.body.classList.contains('dark') ? 'dark' : 'light'"


class Picture:
    """A place for a chart, hidden while empty: `{**picture.show(session, chart)}` with `picture.outputs` among the outputs."""

    def __init__(self, shared: Shared, name: str, notice: gr.HTML) -> None:
        """Build it here; `name` is its elem_id, `notice` where errors of saving are shown."""
        self.name = name
        with gr.Column(visible=False, elem_id=name, elem_classes="picture") as self.box:
            self.caption = gr.HTML(elem_id=f"{name}-caption", apply_default_css=False)
            self.plot = gr.Plot(show_label=False, container=False, elem_id=f"{name}-plot")
            save_buttons(shared, name, notice, dict.fromkeys(("png", "svg", "csv"), self._write))
            with gr.Accordion("View as table", open=False, elem_id=f"{name}-as-table"):
                self.table = gr.HTML(elem_classes="scrolls")
        self.outputs = [self.box, self.caption, self.plot, self.table]

    def show(self, session: Session, chart: "Chart") -> Updates:
        """The updates that show `chart`."""
        from clipbert.viz.figures import to_table, untitled_figure

        session.kept[self.name] = chart
        table = to_table(chart.rows, caption=f"{chart.title}. {chart.subtitle}")
        caption = f'<h2 class="chart-title">{html.escape(chart.title)}</h2><p class="soft chart-about">{html.escape(chart.subtitle)}</p>'
        plot = untitled_figure(chart, theme=session.theme)
        return {self.box: gr.Column(visible=True), self.caption: caption, self.plot: plot, self.table: table}

    def clear(self) -> Updates:
        """The updates that hide it."""
        return {self.box: gr.Column(visible=False)}

    def _write(self, session: Session, path: Path) -> None:
        from clipbert.viz.figures import save

        save(session.kept[self.name], path)


def save_buttons(shared: Shared, name: str, notice: gr.HTML, writers: Mapping[str, Writer], *, label: str = "Save as") -> None:
    """A row of buttons, one a suffix; a click writes that file and hands it to the browser.  A writer is quick and runs no model."""
    with gr.Row(elem_classes="save"):
        gr.HTML(f"<span class=soft>{label}</span>")
        buttons = {suffix: gr.Button(suffix.upper(), size="sm", min_width=56, scale=0, elem_id=f"{name}-{suffix}") for suffix in writers}
        file = gr.DownloadButton(visible="hidden", elem_id=f"{name}-file")
    for suffix, button in buttons.items():
        saved = shared.on(button.click, _saver(name, suffix, writers[suffix], file), outputs=[file], notice=notice, concurrency_id="save")
        saved.then(fn=None, js=HAND_OVER, inputs=[file], api_visibility="private")


def new_file(session: Session, ending: str) -> Path:
    """A path that is free, for a file about the session's video."""
    uploads = Path(get_upload_folder())
    uploads.mkdir(parents=True, exist_ok=True)
    video = re.sub(r"[^\w-]+", "-", Path(session.name).stem)[:40].strip("-") or "video"
    return Path(tempfile.mkdtemp(dir=uploads)) / f"{video}-{ending}"


def follow_theme(shared: Shared) -> None:
    """Remember whether the page is light or dark, when it opens."""
    theme, notice = gr.Textbox(visible="hidden"), gr.HTML(visible="hidden")

    def remember(session: Session, name: str) -> Updates:
        session.theme = name if name in ("light", "dark") else "light"
        return {}

    shared.on(shared.page.load, remember, [theme], notice=notice, js=READ_THEME, show_progress="hidden", queue=False)


def _saver(name: str, suffix: str, write: Writer, file: gr.DownloadButton) -> Callable[[Session], Iterator[Updates]]:
    def save(session: Session) -> Iterator[Updates]:
        yield {file: gr.DownloadButton(value=None)}  # so that an error hands over nothing, rather than the file before
        path = new_file(session, f"{name}.{suffix}")
        write(session, path)
        yield {file: gr.DownloadButton(value=str(path))}

    return save
