"""Settings: strict, explained, and told apart from their nearest neighbours."""

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

import train.sections
import train.settings
from train.settings import Settings, dump_settings, read_settings

SMALLEST = {
    "run": {"output": "out", "max_steps": 3},
    "train": [{"task": "qa", "annotations": "qa.jsonl", "videos": "videos", "num_answers": 10}],
}
PLANS = ("ablate_msrvtt", "ablate_real", "ablate_synthetic")  # of train/ablate.py
CONFIGS = sorted(path for path in (Path(__file__).parent.parent / "train" / "configs").glob("*.yaml") if path.stem not in PLANS)


def written(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(SMALLEST | changes))
    return path


def test_defaults_are_the_originals(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path))
    assert (settings.optimizer.lr, settings.optimizer.weight_decay, settings.optimizer.max_grad_norm, settings.run.seed) == (5e-5, 1e-3, 5.0, 42)


def test_dumped_settings_read_as_themselves(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, model={"freeze": ["cnn"], "config": {"hidden_size": 8}}), ["optimizer.lr=1e-5"])
    (tmp_path / "dump.yaml").write_text(dump_settings(settings))
    assert read_settings(tmp_path / "dump.yaml") == settings


def test_overrides_reach_into_lists_and_free_mappings(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path), ["train.0.videos=/data", "model.config.hidden_size=16", "model.freeze=[cnn, words]"])
    assert settings.train[0].videos == "/data"
    assert settings.model.config == {"hidden_size": 16}
    assert settings.model.freeze == ("cnn", "words")


@pytest.mark.parametrize("lr", ["1e-5", "0.00001", "1.0e-5"])
def test_rates_without_a_point_are_numbers(tmp_path: Path, lr: str) -> None:
    assert read_settings(written(tmp_path), [f"optimizer.lr={lr}"]).optimizer.lr == 1e-5


def test_base_gives_what_a_file_does_not_say(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "variant.yaml").write_text("base: run.yaml\ntrain:\n- {num_answers: 20}\noptimizer: {lr: 1e-4}\n")
    settings = read_settings(tmp_path / "variant.yaml")
    assert (settings.train[0].num_answers, settings.train[0].task, settings.optimizer.lr) == (20, "qa", 1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.lrr=1"], r"run.yaml with overrides: optimizer.lrr is no setting; did you mean optimizer.lr\?"),
        (["optimiser.lr=1"], r"optimiser is no setting; did you mean optimizer\?"),
        (["train.0.anotations=x"], r"train.0.anotations is no setting; did you mean train.0.annotations\?"),
        (["train.3.task=qa"], "train has 1 entries"),
        (["optimizer.lr"], "an override reads key.key=value"),
        (["run.seed.x=1"], "seed must be int"),
        (["optimizer.lr=fast"], "optimizer.lr must be float, got 'fast'"),
        (["run.resume=1"], "run.resume must be bool, got 1"),
        (["run.output="], "is empty"),
        (["optimizer.schedule=liner"], "did you mean 'linear'"),
        (["clips.policy=randm"], "did you mean 'random'"),
        (["clips.num_clips=0"], "num_clips must be a whole number between 1 and 256"),
        (["clips.clips_per_pass=2"], "no effect"),
        (["engine.zero_stage=1"], 'need engine.kind="deepspeed"'),
        (["run.epochs=1"], "either run.epochs or run.max_steps"),
        (["train.0.num_negatives=1"], "has no negatives"),
        (["train.0.task=count"], "has no classifier"),
        (["train.0.task=retrieval", "train.0.num_answers=0"], "needs num_negatives"),
        (["optimizer.milestones=[3]"], "multi_step"),
        (["optimizer.schedule=multi_step_official"], "did you mean 'multi_step'"),
        (["official=true", "clips.policy=stratified"], "the original does, which has no clips.policy=stratified"),
        (["run.clip_cache=clips"], "clips of the policy random never come back"),
        (["run.clip_cache_gigabytes=0"], "must be above 0"),
        (["clips.max_frames_at_once=0"], "must be at least 1"),
        (["model.config.heads={}"], "must not name heads"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_settings(written(tmp_path), overrides)


def test_a_key_set_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("run: {output: a, output: b}\n")
    with pytest.raises(ValueError, match="output is set twice"):
        read_settings(tmp_path / "twice.yaml")


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train is missing"):
        (tmp_path / "none.yaml").write_text("run: {output: a, epochs: 1}\n")
        read_settings(tmp_path / "none.yaml")


def test_every_setting_has_its_sentence() -> None:
    files = (train.settings.__file__, train.sections.__file__)
    for node in [n for file in files for n in ast.parse(Path(file).read_text()).body if isinstance(n, ast.ClassDef)]:
        for field, follower in zip(node.body, [*node.body[1:], None], strict=False):
            if isinstance(field, ast.AnnAssign):
                assert isinstance(follower, ast.Expr) and isinstance(follower.value, ast.Constant), f"{node.name}.{ast.unparse(field.target)}"


def test_official_places_clips_as_the_original_and_ours_in_the_middle(tmp_path: Path) -> None:
    def policies(*overrides: str) -> tuple[str, str]:
        settings = read_settings(written(tmp_path), overrides)
        return settings.train_sampling().policy, settings.test_sampling().policy

    retrieval = ("train.0.task=retrieval", "train.0.num_answers=0", "train.0.num_negatives=1")
    assert policies() == policies(*retrieval) == ("random", "paper")
    assert policies("official=true") == ("official-random", "official")
    assert policies("official=true", *retrieval) == ("official-random", "official-middle")
    assert policies("official=true", "clips.policy=dense", "clips.num_clips=16")[0] == "dense"


def test_training_and_test_clips_are_counted_apart(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path), ["clips.num_clips=4", "clips.num_test_clips=16"])
    assert (settings.train_sampling().num_clips, settings.test_sampling().num_clips) == (4, 16)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads(path: Path) -> None:
    assert isinstance(read_settings(path), Settings)
    header = path.read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines()) and path.name in header
    for word in ("train/train.py", "paper", "GPUs"):
        assert word in header.lower() or word in header
