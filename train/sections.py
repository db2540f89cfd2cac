"""The sections of a settings file: each says in a sentence what a field is, and checks itself.  `train.settings` puts them together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clipbert.aggregation import AGGREGATIONS
from clipbert.backbone import MAX_FRAMES_AT_ONCE
from clipbert.config import SamplingConfig, check_known
from clipbert.data.views import Views
from clipbert.sampling import POLICIES
from train.optimizer import SCHEDULES

TASKS = ("pretrain", "retrieval", "retrieval_rank", "contrastive", "qa", "vqa", "multiple_choice", "count")
CLASSIFIERS = ("qa", "vqa")


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the model and where its weights come from."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ClipBertConfig that differ from the paper's, or from those of `start`; heads follow from the tasks."""
    start: str = ""
    """Folder of a saved clipbert model to go on from (its trunk, and heads of the same name and shape); empty starts anew."""
    bert: str = ""
    """File or folder of a Hugging Face BERT for the transformer; empty leaves it random."""
    resnet: str = ""
    """File with weights for the ResNet-50 (grid features; ImageNet of Caffe2, detectron2 or torchvision; mmaction2's TSN); empty leaves it random."""
    efficientnet: str = ""
    """File with EfficientNet-Lite weights, for such a backbone; empty leaves it random."""
    max_text_length: int = 100
    """Longer texts are cut to this many word pieces."""
    freeze: tuple[str, ...] = ()
    """Parts that keep their weights (Table 6): "cnn" is F_v, "words" is F_l, the word-embedding layer; "grid_encoder" is ours."""
    ridge_penalty: float = 0.0
    """Start grid encoder, word weights and contrastive heads from the ridge map of mean grids to caption words; 0 does not."""

    def __post_init__(self) -> None:
        for part in self.freeze:
            check_known("model.freeze", part, ("cnn", "words", "grid_encoder"))
        if "heads" in self.config:
            raise ValueError("model.config must not name heads; they follow from the task and head of each source.")
        if self.start and (self.bert or self.resnet or self.efficientnet):
            raise ValueError("model.start already holds all weights; leave out model.bert, model.resnet and model.efficientnet.")
        if self.ridge_penalty < 0:
            raise ValueError(f"model.ridge_penalty must not be negative, got {self.ridge_penalty}.")
        if self.max_text_length < 3:
            raise ValueError(f"model.max_text_length must be at least 3, got {self.max_text_length}.")


@dataclass(frozen=True)
class SourceSettings:
    """One data set and the task to learn from it."""

    task: str
    """One of pretrain, retrieval, retrieval_rank, contrastive, qa, vqa, multiple_choice, count."""
    annotations: str
    """Annotation file in any format that clipbert.data.examples reads."""
    videos: str
    """Folder of videos or images, or an LMDB as the original has it."""
    format: str = ""
    """Format of the annotation file; empty finds it from the first row."""
    answers: str = ""
    """Second file, of the formats that keep answers apart."""
    split: str = ""
    """Only the rows of this split; empty takes all."""
    video_list: str = ""
    """Table with a video_id column (MSR-VTT's train.7k.csv): only these videos; empty takes all."""
    video_name: str = "{}"
    """Turns the file's own key into the video's file name."""
    head: str = ""
    """Name of the head that learns; empty is the task's name."""
    ratio: float = 1.0
    """Optimizer steps choose their source at random in this proportion, whatever its size."""
    num_texts: int = 1
    """Texts that share one look at a video in a training step."""
    num_negatives: int = 0
    """Captions of other videos beside each caption, of retrieval tasks."""
    num_answers: int = 0
    """The most frequent answers of the training examples become the outputs of a classifier."""
    vocabulary: str = ""
    """ans2label.json of a classifier, instead of num_answers."""
    pooled_path: bool = False
    """Give a classifier the shortcut of HeadConfig.pooled_path."""
    mirror: bool = True
    """Whether clips.mirror applies; false where texts tell left from right."""
    max_unreadable: int = 0
    """Training stops if more videos than this cannot be read; the others are counted and reported."""

    def __post_init__(self) -> None:
        check_known("task", self.task, TASKS)
        if self.task.startswith("retrieval") != (self.num_negatives > 0):
            need = "needs num_negatives of at least 1" if self.task.startswith("retrieval") else "has no negatives: leave num_negatives out"
            raise ValueError(f"the task {self.task} {need}, got {self.num_negatives}.")
        if (self.task in CLASSIFIERS) != bool(self.num_answers or self.vocabulary) or (self.num_answers and self.vocabulary):
            need = "needs either num_answers or vocabulary" if self.task in CLASSIFIERS else "has no classifier: leave num_answers and vocabulary out"
            raise ValueError(f"the task {self.task} {need}.")
        if self.pooled_path and self.task not in CLASSIFIERS:
            raise ValueError(f"pooled_path has no effect on the task {self.task}; leave it out.")
        if self.task == "pretrain" and self.head:
            raise ValueError("the task pretrain has its own two heads; leave head out.")
        if self.ratio <= 0 or self.num_texts < 1 or self.max_unreadable < 0 or self.num_answers < 0:
            raise ValueError("ratio must be above 0, num_texts at least 1, max_unreadable and num_answers at least 0.")

    @property
    def head_name(self) -> str:
        return self.head or self.task


@dataclass(frozen=True)
class ClipSettings:
    """How a training step looks at a video."""

    num_clips: int = 1
    """N_train: clips per video."""
    num_test_clips: int = 1
    """N_test: clips per video in validation, and of the saved model unless it is asked for another number."""
    num_frames: int = 1
    """T: frames per clip."""
    fps: float = 1.0
    """A clip lasts num_frames / fps seconds."""
    policy: str = "random"
    """Where clips lie; "random" is sparse sampling, "dense" with 16 clips is Table 4's baseline."""
    aggregation: str = "lse"
    """How clip logits are pooled inside the loss."""
    max_frames_at_once: int = MAX_FRAMES_AT_ONCE
    """The CNN reads more frames than these in several pieces, with the same result."""
    two_pass: str = "off"
    """Trade time for memory: "split" computes the CNN twice, "full" everything."""
    clips_per_pass: int = 1
    """Clips that are held in memory together by two-pass training."""
    num_draws: int = 0
    """Each video is seen in one of so many fixed draws of clips and crop, the same for all sources; 0 draws anew each time."""
    smallest_crop: float = 1.0
    """Training sees a random part of the frame, at least this share of its height and of its width; 1 sees all of it."""
    mirror: bool = False
    """Training mirrors half of the looks, in sources that allow it."""
    grid_cache: str = ""
    """Folder where a frozen CNN's grids of the fixed draws are kept, in float16; empty runs the CNN each time."""
    grid_cache_gb: float = 20.0
    """The most that grid_cache may hold; a run that needs more is refused."""

    def __post_init__(self) -> None:
        check_known("clips.policy", self.policy, tuple(POLICIES))
        check_known("clips.aggregation", self.aggregation, AGGREGATIONS)
        check_known("clips.two_pass", self.two_pass, ("off", "split", "full"))
        if self.two_pass == "off" and self.clips_per_pass != 1:
            raise ValueError('clips.clips_per_pass has no effect with clips.two_pass="off".')
        if self.clips_per_pass < 1 or self.max_frames_at_once < 1:
            raise ValueError(f"clips.clips_per_pass and max_frames_at_once must be at least 1, got {self.clips_per_pass}, {self.max_frames_at_once}.")
        for num_clips in (self.num_clips, self.num_test_clips):
            SamplingConfig(num_clips, self.num_frames, self.fps)
        if self.grid_cache and not self.num_draws:
            raise ValueError("clips.grid_cache keeps fixed draws; set clips.num_draws.")
        self.views(0)

    def views(self, seed: int) -> Views:
        """How a training look varies."""
        return Views(self.num_draws, self.smallest_crop, self.mirror, seed)

    def plain_views(self, seed: int) -> Views:
        """Whole frames, of fixed draws the first: how validation looks."""
        return Views(min(self.num_draws, 1), seed=seed)


@dataclass(frozen=True)
class OptimizerSettings:
    """One update: its batch, its size, its limits."""

    kind: str = "adamw"
    """"adamw" is the paper's; "muon" makes updates of hidden matrices and kernels orthogonal and leaves the rest to AdamW: from random weights it
    needs far fewer updates, at a higher lr. It reads whole matrices, so it runs with engine.kind=local alone."""
    batch_size: int = 16
    """Videos per device and backward pass."""
    accumulation: int = 1
    """Batches per update."""
    lr: float = 5e-5
    """Highest learning rate."""
    cnn_lr_ratio: float = 1.0
    """The CNN learns at lr times this."""
    grid_encoder_lr_mul: float = 1.0
    """The grid encoder learns at the CNN's rate times this."""
    lr_muls: Mapping[str, float] = field(default_factory=dict)
    """Parameters whose name holds the key learn at their rate times the value; the first key that fits counts."""
    weight_decay: float = 1e-3
    """Of matrices and kernels; vectors never decay."""
    schedule: str = "linear"
    """How the rate moves: linear, invsqrt, constant or multi_step."""
    warmup_ratio: float = 0.1
    """Part of all updates in which the rate rises, of the schedules that warm up."""
    milestones: tuple[int, ...] = ()
    """Updates at which the multi_step schedule halves the rate."""
    max_grad_norm: float = 5.0
    """Gradients are scaled down to this norm; 0 leaves them."""

    def __post_init__(self) -> None:
        check_known("optimizer.kind", self.kind, ("adamw", "muon"))
        check_known("optimizer.schedule", self.schedule, tuple(name for name in SCHEDULES if not name.endswith("_official")))
        if self.batch_size < 1 or self.accumulation < 1:
            raise ValueError(f"optimizer.batch_size and accumulation must be at least 1, got {self.batch_size} and {self.accumulation}.")
        if min(self.lr, self.cnn_lr_ratio, self.grid_encoder_lr_mul, self.weight_decay, self.max_grad_norm) < 0:
            raise ValueError("optimizer settings must not be negative.")
        for part, mul in self.lr_muls.items():
            if isinstance(mul, bool) or not isinstance(mul, int | float) or mul < 0:
                raise ValueError(f"optimizer.lr_muls.{part} must be a number of at least 0, got {mul!r}.")
        if not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"optimizer.warmup_ratio must be in [0, 1), got {self.warmup_ratio}.")
        if bool(self.milestones) != (self.schedule == "multi_step"):
            raise ValueError("optimizer.milestones go with the multi_step schedule, and only with it.")


@dataclass(frozen=True)
class EngineSettings:
    """What runs the model."""

    kind: str = "local"
    """"local" is one process and plain PyTorch; "deepspeed" is any number."""
    zero_stage: int = 0
    """What DeepSpeed spreads over processes: 0 nothing, 1 optimizer state, 2 also gradients, 3 also parameters."""
    precision: str = "fp32"
    """fp32, bf16, or fp16 (DeepSpeed on GPUs, with dynamic loss scaling)."""
    activation_checkpointing: bool = False
    """Of transformer layers and CNN blocks keep only the input, and compute the rest again for the gradients: less memory, more time."""
    compile: bool = False
    """Transformer layers and CNN blocks by torch.compile: fewer and larger kernels, after a minute or more of compiling. Texts are padded to a
    multiple of 8 words, so that few lengths occur. For GPUs, where it was not measured yet: on a CPU it needs a C++ compiler, and a step of the
    small model of benchmarks/training.py (B=2, N=4) took 231 ms of CPU time instead of 125."""
    knobs: str = ""
    """DeepSpeed JSON with engine knobs of your own; empty is train/deepspeed/zero{stage}.json."""

    def __post_init__(self) -> None:
        check_known("engine.kind", self.kind, ("local", "deepspeed"))
        check_known("engine.precision", self.precision, ("fp32", "bf16", "fp16"))
        if self.zero_stage not in range(4):
            raise ValueError(f"engine.zero_stage must be 0, 1, 2 or 3, got {self.zero_stage}.")
        if self.kind == "local" and (self.zero_stage or self.knobs or self.precision == "fp16"):
            raise ValueError('engine.zero_stage, knobs and precision="fp16" need engine.kind="deepspeed".')


@dataclass(frozen=True)
class RunSettings:
    """How long, how often, where to."""

    output: str
    """Folder of checkpoints and logs."""
    epochs: float = 0.0
    """Passes over all sources together; or give max_steps."""
    max_steps: int = 0
    """Updates; or give epochs."""
    seed: int = 42
    """All that is random follows from it."""
    num_workers: int = 4
    """Processes per device that decode videos; 0 decodes in the training process."""
    save_every: int = 0
    """Updates between checkpoints, each with what its validation sources measure; 0 saves at the end only."""
    keep_last: int = 2
    """Checkpoints that are kept, besides the best."""
    log_every: int = 1
    """Updates between lines of progress; log.jsonl has every update."""
    clip_cache: str = ""
    """Folder for decoded clips, where they come back: in validation, and in training unless clips.policy is random; empty decodes anew."""
    clip_cache_gigabytes: float = 50.0
    """Size that the folder may reach; the clips not used for longest leave first."""
    tensorboard: bool = False
    """Also write TensorBoard events."""
    resume: bool = False
    """Go on from the last checkpoint in output."""

    def __post_init__(self) -> None:
        if not self.output:
            raise ValueError("run.output is empty; name a folder for checkpoints and logs.")
        if (self.epochs > 0) == (self.max_steps > 0):
            raise ValueError(f"give either run.epochs or run.max_steps above 0, got {self.epochs} and {self.max_steps}.")
        if min(self.save_every, self.num_workers, self.seed) < 0 or self.keep_last < 1 or self.log_every < 1:
            raise ValueError("run.save_every, num_workers, seed must be at least 0, keep_last and log_every at least 1.")
        if self.clip_cache_gigabytes <= 0:
            raise ValueError(f"run.clip_cache_gigabytes must be above 0, got {self.clip_cache_gigabytes}; leave run.clip_cache empty for no cache.")
