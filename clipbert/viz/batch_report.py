"""Many answers as one HTML page that needs nothing else: no network, no script."""

import html
from collections.abc import Sequence
from typing import Any

from clipbert.batch import Outcome
from clipbert.viz.report import STYLE
from clipbert.viz.style import plain

BARS = """
.share { display: flex; align-items: center; gap: 1px; height: 1.6rem; min-width: 6rem; } .share i { flex: 1; display: block; min-height: 1px; }
.share .for { background: #0072b2; align-self: flex-end; } .share .against { align-self: flex-start;
  background: repeating-linear-gradient(45deg, #d55e00 0 2px, #fff 2px 4px); } tr.error td { background: #fdf6e3; }
"""


def batch_report(outcomes: Sequence[Outcome], *, title: str, model: str, settings: str) -> str:
    """The page: a row for each question, in the order of the file; those without an answer say why."""
    failed = sum(found.result is None for found in outcomes)
    unsure = sum(found.result is not None and not found.result["sure"] for found in outcomes)
    rows = "\n".join(map(_row, outcomes))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{_text(title)} – clipbert</title><style>{STYLE}{BARS}</style></head><body>
<p class="banner">model {_text(model)}: it says what it learned to say, which need not be what the videos show.</p>
<h1>{_text(title)}</h1>
<p>{len(outcomes)} rows: {len(outcomes) - failed} answered, {unsure} of them not surely; {failed} not answered. {_text(settings)}</p>
<figure><table><caption class="faint">Clips: each clip's Shapley contribution to the answer, in order of time; blue upwards: for it;
striped downwards: against it.</caption><thead><tr><th scope="col">line</th>
<th scope="col">video</th><th scope="col">question</th><th scope="col">answer</th>
<th scope="col">probability (%)</th><th scope="col">clips</th><th scope="col">notes</th></tr></thead><tbody>
{rows}
</tbody></table></figure>
</body></html>
"""


def _row(found: Outcome) -> str:
    row, result = found.row, found.result
    asked = f"<td class=number>{row.line}</td><td>{_text(row.video)}</td><td>{_text(row.question)}</td>"
    if result is None:
        return f'<tr class="error">{asked}<td colspan="3"><strong>not answered</strong></td><td>{_text(found.error)}</td></tr>'
    doubt = "" if result["sure"] else "not sure; perhaps: "
    score = f"{100 * max(result['scores']):.0f}"
    notes = "; ".join(result["notices"])
    answer = f"<td>{doubt}<strong>{_text(result['answer'])}</strong></td><td class=number>{score}</td>"
    return f"<tr>{asked}{answer}<td>{_clips(result)}</td><td>{_text(notes)}</td></tr>"


def _clips(result: dict[str, Any]) -> str:
    shares = [clip["contribution"] for clip in result["clips"]]
    largest = max(map(abs, shares)) or 1.0
    bars = "".join(f'<i class="{"for" if share >= 0 else "against"}" style="height:{50 * abs(share) / largest:.0f}%"></i>' for share in shares)
    label = "; ".join(f"{clip['start']:.1f}-{clip['end']:.1f} s {clip['contribution']:+.3f} nats" for clip in result["clips"])
    return f'<span class="share" role="img" aria-label="{label}" title="{label}">{bars}</span>'


def _text(text: str) -> str:
    return html.escape(plain(text))
