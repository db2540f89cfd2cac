"""Two-pass training: the gradients of one pass, dropout and all, at the memory of one clip."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import tiny_inputs, tiny_model
from torch import Tensor, nn
from torch.nn import functional as F

from clipbert import two_pass
from clipbert.aggregation import AGGREGATIONS, aggregate
from clipbert.model import ClipBertForSequenceClassification

LABELS = torch.tensor([1, 3])
PRECISION = {torch.float64: 1e-12, torch.float32: 1e-5}


class Setting:
    """A tiny model in training mode with dropout, and the functions that two-pass training wants."""

    def __init__(self, dtype: torch.dtype = torch.float64, head: str = "qa", num_clips: int = 3) -> None:
        self.model: ClipBertForSequenceClassification = tiny_model(vocab_size=2000).to(dtype).train()
        inputs = tiny_inputs(num_clips=num_clips)
        self.pixel_values = inputs.pop("pixel_values").to(dtype)
        self.texts, self.head = inputs, head
        self.backward_calls: list[bool] = []

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.model(pixel_values, **self.texts, head=self.head).clip_logits

    def score(self, features: Tensor) -> Tensor:
        return self.model.score(features, **self.texts, head=self.head)

    def loss(self, how: str) -> Callable[[Tensor], Tensor]:
        if self.head == "count":
            return lambda logits: F.mse_loss(aggregate(logits, how)[:, 0], LABELS.to(logits))
        return lambda logits: F.cross_entropy(aggregate(logits, how), LABELS % logits.shape[-1])

    def backward(self, loss: Tensor, last: bool) -> None:
        self.backward_calls.append(last)
        loss.backward()

    def gradients(self) -> dict[str, Tensor]:
        found = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
        self.model.zero_grad()
        return found


def clip_by_clip(setting: Setting, how: str, clips_per_pass: int) -> tuple[Tensor, dict[str, Tensor]]:
    """One pass over the same chunks, all graphs alive at once."""
    torch.manual_seed(5)
    logits = torch.cat([setting.forward(clips) for clips in setting.pixel_values.split(clips_per_pass, dim=1)], dim=1)
    loss = setting.loss(how)(logits)
    loss.backward()
    return loss.detach(), setting.gradients()


def in_full(setting: Setting, how: str, clips_per_pass: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(5)
    x, model = setting.pixel_values, setting.model
    loss = two_pass.full(x, setting.forward, setting.loss(how), setting.backward, clips_per_pass=clips_per_pass, model=model)
    return loss, setting.gradients()


def in_split(setting: Setting, how: str, clips_per_pass: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(5)
    x, encode, model = setting.pixel_values, setting.model.encode_clips, setting.model
    loss = two_pass.split(x, encode, setting.score, setting.loss(how), setting.backward, clips_per_pass=clips_per_pass, model=model)
    return loss, setting.gradients()


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() <= tolerance * max(1.0, float(gradient.norm())), name


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize(("how", "clips_per_pass"), [("mean", 1), ("max", 1), ("lse", 1), ("lse", 2)])
def test_full_has_the_gradients_of_one_pass_with_dropout(dtype: torch.dtype, how: str, clips_per_pass: int) -> None:
    setting = Setting(dtype)
    expected_loss, expected = clip_by_clip(setting, how, clips_per_pass)
    loss, gradients = in_full(setting, how, clips_per_pass)
    assert float(loss) == pytest.approx(float(expected_loss), rel=PRECISION[dtype])
    assert_same(gradients, expected, PRECISION[dtype])


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("how", AGGREGATIONS)
def test_split_has_the_gradients_of_one_pass_with_dropout(dtype: torch.dtype, how: str) -> None:
    setting = Setting(dtype)
    torch.manual_seed(5)
    expected_loss = setting.loss(how)(setting.forward(setting.pixel_values))
    expected_loss.backward()
    expected = setting.gradients()
    loss, gradients = in_split(setting, how)
    assert float(loss) == pytest.approx(float(expected_loss.detach()), rel=PRECISION[dtype])
    assert_same(gradients, expected, PRECISION[dtype])


@pytest.mark.parametrize("run", [in_full, in_split])
def test_only_the_last_backward_pass_is_called_last(run: Any) -> None:
    setting = Setting()
    run(setting, "lse")
    assert setting.backward_calls[-1] and not any(setting.backward_calls[:-1])


def test_max_skips_clips_that_won_nothing() -> None:
    setting = Setting(head="match", num_clips=6)
    torch.manual_seed(5)
    with torch.no_grad():
        clips = [setting.forward(clip) for clip in setting.pixel_values.split(1, dim=1)]
    winners = set(torch.cat(clips, dim=1).argmax(dim=1).flatten().tolist())
    _, expected = clip_by_clip(setting, "max", 1)
    _, gradients = in_full(setting, "max")
    assert len(setting.backward_calls) == len(winners) < 6
    assert_same(gradients, expected, 1e-12)


@pytest.mark.parametrize("run", [in_full, in_split])
def test_a_loss_without_gradient_still_ends_the_batch(run: Any) -> None:
    setting = Setting()
    setting.loss = lambda how: lambda logits: (logits * 0).sum()  # type: ignore[method-assign]
    _, gradients = run(setting, "mean")
    assert setting.backward_calls[-1]
    assert all(not gradient.any() for gradient in gradients.values())


def test_running_statistics_of_the_counting_head_move_once() -> None:
    once, twice = Setting(head="count"), Setting(head="count")
    clip_by_clip(once, "mean", 1)
    in_full(twice, "mean")
    for name, buffer in once.model.named_buffers():
        torch.testing.assert_close(twice.model.get_buffer(name), buffer, rtol=1e-12, atol=1e-12)
    norms = [m for m in twice.model.modules() if isinstance(m, nn.BatchNorm1d)]
    assert norms and all(norm.track_running_stats for norm in norms)


def test_counting_has_the_gradients_of_one_pass() -> None:
    setting = Setting(head="count")
    _, expected = clip_by_clip(setting, "mean", 1)
    assert_same(in_full(setting, "mean")[1], expected, 1e-12)


def test_split_with_a_frozen_cnn_computes_it_once() -> None:
    setting = Setting()
    setting.model.clipbert.backbone.requires_grad_(False)
    calls = []
    setting.model.clipbert.backbone.register_forward_hook(lambda *_: calls.append(1))
    in_split(setting, "lse")
    assert len(calls) == 3 and setting.backward_calls == [True]


def test_random_numbers_go_on_as_after_one_pass() -> None:
    setting = Setting()
    clip_by_clip(setting, "lse", 1)
    expected = torch.rand(3)
    in_full(setting, "lse")
    assert torch.equal(torch.rand(3), expected)


def live_bytes(run: Callable[[], object]) -> int:
    """Most bytes that autograd holds for backward passes at any one time; a tensor held twice counts twice."""
    held: dict[int, int] = {}
    most = 0

    class Box:
        def __init__(self, x: Tensor) -> None:
            nonlocal most
            self.x, held[id(self)] = x, x.nbytes
            most = max(most, sum(held.values()))

        def __del__(self) -> None:
            del held[id(self)]

    with torch.autograd.graph.saved_tensors_hooks(Box, lambda box: box.x):
        run()
    return most


def test_graph_of_full_does_not_grow_with_clips_and_that_of_split_only_by_the_transformer() -> None:
    def most(run: Callable[..., object], num_clips: int, *args: int) -> int:
        setting = Setting(torch.float32, num_clips=num_clips)
        return live_bytes(lambda: run(setting, "lse", *args))

    assert most(in_full, 8) <= 1.05 * most(in_full, 1)
    transformer_of_a_clip = (most(in_split, 8) - most(in_split, 4)) / 4
    all_of_a_clip = (most(clip_by_clip, 8, 1) - most(clip_by_clip, 4, 1)) / 4
    assert transformer_of_a_clip < 0.5 * all_of_a_clip


def test_one_pass_is_plain_autograd() -> None:
    setting = Setting(num_clips=1)
    torch.manual_seed(5)
    loss = two_pass.one_pass(setting.pixel_values, setting.forward, setting.loss("lse"), setting.backward)
    gradients = setting.gradients()
    expected_loss, expected = clip_by_clip(setting, "lse", 1)
    assert torch.equal(loss, expected_loss)
    assert_same(gradients, expected, 0.0)
