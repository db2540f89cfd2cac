"""Muon: PyTorch's own on matrices, kernels as matrices, AdamW elsewhere; restored, it goes on to the last bit."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
from test_train import checkpoint_tensors, config, run, source, world  # noqa: F401  (a fixture)
from torch import Tensor, nn

from clipbert.config import ClipBertConfig, HeadConfig
from clipbert.model import ClipBertForSequenceClassification
from train.muon import Muon, hidden_layers_apart, orthogonal
from train.optimizer import parameter_groups
from train.settings import read_settings


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stepped(optimizer: torch.optim.Optimizer, params: list[nn.Parameter], seeds: range) -> None:
    for seed in seeds:
        for p in params:
            p.grad = drawn(*p.shape, seed=seed)
        optimizer.step()


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_a_matrix_moves_as_by_the_muon_of_pytorch(shape: tuple[int, int]) -> None:
    ours, theirs = nn.Parameter(drawn(*shape)), nn.Parameter(drawn(*shape))
    stepped(Muon([{"params": [ours], "muon": True, "lr": 0.1, "weight_decay": 0.05}]), [ours], range(4))
    stepped(torch.optim.Muon([theirs], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"), [theirs], range(4))
    torch.testing.assert_close(ours, theirs, atol=4e-3, rtol=0)  # both iterate in bfloat16
    assert (ours - drawn(*shape)).abs().max() > 0.05


def test_updates_are_orthogonal_and_those_of_one_shape_do_not_mix() -> None:
    matrices = torch.stack([drawn(5, 8), 1e3 * drawn(5, 8, seed=1), torch.zeros(5, 8)])
    updates = orthogonal(matrices)
    values = torch.linalg.svdvals(updates)
    assert (values[:2] > 0.65).all() and (values[:2] < 1.25).all() and not updates[2].any()
    torch.testing.assert_close(updates[1], orthogonal(matrices[1:2])[0])


def test_a_kernel_is_a_matrix_of_its_output_channels_by_all_else() -> None:
    kernel, matrix = nn.Parameter(drawn(4, 3, 2, 2)), nn.Parameter(drawn(4, 3, 2, 2).flatten(1))
    for p in (kernel, matrix):
        group = {"params": [p], "muon": True, "lr": 0.1, "weight_decay": 0.0}
        p.grad = drawn(4, 12).view_as(p)
        Muon([group]).step()
    assert torch.equal(kernel.detach().flatten(1), matrix)


def test_other_groups_move_as_by_adamw_and_what_has_no_gradient_stays() -> None:
    ours, theirs, alone = nn.Parameter(drawn(3, 4)), nn.Parameter(drawn(3, 4)), nn.Parameter(drawn(2, 2))
    groups = [{"params": [ours], "lr": 0.1, "weight_decay": 0.05}, {"params": [alone], "muon": True, "lr": 0.1, "weight_decay": 0.05}]
    stepped(Muon(groups), [ours], range(3))
    stepped(torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.05, betas=(0.9, 0.98), eps=1e-6, fused=True), [theirs], range(3))
    assert torch.equal(ours, theirs) and torch.equal(alone.detach(), drawn(2, 2))


def test_a_matrix_that_no_loss_asked_only_decays() -> None:
    weight = nn.Parameter(drawn(3, 4))
    optimizer = Muon([{"params": [weight], "muon": True, "lr": 0.1, "weight_decay": 0.05}])
    stepped(optimizer, [weight], range(2))
    before, weight.grad = weight.detach().clone(), torch.zeros(3, 4)
    optimizer.step()
    assert torch.equal(weight.detach(), before * (1 - 0.1 * 0.05))


def test_restored_it_continues_bitwise() -> None:
    def made() -> tuple[Muon, list[nn.Parameter]]:
        params = [nn.Parameter(drawn(3, 4)), nn.Parameter(drawn(5))]
        return Muon([{"params": params[:1], "muon": True, "lr": 0.1}, {"params": params[1:], "lr": 0.1}]), params

    (optimizer, whole), (restored, killed) = made(), made()
    stepped(optimizer, whole, range(3))
    state = copy.deepcopy(optimizer.state_dict())
    for p, now in zip(killed, whole, strict=True):
        p.data.copy_(now.data)
    restored.load_state_dict(state)
    stepped(optimizer, whole, range(3, 6))
    stepped(restored, killed, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole, killed, strict=True))


def test_it_takes_hidden_matrices_and_kernels_and_each_parameter_is_in_one_group() -> None:
    heads = {"qa": HeadConfig("classifier", 3)}
    model = ClipBertForSequenceClassification(
        ClipBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, heads=heads)
    )
    named = list(model.named_parameters())
    groups = parameter_groups(named, learning_rate=1.0, weight_decay=0.1, cnn_learning_rate=0.5, cnn_weight_decay=0.1)
    apart = hidden_layers_apart(groups, named)
    grouped = [id(p) for group in apart for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for group in groups for p in group["params"]) and len(set(grouped)) == len(grouped)
    names = {id(p): name for name, p in named}
    taken = {names[id(p)] for group in apart if group["muon"] for p in group["params"]}
    assert {"clipbert.fusion.layers.0.query.weight", "clipbert.fusion.layers.0.down.weight"} <= taken
    assert any(name.startswith("clipbert.backbone.") for name in taken)
    assert not [name for name in taken if "embeddings" in name or name.startswith("heads.") or name.endswith("bias")]
    assert {group["base_lr"] for group in apart if group["muon"]} == {1.0, 0.5}


def test_a_run_with_it_resumes_to_the_last_bit(world: Path, tmp_path: Path) -> None:  # noqa: F811
    path, last = config(tmp_path, source(world, "qa"), optimizer={"kind": "muon"}, run={"save_every": 1}), tmp_path / "out" / "step_00000003"
    assert run(path) == 0
    whole = checkpoint_tensors(last)
    shutil.rmtree(last)
    assert run(path, "run.resume=true") == 0
    resumed = checkpoint_tensors(last)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert run(path, "optimizer.kind=adamw", f"run.output={tmp_path / 'adamw'}") == 0
    adamw = checkpoint_tensors(tmp_path / "adamw" / "step_00000003")
    assert [name for name in whole if name.endswith("query.weight") and not torch.equal(whole[name], adamw[name])]


@pytest.mark.parametrize("other", ["engine.kind=deepspeed", "official=true"])
def test_where_it_cannot_run_is_said(world: Path, tmp_path: Path, other: str) -> None:  # noqa: F811
    with pytest.raises(ValueError, match=r"optimizer\.kind=muon reads whole matrices.*engine\.kind=local"):
        read_settings(config(tmp_path, source(world, "qa")), ["optimizer.kind=muon", other])


def test_an_unknown_kind_is_named(world: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(ValueError, match=r"optimizer\.kind must be one of adamw, muon"):
        read_settings(config(tmp_path, source(world, "qa")), ["optimizer.kind=sgd"])
