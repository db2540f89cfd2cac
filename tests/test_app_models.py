"""Two models beside each other: each clip's own votes, from clip logits that are there already."""

import pytest
import torch

from app.model_panel import votes_html
from app.sweeping import Sweep
from clipbert.sampling import ClipTimes


def sweep(model: str, candidates: tuple[str, ...], logits: list[list[float]]) -> Sweep:
    return Sweep("what?", model, candidates, {len(logits): torch.tensor(logits, dtype=torch.float32)}, "", (len(logits),))


def clips(count: int) -> list[ClipTimes]:
    return [ClipTimes(float(n), n + 0.5, torch.tensor([float(n)], dtype=torch.float64), torch.tensor([n]), False) for n in range(count)]


def test_each_clips_own_answers_stand_beside_each_other() -> None:
    found = votes_html({"a": sweep("a", ("cat", "dog"), [[0, 9], [9, 0]]), "b": sweep("b", ("x", "<i>"), [[9, 0], [0, 9]])}, clips(2))
    first, second = found.replace("\N{NO-BREAK SPACE}", " ").split("<tr>")[2:]
    assert "0.0 to 0.5" in first and "dog 100 %" in first and "x 100 %" in first
    assert "cat 100 %" in second and "&lt;i&gt; 100 %" in second


def test_a_sweep_of_other_clips_is_refused() -> None:
    with pytest.raises(ValueError, match="no N_test=3; it has 2"):
        votes_html({"a": sweep("a", ("cat", "dog"), [[0, 9], [9, 0]])}, clips(3))
