"""Notebooks: what is committed is what the source says, ran top to bottom, reads without a kernel, and hides nothing in functions."""

import ast
import re
import runpy
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbconvert import HTMLExporter

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))
NAMES = [path.stem for path in SOURCES]
HERE = re.compile(r"(?<![\w.])/(home|root|work|tmp|Users)/")  # a path of the machine that ran it


def committed(source: Path) -> Any:
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in code(notebook) for output in cell.outputs]


def test_tables_and_figures_of_the_paper_have_one() -> None:
    tables = [f"table{n}" for n in range(1, 10)]
    for name in (
        "quickstart",
        *tables,
        "fig3",
        "fig4",
        "fig5",
        "recipes",
        "session",
        "leaderboard",
        "ledger",
        "failure",
        "long",
        "own_data",
        "any_per_clip",
    ):
        assert any(name in stem for stem in NAMES), name


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_the_committed_notebook_is_what_its_source_says(source: Path) -> None:
    """After a change of a source: make notebooks."""
    ours, theirs = jupytext.read(source), committed(source)
    assert [(cell.cell_type, cell.source) for cell in ours.cells] == [(cell.cell_type, cell.source) for cell in theirs.cells]


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_it_ran_from_top_to_bottom_without_an_error_and_is_small(source: Path) -> None:
    notebook = committed(source)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert not [output for output in outputs(notebook) if output.output_type == "error" or output.get("name") == "stderr"]
    assert source.with_suffix(".ipynb").stat().st_size < 400_000 and "widgets" not in notebook.metadata
    assert not HERE.search(str(outputs(notebook)))


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_it_says_what_it_claims_first_and_what_it_found_last(source: Path) -> None:
    notebook = jupytext.read(source)
    first, last = notebook.cells[0], [cell for cell in notebook.cells if cell.cell_type == "markdown"][-1]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert all(f"**{word}" in last.source for word in ("Scope", "Method", "Result"))
    parameters = code(notebook)[0]
    assert "parameters" in parameters.metadata.get("tags", ())
    assert [line.split(" = ")[0] for line in parameters.source.splitlines()] == ["MODE", "DEVICE", "SEED", "RESULTS_DIR"]
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source.read_text())))


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_it_uses_public_names_and_no_function_over_ten_lines(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None and node.end_lineno - node.lineno < 10, node.name
        names = [node.attr] if isinstance(node, ast.Attribute) else [a.name for a in node.names] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.startswith("_") and not name.endswith("__")]


def test_the_explorer_leaves_a_picture_and_a_table_for_readers_without_a_kernel() -> None:
    notebook = committed(FOLDER / "00_quickstart.py")
    (cell,) = [cell for cell in code(notebook) if cell.source.endswith("\nex")]
    kinds = [set(output.data) for output in cell.outputs]
    assert any("image/png" in kind for kind in kinds) and any("<table" in output.data.get("text/html", "") for output in cell.outputs)
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(nbformat.v4.new_notebook(cells=[cell], metadata=notebook.metadata))
    assert page.count("<img") == 1 and "its own answer" in page


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_it_runs_from_a_fresh_kernel_in_smoke_mode(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Top to bottom, its asserts among the rest: an error of a cell is one here.  The committed file is left alone."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the suite runs one process per core
    notebook = runpy.run_path(str(FOLDER / "__main__.py"))["executed"](source, "smoke")
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
