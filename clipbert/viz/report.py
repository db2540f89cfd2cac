"""A session as one HTML file that needs nothing else: no network, no script; at most 5 MB."""

import html
from pathlib import Path

from PIL import Image

from clipbert.session import SessionResult
from clipbert.viz import figures
from clipbert.viz.chart import Chart, Row
from clipbert.viz.strip import data_url
from clipbert.viz.style import plain, time_range

LARGEST_BYTES = 5_000_000
MANY_PICTURES = 64
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; color: #1f2328; background: #fff;
  max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: .5rem 0; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.banner, .note { border-left: 4px solid #e69f00; background: #fdf6e3; padding: .4rem .8rem; margin: .5rem 0; overflow-wrap: anywhere; }
.answer { font-size: 1.25rem; } .faint { color: #57606a; }
.clips { display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; list-style: none; }
.clips li { border: 1px solid #d8dee4; border-radius: 6px; padding: .4rem; font-size: .8rem; overflow-wrap: anywhere; }
.clips img { display: inline-block; margin-right: 2px; }
figure { margin: 1.5rem 0 0; overflow-x: auto; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .85rem; } th, td { border: 1px solid #d8dee4; padding: .15rem .5rem;
  text-align: left; overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } details { margin: .25rem 0; }
"""


def save_report(result: SessionResult, path: str | Path) -> None:
    """Write the report of a result.  Raises ValueError where it cannot be written."""
    try:
        Path(path).write_text(report(result), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write the report to {path}: {error.strerror or error}.") from error


def report(result: SessionResult) -> str:
    """The page: the answer, the clips as the model saw them with their votes, pictures with their tables, and all settings."""
    session = result.session
    title = session.question or f"Which text describes {session.video}?"
    doubt = "" if result.sure else "not sure; perhaps: "
    notes = "".join(f'<p class="note">{_text(notice)}</p>' for notice in result.notices)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{_text(title)} – clipbert</title><style>{STYLE}</style></head><body>
<p class="banner">model {_text(session.model)}: it says what it learned to say, which need not be what the video shows.</p>
<h1>{_text(title)}</h1>
<p class="answer">{doubt}<strong>{_text(result.answer)}</strong> <span class="faint">({_score(result)})</span></p>
{notes}
<h2>What the model saw</h2>
<p class="faint">{_sentence(result)}</p>
<ol class="clips">{_clips(result)}</ol>
{"".join(map(_figure, _charts(result)))}
<h2>Session</h2>
{figures.to_table(_settings(result))}
</body></html>
"""
    assert len(page.encode()) <= LARGEST_BYTES, f"a report of {len(page.encode())} bytes"
    return page


def _text(text: str) -> str:
    return html.escape(plain(text))


def _score(result: SessionResult) -> str:
    best = float(result.scores[result.candidates.index(result.answer)])
    return f"match {best:+.2f} log-odds" if result.session.task == "match" else f"{100 * best:.0f} %"


def _sentence(result: SessionResult) -> str:
    num_clips, num_frames = result.times.shape
    padding = result.seen.padding_fraction
    hatched = f" Hatched: padding, {100 * padding:.0f} % of what the model gets." if padding > 0 else ""
    return _text(
        f"{num_clips} clips of {num_frames} frames, policy {result.session.policy}, from {result.duration:.1f} s of video. "
        f"Contribution: the clip's Shapley value for “{result.answer}”, in nats.{hatched}"
    )


def _clips(result: SessionResult) -> str:
    num_clips, num_frames = result.times.shape
    shown, side = (num_frames, 128) if num_clips * num_frames <= MANY_PICTURES else (1, 72)
    votes = result.clip_logits.argmax(dim=1).tolist()
    cards = []
    for n, (start, end) in enumerate(result.spans.tolist()):
        when = time_range(start, end)
        pictures = "".join(
            _picture(result.seen.image(n, t, side), f"clip {n + 1}, frame {t + 1}, at {float(result.times[n, t]):.2f} s") for t in range(shown)
        )
        vote, share = _text(plain(result.candidates[votes[n]], 40)), f"{float(result.contribution[n]):+.3f} nats"
        cards.append(f"<li>{pictures}<br><strong>{n + 1}</strong> {when}<br>{vote}<br>{share}</li>\n")
    return "".join(cards)


def _picture(image: Image.Image, about: str) -> str:
    return f'<img src="{data_url(image)}" width="{image.width}" height="{image.height}" alt="{html.escape(about)}">'


def _charts(result: SessionResult) -> list[Chart]:
    model = result.session.model
    if result.session.task == "match":
        return [figures.match_bars(result.candidates, result.scores, model=model)]
    prediction = result.prediction
    return [
        figures.answer_bars(prediction, model=model),
        figures.clip_contributions(prediction, result.spans, model=model, duration=result.duration),
        figures.answer_over_clips(prediction, model=model),
        figures.logits_heat(prediction, model=model),
    ]


def _figure(chart: Chart) -> str:
    drawing = figures.print_bytes(chart, "svg").decode()
    drawing = drawing[drawing.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{_text(chart.title)}"', 1)
    table = figures.to_table(chart.rows, chart.title)
    return f"<figure>{drawing}</figure><details><summary>as a table</summary>{table}</details>\n"


def _settings(result: SessionResult) -> list[Row]:
    session = result.session
    asked: list[Row] = [
        {"setting": name, "value": ", ".join(value) if isinstance(value, tuple) else str(value)} for name, value in vars(session).items()
    ]
    return [*asked, {"setting": "frame side (pixels)", "value": str(result.seen.frames.shape[-1])}]
