"""Every command with every family: it works, or says in one line why the family has no such thing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hf_models import DUAL_ENCODERS, WRITERS
from test_cli import run
from videos import write_video

CHOICES = ("--choices", "red", "green")
MATCH = ("--task", "match")
MATCHES = {*DUAL_ENCODERS, "vilt-match", "blip-match"}
OPEN = {"vilt-qa", "answering"}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "a.mp4")


@pytest.fixture(scope="module", params=list(WRITERS))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{WRITERS[family](tmp_path_factory.mktemp(family))}"


@pytest.fixture
def command(folder: str, capsys: pytest.CaptureFixture[str]) -> Command:
    return lambda *argv: run(capsys, *map(str, argv), "--model", folder)


def test_each_family_answers_and_its_cells_are_explained(family: str, command: Command, video: Path) -> None:
    code, out, err = command("ask", video, "what is it?", *CHOICES, "--num-clips", "2")
    assert (code, err) == (0, "") and ("red" in out or "green" in out)
    code, out, _ = command(
        "attribute", video, "what is it?", *(MATCH if family in MATCHES else CHOICES), "--method", "cell_occlusion", "--num-clips", "1"
    )
    assert code == 0 and "  clip 1, " in out


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [("--session", "a.zip"), ("--report", "a.html"), ("--adaptive", "--margin", "1"), ("--sampler", "diverse", "--num-clips", "2")],
    ids=lambda options: options[0],
)
def test_each_family_is_asked_in_every_way(
    options: tuple[str, ...], command: Command, video: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("ask", video, "what is it?", *CHOICES, *options)
    assert code == 0 and ("red" in out or "green" in out)
    assert (tmp_path / options[1]).is_file() == options[1].startswith("a.")


def test_only_a_vocabulary_answers_open_questions(family: str, command: Command, video: Path) -> None:
    code, out, err = command("ask", video, "what is it?", "--num-clips", "1")
    assert (code == 0 and "red" in out + err) if family in OPEN else (code == 2 and "give choices" in err and err.count("\n") == 1)


@pytest.mark.slow
def test_each_family_is_swept(command: Command, video: Path) -> None:
    code, out, _ = command("sweep", video, "what is it?", *CHOICES)
    assert code == 0 and "clips encoded" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    ["clip_shapley", "clip_leave_one_out", "clip_responsibility", "frame_shapley", "frame_leave_one_out", "cell_occlusion", "token_ablation"],
)
def test_each_family_is_explained_at_every_level_tested_and_drawn(method: str, family: str, command: Command, video: Path, tmp_path: Path) -> None:
    level, asked = method.partition("_")[0], MATCH if family in MATCHES else CHOICES
    files = ["a.png", "a.csv", "a.npz", "a.html", *(["a.gif"] if level == "cell" else [])]
    for file in files:
        tested = ("--faithfulness",) if file == files[0] else ()
        code, out, err = command(
            "attribute", video, "what is it?", *asked, "--method", method, "--num-clips", "2", "--num-frames", "2", *tested, "--out", tmp_path / file
        )
        assert code == 0, err
        assert (tmp_path / file).stat().st_size > 0 and ("random orders" in out) == bool(tested)


@pytest.mark.slow
def test_a_method_of_clipberts_layers_names_those_that_work(command: Command, family: str, video: Path) -> None:
    code, _, err = command(
        "attribute", video, "what is it?", *(MATCH if family in MATCHES else CHOICES), "--method", "cell_grad_cam", "--num-clips", "1"
    )
    assert code == 2 and err.count("\n") == 1 and "use one of clip_shapley" in err


@pytest.mark.slow
def test_each_family_with_a_match_score_is_indexed_and_searched(
    family: str, command: Command, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = command("index", video.parent, "-o", tmp_path / "my.index")
    if family not in MATCHES:
        assert code == 2 and "has no match score" in err and err.count("\n") == 1
        return
    assert code == 0
    for cascade in ((), ("--cascade", "one-clip"), ("--cascade", "vectors")):
        code, out, err = run(capsys, "search", str(tmp_path / "my.index"), "a red car", *cascade)
        if cascade[-1:] == ("vectors",) and family not in DUAL_ENCODERS:
            assert code == 2 and "has no contrastive head" in err and err.count("\n") == 1
        else:
            assert code == 0 and "a.mp4" in out
