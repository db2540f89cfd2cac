"""Results as plain values for JSON: what the commands print and the app's endpoints return, made in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipbert.checkup import Checkup
    from clipbert.comparison import Comparison, Measured
    from clipbert.conclusions import Conclusion
    from clipbert.config import SamplingConfig
    from clipbert.cost import CostPoint
    from clipbert.cost_limits import Limits
    from clipbert.cost_settings import CostSettings
    from clipbert.faithfulness_curves import Faithfulness
    from clipbert.predict import Predictor
    from clipbert.retrieval import Hit, VideoIndex
    from clipbert.sweep import SweepRow
    from clipbert.types import Attribution, EncodedVideo, Prediction


def answer_result(predictor: "Predictor", video: "EncodedVideo", prediction: "Prediction", question: str, seed: int) -> dict[str, Any]:
    """The answer with every candidate's score and every clip's own vote and contribution."""
    own = prediction.clip_logits.softmax(dim=-1)
    clips = [
        {
            "start": round(float(start), 6),
            "end": round(float(end), 6),
            "times": video.times[n].tolist(),
            "answer": prediction.candidates[int(own[n].argmax())],
            "scores": own[n].tolist(),
            "contribution": float(prediction.contribution[n]),
            "shortened": video.shortened[n],
        }
        for n, (start, end) in enumerate(video.spans.tolist())
    ]
    return {
        "answer": prediction.answer,
        "candidates": list(prediction.candidates),
        "scores": prediction.scores.tolist(),
        "aggregation": prediction.aggregation,
        "sure": prediction.sure,
        "model": predictor.model.name,
        "clips": clips,
        "question": question,
        "policy": video.policy,
        "seed": seed,
        "duration": video.duration,
        "partial": video.partial,
        "notices": list(prediction.notices),
    }


def attribution_result(predictor: "Predictor", video: "EncodedVideo", found: "Attribution", question: str) -> dict[str, Any]:
    """Each clip's value, or the values inside each explained clip.

    `gap` says how far values are from adding up to the whole score (None for a
    method that does not promise it), `on_padding` which share of |values| lies
    on cells that show padding alone.
    """
    from clipbert.attribution import METHODS

    spans = [{"start": round(start, 6), "end": round(end, 6)} for start, end in video.spans.tolist()]
    result = {
        "question": question,
        "target": found.target,
        "method": found.method,
        "about": METHODS[found.method].about,
        "level": found.level,
        "unit": METHODS[found.method].unit,
        "value_function": found.value_function,
        "gap": found.gap,
        "model": predictor.model.name,
        "clips": [spans[clip] | _of_clip(found, n) for n, clip in enumerate(found.clip_index)],
        "notices": list(video.notices),
    }
    if found.level == "cells":
        grid = found.grid
        result |= {"on_padding": found.on_padding(), "grid": asdict(grid) if grid else None}
        result["boxes"] = [[grid.box(row, col) for col in range(grid.shape[1])] for row in range(grid.shape[0])] if grid else None
    return result


def faithfulness_result(found: "Faithfulness") -> dict[str, Any]:
    """The verdict, areas, p-values and rationales, and the curves as tidy rows; `clip` counts from 1, None for all clips."""
    return {
        "clip": None if found.clip is None else found.clip + 1, "method": found.method, "target": found.target, "level": found.level,
        "measured": found.measured, "perturbation": found.perturbation, "num_units": found.num_units, "num_runs": found.num_runs,
        "num_orders": len(found.deletion.random), "seed": found.seed, "verdict": found.verdict, "beats_random": found.beats_random,
        "summary": found.summary(), "curves": found.rows(),
    }  # fmt: skip


def checkup_result(found: "Checkup") -> dict[str, Any]:
    """Every check of a map; one that does not fit it is None, and `left_out` says why.  `clip` counts from 1, None for all clips."""
    infidelity, randomised = found.infidelity, found.randomisation
    return {
        "clip": None if found.clip is None else found.clip + 1, "method": found.method,
        "infidelity": asdict(infidelity) | {"unexplained": infidelity.unexplained} if infidelity else None, "sensitivity_max": found.sensitivity,
        "sign_violations": asdict(found.signs) | {"rate": found.signs.rate, "random_rate": found.signs.random_rate},
        "rank_agreements": [asdict(pair) for pair in found.agreements],
        "randomisation": {"verdict": randomised.verdict, "agreements": randomised.agreements()} if randomised else None,
        "left_out": found.left_out,
    }  # fmt: skip


def _of_clip(found: "Attribution", n: int) -> dict[str, Any]:
    low, high = (end[n].tolist() for end in found.interval())
    values = found.values[n].tolist()
    if found.level == "clips":
        return {"value": values} | ({"low": low, "high": high} if found.standard_error is not None else {})
    clip = found.clip_index[n]
    inside: dict[str, Any] = {"clip": clip + 1, "times": found.times[clip].tolist() if found.times is not None else None}
    inside |= {"gap": float(found.gaps[n])} if found.gaps is not None else {}
    inside |= {"low": low, "high": high} if found.standard_error is not None else {}
    return inside | {found.level: values} | ({"pieces": list(found.pieces)} if found.level == "tokens" else {})


def sample_result(video: str, settings: "SamplingConfig", *, backend: str | None = None) -> dict[str, Any]:
    """The clips and source frames that the settings pick from a video file.  Raises VideoError."""
    import torch

    from clipbert.sampling import sample_clips
    from clipbert.video import Video

    with Video.open(video, backend=backend) as opened:
        timeline, notices = opened.timeline, list(opened.notices)
    clips = sample_clips(
        timeline, num_clips=settings.num_clips, num_frames=settings.num_frames, fps=settings.fps, policy=settings.policy,
        generator=torch.Generator().manual_seed(settings.seed),
    )  # fmt: skip
    rows = [
        {"start": clip.start, "end": clip.end, "times": clip.times.tolist(), "frames": clip.frame_index.tolist(), "shortened": bool(clip.shortened)}
        for clip in clips
    ]
    return {
        "clips": rows,
        "duration": timeline.duration,
        "fps": timeline.fps,
        "num_frames": timeline.num_frames,
        "policy": settings.policy,
        "seed": settings.seed,
        "notices": notices,
    }


def sweep_result(predictor: "Predictor", question: str, rows: "Sequence[SweepRow]", note: str) -> dict[str, Any]:
    """The answer and score at each N_test x aggregation."""
    return {"question": question, "model": predictor.model.name, "rows": [vars(row) for row in rows], "note": note}


def search_result(index: "VideoIndex", query: str, hits: "Sequence[Hit]", names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The ranking for a query; `names` says what to call the files instead of their paths."""
    named = names or {}
    return {
        "query": query, "model": index.model["name"], "videos": len(index),
        "hits": [asdict(hit) | {"path": named.get(hit.path, hit.path)} for hit in hits],
        "unreadable": {named.get(path, path): why for path, why in index.report.unreadable.items()},
        "notices": list(index.predictor.text_notices([query])),
    }  # fmt: skip


def cost_result(settings: "CostSettings", points: "Sequence[CostPoint]", limits: "Limits | None" = None) -> dict[str, Any]:
    """The measured points, and Figure 5's panels with their fits and the paper's known points; `limits`, or this machine's, are of the roofline."""
    from clipbert.cost import predict_cost
    from clipbert.cost_limits import measured_limits
    from clipbert.cost_panels import panels

    drawn = [
        {
            "panel": panel.letter, "x": panel.x, "y": panel.y, "fit": asdict(panel.fit) if panel.fit else None,
            "points": [[getattr(p.settings, panel.x), getattr(p, panel.y)] for p in panel.points],
            "paper": {str(x): value for x, value in panel.paper.items()},
        }
        for panel in panels(points)
    ]  # fmt: skip
    limits = limits or measured_limits(settings.device)
    one, rows = asdict(predict_cost(replace(settings, memory_cap=0), limits=limits)), [point.row() for point in points]
    return {
        "settings": asdict(settings), "technique": settings.technique, "machine": limits.name, "predicted_at_1x1": one, "rows": rows, "panels": drawn,
    }  # fmt: skip


def committed_results() -> Path | None:
    """The folder of our committed result files; None outside a checkout."""
    folder = Path(__file__).parent.parent / "benchmarks" / "results"
    return folder if folder.is_dir() else None


def tables_result(number: int | None, results: "Sequence[Measured]") -> dict[str, Any]:
    """Table `number` of the paper, or all, beside `results`; the sums that the paper's text does; what speaks for and against its conclusions.

    Raises ValueError for a table that the paper does not have.
    """
    from clipbert.comparison import compare, smaller_runs
    from clipbert.conclusions import conclusions
    from clipbert.paper import claims, paper_table
    from clipbert.trends import table_trends

    shown = []
    for part in (part for n in (range(1, 12) if number is None else [number]) for part in paper_table(n)):
        comparisons = compare(part, results)
        about = {"table": part.name, "title": part.title, "section": part.section, "page": part.page, "note": part.note}
        trend = [asdict(found) | {"verdict": found.verdict} for found in table_trends(part, results)]
        cells = [_cell_result(found) for found in comparisons]
        smaller = [
            {"row": list(found.cell.row), "column": found.cell.column, "scale": found.scale, "values": found.values, "mean": found.mean,
             "interval": found.interval} for found in smaller_runs(part, results)
        ]  # fmt: skip
        shown.append(about | {"row_names": part.row_names, "columns": part.columns, "cells": cells, "smaller": smaller, "trends": trend})
    return {
        "tables": shown, "claims": [asdict(claim) | {"holds": claim.holds} for claim in claims()],
        "conclusions": [_conclusion_result(conclusion, results) for conclusion in conclusions()],
    }  # fmt: skip


def curves_result(folder: Path) -> list[dict[str, Any]]:
    """What our curves of Figure 4 in a folder say to section 4.2.  Raises ValueError for a row that is none of an ablation."""
    from clipbert.trends import curve_trends, read_rows

    found = curve_trends(read_rows(folder))
    return [asdict(trend) | {"agreeing": trend.agreeing, "p_value": trend.p_value, "verdict": trend.verdict} for trend in found]


def _conclusion_result(conclusion: "Conclusion", results: "Sequence[Measured]") -> dict[str, Any]:
    from clipbert.conclusions import findings

    told = [
        {
            "says": found.expectation.says, "column": found.expectation.column, "scale": found.scale, "verdict": found.verdict,
            "differences": list(found.differences), "margin": found.margin, "agreeing": found.agreeing, "sign_test_p": found.sign_test_p,
        }
        for found in findings(conclusion, results)
    ]  # fmt: skip
    return {"number": conclusion.number, "statement": conclusion.statement, "section": conclusion.section, "findings": told}


def _cell_result(found: "Comparison") -> dict[str, Any]:
    from clipbert.comparison import interval, interval_of

    cell = found.cell
    return {
        "row": list(cell.row), "column": cell.column, "paper": cell.value, "paper_interval": interval(cell),
        "ours": found.ours, "ours_interval": interval_of(found.ours, cell, cell.num_examples), "difference": found.difference,
        "status": found.status, "num_runs": found.num_runs, "files": found.files,
        "unit": cell.unit, "benchmark": cell.benchmark, "split": cell.split, "grey": cell.grey,
        "scaled_down": [
            {"value": run.value, "interval": interval_of(run.value, cell, run.num_examples), "scale": run.scale, "file": run.file}
            for run in found.scaled_down
        ],
    }  # fmt: skip
