"""The loop: every task learns, a killed run goes on to the last bit, and what is written can be read."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import GOLDEN
from PIL import Image
from tiny import RESNET, SIZES
from torch.nn import functional as F
from videos import write_video

from clipbert.config import HeadConfig
from clipbert.predict import Predictor
from train import checkpoints, train
from train.objectives import contrastive_loss
from train.optimizer import AdamW
from train.sections import ModelSettings
from train.settings import read_settings
from train.sources import Batches
from train.start import start_model
from train.validation import MEASURED

ROOT = Path(__file__).parent.parent
COLORS = ("red", "green", "blue")
CHOICE = {
    "qa": {"num_answers": 5},
    "vqa": {"num_answers": 5},
    "multiple_choice": {},
    "count": {},
    "retrieval": {"num_negatives": 1},
    "retrieval_rank": {"num_negatives": 2},
    "contrastive": {},
    "pretrain": {},
}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small videos and stills, with rows for every task."""
    folder = tmp_path_factory.mktemp("world")
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("questions", "choices", "counts", "captions", "stills")}
    for k in range(6):
        name, color = f"v{k}.mp4", COLORS[k % 3]
        write_video(folder / name, num_frames=12, size=(48, 48))
        Image.new("RGB", (48, 40), color).save(folder / f"s{k}.png")
        rows["questions"].append({"video": name, "question": "what colour is it?", "answer": color})
        rows["choices"].append({"video": name, "question": "what does it do?", "choices": ["jump", "spin", "fall"], "answer": k % 3})
        rows["counts"].append({"video": name, "question": "how many times?", "answer": str(1 + k % 3)})
        rows["captions"].append({"video": name, "caption": f"a {color} thing number {k}"})
        rows["stills"].append({"image": f"s{k}.png", "caption": f"a {color} picture number {k}"})
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def rows_of(task: str) -> str:
    return {"multiple_choice": "choices", "count": "counts", "qa": "questions", "vqa": "questions", "pretrain": "stills"}.get(task, "captions")


def source(world: Path, task: str, **changes: Any) -> dict[str, Any]:
    return {"task": task, "annotations": str(world / f"{rows_of(task)}.jsonl"), "videos": str(world), **CHOICE[task], **changes}


def config(tmp_path: Path, *sources: dict[str, Any], **sections: Any) -> Path:
    """A settings file for a tiny model and three updates."""
    content: dict[str, Any] = {
        "train": list(sources),
        "model": {"config": {**SIZES, **RESNET}},
        "clips": {"num_clips": 2, "num_frames": 1, "fps": 2.0},
        "optimizer": {"batch_size": 2, "lr": 1e-3, "warmup_ratio": 0.0},
        "run": {"output": str(tmp_path / "out"), "max_steps": 3, "num_workers": 0},
    }
    for name, section in sections.items():
        content[name] = content.get(name, {}) | section if isinstance(section, dict) else section
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def run(path: Path, *overrides: str) -> int:
    try:
        return train.main(["--config", str(path), *overrides])
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.parametrize("task", CHOICE)
def test_every_task_trains(world: Path, tmp_path: Path, task: str) -> None:
    clips = {"num_clips": 1} if task == "pretrain" else {"aggregation": "mean"} if task in ("retrieval_rank", "count") else {}
    assert run(config(tmp_path, source(world, task), clips=clips)) == 0
    lines = log(tmp_path / "out")
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(line["loss"] > 0 and line["grad_norm"] > 0 for line in lines)
    assert (tmp_path / "out" / "step_00000003" / "model.safetensors").is_file()


def test_a_model_learns_what_it_is_asked_and_predicts(world: Path, tmp_path: Path) -> None:
    still = source(world, "qa", annotations=str(tmp_path / "stills.jsonl"))
    things = ("tomato", "grass", "sky")
    rows = [{"image": f"s{k}.png", "question": f"what colour is the {things[k % 3]}?", "answer": COLORS[k % 3]} for k in range(6)]
    (tmp_path / "stills.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sections: dict[str, Any] = {
        "optimizer": {"batch_size": 6, "lr": 1e-2, "schedule": "constant"},
        "run": {"max_steps": 40},
        "clips": {"num_clips": 1},
    }
    sections["model"] = {"config": {**SIZES, **RESNET, "initializer_range": 0.2, "frozen_stages": 0}}
    assert run(config(tmp_path, still, validation=[still], **sections)) == 0
    losses = [line["loss"] for line in log(tmp_path / "out")]
    assert losses[-1] < 0.2 * losses[0]
    predictor = Predictor.from_pretrained(tmp_path / "out" / "step_00000040")
    assert predictor.answer(predictor.encode(world / "s1.png", num_clips=1), "what colour is the grass?").answer == "green"


def test_what_made_a_checkpoint_lies_beside_it(world: Path, tmp_path: Path) -> None:
    path = config(tmp_path, source(world, "qa"), validation=[source(world, "qa")])
    assert run(path, "optimizer.lr=2e-3") == 0
    folder = tmp_path / "out" / "step_00000003"
    results = json.loads((folder / "results.json").read_text())
    assert results["seed"] == 42 and results["settings"]["optimizer"]["lr"] == 2e-3
    assert results["versions"]["torch"] == torch.__version__ and len(results["data"]) == 16 and results["commit"]
    assert results["validation_loss"] > 0 and results["loss"] == log(tmp_path / "out")[-1]["loss"]
    assert read_settings(folder / "settings.yaml") == read_settings(path, ["optimizer.lr=2e-3"])


@pytest.mark.parametrize(
    ("task", "metric", "clips"),
    [
        ("qa", "accuracy", {}), ("vqa", "vqa_score", {}), ("multiple_choice", "accuracy", {}), ("retrieval", "text_to_video/recall_at_1", {}),
        ("retrieval_rank", "text_to_video/recall_at_1", {"aggregation": "mean"}), ("contrastive", "text_to_video/recall_at_1", {}),
        ("count", "mean_squared_error", {"aggregation": "mean"}),
    ],
)  # fmt: skip
def test_validation_measures_what_evaluation_would(world: Path, tmp_path: Path, task: str, metric: str, clips: dict[str, Any]) -> None:
    from clipbert.data.examples import read_examples
    from clipbert.data.video_store import open_store
    from clipbert.evaluate import evaluate

    one = source(world, task)
    assert run(config(tmp_path, one, validation=[one], run={"max_steps": 1}, clips={"num_test_clips": 3, **clips})) == 0
    folder = tmp_path / "out" / "step_00000001"
    results = checkpoints.results_of(folder)
    logged = log(tmp_path / "out")[-1]
    assert results["validation"] == logged["validation"] and results["validation_score_of"] == metric
    predictor = Predictor.from_pretrained(folder)
    assert (predictor.sampling.num_clips, predictor.sampling.policy) == (3, "paper")
    rows = evaluate(predictor, read_examples(one["annotations"]), open_store(world), MEASURED[task][0])
    expected = next(row.metrics for row in rows if row.aggregation == predictor.sampling.aggregation)
    assert logged["validation"] == [expected]
    assert results["validation_score"] == (-expected[metric] if task == "count" else expected[metric])


def test_the_loss_chooses_the_best_of_pretraining(world: Path, tmp_path: Path) -> None:
    one = source(world, "pretrain")
    assert run(config(tmp_path, one, validation=[one], run={"max_steps": 4, "save_every": 1}, clips={"num_clips": 1})) == 0
    losses = {line["step"]: line["validation_loss"] for line in log(tmp_path / "out")}
    best = checkpoints.best(tmp_path / "out")
    assert best is not None and checkpoints.results_of(best)["step"] == min(losses, key=lambda step: losses[step])


def test_each_validation_source_asks_its_own_head(world: Path, tmp_path: Path) -> None:
    """The vocabulary of one holds no answer of the other."""
    rows = [{"video": f"v{k}.mp4", "question": "how big is it?", "answer": "big"} for k in range(6)]
    (tmp_path / "sizes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    colors, sizes = source(world, "qa", head="colors"), source(world, "qa", head="sizes", annotations=str(tmp_path / "sizes.jsonl"))
    assert run(config(tmp_path, colors, sizes, validation=[colors, sizes], run={"max_steps": 1})) == 0
    measured = log(tmp_path / "out")[-1]["validation"]
    assert measured[0]["accuracy"] == pytest.approx(1 / 3) and measured[1]["accuracy"] == 1


def test_several_heads_learn_in_one_run(world: Path, tmp_path: Path) -> None:
    sources = source(world, "qa"), source(world, "retrieval", head="match"), source(world, "contrastive", ratio=2.0)
    assert run(config(tmp_path, *sources, run={"max_steps": 8})) == 0
    assert {line["task"] for line in log(tmp_path / "out")} == {"qa", "retrieval", "contrastive"}


@pytest.mark.parametrize("two_pass", ["full", "split"])
def test_two_pass_training_learns_as_one_pass(world: Path, tmp_path: Path, two_pass: str) -> None:
    plain = {**SIZES, **RESNET, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    losses = []
    for name, clips in (("one", {}), ("two", {"two_pass": two_pass})):
        (tmp_path / name).mkdir()
        assert run(config(tmp_path / name, source(world, "qa"), model={"config": plain}, clips=clips, optimizer={"accumulation": 2})) == 0
        losses.append([line["loss"] for line in log(tmp_path / name / "out")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("two_pass", ["off", "full", "split"])
def test_saving_memory_leaves_losses(world: Path, tmp_path: Path, two_pass: str) -> None:
    losses = []
    for name, saving in (("plain", False), ("saving", True)):
        (tmp_path / name).mkdir()
        clips = {"two_pass": two_pass, "max_frames_at_once": 1 if saving else 1024}
        path = config(tmp_path / name, source(world, "qa"), clips=clips, engine={"activation_checkpointing": saving})
        assert run(path) == 0
        losses.append([line["loss"] for line in log(tmp_path / name / "out")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_blocks_leave_losses_and_weights(world: Path, tmp_path: Path) -> None:
    plain = {**SIZES, **RESNET, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    losses = []
    for name, compiled in (("plain", False), ("compiled", True)):
        (tmp_path / name).mkdir()
        path = config(tmp_path / name, source(world, "retrieval"), model={"config": plain}, engine={"compile": compiled})
        subprocess.run(command(path), env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=600)
        losses.append([line["loss"] for line in log(tmp_path / name / "out")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    plain_weights, compiled_weights = (checkpoint_tensors(tmp_path / name / "out" / "step_00000003") for name in ("plain", "compiled"))
    assert plain_weights.keys() == compiled_weights.keys()


def test_a_gradient_that_is_no_number_stops_the_run(world: Path, tmp_path: Path) -> None:
    """Clipping by an infinite norm would make nothing of the whole update, without a word."""
    made = train.Run(read_settings(config(tmp_path, source(world, "qa"))))
    made.engine.model.get_parameter("clipbert.fusion.layers.0.query.weight").register_hook(lambda gradient: gradient * 1e30)
    with pytest.raises(FloatingPointError, match=r"the gradients of update 1 have the norm inf though its loss is \d.*engine\.precision=fp32"):
        made.update(0, made.batches())


def test_frozen_parts_stay(world: Path, tmp_path: Path) -> None:
    path = config(tmp_path, source(world, "qa"), model={"config": {**SIZES, **RESNET}, "freeze": ["cnn", "words"]})
    made = train.Run(read_settings(path))
    before = {name: value.clone() for name, value in made.engine.model.state_dict().items()}
    made.update(0, made.batches())
    moved = {name for name, value in made.engine.model.state_dict().items() if not torch.equal(value, before[name])}
    assert "clipbert.backbone.grid_encoder.0.weight" in moved and "clipbert.fusion.layers.0.query.weight" in moved
    assert not any("backbone.cnn" in name or "word_embeddings" in name for name in moved)


def test_accumulated_batches_are_one_batch(world: Path, tmp_path: Path) -> None:
    plain = {**SIZES, **RESNET, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    losses = []
    for name, optimizer in (("a", {"batch_size": 4}), ("b", {"batch_size": 2, "accumulation": 2})):
        (tmp_path / name).mkdir()
        assert run(config(tmp_path / name, source(world, "retrieval"), model={"config": plain}, optimizer=optimizer)) == 0
        losses.append([line["loss"] for line in log(tmp_path / name / "out")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_summed_gradients_are_as_large_as_there_are_batches(world: Path, tmp_path: Path) -> None:
    """The original's accumulation."""
    norms, dense = [], {"policy": "dense"}  # so that both see the same clips
    for official in (False, True):
        folder = tmp_path / str(official)
        folder.mkdir()
        path = config(folder, source(world, "qa"), optimizer={"accumulation": 3}, run={"max_steps": 1}, clips=dense, official=official)
        assert run(path) == 0
        norms.append(log(folder / "out")[0]["grad_norm"])
    assert norms[1] == pytest.approx(3 * norms[0], rel=1e-4)


def test_official_is_the_originals_optimizer_schedule_and_word_average(world: Path, tmp_path: Path) -> None:
    """Each is proven against the recorded original on its own, in test_optimizer and test_parity."""
    recorded = json.loads((GOLDEN / "optim_metrics.json").read_text())["lr_schedule"]
    milestones = [40 * epoch for epoch in recorded["decay_epochs"]]
    optimizer = {"schedule": "multi_step", "milestones": milestones, "lr": recorded["base"]}
    made = [
        train.Run(read_settings(config(tmp_path, source(world, "qa"), optimizer=optimizer, run={"max_steps": recorded["total"]}, official=official)))
        for official in (True, False)
    ]
    assert [type(one.engine.optimizer) for one in made] == [AdamW, torch.optim.AdamW]
    assert [one.learner.mlm_average for one in made] == ["all", "masked"]
    rates = [[one.rate(step - 1, recorded["base"]) for step in range(1, recorded["total"])] for one in made]
    assert rates[0] == pytest.approx(recorded["values"]["multi_step"][1 : recorded["total"]], rel=1e-12) and rates[1] != rates[0]


def test_kept_clips_train_as_decoded_ones(world: Path, tmp_path: Path) -> None:
    losses = []
    for name, kept in (("none", ""), ("first", "clips"), ("again", "clips")):
        (tmp_path / name).mkdir()
        cache = {"clip_cache": str(tmp_path / kept) if kept else ""}
        path = config(tmp_path / name, source(world, "qa"), validation=[source(world, "qa")], clips={"policy": "dense"}, run=cache)
        assert run(path) == 0
        losses.append([line["loss"] for line in log(tmp_path / name / "out")])
        size = len(list(tmp_path.glob("clips/*.clip")))
        assert size == (12 if kept else 0)  # six videos, as training and as validation see them
    assert losses[0] == losses[1] == losses[2]


def test_tensorboard_gets_every_update(world: Path, tmp_path: Path) -> None:
    assert run(config(tmp_path, source(world, "qa"), run={"tensorboard": True})) == 0
    assert list((tmp_path / "out" / "tensorboard").glob("events*"))


def test_pretraining_starts_fine_tuning(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pre").mkdir()
    sampled = {**SIZES, **RESNET, "pixel_random_sampling_size": 2}
    assert run(config(tmp_path / "pre", source(world, "pretrain"), clips={"num_clips": 1}, model={"config": sampled}, run={"max_steps": 1})) == 0
    start = tmp_path / "pre" / "out" / "step_00000001"
    path = config(tmp_path, source(world, "qa"), model={"config": {}, "start": str(start)})
    model = train.Run(read_settings(path)).engine.model
    saved = {name: value for name, value in checkpoint_tensors(start).items() if name.startswith("clipbert.")}
    assert all(torch.equal(model.state_dict()[name], value) for name, value in saved.items())
    assert model.config.pixel_random_sampling_size == 0
    assert run(path, "run.max_steps=1") == 0
    assert "not used: itm, mlm" in capsys.readouterr().err


def checkpoint_tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_start_of_another_size_is_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pre").mkdir()
    assert run(config(tmp_path / "pre", source(world, "qa"), run={"max_steps": 1})) == 0
    start = tmp_path / "pre" / "out" / "step_00000001"
    assert run(config(tmp_path, source(world, "qa"), model={"config": {"intermediate_size": 8}, "start": str(start)})) == 2
    assert "its sizes differ from this model's" in capsys.readouterr().err


@pytest.mark.parametrize("fusion", ["conv3d", "conv2plus1d"])
def test_a_3d_fusion_joins_a_model_of_single_frames_as_their_mean(world: Path, tmp_path: Path, fusion: str) -> None:
    """Table 2 after image-text pre-training."""
    (tmp_path / "pre").mkdir()
    assert run(config(tmp_path / "pre", source(world, "qa"), run={"max_steps": 1})) == 0
    start = str(tmp_path / "pre" / "out" / "step_00000001")
    heads = {"qa": HeadConfig("classifier", 3, COLORS)}
    before, after = (start_model(ModelSettings(start=start, config=c), heads, seed=0)[0].eval() for c in ({}, {"temporal_fusion": fusion}))
    pixels = 50 * torch.randn(2, 3, 2, 3, 64, 64)
    maps = [model.clipbert.temporal_fusion(model.clipbert.encode_clips(pixels)) for model in (before, after)]
    torch.testing.assert_close(*maps)


@pytest.mark.parametrize("override", ["clips.two_pass=full", "engine.activation_checkpointing=true"])
def test_learned_statistics_refuse_what_reads_a_frame_twice(world: Path, tmp_path: Path, override: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(tmp_path, source(world, "qa"), model={"config": {**SIZES, **RESNET, "frozen_norms": False}})
    assert run(path, override) == 2
    assert "needs each frame read once" in capsys.readouterr().err


def test_a_missing_file_is_named_with_what_to_do(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config(tmp_path, source(world, "qa", annotations=str(tmp_path / "gone.jsonl")))) == 2
    assert capsys.readouterr().err.strip() == f"train: {tmp_path / 'gone.jsonl'} does not exist; correct its name in the settings, or make it."


def command(path: Path, *overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / "train" / "train.py"), "--config", str(path), *overrides]


def test_a_killed_run_resumes_to_the_last_bit(world: Path, tmp_path: Path) -> None:
    """Two sources, dropout, workers, accumulation; killed with SIGKILL at a random moment."""
    sources = source(world, "qa"), source(world, "retrieval")
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    sections: dict[str, Any] = {"optimizer": {"accumulation": 2}, "run": {"max_steps": 16, "save_every": 2, "num_workers": 1}}
    assert run(config(tmp_path / "whole", *sources, **sections), "run.output=" + str(tmp_path / "whole" / "out")) == 0
    path = config(tmp_path / "killed", *sources, **sections)
    output, last = tmp_path / "killed" / "out", random.randint(3, 8)
    process = subprocess.Popen(command(path), stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"{last}/16".encode()):
            time.sleep(random.random() * 0.2)
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert len(log(output)) < 16
    assert run(path, "run.resume=true") == 0
    assert [line["loss"] for line in log(output)] == [line["loss"] for line in log(tmp_path / "whole" / "out")]
    whole, resumed = (checkpoint_tensors(tmp_path / name / "out" / "step_00000016") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_ctrl_c_saves_and_says_how_to_go_on(world: Path, tmp_path: Path) -> None:
    path = config(tmp_path, source(world, "qa"), run={"max_steps": 500})
    process = subprocess.Popen(command(path), stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("2/500"):
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait() == train.EXIT_INTERRUPTED
    process.stderr.close()
    assert "go on with run.resume=true" in rest and "Traceback" not in rest
    assert len(checkpoints.saved(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "holds checkpoints of another run"),
        (["run.resume=true", "optimizer.lr=1e-4"], "was made with optimizer.lr=0.001, not 0.0001"),
        (["run.resume=true", "run.seed=1"], "was made with run.seed=42, not 1"),
    ],
)
def test_another_run_is_not_mixed_in(world: Path, tmp_path: Path, overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(tmp_path, source(world, "qa"), run={"max_steps": 1})
    (tmp_path / "out" / "step_00000001").mkdir(parents=True)
    (tmp_path / "out" / "step_00000001" / "settings.yaml").write_text(path.read_text())
    assert run(path, *overrides) == 2
    assert message in capsys.readouterr().err


def test_an_unreadable_video_stops_training_with_a_line(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos").mkdir()
    for k in range(6):
        (tmp_path / "videos" / f"v{k}.mp4").write_bytes((world / f"v{k}.mp4").read_bytes() if k else b"nothing")
    path = config(tmp_path, source(world, "qa", videos=str(tmp_path / "videos")), optimizer={"batch_size": 6})
    assert run(path) == 2
    assert "v0.mp4" in capsys.readouterr().err
    assert run(path, "train.0.max_unreadable=1") == 0
    assert log(tmp_path / "out")[-1]["unreadable"] == 1


def opened(world: Path, tmp_path: Path, *tasks: str) -> list[Any]:
    return train.Run(read_settings(config(tmp_path, *(source(world, task) for task in tasks)))).train


def test_photos_among_videos_are_seen_whole(world: Path, tmp_path: Path) -> None:
    run = train.Run(read_settings(config(tmp_path, source(world, "qa"), clips={"num_frames": 2})))
    run.engine.model.eval()
    number, batch = next(run.batches())
    videos = batch.clips.pixel_values
    photo = videos[0][:1, :1].expand_as(videos[0])
    for clips in ([photo, *videos[1:]], [photo, photo]):
        losses = [
            run.learner.loss(run.train[number].settings, replace(batch, clips=replace(batch.clips, pixel_values=[look(c) for c in clips]))).item()
            for look in (lambda c: c, torch.Tensor.contiguous)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_processes_read_each_item_of_an_epoch_once(world: Path, tmp_path: Path) -> None:
    sources = opened(world, tmp_path, "qa")
    kept: dict[str, Any] = {"batch_size": 1, "accumulation": 3, "num_processes": 2, "seed": 1, "updates": range(2)}
    read = [key for rank in range(2) for batch in Batches(sources, rank=rank, **kept) for key in batch]
    assert (
        sorted(draw.item_index for _, draw in read if draw.epoch == 0)
        == list(range(6))
        == sorted(draw.item_index for _, draw in read if draw.epoch == 1)
    )


def test_batches_from_the_middle_are_those_of_the_whole(world: Path, tmp_path: Path) -> None:
    sources = opened(world, tmp_path, "qa", "retrieval")
    kept: dict[str, Any] = {"batch_size": 2, "accumulation": 2, "rank": 0, "num_processes": 1, "seed": 1}
    whole = list(Batches(sources, updates=range(20), **kept))
    assert list(Batches(sources, updates=range(13, 20), **kept)) == whole[26:]
    assert {number for batch in whole for number, _ in batch} == {0, 1}


def test_contrastive_loss_is_cross_entropy_of_both_directions() -> None:
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    expected = (F.cross_entropy(scores, torch.arange(4)) + F.cross_entropy(scores.T, torch.arange(4))) / 2
    torch.testing.assert_close(contrastive_loss(scores, torch.eye(4, dtype=torch.bool)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("stage", range(4))
def test_two_processes_train_as_one_with_twice_the_batch(world: Path, tmp_path: Path, stage: int) -> None:
    """Losses, gradients, validation and resume under torchrun with DeepSpeed, against the local engine; two heads in turn."""
    plain = {**SIZES, **RESNET, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    sections: dict[str, Any] = {"model": {"config": plain}, "run": {"max_steps": 4, "save_every": 2, "keep_last": 3}}
    sources = source(world, "qa"), source(world, "retrieval")
    one = config(tmp_path / "one", *sources, validation=[sources[0]], optimizer={"batch_size": 4, "accumulation": 2}, **sections)
    assert run(one) == 0
    sections["engine"] = {"kind": "deepspeed", "zero_stage": stage, "activation_checkpointing": True}
    sections["clips"] = {"two_pass": "split"}  # its first backward pass does not reach the CNN
    two = config(tmp_path / "two", *sources, validation=[sources[0]], optimizer={"batch_size": 2, "accumulation": 2}, **sections)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # ninja
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PATH": path}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *command(two)[1:]]
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (tmp_path / "two" / "out" / "step_00000004").is_dir(), done.stderr[-3000:]
    for field in ("loss", "grad_norm"):  # of heads that an update does not ask, too
        expected, found = ([line[field] for line in log(tmp_path / name / "out")] for name in ("one", "two"))
        assert found == pytest.approx(expected, rel=1e-5 if field == "loss" else 1e-3)
    validated = [checkpoints.results_of(tmp_path / name / "out" / "step_00000004")["validation_loss"] for name in ("one", "two")]
    assert validated[0] == pytest.approx(validated[1], rel=1e-4)
    shutil.rmtree(tmp_path / "two" / "out" / "step_00000004")
    subprocess.run([*launch, "run.resume=true"], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert [line["grad_norm"] for line in log(tmp_path / "two" / "out")] == found
