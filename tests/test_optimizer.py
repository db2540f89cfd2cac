"""The optimiser against the updates, rates and groups recorded from the original."""

import copy
import json
import math

import pytest
import torch
from conftest import GOLDEN
from safetensors.torch import load_file
from torch import nn

from clipbert.config import ClipBertConfig
from clipbert.model import ClipBertForSequenceClassification
from train.optimizer import SCHEDULES, AdamW, lr_at, parameter_groups

RECORDED = json.loads((GOLDEN / "optim_metrics.json").read_text())
TENSORS = load_file(GOLDEN / "optim_metrics.safetensors")


def test_clipped_adamw_follows_the_original_trajectory() -> None:
    recorded = RECORDED["adamw"]
    weight = nn.Parameter(TENSORS["adamw.params"][0].clone())
    optimizer = AdamW([weight], betas=tuple(recorded["betas"]), eps=recorded["eps"], weight_decay=recorded["weight_decay"])
    for step, lr in enumerate(recorded["lrs"]):
        weight.grad = TENSORS["adamw.grads"][step].clone()
        norm = nn.utils.clip_grad_norm_([weight], recorded["clip"])
        assert float(norm) == pytest.approx(recorded["total_norms"][step], rel=1e-6)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        torch.testing.assert_close(weight.detach(), TENSORS["adamw.params"][step + 1], rtol=1e-6, atol=1e-7)


def test_adamw_is_its_formula_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(4, 3, dtype=torch.float64, generator=generator))
    expected, m, v = weight.detach().clone(), torch.zeros(4, 3).double(), torch.zeros(4, 3).double()
    optimizer = AdamW([weight], lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.05)
    for t in range(1, 6):
        grad = torch.randn(4, 3, dtype=torch.float64, generator=generator)
        weight.grad = grad
        optimizer.step()
        m, v = 0.8 * m + 0.2 * grad, 0.9 * v + 0.1 * grad**2
        expected = expected - 0.1 * math.sqrt(1 - 0.9**t) / (1 - 0.8**t) * m / (v.sqrt() + 1e-3)
        expected = expected - 0.1 * 0.05 * expected
        torch.testing.assert_close(weight.detach(), expected)


def test_adamw_steps_each_parameter_by_its_own_count() -> None:
    together, late = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = AdamW([together, late], lr=0.1)
    together.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(late.detach(), torch.ones(2))
    late.grad = torch.ones(2)
    optimizer.step()
    first_step = AdamW([fresh := nn.Parameter(torch.ones(2))], lr=0.1)
    fresh.grad = torch.ones(2)
    first_step.step()
    assert torch.equal(late, fresh)


def test_a_restored_optimizer_continues_bitwise() -> None:
    def steps(optimizer: AdamW, weight: nn.Parameter, seeds: range) -> None:
        for seed in seeds:
            weight.grad = torch.randn(3, generator=torch.Generator().manual_seed(seed))
            optimizer.step()

    weight = nn.Parameter(torch.ones(3))
    optimizer = AdamW([weight], lr=0.1)
    steps(optimizer, weight, range(3))
    restored_weight = nn.Parameter(weight.detach().clone())
    restored = AdamW([restored_weight], lr=0.1)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(optimizer, weight, range(3, 6))
    steps(restored, restored_weight, range(3, 6))
    assert torch.equal(weight, restored_weight)


@pytest.mark.parametrize("schedule", RECORDED["lr_schedule"]["values"])
def test_learning_rates_equal_the_original(schedule: str) -> None:
    recorded = RECORDED["lr_schedule"]
    milestones = [40 * epoch for epoch in recorded["decay_epochs"]]  # the recording's epochs are 40 steps long
    ours = f"{schedule}_official" if schedule == "multi_step" else schedule
    rates = [
        lr_at(step, recorded["total"], ours, base_lr=recorded["base"], warmup_ratio=recorded["warmup_ratio"], milestones=milestones)
        for step in range(len(recorded["values"][schedule]))
    ]
    assert rates == pytest.approx(recorded["values"][schedule], rel=1e-12)


def test_multi_step_halves_at_each_milestone() -> None:
    rates = [lr_at(step, 100, "multi_step", base_lr=8.0, milestones=(10, 20)) for step in (9, 10, 19, 20, 99)]
    assert rates == [8, 4, 4, 2, 2]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("total", [1, 3, 9, 200])
def test_every_step_has_a_positive_rate_up_to_the_base(schedule: str, total: int) -> None:
    rates = [lr_at(step, total, schedule, base_lr=1.0, milestones=(2,)) for step in range(1, total + 2)]
    assert all(0 < rate <= 1 for rate in rates)


def test_an_unknown_schedule_is_an_error() -> None:
    with pytest.raises(ValueError, match=r'schedule must be one of linear, .*, got "cosine"'):
        lr_at(1, 10, "cosine", base_lr=1.0)


def test_parameter_groups_equal_the_original() -> None:
    recorded = RECORDED["param_groups"]
    state = load_file(GOLDEN / "state_common.safetensors")
    state |= {key.removeprefix("state."): value for key, value in load_file(GOLDEN / "qa_open.safetensors").items() if key.startswith("state.")}
    names = [name for group in reversed(recorded["groups"]) for name in group["params"]]
    parameters = {name: nn.Parameter(state[name]) for name in names}
    frozen = [(name, nn.Parameter(tensor, requires_grad=False)) for name, tensor in state.items() if name not in names and tensor.is_floating_point()]
    options = {
        key: value for key, value in recorded["opts"].items() if key not in ("transformer_lr_mul_prefix", "cnn_lr_mul_prefix", "optim", "betas")
    }

    groups = parameter_groups([*frozen, *parameters.items()], **options)

    name_of = {id(parameter): name for name, parameter in parameters.items()}
    expected = [group for group in recorded["groups"] if group["params"]]
    assert [[name_of[id(p)] for p in group["params"]] for group in groups] == [group["params"] for group in expected]
    assert [group["weight_decay"] for group in groups] == [group["weight_decay"] for group in expected]
    # the original builds the last two groups at the transformer's rate, and sets the CNN's before the first update
    assert [group["lr"] for group in groups] == pytest.approx([5e-5, 5e-5, 4e-4, 4e-5, 4e-5])


def test_parameter_groups_hold_each_trainable_parameter_of_our_model_once() -> None:
    config = ClipBertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, vocab_size=50,
        stem_channels=4, bottleneck_channels=4, res2_channels=8, heads={"qa": {"kind": "classifier", "num_outputs": 2}},
    )  # fmt: skip
    model = ClipBertForSequenceClassification(config)
    rates = {"learning_rate": 1e-4, "weight_decay": 1e-3, "cnn_learning_rate": 1e-5, "cnn_weight_decay": 1e-2}
    groups = parameter_groups(model.named_parameters(), **rates)
    assert [group["name"] for group in groups] == ["transformer_rest_decay", "transformer_rest_no_decay", "cnn_top_decay", "cnn_rest_decay"]
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    AdamW(groups).step()


def test_wrong_optimizer_settings_are_named() -> None:
    with pytest.raises(ValueError, match="AdamW needs"):
        AdamW([nn.Parameter(torch.ones(1))], lr=-1.0)


def test_parameters_named_in_lr_muls_learn_at_a_multiple_of_their_rate() -> None:
    named = [("fusion.layers.0.weight", torch.zeros(2, 2, requires_grad=True)), ("heads.qa.weight", torch.zeros(2, 2, requires_grad=True))]
    settings = {"learning_rate": 1.0, "weight_decay": 0.1, "cnn_learning_rate": 1.0, "cnn_weight_decay": 0.1}
    groups = parameter_groups(named, lr_muls={"fusion.layers": 0.5}, **settings)
    rates = {id(p): (group["base_lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert [rates[id(p)] for _, p in named] == [(0.5, 0.1), (1.0, 0.1)]
    with pytest.raises(ValueError, match="no parameter that learns is called 'tower'"):
        parameter_groups(named, lr_muls={"tower": 2.0}, **settings)
