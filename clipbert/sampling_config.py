"""What may be chosen of how a video is looked at; imports neither torch nor transformers, so that a page can offer it at once."""

from dataclasses import dataclass, field

POLICY_NAMES = ("official", "official-middle", "official-random", "paper", "centered", "random", "stratified", "dense", "nested")
"""Where clips may lie; `clipbert.sampling.POLICIES` has the rule behind each name."""
RANDOM_POLICIES = ("random", "official-random", "stratified")
SAMPLERS = ("shots", "diverse", "relevant", "covering")
"""How clips may be chosen by a look at the whole video; `clipbert.selection.SELECTORS` has the rule behind each name."""
AGGREGATIONS = ("mean", "max", "lse")
"""How clips' opinions may be pooled; see `clipbert.aggregation.aggregate`."""


@dataclass(frozen=True)
class SamplingConfig:
    """How a video is looked at; saved with the processor, since it belongs to every reported number."""

    num_clips: int = 16
    """N_test: clips per video at inference."""
    num_frames: int = 2
    """T: frames per clip."""
    fps: float = 2.0
    """A clip lasts num_frames / fps seconds."""
    policy: str = "paper"
    """Where clips lie; one of POLICY_NAMES."""
    aggregation: str = "lse"
    """How clip logits are pooled; one of AGGREGATIONS."""
    seed: int = field(default=0)
    """Of the random policies."""

    def __post_init__(self) -> None:
        for name, low, high in (("num_clips", 1, 256), ("num_frames", 1, 256)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number between {low} and {high}, got {value!r}.")
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps must be above 0 and at most 1000 frames a second, got {self.fps}.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be between 0 and 2**63 - 1, got {self.seed}.")
