"""One video at every N_test: what is asked again from saved logits, without the model."""

import html
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipbert.sampling_config import AGGREGATIONS, SamplingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from clipbert.predict import Predictor
    from clipbert.sweep import Spent, SweepRow

SIZES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Sweep:
    """Clip logits of one question at each N_test so far; pooling them is arithmetic."""

    question: str
    model: str
    candidates: tuple[str, ...]
    logits: "dict[int, Tensor]"
    """N_test -> float[N, K]"""
    note: str
    planned: tuple[int, ...]
    spent: "dict[int, Spent]" = field(default_factory=dict)

    def rows(self) -> "list[SweepRow]":
        """The answer and its probability at each N_test and aggregation."""
        from clipbert.sweep import sweep_rows

        return sweep_rows(self.logits, self.candidates)

    @property
    def finished(self) -> bool:
        return len(self.logits) == len(self.planned)


def sizes_with(num_clips: int) -> tuple[int, ...]:
    """SIZES and the chosen N_test, ascending."""
    return tuple(sorted({*SIZES, num_clips}))


def sweep_stream(
    predictor: "Predictor", video: Path, question: str, choices: Sequence[str] | None, wanted: SamplingConfig, sizes: Sequence[int]
) -> Iterator[Sweep]:
    """The sweep after each N_test; under policies that nest each one only adds the clips that the ones before lacked."""
    from clipbert.sweep import Spent

    sweep, seen = Sweep(question, predictor.model.name, (), {}, "", tuple(sizes)), set[str]()
    for k, size in enumerate(sizes, 1):
        start = time.perf_counter()
        parts, note = predictor.encode_sweep(
            video, sizes=sizes[:k], num_frames=wanted.num_frames, fps=wanted.fps, policy=wanted.policy, seed=wanted.seed
        )  # fmt: skip
        candidates, logits = predictor.candidate_logits(parts[size], question, choices)
        spent = Spent(time.perf_counter() - start, sum(key in seen for key in parts[size].clip_keys))
        seen |= set(parts[size].clip_keys)
        sweep = replace(sweep, candidates=candidates, logits={**sweep.logits, size: logits}, note=note, spent={**sweep.spent, size: spent})
        yield sweep


def matrix_html(sweep: Sweep, *, num_clips: int, aggregation: str) -> str:
    """The answer at each N_test and aggregation, a button each; cells that differ from the chosen setting's are outlined and say so."""
    rows = sweep.rows()
    setting = next((row for row in rows if (row.num_clips, row.aggregation) == (num_clips, aggregation)), rows[-1])
    chosen = setting.answer
    lines = ""
    for size in sweep.logits:
        cells = "".join(_cell(row, chosen, (row.num_clips, row.aggregation) == (num_clips, aggregation)) for row in rows if row.num_clips == size)
        lines += f'<tr><th scope="row">{size}</th>{cells}</tr>'
    head = "".join(f'<th scope="col">{how}</th>' for how in AGGREGATIONS)
    return (
        f'<table class="matrix"><caption>Answer by N_test (rows) and aggregation (columns), model {html.escape(sweep.model)}. Dotted: not '
        f"“{html.escape(chosen)}”, the answer at N_test={setting.num_clips}, {setting.aggregation}. A click asks in that setting.</caption>"
        f'<thead><tr><th scope="col">N_test</th>{head}</tr></thead><tbody>{lines}</tbody></table>'
    )


def _cell(row: "SweepRow", chosen: str, is_setting: bool) -> str:
    differs = row.answer != chosen
    about = f"N_test {row.num_clips}, {row.aggregation}: {row.answer}, {100 * row.score:.0f} %" + ", differs" * differs
    return (
        f'<td><button type="button" class="{"differs " * differs}{"setting" * is_setting}" data-clips="{row.num_clips}" data-how="{row.aggregation}" '
        f'aria-label="{html.escape(about)}">{"≠ " * differs}{html.escape(row.answer)}<small>{100 * row.score:.0f} %</small></button></td>'
    )
