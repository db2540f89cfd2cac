"""The command as a user runs it: results on stdout, one clear line for bad input, exit codes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import GOLDEN
from tiny import tiny_model, tiny_processor

from clipbert.cli import main
from clipbert.doctor import examine
from clipbert.session_file import load_session

VIDEO = str(GOLDEN / "video_a30.mp4")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    model = tiny_model()
    model.save_pretrained(folder)
    tiny_processor(model).save_pretrained(folder)
    return str(folder)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    try:
        code = main(argv)
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_answers_within_a_second() -> None:
    start = time.perf_counter()
    shown = subprocess.run([sys.executable, "-m", "clipbert", "--help"], capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 1.0
    assert all(command in shown.stdout for command in ("ask", "sample", "sweep", "attribute", "convert", "doctor"))


@pytest.mark.parametrize("command", ["ask", "sample", "sweep", "attribute", "convert", "doctor"])
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0 and f"example: clipbert {command}" in out


def test_ask_gives_the_documented_json(capsys: pytest.CaptureFixture[str], model_dir: str) -> None:
    code, out, err = run(capsys, "ask", VIDEO, "what colour?", "--model", model_dir, "--num-clips", "3", "--aggregate", "max", "--json")
    result = json.loads(out)
    assert code == 0 and err == ""
    assert {"answer", "candidates", "scores", "aggregation", "model", "clips"} <= set(result)
    assert result["aggregation"] == "max" and result["model"] == model_dir and len(result["clips"]) == 3
    assert {"start", "end", "times", "answer", "scores", "contribution"} <= set(result["clips"][0])
    assert result["answer"] == result["candidates"][max(range(4), key=result["scores"].__getitem__)]
    assert sum(result["scores"]) == pytest.approx(1, abs=1e-5)


def test_ask_prints_a_table_with_bars(capsys: pytest.CaptureFixture[str], model_dir: str) -> None:
    code, out, _ = run(capsys, "ask", VIDEO, "what colour?", "--model", model_dir, "--choices", "red", "blue")
    assert code == 0 and "█" in out and "contribution (nats)" in out and model_dir in out


def test_ask_writes_a_session_and_a_report(capsys: pytest.CaptureFixture[str], model_dir: str, tmp_path: Path) -> None:
    session, page = tmp_path / "s.zip", tmp_path / "r.html"
    argv = ("ask", VIDEO, "what colour?", "--model", model_dir, "--num-clips", "3", "--session", str(session), "--report", str(page), "--json")
    code, out, err = run(capsys, *argv)
    kept = load_session(session)
    assert code == 0 and err == "" and "<svg" in page.read_text()
    assert kept.scores.tolist() == json.loads(out)["scores"] and kept.session.num_clips == 3


@pytest.mark.parametrize("option, name", [("--session", "s.txt"), ("--report", "none/r.html")])
def test_ask_refuses_a_file_it_cannot_write_before_it_runs(capsys: pytest.CaptureFixture[str], option: str, name: str, tmp_path: Path) -> None:
    code, out, err = run(capsys, "ask", VIDEO, "what?", "--model", "none", option, str(tmp_path / name))
    assert code == 2 and out == "" and err.startswith(f"clipbert: {option}") and err.count("\n") == 1


def test_ask_takes_a_photo(capsys: pytest.CaptureFixture[str], model_dir: str, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (30, 20), (0, 200, 0)).save(tmp_path / "photo.jpg")
    code, out, _ = run(capsys, "ask", str(tmp_path / "photo.jpg"), "what colour?", "--model", model_dir, "--json")
    assert code == 0 and json.loads(out)["duration"] == 1.0


def test_ask_cuts_a_long_question_with_a_notice(capsys: pytest.CaptureFixture[str], model_dir: str) -> None:
    code, out, _ = run(capsys, "ask", VIDEO, "why " * 3000, "--model", model_dir, "--json")
    assert code == 0 and "pieces were not read" in " ".join(json.loads(out)["notices"])


@pytest.mark.parametrize("num_clips", ["1", "256"])
def test_ask_takes_up_to_256_clips(capsys: pytest.CaptureFixture[str], model_dir: str, num_clips: str) -> None:
    code, out, _ = run(capsys, "ask", VIDEO, "what colour?", "--model", model_dir, "--num-clips", num_clips, "--num-frames", "1", "--json")
    result = json.loads(out)
    assert code == 0 and len(result["clips"]) == int(num_clips)
    assert all(0 <= t <= result["duration"] for clip in result["clips"] for t in clip["times"])


def test_sample_gives_the_official_frames(capsys: pytest.CaptureFixture[str]) -> None:
    golden = json.loads((GOLDEN / "frame_sampling.json").read_text())["multi"]
    for key in ("a30|fps2|T2|N4", "a30|fps1|T1|N2"):
        fps, num_frames, num_clips = (part.lstrip("fpsTN") for part in key.split("|")[1:])
        code, out, _ = run(
            capsys, "sample", VIDEO, "--policy", "official", "--fps", fps, "--num-frames", num_frames, "--num-clips", num_clips, "--json"
        )
        assert code == 0 and [clip["frames"] for clip in json.loads(out)["clips"]] == golden[key]


def test_sample_draws_the_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "sample", VIDEO, "--num-clips", "2", "--policy", "centered")
    assert code == 0 and out.count("█") > 2 and "10.00 s, 300 frames, 30.000 frames/s" in out


def test_sweep_gives_every_size_and_aggregation(capsys: pytest.CaptureFixture[str], model_dir: str) -> None:
    code, out, _ = run(capsys, "sweep", VIDEO, "what colour?", "--model", model_dir, "--num-frames", "1", "--json")
    rows = json.loads(out)["rows"]
    assert code == 0 and [(r["num_clips"], r["aggregation"]) for r in rows] == [(n, g) for n in (1, 2, 4, 8, 16) for g in ("mean", "max", "lse")]
    code, out, _ = run(capsys, "sweep", VIDEO, "what colour?", "--model", model_dir, "--num-frames", "1")
    assert code == 0 and "all sizes from one pass" in out


def test_attribute_gives_each_clips_value_and_the_gap(capsys: pytest.CaptureFixture[str], model_dir: str) -> None:
    code, out, _ = run(capsys, "attribute", VIDEO, "what colour?", "--model", model_dir, "--target", "red", "--versus", "blue", "--json")
    result = json.loads(out)
    assert code == 0 and result["target"] == "red rather than blue" and len(result["clips"]) == 4
    assert abs(result["gap"]) < 1e-9 and {"start", "end", "value"} == set(result["clips"][0])
    code, out, _ = run(capsys, "attribute", VIDEO, "what colour?", "--model", model_dir, "--target", "red")
    assert code == 0 and "why red" in out and "missing from the whole" in out


def test_attribute_tests_the_map_and_says_the_verdict(capsys: pytest.CaptureFixture[str], model_dir: str) -> None:
    argv = ("attribute", VIDEO, "what colour is it?", "--model", model_dir, "--method", "token_ablation", "--clip", "1", "2", "--faithfulness")
    code, out, _ = run(capsys, *argv, "--json")
    tested = json.loads(out)["faithfulness"]
    assert code == 0 and [one["clip"] for one in tested] == [1, 2] and tested[0]["num_units"] == 5
    assert {"deletion_p", "insertion_area_random", "sufficiency_10%"} <= set(tested[0]["summary"]) and tested[0]["curves"][0]["units"] == 0
    code, out, _ = run(capsys, *argv)
    assert code == 0 and out.count(tested[0]["verdict"]) >= 1 and "drop with them alone" in out and "is better" in out


def test_attribute_tests_all_clips_together(capsys: pytest.CaptureFixture[str], model_dir: str) -> None:
    code, out, _ = run(capsys, "attribute", VIDEO, "what colour?", "--model", model_dir, "--num-clips", "6", "--faithfulness", "--json")
    (tested,) = json.loads(out)["faithfulness"]
    assert code == 0 and tested["clip"] is None and tested["level"] == "clips" and tested["num_units"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--perturbation", "blur"), "--perturbation is of --faithfulness"),
        (("--faithfulness", "--perturbation", "blur"), 'perturbation "blur" is of frames and cells, and clip_shapley explains clips'),
    ],
)
def test_attribute_refuses_a_perturbation_that_cannot_be(
    capsys: pytest.CaptureFixture[str], model_dir: str, options: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, "attribute", VIDEO, "what colour?", "--model", model_dir, *options)
    assert code == 2 and out == "" and message in err and err.count("\n") == 1


def test_convert_writes_a_model_and_accounts_for_every_key(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    source = GOLDEN / "official_pretrain_ckpt.pt"
    code, out, _ = run(capsys, "convert", str(source), str(tmp_path / "out"), "--task", "pretrain", "--num-heads", "4", "--json")
    result = json.loads(out)
    state = torch.load(source, weights_only=True)
    assert code == 0 and set(result["used"]) | set(result["dropped"]) == set(state)
    assert "vocabulary has 200 pieces" in caplog.text
    assert {"config.json", "model.safetensors", "processor.json", "vocab.txt"} <= {p.name for p in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["ask", "VIDEO", " "], "the question is empty"),
        (["ask", "VIDEO", "what?", "--choices", "one"], "choices must be at least two"),
        (["ask", "VIDEO", "what?", "--model", "reel"], "no model 'reel'"),
        (["ask", "VIDEO", "what?", "--model", "MODEL", "--num-clips", "0"], "num_clips must be a whole number between 1 and 256, got 0"),
        (["ask", "VIDEO", "what?", "--model", "MODEL", "--num-clips", "257"], "between 1 and 256, got 257"),
        (["ask", "VIDEO", "what?", "--model", "MODEL", "--aggregate", "sum"], "aggregation must be one of mean, max, lse"),
        (["ask", "VIDEO", "what?", "--model", "MODEL", "--policy", "papre"], 'did you mean "paper"'),
        (["ask", "VIDEO", "what?", "--model", "MODEL", "--fps", "nan"], "fps must be"),
        (["ask", "VIDEO", "what?", "--model", "MODEL", "--fps", "-1"], "fps must be"),
        (["ask", "VIDEO", "what?", "--model", "MODEL", "--dtype", "flot32"], "did you mean 'float32'"),
        (["ask", "VIDEO", "what?", "--model", "MODEL", "--seed", "-1"], "seed must be between 0"),
        (["ask", "VIDEO"], "ask needs a video and a question, or --jsonl"),
        (["sample", "VIDEO", "--num-clips", "many"], "invalid int value: 'many'"),
        (["sample", "MISSING"], "does not exist"),
        (["sample", "TEXT"], "is text, not a video"),
        (["sample", "EMPTY"], "is empty"),
        (["sample", "FOLDER"], "is a directory"),
        (["sample", "VIDEO", "--backend", "opencv"], "backend must be one of pyav, decord"),
        (["convert", "TEXT", "OUT", "--task", "qa"], "cannot read checkpoint"),
        (["convert", "MISSING", "OUT", "--task", "qa"], "is not a file"),
        (["convert", "PRETRAINED", "FOLDER", "--task", "pretrain", "--num-heads", "4"], "exists and is not empty"),
        (["convert", "PRETRAINED", "OUT", "--task", "qa", "--num-heads", "4"], "no transformer.classifier.2.weight"),
        (["convert", "PRETRAINED", "OUT", "--task", "pretrain"], "give --num-heads"),
        (["convert", "PRETRAINED", "OUT", "--task", "caption"], "task must be one of"),
        (["data", "check", "MISSING"], "missing.mp4"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
    ],
)
def test_bad_input_gets_one_line_and_exit_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], model_dir: str, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("this is no video\n" * 50)
    (tmp_path / "empty.mp4").touch()
    names = {
        "VIDEO": VIDEO, "MODEL": model_dir, "MISSING": str(tmp_path / "missing.mp4"), "TEXT": str(tmp_path / "text.mp4"), "FOLDER": str(tmp_path),
        "EMPTY": str(tmp_path / "empty.mp4"), "OUT": str(tmp_path / "out"), "PRETRAINED": str(GOLDEN / "official_pretrain_ckpt.pt"),
    }  # fmt: skip
    code, out, err = run(capsys, *(names.get(word, word) for word in argv))
    lines = [line for line in err.strip().splitlines() if "vocabulary has 200 pieces" not in line]
    assert code == 2 and out == "" and len(lines) == 1 and message in lines[0], err
    assert "Traceback" not in err and not (tmp_path / "out").exists()


def test_data_synthetic_and_data_check_work_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "benchmark"
    code, shown, _ = run(capsys, "data", "synthetic", str(out), "--num-videos", "4", "--seed", "1", "--json")
    assert code == 0 and json.loads(shown)["rows"]["frameqa_train.jsonl"] > 0
    code, _, err = run(capsys, "data", "synthetic", str(out), "--num-videos", "4")
    assert code == 2 and str(out) in err
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"videos": "benchmark", "train": "benchmark/frameqa_train.jsonl", "vocabulary": 50}))
    code, shown, err = run(capsys, "data", "check", str(spec))
    assert code == 0, shown + err
    first = json.loads((out / "frameqa_train.jsonl").read_text().splitlines()[0])
    next(out.glob(f"videos/{Path(first['video']).stem}.*")).unlink()
    code, shown, _ = run(capsys, "data", "check", str(spec))
    assert code == 2 and "LOSES EXAMPLES" in shown


def test_a_reader_that_stops_early_is_no_error() -> None:
    shell = f"{sys.executable} -m clipbert sample {VIDEO} --num-clips 256 --json | head -c 10"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}, check=False
    )
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_doctor_names_what_there_is_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    found = examine()
    assert found["torch"].startswith("2.13.0") and found["video back end pyav"].startswith("works")
    code, out, _ = run(capsys, "doctor")
    assert code == 0 and len(out.splitlines()) == len(found)
