"""The pages of docs/: every block of Python runs as it stands and prints what is written below it; pictures and links exist."""

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest

from clipbert.attribution import METHODS
from clipbert.attribution_clips import CLIP_METHODS
from clipbert.data.examples import FORMATS
from clipbert.sampling import POLICIES
from clipbert.tasks import TASKS

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^## (?P<title>[^\n]+)\n(?:(?!^## ).)*?^```python\n(?P<code>.*?)^```\n\n```\n(?P<printed>.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = {match["title"]: (match["code"], match["printed"]) for match in BLOCK.finditer((DOCS / "extend.md").read_text())}
REGISTRIES = (POLICIES, FORMATS, TASKS, METHODS, CLIP_METHODS)
LINK = re.compile(r"!?\[[^\]]*\]\((?!https?:)([^)#]+)")


def test_there_is_one_for_each_of_the_five() -> None:
    assert list(EXAMPLES) == ["A sampler", "A data set", "A task", "A backbone", "An attribution method"]
    assert all(len(code.splitlines()) < 40 for code, _ in EXAMPLES.values())


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_runs_and_prints_what_is_written(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, printed = EXAMPLES[title]
    monkeypatch.chdir(tmp_path)
    kept, said = [dict(registry) for registry in REGISTRIES], io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(code, f"docs/extend.md: {title}", "exec"), {"__name__": "example"})
    finally:
        for registry, before in zip(REGISTRIES, kept, strict=True):
            registry.clear()
            registry.update(before)  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert said.getvalue() == printed


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_pictures_and_links_of_a_page_exist(page: Path) -> None:
    assert not [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]


def test_the_guides_pictures_are_those_of_the_notebooks() -> None:
    """After notebooks were executed again: python docs/pictures.py."""
    made = runpy.run_path(str(DOCS / "pictures.py"))
    assert sorted(path.stem for path in (DOCS / "pictures").iterdir()) == sorted(made["PICTURES"])
    for name in made["PICTURES"]:
        assert (DOCS / "pictures" / f"{name}.png").read_bytes() == made["picture"](name), name
