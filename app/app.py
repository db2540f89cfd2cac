"""`build_app(predictor) -> gr.Blocks`, and `serve`, which starts it: `make app`, `clipbert app` or `python app/app.py`."""

import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # the packages lie beside app/, whose own files would hide them
    sys.path[0] = str(ROOT)
    from clipbert.cli import main

    sys.exit(main(["app", *sys.argv[1:]]))

import gradio as gr
from gradio.utils import get_upload_folder

from app.api import endpoints
from app.chooser import VideoChooser
from app.engine import Engine
from app.examples import Examples
from app.gallery_api import gallery_endpoints
from app.help import help_html
from app.link_row import linked_settings
from app.links import READ_ADDRESS
from app.pictures import follow_theme
from app.settings import settings_accordion
from app.shared import Shared
from app.state import Sessions
from app.tabs import tabs
from app.theme import banner_html, theme
from app.tour import tour_buttons
from clipbert.sampling_config import SamplingConfig
from clipbert.video_worker import start_worker
from clipbert.viz import clip_timeline

if TYPE_CHECKING:
    from clipbert.predict import Predictor

EXAMPLES = ROOT / "cache" / "examples"
STYLES = [ROOT / "app" / "style.css", ROOT / "app" / "attribution" / "style.css", clip_timeline.STYLE]
MCP_PATH = "gradio_api/mcp/"
UPLOADS = "clipbert-uploads-"  # then the number of the process whose they are
INTRO = "# clipbert explorer\nAsk about a video, and see which seconds made the answer."


def build_app(
    predictor: "Predictor | Callable[[], Predictor]", *, examples: Path = EXAMPLES, others: "Mapping[str, Callable[[], Predictor]] | None" = None
) -> gr.Blocks:
    """The whole app over a predictor, or over a function that loads one in the background.

    Example videos are written to the folder `examples` once.  `others` are
    models that visitors may compare with, by name, each loaded when it is first
    asked.
    """
    known = Examples(examples)

    def load() -> "Predictor":
        return predictor() if callable(predictor) else predictor

    engine = Engine(load, then=known.answer_all)
    shared = Shared(engine, Sessions(Path(get_upload_folder())), known, others or {})
    app = gr.Blocks(title="clipbert explorer", analytics_enabled=False, delete_cache=(3600, 86400))
    app.queue(default_concurrency_limit=1, max_size=32)  # while empty: afterwards it would describe every component anew
    with app:
        shared.page = app
        gr.Markdown(INTRO, elem_id="title")
        tour_buttons(tabs())
        gr.HTML(help_html(tabs()), elem_id="help", apply_default_css=False)
        banner = gr.HTML(banner_html(*engine.banner()), elem_id="banner")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300, elem_classes="chooser"):
                VideoChooser(shared)
                shared.settings = settings_accordion(SamplingConfig())
            with gr.Column(scale=9, min_width=320, elem_classes="work"), gr.Tabs(elem_id="tabs") as shared.tabs:
                for tab in tabs():
                    name = tab.__name__.rsplit(".", 1)[-1]
                    with gr.Tab(tab.TITLE, id=name, elem_id=f"tab-{name}") as shared.tab:
                        tab.build(shared)
        shared.wire_video_change()
        endpoints(shared)
        gallery_endpoints(shared)
        follow_theme(shared)
        _wire_opening_and_closing(shared, banner)
    return app


def _wire_opening_and_closing(shared: Shared, banner: gr.HTML) -> None:
    """A page that opens is told of the model, once it is loaded of the settings that its address names; one that closes is forgotten."""

    def closed(request: gr.Request) -> None:
        shared.sessions.close(str(request.session_hash))

    def loaded(address: str) -> Iterator[Any]:
        engine, as_they_are = shared.engine, [gr.skip() for _ in shared.settings]
        yield banner_html(*engine.banner()), *as_they_are
        engine.wait()
        own = linked_settings(address, shared.examples, engine) if engine.state == "ready" else as_they_are
        yield banner_html(*engine.banner()), *own

    shared.page.load(
        loaded,
        [shared.address],
        js=READ_ADDRESS,
        outputs=[banner, *shared.settings],
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=None,
    )
    shared.page.unload(closed)


def launch(app: gr.Blocks, **settings: Any) -> str:
    """Open the app on this machine alone, unless `settings` of Blocks.launch say otherwise; returns its address.

    Of errors only our own reach the page (show_error): Gradio's name folders of the server.
    """
    defaults = {
        "server_name": "127.0.0.1", "share": False, "auth": None, "max_file_size": "500mb", "ssr_mode": False, "pwa": False, "mcp_server": False,
        "enable_monitoring": False, "show_error": False, "footer_links": ["api", "settings"], "allowed_paths": [str(EXAMPLES)],
        "theme": theme(), "css_paths": STYLES, "js": (ROOT / "app" / "keys.js").read_text(encoding="utf-8"),
        "prevent_thread_lock": True, "quiet": True,
    }  # fmt: skip
    _, address, _ = app.launch(**{**defaults, **settings})
    return address


def serve(
    load: "Callable[[], Predictor]", *, host: str, port: int | None, share: bool, auth: tuple[str, str] | None, max_file_size: str,
    mcp: bool = False, examples: Path = EXAMPLES, others: "Mapping[str, Callable[[], Predictor]] | None" = None,
) -> None:  # fmt: skip
    """Run the app until Ctrl-C.  Uploads live in a folder of their own, gone at the end, or at the next start after a crash.

    With `mcp` the endpoints are also tools for language models.  Raises
    ValueError for a port that is taken, and where `mcp` lacks its package.
    """
    if mcp and importlib.util.find_spec("mcp") is None:
        raise ValueError("--mcp needs the package mcp, which is not installed; pip install 'clipbert[mcp]'.")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("CLIPBERT_VIDEO_BACKEND", "process")  # a file on which the decoder crashes must not end the app
    clear_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{UPLOADS}{os.getpid()}-", ignore_cleanup_errors=True) as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        app = build_app(load, examples=examples, others=others)
        importlib.import_module("transformers")  # while one thread: to a second one that imports it at the same time it lacks its names
        try:
            address = launch(
                app, server_name=host, server_port=port, share=share, auth=auth, max_file_size=max_file_size, mcp_server=mcp,
                allowed_paths=[str(examples)],
            )  # fmt: skip
        except OSError as error:
            raise ValueError(f"cannot listen on {host}:{port or 'any port from 7860'}; give another --port.") from error
        start_worker()
        print(f"clipbert explorer: {address}  (Ctrl-C stops it)", flush=True)
        if mcp:
            print(f"MCP server: {address}{MCP_PATH}", flush=True)
        app.block_thread()


def clear_abandoned(folder: Path) -> None:
    """Delete uploads in `folder` whose server was killed and so could not."""
    for uploads in folder.glob(f"{UPLOADS}*-*"):
        process = uploads.name.removeprefix(UPLOADS).partition("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(uploads, ignore_errors=True)  # another user's stay: they cannot be deleted


def _runs(process: int) -> bool:
    if os.name == "nt":  # there os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
