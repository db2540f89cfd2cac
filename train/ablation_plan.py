"""What an ablation consists of: a strict YAML file of recipes and evaluations, and the runs that fill the paper's cells with them."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from clipbert.config import check_known
from train import strict_yaml
from train.ablation_cells import CURVES, ROWS, TABLES, Curve, TableRow
from train.settings import Settings, read_settings

COLUMNS = {
    "qa": {"Accuracy": "accuracy"},
    "retrieval": {
        "R1": "text_to_video/recall_at_1", "R5": "text_to_video/recall_at_5", "R10": "text_to_video/recall_at_10",
        "MdR": "text_to_video/median_rank",
    },
}  # fmt: skip
"""The paper's columns, and the metric of evaluate.py that each is."""
RANKS = ("MdR",)  # the others are shares, shown in percent


@dataclass(frozen=True)
class EvaluationSettings:
    """Data that a model is asked about."""

    task: str
    """qa or retrieval."""
    annotations: str
    """Annotation file in any format that clipbert.data.examples reads."""
    videos: str
    """Folder of videos, or an LMDB as the original has it."""
    split: str = ""
    """Only the rows of this split; empty takes all."""
    head: str = ""
    """Ask only this head; empty asks those that fit."""

    def __post_init__(self) -> None:
        check_known("task of an evaluation", self.task, tuple(COLUMNS))

    def arguments(self) -> list[str]:
        """For evaluate.py."""
        return [f"--{name}={value}" for name, value in asdict(self).items() if value]


@dataclass(frozen=True)
class RecipeSettings:
    """A training run that is the paper's default, and what its model is asked."""

    config: str
    """Settings of train.py, beside this file."""
    scale: str
    """What its numbers are of: those of different scales are never compared; "full" is the paper's own data and size alone."""
    evaluations: tuple[EvaluationSettings, ...]
    """What the trained model is asked; together they fill the columns."""
    tables: tuple[str, ...] = TABLES
    """Which it runs: "1" to "6" and "figure 4"."""

    def __post_init__(self) -> None:
        for table in self.tables:
            check_known("table", table, TABLES)


@dataclass(frozen=True)
class ReadModelSettings:
    """A trained model that is only read, at every N_test and aggregation: a curve of Figure 4."""

    model: str
    """A bundled model, or the folder of a saved one."""
    series: str
    """What the curve is called."""
    scale: str
    """What its numbers are of."""
    splits: tuple[tuple[EvaluationSettings, ...], ...]
    """One after the other in place of seeds."""


@dataclass(frozen=True)
class AblationSettings:
    """One file of ablations."""

    data: str
    """How to get the data, as commands or in words."""
    output: str
    """Folder of the runs."""
    recipes: tuple[RecipeSettings, ...] = ()
    """What is trained, each with all rows; retrieval and questions may be two."""
    models: tuple[ReadModelSettings, ...] = ()
    """Trained models that are only read."""
    num_clips: tuple[int, ...] = (1, 2, 4, 8, 16)
    """N_test that are measured, from one pass over each video."""
    instead: Mapping[str, Any] = field(default_factory=dict)
    """For rows by name ("1: 224"), a list of overrides instead of the paper's."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Rows by name that are not run, and why."""

    def __post_init__(self) -> None:
        names = tuple(one.name for one in (*ROWS, *CURVES))
        for key in (*self.instead, *self.left_out):
            check_known("row", key, names)
        for key, overrides in self.instead.items():
            if not isinstance(overrides, list) or not all(isinstance(one, str) for one in overrides):
                raise ValueError(f"instead of {key!r} there must be a list of key.key=value, got {overrides!r}.")
        tables = {table for recipe in self.recipes for table in recipe.tables}
        needed = {row.num_clips for row in ROWS if row.table in tables and row.name not in self.left_out}
        if not needed <= set(self.num_clips):
            raise ValueError(f"num_clips must have {' and '.join(map(str, sorted(needed)))}, which the tables report; got {list(self.num_clips)}.")


@dataclass(frozen=True)
class Run:
    """One training and its evaluations, or the evaluations of a model that is only read; and all that it fills."""

    name: str
    seed: int
    scale: str
    evaluations: tuple[EvaluationSettings, ...]
    rows: tuple[TableRow, ...] = ()
    curves: tuple[Curve, ...] = ()
    recipe: str = ""
    """Path of the settings; empty for a model that is only read."""
    model: str = ""
    overrides: tuple[str, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)
    """Recipe and overrides together."""
    output: str = ""

    @property
    def folder(self) -> Path:
        return Path(self.output) / f"{self.name}_seed{self.seed}"

    @property
    def tables(self) -> set[str]:
        return {one.table for one in (*self.rows, *self.curves)}

    def train_arguments(self) -> list[str]:
        """For train.py; `run.resume` goes on where a killed run stopped."""
        return [f"--config={self.recipe}", *self.overrides, f"run.seed={self.seed}", f"run.output={self.folder}", "run.resume=true"]

    def settings(self) -> Settings:
        return read_settings(self.recipe, self.train_arguments()[1:])

    def missing(self) -> list[str]:
        """Files that it needs and that are not there."""
        wanted = [path for one in self.evaluations for path in (one.annotations, one.videos)]
        if self.recipe:
            s = self.settings()
            wanted += [path for source in s.train for path in (source.annotations, source.videos)]
            wanted += [s.model.start, s.model.bert, s.model.resnet, s.model.efficientnet]
        return [path for path in dict.fromkeys(wanted) if path and not Path(path).exists()]


def read_ablation(path: Path) -> AblationSettings:
    """The settings of an ablation, its recipes as paths from here; ValueError naming file and key for any that is wrong."""
    settings = strict_yaml.read(AblationSettings, path)
    recipes = tuple(replace(recipe, config=os.path.normpath(path.parent / recipe.config)) for recipe in settings.recipes)
    return replace(settings, recipes=recipes)


def plan(settings: AblationSettings, *, num_seeds: int) -> list[Run]:
    """All runs, the first seed of each before any second; rows with the same settings share one.

    Raises ValueError for settings that a row makes wrong.
    """
    first = [*_read_only(settings, num_seeds), *(run for recipe in settings.recipes for run in _trained(settings, recipe))]
    trained = [run for run in first if run.recipe]
    for run in trained:
        run.settings()
    return first + [replace(run, seed=seed) for seed in range(2, num_seeds + 1) for run in trained]


def _read_only(settings: AblationSettings, num_seeds: int) -> Iterator[Run]:
    for model in settings.models:
        name = _hash(model.model, [[asdict(one) for one in split] for split in model.splits])
        for number, evaluations in enumerate(model.splits[:num_seeds], 1):
            yield Run(name, number, model.scale, evaluations, curves=(Curve(model.series),), model=model.model, output=settings.output)


def _trained(settings: AblationSettings, recipe: RecipeSettings) -> Iterator[Run]:
    found: dict[str, Run] = {}
    for one in (*ROWS, *CURVES):
        if one.name in settings.left_out or one.table not in recipe.tables:
            continue
        overrides = tuple(settings.instead.get(one.name, one.overrides))
        content = strict_yaml.merged(Path(recipe.config), overrides)
        name = _hash(content, [asdict(evaluation) for evaluation in recipe.evaluations])
        new = Run(name, 1, recipe.scale, recipe.evaluations, recipe=recipe.config, overrides=overrides, content=content, output=settings.output)
        run = found.get(name, new)
        added = {"rows": (*run.rows, one)} if isinstance(one, TableRow) else {"curves": (*run.curves, one)}
        found[name] = replace(run, **added)
    yield from found.values()


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def chosen(runs: list[Run], table: str) -> list[Run]:
    """Those that fill a cell of `table`; all for ""."""
    if table:
        check_known("table", table, TABLES)
    return [run for run in runs if not table or table in run.tables]
