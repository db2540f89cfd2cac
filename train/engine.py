"""Five verbs that the loop speaks to whatever runs the model: forward, backward, step, save, load.

`LocalEngine` is one process of plain PyTorch; `DeepSpeedEngine` is any number
of processes and any ZeRO stage.  Losses come already scaled: neither engine
divides by the number of batches.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from train.sections import EngineSettings, OptimizerSettings

KNOBS = Path(__file__).parent / "deepspeed"
OURS = frozenset(
    (
        "train_batch_size train_micro_batch_size_per_gpu gradient_accumulation_steps gradient_clipping optimizer scheduler bf16 fp16 torch_autocast"
    ).split()
)


class Engine(Protocol):
    """What runs the model."""

    device: torch.device
    rank: int
    num_processes: int

    @property
    def model(self) -> Any:
        """The model itself, for its configuration and its modes."""
        ...

    def forward(self, *args: Any, part: str = "", **kwargs: Any) -> Any:
        """The model's own forward, or its method `part`."""
        ...

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradients of `loss`; `last` says that `step` comes next."""
        ...

    def step(self, rate: Callable[[float], float]) -> float:
        """Update with learning rate `rate(base_lr)` in each group; the norm of the gradients before clipping."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model as `from_pretrained` reads it, and the optimizer in full precision; every process calls it."""
        ...

    def load(self, folder: Path) -> None:
        """Go on exactly where `save` was; every process calls it."""
        ...


class LocalEngine:
    """One process, plain PyTorch; bf16 is autocast over float32 weights.

    Parameters without gradient (heads that an update does not ask) count as
    having gradient 0, as in DeepSpeed and the original: they decay.
    """

    rank, num_processes = 0, 1

    def __init__(self, model: Any, optimizer: Optimizer, *, max_grad_norm: float, precision: str = "fp32") -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.optimizer = model.to(self.device), optimizer
        self.max_grad_norm, self.precision = max_grad_norm, precision

    def forward(self, *args: Any, part: str = "", **kwargs: Any) -> Any:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return (getattr(self.model, part) if part else self.model)(*args, **kwargs)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        loss.backward()

    def step(self, rate: Callable[[float], float]) -> float:
        for p in trained(self.optimizer):
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        norm = nn.utils.clip_grad_norm_(trained(self.optimizer), self.max_grad_norm or float("inf"))
        set_rates(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")

    def load(self, folder: Path) -> None:
        load_weights(self.model, folder)
        self.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location=self.device, weights_only=True))


class DeepSpeedEngine:
    """Any number of processes under `deepspeed` or `torchrun`, ZeRO 0 to 3.

    The end of an accumulation is always said explicitly, and DeepSpeed never
    scales by its own count: with several backward passes per batch that count
    is wrong, and stages 1 and 2 would lose gradients without a word.
    """

    def __init__(self, model: Any, optimizer: Optimizer, engine: EngineSettings, settings: OptimizerSettings) -> None:
        import deepspeed

        for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29500")):
            os.environ.setdefault(name, value)  # a single process without launcher
        self._scalars = [name for name, p in model.named_parameters() if p.ndim == 0]
        for name in self._scalars:  # DeepSpeed 0.19.8 fails to broadcast them
            model.get_parameter(name).data = model.get_parameter(name).data.reshape(1)
        self._engine: Any = deepspeed.initialize(model=_Whole(model), optimizer=optimizer, config=deepspeed_config(engine, settings))[0]  # pyright: ignore[reportArgumentType]
        self._engine.set_gradient_accumulation_boundary(False)
        self.stage, self.device = engine.zero_stage, torch.device(self._engine.device)
        self.rank, self.num_processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(engine.precision, torch.float32)

    @property
    def model(self) -> Any:
        return self._engine.module.model

    def forward(self, *args: Any, part: str = "", **kwargs: Any) -> Any:
        return self._engine(*map(self._cast, args), part=part, **{name: self._cast(value) for name, value in kwargs.items()})

    def _cast(self, value: Any) -> Any:
        return value.to(self._dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    def backward(self, loss: Tensor, *, last: bool) -> None:
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss, scale_wrt_gas=False)

    def step(self, rate: Callable[[float], float]) -> float:
        assert self._engine.is_gradient_accumulation_boundary(), "the backward pass before step must be the last"
        set_rates(self._engine.optimizer, rate)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None] if self.stage == 0 else []
        norm = nn.utils.get_total_norm(gradients) if gradients else None
        self._engine.step()
        self._engine.set_gradient_accumulation_boundary(False)
        if self.stage == 3:  # DeepSpeed 0.19.8 keeps the gradients of this update for parameters that the next one's first backward pass misses
            self._engine.optimizer.grad_partitions_flat_buffer.zero_()
        return float(self._engine.get_global_grad_norm() if norm is None else norm)

    def save(self, folder: Path) -> None:
        self._engine.save_checkpoint(str(folder), tag="engine", save_latest=False)
        weights = self._engine._zero3_consolidated_16bit_state_dict() if self.stage == 3 else self._engine.module.state_dict()
        if self.rank == 0:
            weights = {name.removeprefix("model."): value for name, value in weights.items()}
            weights = {name: value.reshape(()) if name in self._scalars else value for name, value in weights.items()}
            self.model.save_pretrained(folder, state_dict={name: value.cpu().contiguous() for name, value in weights.items()})

    def load(self, folder: Path) -> None:
        path, _ = self._engine.load_checkpoint(str(folder), tag="engine")
        if path is None:
            raise ValueError(f"{folder} holds no DeepSpeed checkpoint; it was saved by another engine. Resume with the settings it was saved with.")


class _Whole(nn.Module):
    """Leads calls of the model's parts through one forward: DeepSpeed prepares its reduction of gradients there and nowhere else."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, part: str = "", **kwargs: Any) -> Any:
        return (getattr(self.model, part) if part else self.model)(*args, **kwargs)


def deepspeed_config(engine: EngineSettings, settings: OptimizerSettings) -> dict[str, Any]:
    """The engine's knobs, with everything that settings decide filled in; ValueError if the knobs decide it too."""
    path = Path(engine.knobs) if engine.knobs else KNOBS / f"zero{engine.zero_stage}.json"
    try:
        knobs = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"engine.knobs: cannot read {path}: {error}.") from None
    if doubled := sorted(OURS & set(knobs)):
        raise ValueError(f"{path} must not set {doubled[0]}: it follows from the settings of optimizer and engine.")
    if knobs.get("zero_optimization", {}).get("stage") != engine.zero_stage:
        raise ValueError(f"{path} must have zero_optimization.stage {engine.zero_stage}, as engine.zero_stage says.")
    if "offload_optimizer" in knobs["zero_optimization"]:
        raise ValueError(
            f"{path} must not offload the optimizer: DeepSpeed 0.19.8 then loses gradients of parameters that the last backward pass misses."
        )
    precision = {engine.precision: {"enabled": True}} if engine.precision != "fp32" else {}
    return {
        "train_micro_batch_size_per_gpu": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_clipping": settings.max_grad_norm,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        **precision,
        **knobs,
    }


def trained(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def set_rates(optimizer: Any, rate: Callable[[float], float]) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate(group["base_lr"])


def load_weights(model: Any, folder: Path) -> None:
    """Every tensor of a saved model into `model`; ValueError if one does not fit."""
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    if not path.is_file():
        raise ValueError(f"{folder} holds no model.safetensors.")
    try:
        model.load_state_dict(load_file(path, device=str(next(model.parameters()).device)))
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit this model: {' '.join(str(error).split())[:300]}") from None


def mean_over_processes(value: Tensor, engine: Engine) -> Tensor:
    if engine.num_processes > 1:
        torch.distributed.all_reduce(value)
    return value / engine.num_processes
