"""What defines a training run: frozen settings from a strict YAML file and dotted overrides of the command line.

read_settings("train/configs/msrvtt_qa.yaml", ["optimizer.lr=1e-5", "train.0.videos=/data/msrvtt"])
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from clipbert.config import SamplingConfig
from clipbert.sampling_config import RANDOM_POLICIES
from train import strict_yaml
from train.sections import ClipSettings, EngineSettings, ModelSettings, OptimizerSettings, RunSettings, SourceSettings


@dataclass(frozen=True)
class Settings:
    """A training run."""

    run: RunSettings
    """How long, how often, where to."""
    train: tuple[SourceSettings, ...]
    """What is learnt from."""
    validation: tuple[SourceSettings, ...] = ()
    """What is measured at each checkpoint; the first one's metric chooses the best."""
    official: bool = False
    """The original's habits instead of ours: its form of AdamW and of multi_step, gradients summed over accumulated batches, word losses
    averaged over all positions, clips placed by frame count from the start (OFFICIAL sections 2, 3 and 6)."""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Sizes of the model and where its weights come from."""
    clips: ClipSettings = field(default_factory=ClipSettings)
    """How a training step looks at a video."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """One update: its batch, its size, its limits."""
    engine: EngineSettings = field(default_factory=EngineSettings)
    """What runs the model."""

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("train must name at least one source.")
        tasks = {source.task for source in (*self.train, *self.validation)}
        if "pretrain" in tasks and len(tasks) > 1:
            raise ValueError(f"pre-training cannot share a run with {', '.join(sorted(tasks - {'pretrain'}))}: its model has other heads.")
        if "pretrain" in tasks and (self.clips.num_clips > 1 or self.clips.two_pass != "off"):
            raise ValueError("pre-training reads one clip per image: clips.num_clips must be 1 and clips.two_pass off.")
        if self.optimizer.kind == "muon" and (self.official or self.engine.kind != "local"):
            raise ValueError("optimizer.kind=muon reads whole matrices, and is not the original's: it needs engine.kind=local, without official.")
        if self.official and self.clips.policy not in ("random", "official-random", "official", "official-middle", "dense"):
            raise ValueError(f"official places clips as the original does, which has no clips.policy={self.clips.policy}; use random or dense.")
        if self.run.clip_cache and not self.validation and self.clips.policy in RANDOM_POLICIES:
            raise ValueError(f"run.clip_cache has no effect: clips of the policy {self.clips.policy} never come back, and there is no validation.")
        if "retrieval_rank" in tasks and self.clips.aggregation == "lse":
            raise ValueError('the rank loss pools by "mean" or "max"; set clips.aggregation.')
        if self.clips.grid_cache and ("cnn" not in self.model.freeze or any(source.max_unreadable for source in self.train)):
            raise ValueError("clips.grid_cache needs model.freeze=[cnn], and sources with max_unreadable=0.")
        if self.model.ridge_penalty and not (self.clips.grid_cache and tasks & {"contrastive", "pretrain"}):
            raise ValueError("model.ridge_penalty needs clips.grid_cache, and a source of the task contrastive or pretrain, for its captions.")
        for source in self.validation:
            if source.head_name not in {s.head_name for s in self.train if s.task == source.task}:
                raise ValueError(f"validation asks the head {source.head_name!r} of the task {source.task}, which no training source teaches.")

    def train_sampling(self) -> SamplingConfig:
        """How training places clips; the seed is the run's."""
        clips, policy = self.clips, self.clips.policy
        policy = "official-random" if self.official and policy == "random" else policy
        return SamplingConfig(clips.num_clips, clips.num_frames, clips.fps, policy, clips.aggregation, self.run.seed)

    def test_sampling(self) -> SamplingConfig:
        """How validation and the saved model place clips; the original takes a third of the way in for retrieval, the start for questions."""
        clips, all_retrieval = self.clips, all(source.task.startswith("retrieval") for source in self.train)
        policy = ("official-middle" if all_retrieval else "official") if self.official else "paper"
        return SamplingConfig(clips.num_test_clips, clips.num_frames, clips.fps, policy, clips.aggregation, self.run.seed)


def read_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a YAML file with `key.key=value` overrides; ValueError naming file and key for any that is wrong."""
    return strict_yaml.read(Settings, Path(path), overrides)


def dump_settings(settings: Settings) -> str:
    """All settings, defaults too, as YAML that `read_settings` takes."""
    return yaml.safe_dump(_plain(asdict(settings)), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
