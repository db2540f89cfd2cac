"""Results as HTML that screens of any width and screen readers can read."""

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipbert.types import EncodedVideo, Prediction


def answer_html(prediction: "Prediction", model: str) -> str:
    """The answer and the five likeliest candidates as bars."""
    ranked = prediction.scores.argsort(descending=True)[:5].tolist()
    rows = "".join(bar_row(prediction.candidates[j], float(prediction.scores[j])) for j in ranked)
    doubt = "" if prediction.sure else '<span class="doubt">not sure</span> '
    notices = "".join(f"<li>{html.escape(notice)}</li>" for notice in prediction.notices)
    return (
        f'<div class="answer"><p class="big">{doubt}<b>{html.escape(prediction.answer)}</b></p>'
        f'<p class="soft">model {html.escape(model)}, {len(prediction.times)} clips, pooled by {prediction.aggregation}</p>'
        f'<div class="bars">{rows}</div>{f"<ul class=soft>{notices}</ul>" if notices else ""}</div>'
    )


def bar_row(label: str, share: float) -> str:
    """One bar of a bar list; `share` in [0, 1]."""
    return (
        f'<div class="bar"><span>{html.escape(label)}</span><span class="track"><i style="width:{100 * share:.1f}%"></i></span>'
        f"<span>{100 * share:.1f} %</span></div>"
    )


def clips_html(video: "EncodedVideo", prediction: "Prediction") -> str:
    """Each clip's seconds, own answer and contribution, as a table."""
    own = prediction.clip_logits.softmax(dim=-1)
    rows = "".join(
        f"<tr><td>{n + 1}</td><td>{start:.2f} – {end:.2f} s</td><td>{html.escape(prediction.candidates[int(own[n].argmax())])} "
        f"{100 * float(own[n].max()):.0f} %</td><td>{float(prediction.contribution[n]):+.3f}</td></tr>"
        for n, (start, end) in enumerate(video.spans.tolist())
    )
    return f"<table class=clips><tr><th>clip</th><th>seconds</th><th>its own answer</th><th>contribution (nats)</th></tr>{rows}</table>"
