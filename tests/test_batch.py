"""`clipbert ask --jsonl`: a result or an error for every row, kept as it comes, and one page of all."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import GOLDEN
from test_cli import model_dir, run
from test_predict import Counting, make_predictor

from clipbert.batch import Outcome, answer_rows, read_rows
from clipbert.predict import Predictor
from clipbert.viz.batch_report import batch_report

__all__ = ["model_dir"]  # a fixture
VIDEO = "video_a30.mp4"
ROWS: list[Any] = [
    {"video": VIDEO, "question": "what colour?"},
    {"video": "missing.mp4", "question": "what colour?"},
    {"video": VIDEO, "question": "which?", "choices": ["red", "<b>blue</b>"]},
    {"video": VIDEO, "text": "what colour?"},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([*map(json.dumps, ROWS), "not json", ""]))
    (tmp_path / VIDEO).write_bytes((GOLDEN / VIDEO).read_bytes())
    return path


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor()


def outcomes(predictor: Predictor, file: Path, **settings: Any) -> list[Outcome]:
    return list(answer_rows(predictor, read_rows(file), file.parent, file.parent / "out", num_clips=2, **settings))


def test_every_row_has_its_answer_or_its_error(predictor: Predictor, file: Path) -> None:
    found = outcomes(predictor, file)
    assert [outcome.row.line for outcome in found] == [1, 2, 3, 4, 5]
    assert [outcome.result is not None for outcome in found] == [True, False, True, False, False]
    assert "missing.mp4" in found[1].error and '"question"' in found[3].error and "not JSON" in found[4].error
    prediction = predictor.answer(predictor.encode(GOLDEN / VIDEO, num_clips=2), "what colour?")
    assert found[0].result is not None and found[0].result["answer"] == prediction.answer
    assert found[0].result["scores"] == pytest.approx(prediction.scores.tolist())


def test_a_second_run_asks_only_what_has_no_answer_yet(file: Path) -> None:
    predictor = make_predictor()
    inner = predictor.model
    first = outcomes(predictor, file)
    predictor.model = counting = Counting(inner.model, inner.processor, name="tiny", device="cpu", dtype="float32")
    again = outcomes(predictor, file)
    assert counting.encoded == counting.scored == 0 and [found.reused for found in again] == [True, False, True, False, False]
    assert [found.result for found in again] == [found.result for found in first]


def test_other_settings_are_asked_anew(predictor: Predictor, file: Path) -> None:
    outcomes(predictor, file)
    assert not any(found.reused for found in outcomes(predictor, file, aggregation="max"))
    assert len((file.parent / "out" / "results.jsonl").read_text().splitlines()) == 4


def test_rows_are_kept_as_they_come_and_a_line_cut_off_is_asked_again(predictor: Predictor, file: Path) -> None:
    stream = answer_rows(predictor, read_rows(file), file.parent, file.parent / "out", num_clips=2)
    next(stream)
    kept = file.parent / "out" / "results.jsonl"
    assert len(kept.read_text().splitlines()) == 1
    stream.close()
    kept.write_text(kept.read_text() + '{"key": "half a li')
    assert [found.reused for found in outcomes(predictor, file)] == [True, False, False, False, False]
    assert all(json.loads(line) for line in kept.read_text().splitlines())


@pytest.mark.parametrize("foreign", ['{"a": 1}\n', "no json\n", "[1]\n"])
def test_results_of_another_program_are_left_alone(predictor: Predictor, file: Path, foreign: str) -> None:
    kept = file.parent / "out" / "results.jsonl"
    kept.parent.mkdir()
    kept.write_text(foreign)
    with pytest.raises(ValueError, match="is not of clipbert ask --jsonl; name another folder"):
        outcomes(predictor, file)
    assert kept.read_text() == foreign


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_the_page_holds_every_row_and_no_markup_of_the_users(predictor: Predictor, file: Path) -> None:
    found = outcomes(predictor, file)
    page = batch_report(found, title="<script>", model="tiny", settings="num_clips 2")
    tags = Tags()
    tags.feed(page)
    assert tags.seen.count("tr") == 1 + len(found) and "script" not in tags.seen and "b" not in tags.seen
    assert page.count("not answered") == 1 + 3 and "5 rows: 2 answered" in page


def test_the_command_writes_results_and_report_and_exits_2_for_errors(capsys: pytest.CaptureFixture[str], model_dir: str, file: Path) -> None:
    out = file.parent / "told"
    code, said, _ = run(capsys, "ask", "--jsonl", str(file), "--out", str(out), "--model", model_dir, "--num-clips", "2", "--json")
    result = json.loads(said)
    assert code == 2 and result["rows"] == 5 and [row["line"] for row in result["failed"]] == [2, 4, 5]
    assert (out / "report.html").is_file() and len((out / "results.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["ask"], "needs a video and a question, or --jsonl"),
        (["ask", "--jsonl", "a.jsonl"], "--jsonl needs --out"),
        (["ask", "a.mp4", "what?", "--out", "x"], "--out is the folder of --jsonl"),
        (["ask", "a.mp4", "what?", "--jsonl", "a.jsonl", "--out", "x"], "leave out video"),
        (["ask", "--jsonl", "missing.jsonl", "--out", "x"], "cannot read missing.jsonl"),
    ],
)
def test_what_does_not_go_together_is_refused(capsys: pytest.CaptureFixture[str], argv: list[str], told: str) -> None:
    code, _, said = run(capsys, *argv)
    assert code == 2 and told in said and said.count("\n") == 1
