"""Pictures of an answer: its candidates, each clip's part in it, how it settled, what an edit did to it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from clipbert.aggregation import aggregate
from clipbert.edits import Change
from clipbert.types import Attribution, Prediction
from clipbert.viz.chart import Axis, Bars, Chart, Heat, Lines, Row, Rule, Scale, percent_axis
from clipbert.viz.style import plain, time_range

FOR, AGAINST = "for the answer", "against it"
RAISES, LOWERS = "raises the score", "lowers it"
LIKELIER, LESS_LIKELY = "likelier after the edit", "less likely"
LABELLED_CLIPS = 16
THINNEST_BAR = 1 / 80  # of the video: a clip of a long film would be thinner than a pixel


def answer_bars(prediction: Prediction, *, model: str, num_answers: int = 5) -> Chart:
    """The likeliest answers and their probabilities."""
    order = prediction.scores.argsort(descending=True)[:num_answers].tolist()
    percents = [100 * float(prediction.scores[j]) for j in order]
    rows: list[Row] = [
        {"rank": rank, "answer": prediction.candidates[j], "probability_percent": percent, "label": f"{percent:.1f} %"}
        for rank, (j, percent) in enumerate(zip(order, percents, strict=True), 1)
    ]
    doubt = "" if prediction.sure else "not sure · "
    return Chart(
        "Likeliest answers", model, f"{doubt}{_pooled(prediction)}, of {len(prediction.candidates)} answers", rows,
        percent_axis("probability (%)", percents),
        Axis("", "category", tuple(row["answer"] for row in rows)),
        (Bars(rows, "answer", "probability_percent", "{answer}\n{probability_percent:.1f} %", horizontal=True, label="label"),),
    )  # fmt: skip


def match_bars(texts: Sequence[str], scores: Float[Tensor, " K"], *, model: str) -> Chart:
    """How well each text describes the video, best first."""
    order = scores.argsort(descending=True).tolist()
    values = [float(scores[k]) for k in order]
    rows: list[Row] = [
        {"rank": rank, "text": texts[k], "score_log_odds": value, "place": f"{rank}. {texts[k]}", "label": f"{value:+.2f}"}
        for rank, (k, value) in enumerate(zip(order, values, strict=True), 1)
    ]
    low, high = min(*values, 0.0), max(*values, 0.0)
    room = 0.2 * max(high - low, 0.1)
    return Chart(
        "Match of each text", model, "above 0 the model leans to a match", rows,
        Axis("match score (log-odds)", limits=(low - room, high + room)),
        Axis("", "category", tuple(row["place"] for row in rows)),
        (Bars(rows, "place", "score_log_odds", "{rank}. {text}\n{score_log_odds:+.2f} log-odds", horizontal=True, label="label"),),
    )  # fmt: skip


def clip_contributions(prediction: Prediction, spans: Float[Tensor, "N 2"], *, model: str, duration: float) -> Chart:
    """Each clip's share in the answer where it lies in the video, with the clip's own vote.

    Shares are in nats of log-probability; percentages are given where none is negative.
    """
    own = prediction.clip_logits.softmax(dim=-1)
    shares = [float(value) for value in prediction.contribution]
    total = sum(shares) if min(shares) >= 0 else 0.0
    rows: list[Row] = []
    for n, (start, end) in enumerate(spans.tolist()):
        vote = int(own[n].argmax())
        percent = 100 * shares[n] / total if total else None
        rows.append({
            "clip": n + 1, "start_seconds": start, "end_seconds": end, "middle_seconds": (start + end) / 2,
            "shown_seconds": max(end - start, THINNEST_BAR * duration), "contribution_nats": shares[n], "percent": percent,
            "direction": FOR if shares[n] >= 0 else AGAINST, "vote": prediction.candidates[vote], "vote_percent": 100 * float(own[n, vote]),
            "when": time_range(start, end), "part": f" ({percent:.0f} %)" if percent is not None else "",
            "label": plain(prediction.candidates[vote], 14) if len(shares) <= LABELLED_CLIPS else "",
        })  # fmt: skip
    hover = "clip {clip}, {when}\n{contribution_nats:+.3f} nats{part}\nalone it says {vote} ({vote_percent:.0f} %)"
    caption = f"Shapley value of each clip, {_pooled(prediction)}; text: the clip's own answer"
    return Chart(
        f"Which clips made “{plain(prediction.answer, 40)}”", model, caption, rows,
        Axis("time (s)", limits=(0, duration)), Axis("contribution (nats)", limits=(1.6 * min(*shares, 0), 1.6 * max(*shares, 1e-3))),
        (Bars(rows, "middle_seconds", "contribution_nats", hover, thickness="shown_seconds", series="direction", label="label"),),
        (FOR, AGAINST),
    )  # fmt: skip


def clip_values(
    found: Attribution, left_out: Float[Tensor, " N"], spans: Float[Tensor, "N 2"], *, model: str, duration: float, about: str, unit: str = "nats"
) -> Chart:
    """Each clip's value (in `unit`) for a score where it lies in the video, beside what the score loses when only this clip is `left_out`.

    `about` names what the values are.
    """
    assert found.clips is not None
    values, value = found.clips.tolist(), f"value_{unit}"
    rows: list[Row] = [
        {
            "clip": n + 1, "start_seconds": start, "end_seconds": end, "middle_seconds": (start + end) / 2,
            "shown_seconds": max(end - start, THINNEST_BAR * duration), value: values[n], "loss_without_it_nats": float(left_out[n]),
            "direction": RAISES if values[n] >= 0 else LOWERS, "when": time_range(start, end),
        }
        for n, (start, end) in enumerate(spans.tolist())
    ]  # fmt: skip
    hover = f"clip {{clip}}, {{when}}\n{{{value}:+.3f}} {unit}\nwithout it the score falls by {{loss_without_it_nats:+.3f}} nats"
    return Chart(
        f"Which clips moved the score of “{plain(found.target, 60)}”", model, f"{about}; score: {plain(found.value_function, 120)}", rows,
        Axis("time (s)", limits=(0, duration)), Axis(f"value ({unit})", limits=(1.2 * min(*values, 0, -1e-3), 1.2 * max(*values, 0, 1e-3))),
        (Bars(rows, "middle_seconds", value, hover, thickness="shown_seconds", series="direction"),),
        (RAISES, LOWERS),
    )  # fmt: skip


def answer_over_clips(prediction: Prediction, *, model: str, num_answers: int = 3) -> Chart:
    """The final top answers' probabilities after 1, 2, ..., N clips, and where the answer stopped changing."""
    prefixes = torch.stack([aggregate(prediction.clip_logits[None, : n + 1], prediction.aggregation)[0] for n in range(len(prediction.clip_logits))])
    scores = prefixes.softmax(dim=-1)
    leaders = scores.argmax(dim=-1).tolist()
    stable_from = max((n for n, leader in enumerate(leaders, 1) if leader != leaders[-1]), default=0) + 1
    order = scores[-1].argsort(descending=True)[:num_answers].tolist()
    rows: list[Row] = [
        {
            "clips_seen": n + 1, "answer": prediction.candidates[j], "probability_percent": 100 * float(scores[n, j]),
            "before_percent": 100 * float(scores[n - 1, j]) if n else 100 / len(prediction.candidates), "clip_seconds": float(prediction.times[n, 0]),
        }
        for j in order for n in range(len(scores))
    ]  # fmt: skip
    hover = "after {clips_seen} clips: {answer}\n{probability_percent:.1f} % (before: {before_percent:.1f} %)\nthis clip shows {clip_seconds:.1f} s"
    return Chart(
        "Answer over clips seen", model, _pooled(prediction), rows,
        Axis("clips seen", limits=(0.5, len(scores) + 0.5)), percent_axis("probability (%)", [row["probability_percent"] for row in rows]),
        (Lines(rows, "clips_seen", "probability_percent", "answer", hover), Rule(stable_from, f"stable from clip {stable_from}")),
        tuple(prediction.candidates[j] for j in order),
    )  # fmt: skip


def answer_changes(changes: Sequence[Change], *, model: str, edit: str, num_answers: int = 5) -> Chart:
    """What an edit did to the probabilities of the answers that were likeliest before it or are so after it."""
    after = sorted(changes, key=lambda change: -change.after)[:num_answers]
    shown = [change for rank, change in enumerate(changes) if rank < num_answers or change in after]
    rows: list[Row] = [
        {
            "answer": change.candidate, "before_percent": 100 * change.before, "after_percent": 100 * change.after, "change_points": points,
            "direction": LIKELIER if points >= 0 else LESS_LIKELY, "label": f"{100 * change.before:.1f} → {100 * change.after:.1f} %",
        }
        for change in shown for points in (100 * (change.after - change.before),)
    ]  # fmt: skip
    reach = 1.7 * max(*(abs(row["change_points"]) for row in rows), 1.0)
    return Chart(
        "What the edit changed", model, plain(edit, 200), rows,
        Axis("change (percentage points)", limits=(-reach, reach)), Axis("", "category", tuple(row["answer"] for row in rows)),
        (Bars(rows, "answer", "change_points", "{answer}\n{label}\n{change_points:+.2f} percentage points", horizontal=True, series="direction",
              label="label"),),
        (LIKELIER, LESS_LIKELY),
    )  # fmt: skip


def logits_heat(prediction: Prediction, *, model: str, num_answers: int = 5) -> Chart:
    """Every clip's logits for the top answers, and what pooling makes of them."""
    order = prediction.scores.argsort(descending=True)[:num_answers].tolist()
    pooled = aggregate(prediction.clip_logits[None], prediction.aggregation)[0]
    lines = [(f"clip {n}", row) for n, row in enumerate(prediction.clip_logits, 1)] + [(f"pooled ({prediction.aggregation})", pooled)]
    rows: list[Row] = [
        {
            "clip": name, "answer": prediction.candidates[j], "logit": float(logits[j]), "probability_percent": 100 * float(logits.softmax(-1)[j]),
            "text": f"{float(logits[j]):.1f}" if len(lines) <= LABELLED_CLIPS + 1 else "",
        }
        for name, logits in lines for j in order
    ]  # fmt: skip
    hover = "{clip}, {answer}\nlogit {logit:+.3f}\nalone {probability_percent:.1f} %"
    return Chart(
        "Clip logits", model, _pooled(prediction), rows,
        Axis("", "category", tuple(prediction.candidates[j] for j in order)), Axis("", "category", tuple(name for name, _ in lines)),
        (Heat(rows, "answer", "clip", "logit", hover, "text", Scale.of([row["logit"] for row in rows], signed=True, unit="logit")),),
    )  # fmt: skip


def _pooled(prediction: Prediction) -> str:
    num_clips = len(prediction.clip_logits)
    return f"{num_clips} clip{'s' * (num_clips > 1)} pooled by {prediction.aggregation}"
