"""Grids of a frozen CNN on disk, and the ridge start that reads them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_train import config, log, run, source, world  # noqa: F401  (a fixture)
from tiny import SIZES

from clipbert.data.dataset import VideoTextDataset
from clipbert.video import VideoError
from train import grids, train
from train.grids import GridDataset, means, read, write
from train.ridge import ridge, word_weights
from train.settings import read_settings

LITE = {**SIZES, "backbone": "efficientnet-lite0", "grid_encoder": "linear", "image_size": 64, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0}  # fmt: skip


def kept(
    tmp_path: Path, *sources: dict[str, Any], clips: dict[str, Any] | None = None, validation: list[dict[str, Any]] | None = None, **model: Any
) -> Path:
    """Settings of a run over grids kept in `tmp_path`."""
    looks = {"num_clips": 2, "num_draws": 2, "smallest_crop": 0.6, "grid_cache": str(tmp_path / "grids")} | (clips or {})
    return config(tmp_path, *sources, model={"config": LITE, "freeze": ["cnn"], **model}, clips=looks, validation=validation or [])


def test_training_on_kept_grids_is_training_on_frames(world: Path, tmp_path: Path) -> None:  # noqa: F811
    losses = []
    for name, changes in (("frames", {"grid_cache": ""}), ("grids", {})):
        (tmp_path / name).mkdir()
        assert run(kept(tmp_path / name, source(world, "qa"), clips=changes)) == 0
        losses.append([line["loss"] for line in log(tmp_path / name / "out")])
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)  # float16


def test_a_second_run_computes_no_grid(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    path = kept(tmp_path, source(world, "qa"), source(world, "contrastive"))
    train.Run(read_settings(path))
    assert len(list((tmp_path / "grids").iterdir())) == 12  # six videos in two draws, whatever the number of sources
    monkeypatch.setattr(train.FrozenCnn, "__call__", lambda *_: pytest.fail("the CNN ran again"))
    train.Run(read_settings(path))


def test_several_processes_make_the_grids_of_one(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    made = []
    for at_once, name in ((16, "one"), (2, "several")):
        monkeypatch.setattr(grids, "LOOKS_AT_ONCE", at_once)
        dataset: Any = train.Run(read_settings(kept(tmp_path, source(world, "qa")), [f"clips.grid_cache={tmp_path / name}"])).train[0].dataset
        made.append([read(path)[0] for _, _, path in dataset.looks()])
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(ours, theirs)


def stop_at_the_fourth_video(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    looked = VideoTextDataset.look

    def look(self: Any, example: Any, seed: int) -> Any:
        if example.video.endswith("v3.mp4"):
            raise error
        return looked(self, example, seed)

    monkeypatch.setattr(VideoTextDataset, "look", look)


def test_a_video_that_another_process_cannot_read_is_one_line(
    world: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(grids, "LOOKS_AT_ONCE", 2)
    stop_at_the_fourth_video(monkeypatch, VideoError("cannot decode v3.mp4; copy it again."))
    assert run(kept(tmp_path, source(world, "qa"))) == 2
    assert capsys.readouterr().err.strip().endswith("train: cannot decode v3.mp4; copy it again.")


def test_ctrl_c_while_grids_are_made_is_one_line(
    world: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop_at_the_fourth_video(monkeypatch, KeyboardInterrupt())
    assert run(kept(tmp_path, source(world, "qa"))) == train.EXIT_INTERRUPTED
    assert capsys.readouterr().err.strip() == "interrupted before the first update; grids made until now are kept"
    assert len(list((tmp_path / "grids").glob("*.grid"))) > 0


def test_another_cnn_reads_no_grid_of_this_one(world: Path, tmp_path: Path) -> None:  # noqa: F811
    for seed in (1, 2):
        train.Run(read_settings(kept(tmp_path, source(world, "qa")), [f"run.seed={seed}", f"run.output={tmp_path / str(seed)}"]))
    assert len(list((tmp_path / "grids").iterdir())) == 24


@pytest.mark.parametrize("frames_differ", [False, True])
def test_grids_of_a_photo_are_kept_once_and_read_like_any_others(frames_differ: bool, tmp_path: Path) -> None:
    ours, times = torch.rand(1, 1, 8, 3, 3).half().repeat(4, 2, 1, 1, 1), torch.zeros(4, 2, dtype=torch.float64)
    ours[3, 1] += frames_differ
    write(tmp_path / "a.grid", ours, times)
    again, at = read(tmp_path / "a.grid")
    assert torch.equal(again, ours) and torch.equal(at, times)
    assert (ours.nbytes < (tmp_path / "a.grid").stat().st_size) == frames_differ


def test_validation_sees_whole_frames_in_one_draw(world: Path, tmp_path: Path) -> None:  # noqa: F811
    made = train.Run(read_settings(kept(tmp_path, source(world, "qa"), validation=[source(world, "qa")])))
    dataset = made.validation[0].dataset
    assert isinstance(dataset, GridDataset) and len(list(dataset.looks())) == 6 and dataset.decoded.views.smallest_crop == 1.0


def test_more_grids_than_allowed_are_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert run(kept(tmp_path, source(world, "qa")), "clips.grid_cache_gb=1e-5") == 2
    assert "raise it, or lower clips.num_draws" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["clips.num_draws=0"], "clips.grid_cache keeps fixed draws"),
        (["model.freeze=[]"], r"clips.grid_cache needs model.freeze=\[cnn\]"),
        (["model.ridge_penalty=10.0"], "a source of the task contrastive or pretrain"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(world: Path, tmp_path: Path, overrides: list[str], message: str) -> None:  # noqa: F811
    with pytest.raises(ValueError, match=message):
        read_settings(kept(tmp_path, source(world, "qa")), overrides)


def test_ridge_without_penalty_is_least_squares_and_with_much_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    x, truth = torch.randn(200, 6, generator=generator), torch.randn(3, 6, generator=generator)
    weight, bias = ridge(x, x @ truth.T + 2, 1e-4)
    torch.testing.assert_close(weight, truth, atol=1e-3, rtol=0)
    torch.testing.assert_close(bias, torch.full((3,), 2.0), atol=1e-3, rtol=0)
    assert float(ridge(x, x @ truth.T, 1e9)[0].abs().max()) < 1e-3


def test_rare_words_weigh_more_and_stop_words_nothing(world: Path, tmp_path: Path) -> None:  # noqa: F811
    processor = train.Run(read_settings(kept(tmp_path, source(world, "qa")))).processor
    weights = word_weights(processor, ["a red dog", "a blue dog", "the dog of dogs", "a red house"])
    dog, red, house, stop = processor.tokenizer.convert_tokens_to_ids(["dog", "red", "house", "the"])
    assert weights[house] > weights[red] >= weights[dog] == weights[stop] == 0


def test_the_ridge_start_finds_pictures_it_was_fitted_on(tmp_path: Path) -> None:
    """Without a single update the contrastive head ranks six plain pictures by their captions."""
    colors = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255), "black": (0, 0, 0), "yellow": (255, 255, 0)}
    for name, color in colors.items():
        Image.new("RGB", (64, 64), color).save(tmp_path / f"{name}.png")
    rows = [{"image": f"{name}.png", "caption": name} for name in colors]
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = {"task": "contrastive", "annotations": str(tmp_path / "captions.jsonl"), "videos": str(tmp_path)}
    changes = {"config": LITE | {"hidden_size": 64, "num_attention_heads": 2}, "ridge_penalty": 0.01}
    made = train.Run(read_settings(kept(tmp_path, wanted, clips={"smallest_crop": 1.0}, **changes)))
    model, processor, dataset = made.engine.model.eval(), made.processor, made.train[0].dataset
    seen = {example.video: mean for example, mean in means([dataset])}
    features = model.clipbert.backbone(torch.stack(list(seen.values()))[..., None, None])[:, None, None]
    with torch.no_grad():
        head = model.heads["contrastive"]
        text = head.embed_texts(model.clipbert, *processor.texts([video.removesuffix(".png") for video in seen]))
        similarity = text @ head.embed_clips(model.clipbert, features)[:, 0].T
    assert similarity.argmax(dim=1).tolist() == list(range(6))
