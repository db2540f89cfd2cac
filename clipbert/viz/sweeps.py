"""Pictures of how the answer, or a score, depends on N_test and aggregation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from clipbert.aggregation import AGGREGATIONS, responsibility, soft_aggregate
from clipbert.sweep import Spent, SweepRow
from clipbert.viz.chart import PERCENT, Axis, Bars, Chart, Heat, Lines, Points, Row, Scale, percent_axis
from clipbert.viz.style import plain

MEASURED, PAPER = "measured here", "the paper"
POOLED = "pooled"
CLOSE = 0.1  # probability: names of points this close would cover each other


def ntest_curve(sweep: Sequence[SweepRow], *, model: str, note: str = "", spent: Mapping[int, Spent] | None = None) -> Chart:
    """Probability of the answer given at each N_test, a line for each aggregation; an answer is named where the line comes to it."""
    final = sweep[-1].answer
    rows = _curve_rows(sweep, final, spent or {})
    return Chart(
        "Answer by N_test", model, f"of the answer given: “{plain(final, 40)}” until another is named" + f"; {note}" * bool(note), rows,
        Axis("N_test (clips)", "log2", ticks=_sizes(rows)), percent_axis("probability (%)", [row["probability_percent"] for row in rows]),
        (_curve_lines(rows),), AGGREGATIONS,
    )  # fmt: skip


def ntest_panels(
    sweeps: Mapping[str, Sequence[SweepRow]], *, model: str, spent: Mapping[str, Mapping[int, Spent]] | None = None, panels: str = "policy"
) -> Chart:
    """`ntest_curve` of the same question under each policy or other name, the keys of `sweeps`, side by side on one scale; `panels` says of what."""
    final = next(iter(sweeps.values()))[-1].answer
    rows: list[Row] = [{panels: name, **row} for name, sweep in sweeps.items() for row in _curve_rows(sweep, final, (spent or {}).get(name, {}))]
    return Chart(
        f"Answer by N_test under each {panels}", model, f"probability of the answer given: “{plain(final, 40)}” until another is named", rows,
        Axis("N_test (clips)", "log2", ticks=_sizes(rows)), percent_axis("probability (%)", [row["probability_percent"] for row in rows]),
        (_curve_lines(rows),), AGGREGATIONS, panels=panels,
    )  # fmt: skip


def _curve_rows(sweep: Sequence[SweepRow], final: str, spent: Mapping[int, Spent]) -> list[Row]:
    rows: list[Row] = []
    named = _named(sweep, final)
    for row in sweep:
        of_size = spent.get(row.num_clips)
        told = f"{of_size.seconds:.2f} s, {of_size.num_reused} of {row.num_clips} clips reused" if of_size else ""
        rows.append({
            "num_clips": row.num_clips, "aggregation": row.aggregation, "answer": row.answer, "probability_percent": 100 * row.score,
            "margin_percent": 100 * row.margin, "seconds": of_size.seconds if of_size else None,
            "clips_reused": of_size.num_reused if of_size else None, "spent": told,
            "label": plain(row.answer, 14) if (row.num_clips, row.aggregation) in named else "",
        })  # fmt: skip
    return rows


def _named(sweep: Sequence[SweepRow], final: str) -> set[tuple[int, str]]:
    """The points where a line's answer becomes another one; of points close together that would bear one name at one N_test, the upper."""
    before: dict[str, str] = {how: final for how in AGGREGATIONS}
    changed: list[SweepRow] = []
    for row in sorted(sweep, key=lambda row: (row.num_clips, -row.score)):
        if row.answer != before[row.aggregation] and not any(
            (row.num_clips, row.answer) == (other.num_clips, other.answer) and other.score - row.score < CLOSE for other in changed
        ):
            changed.append(row)
        before[row.aggregation] = row.answer
    return {(row.num_clips, row.aggregation) for row in changed}


def _curve_lines(rows: Sequence[Row]) -> Lines:
    hover = (
        "N_test = {num_clips}, {aggregation}\n{answer}: {probability_percent:.1f} %, {margin_percent:.1f} points ahead of the next"
        + "\n{spent}" * any(row["spent"] for row in rows)
    )
    return Lines(rows, "num_clips", "probability_percent", "aggregation", hover, label="label")


def ntest_matrix(sweep: Sequence[SweepRow], *, model: str, num_clips: int, aggregation: str) -> Chart:
    """The answer at each N_test and aggregation; cells are outlined that differ from the chosen setting's."""
    chosen = next((row.answer for row in sweep if (row.num_clips, row.aggregation) == (num_clips, aggregation)), None)
    if chosen is None:
        raise ValueError(f"the sweep has no N_test={num_clips} with {aggregation}; it has {sorted({row.num_clips for row in sweep})}.")
    rows: list[Row] = [
        {
            "N_test": str(row.num_clips), "aggregation": row.aggregation, "answer": row.answer, "probability_percent": 100 * row.score,
            "differs": row.answer != chosen, "text": f"{plain(row.answer, 16)}, {100 * row.score:.0f} %",
        }
        for row in sweep
    ]  # fmt: skip
    hover = "N_test = {N_test}, {aggregation}\n{answer}: {probability_percent:.1f} %"
    return Chart(
        "Answer by N_test and aggregation", model, f"outlined where it is not “{plain(chosen, 40)}” (N_test={num_clips}, {aggregation})", rows,
        Axis("aggregation", "category", AGGREGATIONS), Axis("N_test", "category", tuple(dict.fromkeys(row["N_test"] for row in rows))),
        (Heat(rows, "aggregation", "N_test", "probability_percent", hover, "text", PERCENT, outlined="differs"),),
    )  # fmt: skip


def pooling_heat(logits: Float[Tensor, "N K"], candidates: tuple[str, ...], *, sharpness: float, model: str, num_answers: int = 5) -> Chart:
    """Every clip's logits for the top answers, and the pooled row at a sharpness beta, between mean (0) and max (infinity)."""
    pooled = soft_aggregate(logits, sharpness)
    order = pooled.argsort(descending=True)[:num_answers].tolist()
    lines = [*((f"clip {n}", row) for n, row in enumerate(logits, 1)), (POOLED, pooled)]
    part = responsibility(logits, sharpness)
    rows: list[Row] = [
        {
            "clip": name, "answer": candidates[j], "logit": float(values[j]),
            "responsibility_percent": 100 * float(part[n, j]) if n < len(logits) else 100.0, "text": f"{float(values[j]):.1f}",
        }
        for n, (name, values) in enumerate(lines) for j in order
    ]  # fmt: skip
    hover = "{clip}, {answer}\nlogit {logit:+.3f}\n{responsibility_percent:.0f} % of the pooled logit's change"
    return Chart(
        "From clip logits to one", model, f"pooled: (1/β) log mean exp(β g) at β = {sharpness:g}", rows,
        Axis("", "category", tuple(candidates[j] for j in order)), Axis("", "category", tuple(name for name, _ in lines)),
        (Heat(rows, "answer", "clip", "logit", hover, "text", Scale.of([row["logit"] for row in rows], signed=True, unit="logit")),),
    )  # fmt: skip


def responsibility_bars(logits: Float[Tensor, "N K"], candidates: tuple[str, ...], *, sharpness: float, model: str) -> Chart:
    """Which clips the pooled logit of the top answer listens to, at a sharpness beta."""
    answer = int(soft_aggregate(logits, sharpness).argmax())
    shares = (100 * responsibility(logits, sharpness)[:, answer]).tolist()
    rows: list[Row] = [{"clip": n, "responsibility_percent": share} for n, share in enumerate(shares, 1)]
    bars = Bars(rows, "clip", "responsibility_percent", "clip {clip}\n{responsibility_percent:.1f} %")
    return Chart(
        "Responsibility of each clip", model, f"for “{plain(candidates[answer], 40)}”: softmax of β g over clips, β = {sharpness:g}", rows,
        Axis("clip (number)", limits=(0.4, len(shares) + 0.6)), percent_axis("responsibility (%)", shares), (bars,),
    )  # fmt: skip


@dataclass(frozen=True)
class CurvePoint:
    """A score over a data set at one N_test, in percent; `low` and `high` bound its interval."""

    num_clips: int
    series: str
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class PaperPoint:
    """A number that the paper's tables state, in percent, and where."""

    num_clips: int
    score: float
    label: str


def dataset_curve(points: Sequence[CurvePoint], *, metric: str, data_set: str, model: str, paper: Sequence[PaperPoint] = ()) -> Chart:
    """A score over N_test for each series, with its interval; the paper's own numbers are hollow."""
    columns = ("num_clips", "series", "score_percent", "low_percent", "high_percent", "source")
    rows: list[Row] = [dict(zip(columns, (p.num_clips, p.series, p.score, p.low, p.high, MEASURED), strict=True)) for p in points]
    references: list[Row] = [
        dict(zip(columns, (p.num_clips, f"the paper, {p.label}", p.score, None, None, PAPER), strict=True)) for p in paper
    ]  # fmt: skip
    hover = "{series}, N_test = {num_clips}\n{score_percent:.1f} % ({low_percent:.1f} to {high_percent:.1f})"
    lines = Lines(rows, "num_clips", "score_percent", "series", hover, "low_percent", "high_percent")
    hollow = Points(references, "num_clips", "score_percent", "{series}, N_test = {num_clips}\n{score_percent:.2f} %", "series", "hollow")
    series = tuple(dict.fromkeys(row["series"] for row in rows + references))
    caption = f"{data_set}; bars: 95 % interval" + "; hollow: the paper's numbers, of another model and data set" * bool(paper)
    return Chart(
        f"{metric} by N_test", model, caption,
        rows + references, Axis("N_test (clips)", "log2", ticks=_sizes(rows + references)), Axis(f"{metric} (%)"),
        (lines, hollow) if references else (lines,), series,
    )  # fmt: skip


def _sizes(rows: Sequence[Row]) -> tuple[float, ...]:
    return tuple(sorted({row["num_clips"] for row in rows}))
