"""What `hf:NAME_OR_DIR` accepts, and the one line it says otherwise."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from conftest import GOLDEN
from hf_models import write_clip
from safetensors.torch import load_file, save_file
from test_cli import run

from clipbert.hf import files
from clipbert.predict import Predictor

VIDEO = str(GOLDEN / "video_a30.mp4")
CHOICES = ("--choices", "a car", "a dog")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def test_ask_takes_a_folder_and_gives_the_documented_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "ask", VIDEO, "what is it?", *CHOICES, "--model", f"hf:{folder}", "--num-clips", "2", "--json")
    result = json.loads(out)
    assert (code, err) == (0, "") and result["model"] == f"hf:{folder}" and len(result["clips"]) == 2


def test_an_index_is_made_and_searched_from_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").symlink_to(VIDEO)
    assert run(capsys, "index", str(tmp_path), "-o", str(tmp_path / "own.index"), "--model", f"hf:{folder}")[0] == 0
    code, out, _ = run(capsys, "search", str(tmp_path / "own.index"), "a red car", "--json")
    assert code == 0 and json.loads(out)["hits"][0]["path"].endswith(".mp4")


def test_an_unsupported_architecture_is_named_with_those_that_are_supported(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(ValueError, match=r"is LlamaForCausalLM; supported are CLIPModel, SiglipModel"):
        Predictor.from_pretrained(f"hf:{tmp_path}")


def test_a_model_that_lacks_weights_is_refused_rather_than_made_up(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights of CLIPModel, such as text_projection.weight"):
        Predictor.from_pretrained(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf:./nowhere", "there is no folder './nowhere'"),
        ("hf:", "there is no folder ''"),
        ("hf:a b", "neither a folder nor a name"),
        ("hf:nobody/nothing", "HF_HUB_OFFLINE forbids to download it"),
    ],
)
def test_a_model_that_is_not_there_is_told_in_one_line(name: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=told):
        files.find(name)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no config.json"):
        files.find(f"hf:{tmp_path}")


def test_without_a_network_a_name_fails_in_one_line() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"} | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "clipbert", "ask", VIDEO, "what is it?", "--model", "hf:nobody/nothing"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert shown.returncode == 2 and shown.stderr.count("\n") == 1 and "does not answer" in shown.stderr


def test_a_hub_that_keeps_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up, ended = threading.Event(), threading.Event()

    def silent(*_: object, **__: object) -> None:
        given_up.wait(60)
        ended.set()
        raise httpx.ConnectTimeout("")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(files, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr("httpx.head", silent)
    with pytest.raises(ValueError, match="does not answer; connect, or give a folder as hf:DIR"):
        files.find("hf:nobody/nothing")
    assert not ended.is_set()
    given_up.set()


def test_a_name_that_the_hub_does_not_know_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("httpx.head", lambda *_, **__: httpx.Response(404))
    with pytest.raises(ValueError, match=r"does not hand out a model nobody/nothing \(status 404\)"):
        files.find("hf:nobody/nothing")
