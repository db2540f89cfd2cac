"""Benchmarks in short: equal results beside every speed-up, floors of counted ratios, and the table of targets."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_inputs, tiny_model, tiny_processor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import bench
import decode
import retrieval
import training
from official import ALONE, OFFICIAL, OURS, Inference, Recipe
from rows import Row, Target, table, timed
from targets import GPU_ONLY, TARGETS, WHY_MISSED


@pytest.fixture(scope="module")
def document() -> str:
    return bench.document(bench.drawn())


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "gop250.mp4"
    decode.write_video(path, 15, 250)
    return path


@pytest.mark.parametrize(("num_clips", "policy", "target"), [(16, "official", "D1 frames"), (8, "official-random", "D2 frames")])
def test_the_planner_decodes_few_frames_and_returns_those_of_every_other_way(video: Path, num_clips: int, policy: str, target: str) -> None:
    frames, _ = decode.measure(video, num_clips, 2, policy, 1)
    assert TARGETS[target].met(frames["official"] / frames["ours"])
    assert frames["ours"] <= min(frames["full"], frames["seeking"])


def test_frames_go_to_the_device_in_a_tenth_of_the_bytes(video: Path) -> None:
    (row,) = decode.transfer(video)
    assert row.ratio and TARGETS["D4"].met(row.ratio)


@pytest.fixture(scope="module")
def inference() -> Inference:
    return Inference(tiny_model(), "choice")


def padded_question() -> dict[str, Any]:
    mask = (torch.arange(36) < 5)[None]
    return {"pixels": tiny_inputs(num_videos=1)["pixel_values"][0], "input_ids": torch.full((1, 36), 1500) * mask, "attention_mask": mask}


@pytest.mark.parametrize("recipe", [OURS, *(recipe for name, recipe in ALONE.items() if name != "bfloat16")], ids=str)
def test_each_change_to_the_original_leaves_its_logits(inference: Inference, recipe: Any) -> None:
    expected = inference.clip_logits(**padded_question(), recipe=OFFICIAL)
    torch.testing.assert_close(inference.clip_logits(**padded_question(), recipe=recipe), expected, rtol=1e-4, atol=1e-5)
    model = inference.model(padded_question()["pixels"][None], padded_question()["input_ids"], padded_question()["attention_mask"], head="choice")
    torch.testing.assert_close(model.clip_logits[0], expected, rtol=1e-4, atol=1e-5)


def test_ours_computes_less_than_the_original(inference: Inference) -> None:
    flops = {}
    for name, recipe in {"official": OFFICIAL, "ours": OURS}.items():
        with FlopCounterMode(display=False) as counter:
            inference.clip_logits(**padded_question(), recipe=recipe)
        flops[name] = counter.get_total_flops()
    assert flops["official"] > 1.1 * flops["ours"] > 0


@pytest.mark.parametrize(("recipe", "cnn_once"), [(OURS, True), (OFFICIAL, True), (Recipe(batched=True), False)])
def test_each_change_to_the_original_loop_leaves_its_scores_of_a_gallery(recipe: Recipe, cnn_once: bool) -> None:
    inference, pixels = Inference(tiny_model(), "match"), tiny_inputs(num_videos=2)["pixel_values"]
    processor = tiny_processor(inference.model)
    texts = ["a red ball rolls", "a dog", "blue"]
    expected = retrieval.loop(inference, pixels, retrieval.batches(processor, texts, 20), OFFICIAL)
    with retrieval.counted(inference.cnn(recipe).cnn) as sizes:
        found = retrieval.loop(inference, pixels, retrieval.batches(processor, texts, 0), recipe, cnn_once=cnn_once)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == (3, pixels.shape[0] * pixels.shape[1]) and sum(sizes) == pixels[:, :, :, 0, 0, 0].numel()


def test_ranks_do_not_depend_on_the_order_of_the_gallery() -> None:
    assert retrieval.ranks(0, permutations=5).ratio == 0


def test_every_way_to_train_has_the_gradients_of_one_pass() -> None:
    errors = training.gradient_errors(0, 1, 2, 1, torch.float32)
    assert set(errors) == {"official", "one-pass", "two-pass-full", "two-pass-split", "checkpointed"}
    assert TARGETS["T7 float32"].met(max(errors.values()))


def test_a_table_says_which_targets_are_met() -> None:
    targets = {"A": Target("about", "9", at_least=2.0), "B": Target("about", "1", at_most=1.0)}
    rows = [Row("A", "fast", "ms", 10.0, 30.0, 3.0), Row("B", "slow", "ms", 10.0, 5.0, 2.0, note="why"), Row("", "alone", "MB", 1234.0)]
    assert table(rows, targets).splitlines()[2:] == [
        "| A | fast | 10 ms | 30 ms | 3 | ≥ 2 | 9 | met |",
        "| B | slow | 10 ms | 5 ms | 2 | ≤ 1 | 1 | **not met**; why |",
        "|  | alone | 1,234 MB |  |  |  |  |  |",
    ]


def test_runs_are_timed_in_turn() -> None:
    order: list[str] = []
    found = timed({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=2, warmup=1)
    assert order == ["a", "b"] * 3 and found["a"].milliseconds >= 0 and found["b"].spread >= 0


def test_the_document_has_every_target_with_a_figure_or_the_reason_for_none(document: str) -> None:
    for key in TARGETS:
        assert f"| {key} |" in document
    assert all("no GPU run yet" in line for line in document.splitlines() if line.startswith(tuple(f"| {key} |" for key in GPU_ONLY)))


def test_the_committed_document_is_of_the_committed_results(document: str) -> None:
    assert bench.DOCUMENT.read_text(encoding="utf-8") == document


def test_every_missed_target_is_explained_in_the_document(document: str) -> None:
    late = bench.missed(bench.committed())
    assert late and set(late) <= set(WHY_MISSED)
    assert all(f"- **{key}**: {WHY_MISSED[key]}" in document for key in late)
