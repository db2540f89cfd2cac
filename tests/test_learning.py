"""Learning: from random weights to answers on pictures never seen, in seconds; the same seed learns the same."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from clipbert.data.examples import read_examples
from clipbert.data.questions import singleqa, stillqa
from clipbert.data.shapes import COLORS, GROUND, Story
from clipbert.data.stories import make_still
from clipbert.data.story_video import pictures
from clipbert.data.video_store import open_store
from clipbert.evaluate import evaluate
from clipbert.predict import Predictor
from train.settings import read_settings
from train.train import train

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "train" / "configs" / "synthetic_figures.yaml"
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 96, "image_size": 48}


def draw(folder: Path, ask: Callable[[Story], list[dict[str, Any]]], answers: Iterable[str], size: tuple[int, int], **numbers: int) -> Path:
    """Pictures to learn from and others to be asked about, each with a question of `ask`."""
    (folder / "images").mkdir()
    for split, number in numbers.items():
        rows: list[dict[str, Any]] = []
        for story in (make_still(0, split, index) for index in range(number)):
            if asked := ask(story)[:1]:
                next(pictures(story))[0].resize(size).save(folder / story.path)
                rows += asked
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "answers.json").write_text(json.dumps({answer: index for index, answer in enumerate(answers)}))
    return folder


def of_type(rows: list[dict[str, Any]], answer_type: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["answer_type"] == answer_type]


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("stills"), lambda story: of_type(stillqa(story), "location"), GROUND, (80, 60), train=240, test=60)


def learn(stills: Path, output: Path, *overrides: str, tiny: bool = True) -> Path:
    """The last checkpoint of the first lesson's recipe on `stills`."""
    settings = yaml.safe_load(CONFIG.read_text())
    if tiny:
        settings["model"]["config"] |= TINY
        settings["optimizer"]["lr"] = 2e-3
    settings["train"] = [{"task": "qa", "annotations": f"{stills}/train.jsonl", "videos": str(stills), "vocabulary": f"{stills}/answers.json"}]
    settings["run"] = {"output": str(output), "max_steps": 60, "num_workers": 0, "log_every": 30}
    (output.parent / f"{output.name}.yaml").write_text(yaml.safe_dump(settings))
    assert train(read_settings(output.parent / f"{output.name}.yaml", overrides)) == 0
    return max(output.glob("step_*"))


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_in_seconds_it_learns_where_something_is(stills: Path, tmp_path: Path, kind: str) -> None:
    model = learn(stills, tmp_path / "run", "engine.precision=fp32", f"optimizer.kind={kind}")
    examples = read_examples(stills / "test.jsonl")
    best = max(row.metrics["accuracy"] for row in evaluate(Predictor.from_pretrained(model), examples, open_store(stills), "qa"))
    assert best > 0.6, f"{best:.2f} of {len(examples)} answers are right; one place of {len(GROUND)} at random is {1 / len(GROUND):.2f}"


@pytest.mark.slow
def test_in_a_minute_the_bundled_recipe_learns_colors(tmp_path: Path) -> None:
    """The first lesson of the bundled model `synthetic`, its first quarter."""
    folder = draw(tmp_path, lambda story: of_type(singleqa(story), "color"), COLORS, (160, 120), train=3000, test=300)
    model = learn(folder, tmp_path / "run", "run.max_steps=250", tiny=False)
    examples = read_examples(folder / "test.jsonl")
    best = max(row.metrics["accuracy"] for row in evaluate(Predictor.from_pretrained(model), examples, open_store(folder), "qa"))
    assert best > 0.8, f"{best:.2f} of {len(examples)} colors are right; one of {len(COLORS)} at random is {1 / len(COLORS):.2f}"


def test_the_same_seed_learns_the_same(stills: Path, tmp_path: Path) -> None:
    logs = []
    for run, seed in (("one", 1), ("two", 1), ("other", 2)):
        learn(stills, tmp_path / run, "run.max_steps=4", f"run.seed={seed}")
        logs.append([json.loads(line)["loss"] for line in (tmp_path / run / "log.jsonl").read_text().splitlines()])
    assert logs[0] == logs[1] != logs[2]
