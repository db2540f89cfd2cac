"""Cost: FLOPs counted without running, points in fresh processes, panels as in Figure 5, bad input."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from clipbert import cost
from clipbert.cli import main
from clipbert.cost import CostPoint, measure, predict_cost
from clipbert.cost_limits import Limits, measured_limits
from clipbert.cost_panels import fit_line, panels
from clipbert.cost_parts import STEP_PARTS, part_costs
from clipbert.cost_point import largest, measured
from clipbert.cost_settings import MODES, CostSettings, inputs_of, loss_of, model_of, training_step
from clipbert.cost_trace import largest_below, traced_step

QUICK = CostSettings(batch_size=2, image_size=64, warmup=0, repeats=2)


def point(num_clips: int, num_frames: int, **fields: Any) -> CostPoint:
    """What a machine with an exactly linear cost would measure."""
    clips = 2 * num_clips
    linear = {
        "spread": 0.5,
        "milliseconds": 5.0 + 2 * clips + 3 * clips * num_frames,
        "peak_bytes": 1000 + 10 * clips * num_frames,
        "bytes_per_video": 7.0 * num_clips,
    }
    return CostPoint(replace(QUICK, num_clips=num_clips, num_frames=num_frames), "a cpu", 1, **linear | fields)


def test_flops_counted_without_memory_are_those_of_a_real_pass() -> None:
    settings = replace(QUICK, num_clips=2, num_frames=2)
    model = model_of(settings, torch.device("cpu"))
    inputs = inputs_of(settings, "cpu")
    with FlopCounterMode(display=False) as counter:
        loss_of(model, inputs).backward()
    assert predict_cost(settings).training_flops == counter.get_total_flops() > 0


TECHNIQUES = [("one-pass", True), ("two-pass-full", False), pytest.param("two-pass-split", True, marks=pytest.mark.slow)]


def allocated(settings: CostSettings) -> int:
    """The most bytes a real step held, weights and inputs among them, as PyTorch's allocator tells its profiler."""
    model, inputs = model_of(settings, torch.device("cpu")), inputs_of(settings, "cpu")
    live = peak = sum(x.nbytes for x in (*model.parameters(), *model.buffers(), *inputs.values()))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        training_step(model, inputs, settings, lambda loss, _: loss.backward())
    assert profiler.profiler and profiler.profiler.kineto_results
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def saved_for_backward(settings: CostSettings) -> int:
    """The bytes that a real forward pass in one piece keeps for its backward pass, but for weights and inputs."""
    model, inputs = model_of(settings, torch.device("cpu")), inputs_of(settings, "cpu")
    given = {x.untyped_storage().data_ptr() for x in (*model.parameters(), *model.buffers(), *inputs.values())}
    kept: dict[int, torch.Tensor] = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.setdefault(x.untyped_storage().data_ptr(), x) is None or x, lambda x: x):
        training_step(model, inputs, settings, lambda loss, _: None)
    return sum(x.untyped_storage().nbytes() for place, x in kept.items() if place not in given)


def test_activation_bytes_are_what_autograd_saves() -> None:
    settings = replace(QUICK, batch_size=3, num_clips=2)
    assert traced_step(settings).activation_bytes == pytest.approx(saved_for_backward(settings), rel=0.01)


@pytest.mark.parametrize(("mode", "checkpointing"), TECHNIQUES)
def test_predicted_flops_and_memory_are_those_of_a_real_step(mode: str, checkpointing: bool) -> None:
    settings = replace(QUICK, num_clips=2, batch_size=16, mode=mode, checkpointing=checkpointing)
    model, inputs = model_of(settings, torch.device("cpu")), inputs_of(settings, "cpu")
    with FlopCounterMode(display=False) as counter:
        training_step(model, inputs, settings, lambda loss, _: loss.backward())
    traced = traced_step(settings)
    plain = traced_step(replace(settings, mode="one-pass", checkpointing=False))
    assert traced.flops == counter.get_total_flops() > plain.flops and traced.activation_bytes < 0.6 * plain.activation_bytes
    assert traced.peak_bytes == pytest.approx(allocated(settings), rel=0.05)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_of_one_pass_is_predicted_within_5_percent(dtype: str) -> None:
    settings = replace(QUICK, batch_size=32, dtype=dtype)  # of fewer, what the gradient of a convolution needs inside itself is not small
    assert traced_step(settings).peak_bytes == pytest.approx(allocated(settings), rel=0.05)


@pytest.mark.slow
def test_flops_of_the_full_size_are_those_of_a_real_step() -> None:
    settings = CostSettings(model="paper", batch_size=1)
    model, inputs = model_of(settings, torch.device("cpu")), inputs_of(settings, "cpu")
    with FlopCounterMode(display=False) as counter:
        training_step(model, inputs, settings, lambda loss, _: loss.backward())
    assert predict_cost(settings).training_flops == counter.get_total_flops()


def test_a_roofline_is_bounded_by_arithmetic_and_by_traffic() -> None:
    traced, limits = traced_step(QUICK), Limits("a machine", 1e12, 1e13, 1e11)
    compute, memory = traced.flops / 1e12, traced.traffic_bytes / 1e11
    assert max(compute, memory) <= traced.seconds(limits, "float32") <= compute + memory
    assert traced.seconds(limits, "bfloat16") <= traced.seconds(limits, "float32")


def test_the_limits_measured_of_this_machine_are_positive() -> None:
    found = measured_limits("cpu", side=64, repeats=1)
    assert found.float32_flops > 0 and found.bfloat16_flops > 0 and found.bytes_per_second > 0


@given(weights=st.integers(0, 1000), slope=st.integers(1, 50), later=st.integers(0, 60), cap=st.integers(0, 3000))
def test_the_largest_predicted_batch_is_that_of_trying_all(weights: int, slope: int, later: int, cap: int) -> None:
    def peak(size: int) -> int:
        return weights + max(slope * size, (slope + later) * (size - 3))

    expected = max((size for size in range(3200) if peak(size) <= cap), default=0)
    assert largest_below(peak, cap) == (expected if peak(1) <= cap else 0)


def test_a_predicted_batch_fits_and_one_more_does_not() -> None:
    settings = replace(QUICK, memory_cap=8 << 20)
    size = predict_cost(settings).predicted_batch
    assert size and [traced_step(replace(settings, batch_size=size + more)).peak_bytes <= 8 << 20 for more in (0, 1)] == [True, False]


def test_beyond_the_largest_traced_batch_memory_goes_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipbert.cost_trace.TRACED_BATCH", 16)
    found = predict_cost(replace(QUICK, memory_cap=64 << 20)).predicted_batch
    assert found and found > 32
    assert traced_step(replace(QUICK, batch_size=found)).peak_bytes == pytest.approx(64 << 20, rel=0.05)


def test_under_a_memory_cap_a_cpu_shows_the_predicted_largest_batch() -> None:
    a, _, c, _ = panels([point(n, 1, predicted_batch=100 // n) for n in (1, 2, 4)] + [point(1, 2, predicted_batch=50)])
    assert a.y == c.y == "predicted_batch" and a.fit is None


def test_flops_grow_with_clips_and_those_of_the_cnn_with_frames() -> None:
    one, clips, frames = (predict_cost(replace(QUICK, num_clips=n, num_frames=t)) for n, t in ((1, 1), (3, 1), (1, 3)))
    assert (clips.cnn_flops, clips.transformer_flops, clips.training_flops) == (3 * one.cnn_flops, 3 * one.transformer_flops, 3 * one.training_flops)
    assert (frames.cnn_flops, frames.transformer_flops) == (3 * one.cnn_flops, one.transformer_flops)


def test_the_papers_sizes_cost_what_arithmetic_says() -> None:
    found = predict_cost(CostSettings(model="paper", batch_size=1))
    resnet = 2 * (0.47 + 2.67 + 3.80 + 5.55 + 2.93 + 2.78)  # GFLOP of stem, res2 to res5 and grid convolution at 448 pixels
    assert found.cnn_flops / 1e9 == pytest.approx(resnet, rel=0.01)
    assert found.parameters == 148_433_090


@pytest.mark.parametrize("text_length", [5, 20])
def test_a_measured_point_has_finite_positive_numbers(text_length: int) -> None:
    found = measured(replace(QUICK, text_length=text_length))
    assert found["milliseconds"] > 0 and found["spread"] >= 0 and found["peak_bytes"] > 1e6 and found["num_threads"] >= 1


def test_the_parts_of_a_measured_step_sum_to_it() -> None:
    found = measured(replace(QUICK, repeats=1))
    assert sum(found["parts"][part] for part in STEP_PARTS) == pytest.approx(found["milliseconds"]) and found["parts"]["decode"] > 0


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_step_in_two_passes_is_measured_whole(mode: str) -> None:
    found = measured(replace(QUICK, num_clips=2, repeats=1, mode=mode, checkpointing=True))
    assert found["milliseconds"] > 0 and set(found["parts"]) == {"decode"}


def test_parameters_and_macs_of_the_parts_sum_to_those_of_the_model() -> None:
    parts = {found.part: found for found in part_costs(QUICK, {})}
    whole = predict_cost(QUICK)
    assert sum(found.parameters or 0 for found in parts.values()) == whole.parameters
    assert sum(2 * (parts[name].macs or 0) for name in STEP_PARTS) == whole.training_flops
    assert parts["decode"].macs is None and parts["backward"].parameters is None


def test_points_come_one_by_one_and_the_shared_one_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[int, int]] = []

    def run(settings: CostSettings, _stopped: object) -> CostPoint:
        ran.append((settings.num_clips, settings.num_frames))
        return point(*ran[-1])

    monkeypatch.setattr(cost, "_in_fresh_process", run)
    stream = measure(QUICK, clips=(1, 2, 4), frames=(1, 8))
    next(stream)
    assert ran == [(1, 1)]
    assert len(list(stream)) == 3 and ran == [(1, 1), (2, 1), (4, 1), (1, 8)]


def test_the_point_in_work_is_ended_when_it_is_to_stop() -> None:
    start = time.perf_counter()
    assert list(measure(replace(QUICK, repeats=1_000_000), clips=(1,), frames=(1,), stopped=lambda: time.perf_counter() - start > 1)) == []
    assert time.perf_counter() - start < 20


def test_a_point_in_a_fresh_process_that_lacks_memory_says_so() -> None:
    (found,) = measure(replace(QUICK, batch_size=512, memory_cap=200 << 20), clips=(1,), frames=(1,))
    assert found.error == "it does not fit into memory" and found.milliseconds is None


def test_panels_are_the_papers_four_with_its_known_points() -> None:
    a, b, c, d = panels([point(n, 1) for n in (1, 2, 4, 8, 16)] + [point(1, t) for t in (2, 4)])
    assert [panel.letter for panel in (a, b, c, d)] == list("abcd")
    assert [p.settings.num_clips for p in a.points] == [1, 2, 4, 8, 16] and [p.settings.num_frames for p in c.points] == [1, 2, 4]
    assert a.y == c.y == "bytes_per_video" and b.y == d.y == "milliseconds"
    assert a.paper == {2: 190, 16: 16} and c.paper == {} and b.paper == {1: 12.7, 2: 15.5, 4: 15.7, 16: 17.4} and d.paper[16] == 11.6
    assert b.fit and (b.fit.intercept, b.fit.slope, b.fit.r_squared) == pytest.approx((5, 10, 1))


def test_on_a_gpu_the_panels_show_the_largest_batch() -> None:
    a, *_ = panels([point(n, 1, max_batch=100 // n) for n in (1, 2, 4)])
    assert a.y == "max_batch" and a.fit is None


def test_a_point_that_failed_is_left_out_of_the_fit() -> None:
    failed = replace(point(16, 1), milliseconds=None, peak_bytes=None, bytes_per_video=None, error="it does not fit into memory")
    _, b, *_ = panels([point(n, 1) for n in (1, 2, 4)] + [failed])
    assert b.fit and b.fit.slope == pytest.approx(10) and len(b.points) == 4


def test_time_and_memory_are_predicted_from_measured_points() -> None:
    points = [point(1, 1), point(4, 1), point(1, 4), point(2, 2)]
    found = predict_cost(replace(QUICK, num_clips=8, num_frames=2), points=points)
    assert found.milliseconds == pytest.approx(point(8, 2).milliseconds) and found.peak_bytes == pytest.approx(point(8, 2).peak_bytes)


def test_predictions_need_enough_points_of_the_same_model() -> None:
    with pytest.raises(ValueError, match="at least three measured points that differ in clips and in frames, got 3"):
        predict_cost(QUICK, points=[point(1, 1), point(2, 1), point(4, 1)])
    with pytest.raises(ValueError, match="differ from the settings only in"):
        predict_cost(replace(QUICK, image_size=128), points=[point(1, 1), point(4, 1), point(1, 4)])
    with pytest.raises(ValueError, match="at least three points, got 2"):
        fit_line([1.0, 2.0], [1.0, 2.0])


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 16, 190, 4096])
def test_the_largest_batch_is_found_in_few_trials(limit: int) -> None:
    tried: list[int] = []
    assert largest(lambda batch: tried.append(batch) or batch <= limit) == limit
    assert len(tried) <= 2 * max(1, limit).bit_length() + 1


@pytest.mark.gpu
def test_a_point_on_a_gpu_has_memory_and_a_largest_batch() -> None:
    found = measured(replace(QUICK, device="cuda", memory_cap=1 << 30))
    assert found["max_batch"] > 1 and 0 < found["peak_bytes"] <= found["reserved_bytes"] and found["milliseconds"] > 0


def test_the_command_measures_and_shows_the_panels(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_in_fresh_process", lambda settings, _: point(settings.num_clips, settings.num_frames))
    argv = ["cost", "--num-clips", "1", "2", "4", "--num-frames", "1", "2", "--batch-size", "2", "--image-size", "64", "--device", "cpu"]
    assert main([*argv, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(row["num_clips"], row["num_frames"]) for row in result["rows"]] == [(1, 1), (2, 1), (4, 1), (1, 2)]
    assert [panel["panel"] for panel in result["panels"]] == list("abcd") and result["predicted_at_1x1"]["training_flops"] > 0
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "(b) ms per step = 5.0 + 10.0 N_train  (R² 1.000)" in out and "2: 190, 16: 16" in out and "a CPU has no fixed memory" in out


def test_the_command_writes_points_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cost, "_in_fresh_process", lambda settings, _: point(settings.num_clips, settings.num_frames, predicted_batch=7))
    argv = ["cost", "--num-clips", "1", "2", "--num-frames", "1", "--batch-size", "2", "--image-size", "64", "--mode", "two-pass-full"]
    assert main([*argv, "--machine", "H200", "--memory-cap", "32", "--out", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [f"cost-{x}.png" for x in "abcd"] + ["cost.json", "points.jsonl"]
    assert [json.loads(line)["num_clips"] for line in (tmp_path / "new" / "points.jsonl").read_text().splitlines()] == [1, 2]
    out = capsys.readouterr().out
    assert "roofline of NVIDIA H200" in out and "two passes over clips" in out and "predicted largest batch = 1: 7, 2: 7" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "reel"], "no model 'reel'"),
        (["--batch-size", "0"], "batch_size must be at least 1, got 0"),
        (["--num-clips", "0"], "num_clips must be at least 1, got 0"),
        (["--repeats", "0"], "repeats must be at least 1, got 0"),
        (["--device", "gpu"], "device must be one of auto, cpu, cuda"),
        (["--dtype", "float8"], "dtype must be one of float32, bfloat16"),
        (["--mode", "three-pass"], "mode must be one of one-pass, two-pass-full, two-pass-split"),
        (["--machine", "TPU"], "machine must be one of V100, A100, H100, H200"),
        (["--memory-cap", "-1"], "memory_cap must not be negative"),
    ],
)
def test_bad_input_gets_one_line_and_exit_2(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.strip().splitlines()) == 1 and message in err


def test_the_measured_model_is_seeded() -> None:
    a, b = (model_of(QUICK, torch.device("cpu")).state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)
