"""Rules that choose clips from a scan, and the look itself: budgets, order, costs, bad input, the command."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import HEADS, tiny_model, tiny_processor
from videos import write_video

from clipbert import cli
from clipbert.cli import main
from clipbert.guided import spent
from clipbert.predict import Predictor
from clipbert.sampling_config import SAMPLERS
from clipbert.selection import NEEDS, SELECTORS, Scan, covering, diverse, relevant, shots
from clipbert.video import Video


def scan_of(num_candidates: int, seed: int = 0) -> Scan:
    generator = torch.Generator().manual_seed(seed)
    colors, features = torch.rand(num_candidates, 24, generator=generator), torch.randn(num_candidates, 8, generator=generator)
    return Scan(torch.arange(num_candidates).double(), colors, features, torch.randn(num_candidates, generator=generator))


@given(name=st.sampled_from(SAMPLERS), num_candidates=st.integers(1, 40), budget=st.integers(1, 50), seed=st.integers(0, 99))
def test_every_rule_spends_its_budget_on_different_candidates_in_order(name: str, num_candidates: int, budget: int, seed: int) -> None:
    chosen = SELECTORS[name](scan_of(num_candidates, seed), budget)
    assert len(chosen) == min(budget, num_candidates) and chosen == sorted(set(chosen))
    assert chosen[0] >= 0 and chosen[-1] < num_candidates


@pytest.mark.parametrize("name", ["relevant", "covering"])
@pytest.mark.parametrize("budget", [1, 3, 8])
def test_guided_rules_take_the_most_relevant_candidate(name: str, budget: int) -> None:
    scan = scan_of(16)
    assert scan.relevance is not None and int(scan.relevance.argmax()) in SELECTORS[name](scan, budget)


def test_top_k_clusters_where_covering_spreads() -> None:
    relevance = torch.tensor([0.0, 0.9, 1.0, 0.95, 0.9, 0.1, 0.2, 0.1, 0.3, 0.1, 0.2, 0.1])
    scan = Scan(torch.arange(12).double(), relevance=relevance)
    assert relevant(scan, 4) == [1, 2, 3, 4]
    assert max(covering(scan, 4)) >= 6


def test_covering_stays_with_one_candidate_that_stands_out() -> None:
    relevance = torch.zeros(32)
    relevance[[5, 6]] = torch.tensor([1.0, 0.99])
    assert covering(Scan(torch.arange(32).double(), relevance=relevance), 2) == [5, 6]


def test_shots_get_a_clip_each_and_the_longest_more() -> None:
    colors = torch.zeros(12, 24)
    colors[:2, 0], colors[2:9, 1], colors[9:, 2] = 1.0, 1.0, 1.0  # shots of 2, 7 and 3 candidates
    scan = Scan(torch.arange(12).double(), colors=colors)
    assert shots(scan, 1) == [5] and shots(scan, 3) == [1, 5, 10]
    assert [sum(a <= k < b for k in shots(scan, 5)) for a, b in ((0, 2), (2, 9), (9, 12))] == [1, 3, 1]


def test_diverse_takes_one_of_each_kind() -> None:
    kinds = torch.eye(3).repeat_interleave(torch.tensor([5, 2, 1]), dim=0)
    chosen = diverse(Scan(torch.arange(8).double(), features=kinds), 3)
    assert len({int(kinds[k].argmax()) for k in chosen}) == 3


def fresh() -> Predictor:
    """With empty caches."""
    model = tiny_model(heads={name: HEADS[name] for name in ("qa", "match")})
    return Predictor(model, tiny_processor(model), name="tiny")


@pytest.fixture
def predictor() -> Predictor:
    return fresh()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a.mp4", num_frames=120, gop=15)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_guided_look_encodes_the_chosen_clips_and_tells_its_cost(predictor: Predictor, video: Path, sampler: str) -> None:
    other = fresh()
    with spent(other) as uniform:
        other.encode(video, num_clips=2)
    found = predictor.encode_for(video, "what?", sampler=sampler, num_clips=2, num_candidates=8)
    assert found.video.num_clips == len(found.chosen) == 2 and found.video.policy == sampler
    assert getattr(found.scan, NEEDS[sampler]) is not None
    assert found.cost.frames_decoded > 0 and found.cost.flops >= uniform.flops > 0
    assert predictor.answer(found.video, "what?").answer


def test_only_what_a_rule_reads_is_paid_for(video: Path) -> None:
    flops = {
        sampler: fresh().encode_for(video, "what?", sampler=sampler, num_clips=2, num_candidates=8).cost.flops
        for sampler in ("shots", "diverse", "relevant")
    }
    assert flops["shots"] < flops["diverse"] < flops["relevant"]


def test_shots_are_sought_at_key_frames_which_decode_alone(predictor: Predictor, video: Path) -> None:
    with Video.open(video) as opened:
        assert opened.key_frames == tuple(range(0, 120, 15))
    found = predictor.encode_for(video, "what?", sampler="shots", num_clips=2, num_candidates=8)
    assert found.scan.starts.tolist() == pytest.approx([k / 2 for k in range(8)])


def test_what_caches_hold_costs_nothing(predictor: Predictor, video: Path) -> None:
    predictor.encode(video)
    with spent(predictor) as again:
        predictor.encode(video)
    assert (again.frames_decoded, again.flops) == (0, 0)


def test_choices_are_relevant_by_the_best_of_them(predictor: Predictor, video: Path) -> None:
    found = predictor.encode_for(video, "what?", sampler="relevant", choices=["red", "blue"], num_clips=1, num_candidates=4)
    texts = ["what? red", "what? blue"]
    alone = [predictor.encode_for(video, text, sampler="relevant", num_clips=1, num_candidates=4).scan.relevance for text in texts]
    assert found.scan.relevance is not None and alone[0] is not None and alone[1] is not None
    torch.testing.assert_close(found.scan.relevance, torch.maximum(alone[0], alone[1]))


def test_bad_settings_are_refused(predictor: Predictor, video: Path) -> None:
    with pytest.raises(ValueError, match="sampler must be one of shots, diverse, relevant, covering, got 'relevent'; did you mean 'relevant'"):
        predictor.encode_for(video, "what?", sampler="relevent")
    with pytest.raises(ValueError, match=r"num_candidates must be between num_clips \(9\) and 256, got 8"):
        predictor.encode_for(video, "what?", sampler="diverse", num_clips=9, num_candidates=8)


def test_the_command_tells_what_the_look_cost(
    predictor: Predictor, video: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "load_predictor", lambda _: predictor)
    argv = ["ask", str(video), "what?", "--sampler", "covering", "--num-clips", "2", "--candidates", "8"]
    assert main([*argv, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["sampler"], result["num_candidates"], len(result["clips"])) == ("covering", 8, 2) and result["frames_decoded"] > 0
    assert main(argv) == 0
    assert "chosen by covering of 8 candidates" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sampler", "best"], "sampler must be one of shots, diverse, relevant, covering"),
        (["--candidates", "8"], "--candidates has no effect without --sampler"),
        (["--sampler", "shots", "--policy", "paper"], "leave out --policy"),
    ],
)
def test_bad_options_get_one_line_and_exit_2(options: list[str], message: str, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", str(video), "what?", *options]) == 2
    assert message in capsys.readouterr().err
