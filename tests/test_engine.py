"""Engines against plain PyTorch, and checkpoints against kills and full disks."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import engine_worker
import pytest
import torch
from torch import Tensor, nn

from train import checkpoints
from train.engine import DeepSpeedEngine, LocalEngine, deepspeed_config, load_weights
from train.optimizer import AdamW
from train.sections import EngineSettings, OptimizerSettings

ROOT = Path(__file__).parent.parent


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def save_pretrained(self, folder: Path) -> None:
        from safetensors.torch import save_file

        save_file(self.state_dict(), folder / "model.safetensors")


def net_and_optimizer() -> tuple[Net, AdamW]:
    net = Net()
    return net, AdamW([{"params": list(net.parameters()), "base_lr": 0.1}])


def loss_of(output: Tensor, number: int) -> Tensor:
    return (output - number).square().mean()


def batch(number: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(number))


def test_local_is_plain_pytorch_with_accumulation_and_clipping() -> None:
    net, optimizer = net_and_optimizer()
    engine = LocalEngine(net, optimizer, max_grad_norm=0.3)
    plain, plain_optimizer = net_and_optimizer()
    for step in range(4):
        for micro in range(3):
            engine.backward(loss_of(engine.forward(batch(10 * step + micro)), step) / 3, last=micro == 2)
        norm = engine.step(lambda base_lr, step=step: base_lr / (step + 1))
        together = torch.cat([batch(10 * step + micro) for micro in range(3)])
        loss_of(plain(together), step).backward()
        plain_norm = nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
        plain_optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        plain_optimizer.step()
        plain_optimizer.zero_grad()
        assert norm == pytest.approx(float(plain_norm), rel=1e-6) and norm > 0.3
        for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_local_resumes_to_the_last_bit(tmp_path: Path) -> None:
    def run(engine: LocalEngine, steps: range) -> list[float]:
        losses = []
        for step in steps:
            loss = loss_of(engine.forward(batch(step)), step)
            engine.backward(loss, last=True)
            engine.step(lambda base_lr: base_lr)
            losses.append(loss.item())
        return losses

    engine = LocalEngine(*net_and_optimizer(), max_grad_norm=1.0)
    run(engine, range(3))
    engine.save(tmp_path)
    resumed = LocalEngine(*net_and_optimizer(), max_grad_norm=1.0)
    resumed.load(tmp_path)
    assert run(resumed, range(3, 6)) == run(engine, range(3, 6))


def test_zero_clipping_leaves_gradients() -> None:
    net, optimizer = net_and_optimizer()
    engine = LocalEngine(net, optimizer, max_grad_norm=0.0)
    engine.backward(1e4 * loss_of(engine.forward(batch(0)), 0), last=True)
    gradient = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    assert engine.step(lambda base_lr: 0.0) == pytest.approx(float(nn.utils.get_total_norm(gradient)))


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    engine = LocalEngine(*net_and_optimizer(), max_grad_norm=1.0)
    with pytest.raises(ValueError, match=r"holds no model\.safetensors"):
        engine.load(tmp_path)
    engine.save(tmp_path)
    engine.model.layers.append(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="does not fit this model"):
        engine.load(tmp_path)


@pytest.mark.parametrize("stage", range(4))
def test_knobs_and_settings_make_one_configuration(stage: int) -> None:
    settings = OptimizerSettings(batch_size=3, accumulation=4, max_grad_norm=2.0)
    config = deepspeed_config(EngineSettings(kind="deepspeed", zero_stage=stage, precision="bf16"), settings)
    assert (config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"], config["gradient_clipping"]) == (3, 4, 2.0)
    assert config["zero_optimization"]["stage"] == stage and config["bf16"] == {"enabled": True} and "fp16" not in config


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"zero_optimization": {"stage": 3}, "gradient_clipping": 1.0}, "must not set gradient_clipping"),
        ({"zero_optimization": {"stage": 2}}, "must have zero_optimization.stage 3"),
        ({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}}, "must not offload the optimizer"),
    ],
)
def test_knobs_that_contradict_settings_are_refused(tmp_path: Path, knobs: dict[str, Any], message: str) -> None:
    (tmp_path / "knobs.json").write_text(json.dumps(knobs))
    with pytest.raises(ValueError, match=message):
        deepspeed_config(EngineSettings(kind="deepspeed", zero_stage=3, knobs=str(tmp_path / "knobs.json")), OptimizerSettings())


@pytest.mark.slow
@pytest.mark.parametrize("stage", range(4))
def test_deepspeed_on_two_processes_is_plain_pytorch_and_resumes(stage: int, tmp_path: Path) -> None:
    expected = engine_worker.train(engine_worker.local_engine(), range(5), batches_per_process=2)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # ninja
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": path}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        engine_worker.__file__,
        str(stage),
        str(tmp_path),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    results = tmp_path / f"losses{stage}.json"  # not the exit code: ZeRO-3 sometimes aborts after all is done
    assert results.is_file(), "\n".join(line for line in done.stderr.splitlines() if line.startswith("[rank"))
    found = json.loads(results.read_text())
    assert found["losses"] == pytest.approx(expected, rel=1e-5)
    assert found["resumed"] == found["losses"][3:]
    load_weights(engine_worker.make_model(), tmp_path / f"stage{stage}")  # what DeepSpeed saves is a model like any other


def fill(folder: Path) -> None:
    (folder / "weights").write_text("whole")
    (folder / "results.json").write_text(json.dumps({}))


def full_disk(folder: Path) -> None:
    (folder / "weights").write_text("ha")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_checkpoint_before_whole(tmp_path: Path) -> None:
    with pytest.raises(checkpoints.DiskFull, match="nothing is saved yet"):
        checkpoints.write(tmp_path, 1, full_disk)
    checkpoints.write(tmp_path, 2, fill)
    with pytest.raises(checkpoints.DiskFull, match=r"step 3 .*step_00000002 is whole: free some space and go on with run.resume=true"):
        checkpoints.write(tmp_path, 3, full_disk)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000002"]
    assert (tmp_path / "step_00000002" / "weights").read_text() == "whole"


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        checkpoints.write(tmp_path, 1, broken)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_save_left_is_no_checkpoint_and_goes(tmp_path: Path) -> None:
    (tmp_path / ".step_00000001.part").mkdir()
    assert checkpoints.saved(tmp_path) == []
    checkpoints.write(tmp_path, 2, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000002"]


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, score in enumerate([0.3, 0.5, 0.4, 0.5, None]):
        folder = checkpoints.write(tmp_path, step, fill)
        (folder / "results.json").write_text(json.dumps({"validation_score": score}))
    checkpoints.prune(tmp_path, keep_last=2)
    assert [path.name for path in checkpoints.saved(tmp_path)] == ["step_00000001", "step_00000003", "step_00000004"]
    assert checkpoints.best(tmp_path) == tmp_path / "step_00000001"


def test_engines_share_their_verbs() -> None:
    assert {"forward", "backward", "step", "save", "load"} <= set(dir(LocalEngine)) & set(dir(DeepSpeedEngine))
