"""Execute notebooks from their sources, from a fresh kernel each, top to bottom, offline; the outputs stay in the .ipynb beside the source.

python notebooks                 # all
python notebooks 00 22           # those whose names begin so
python notebooks --mode small    # with another value in the cell of parameters; prints, and leaves the committed files alone
"""

import argparse
import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
SMOKE = "smoke"
OFFLINE = {"PYTHONPATH": str(FOLDER.parent), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
LARGEST_BYTES = 400_000


def sources(prefixes: list[str]) -> list[Path]:
    """Those whose names begin with one of `prefixes`; of none, all."""
    return [path for path in sorted(FOLDER.glob("[0-9]*.py")) if not prefixes or path.name.startswith(tuple(prefixes))]


def executed(source: Path, mode: str) -> NotebookNode:
    """The notebook with its outputs.  Raises CellExecutionError."""
    notebook = jupytext.read(source)
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source = parameters.source.replace(f'MODE = "{SMOKE}"', f'MODE = "{mode}"')
    notebook.cells = [
        nbformat.v4.new_code_cell(**cell) if cell.cell_type == "code" else nbformat.v4.new_markdown_cell(**cell) for cell in notebook.cells
    ]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # the same at every run
    notebook.nbformat_minor = 5
    client = NotebookClient(notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}, store_widget_state=False)
    client.execute(env=os.environ | OFFLINE)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ at every run
    return notebook


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="first letters of the names, such as 00 (default: all)")
    parser.add_argument("--mode", default=SMOKE, choices=(SMOKE, "small", "full"))
    args = parser.parse_args()
    failed = []
    for source in sources(args.names):
        start = time.monotonic()
        try:
            notebook = executed(source, args.mode)
        except CellExecutionError as error:
            failed.append(source.name)
            print(f"{source.name}: {error}", file=sys.stderr)
            continue
        text = nbformat.writes(notebook) + "\n"
        print(f"{source.name}: {time.monotonic() - start:.0f} s, {len(text) // 1000} kB", flush=True)
        if len(text) > LARGEST_BYTES:
            failed.append(f"{source.name}: {len(text)} bytes, more than {LARGEST_BYTES}")
        elif args.mode == SMOKE:
            source.with_suffix(".ipynb").write_text(text, encoding="utf-8")
    print("; ".join(failed) if failed else "all ran", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
