"""The gallery and its rankings as HTML: posters, no video plays by itself; a click on a card becomes an event."""

import html
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.gallery import Gallery, Indexing, poster
from app.shared import explain
from app.views import bar_row
from clipbert.viz.style import clock, time_range

if TYPE_CHECKING:
    from app.ground_truth import Query
    from app.slices import Slice
    from clipbert.predict import Predictor
    from clipbert.retrieval import Hit, Ranking

CLICK_HIT = """element.addEventListener('click', (click) => {
  const card = click.target.closest('[data-hit]');
  if (card) trigger('click', {hit: Number(card.dataset.hit)});
});"""
CROSS_ENCODER = "reads the query together with every clip (a cross-encoder), so the time of a search grows with the gallery"
CONTRASTIVE = "compares one vector of the query with one of each clip, which is quick: reading the videos, once, is what takes time"


def cost_html(predictor: "Predictor") -> str:
    """What a search costs, by the heads that have a part in the model's match score.  Raises ValueError for a model without one."""
    kinds = [predictor.model.heads[head] for head in predictor.match_heads()]
    told = {"retrieval": CROSS_ENCODER, "contrastive": CONTRASTIVE}
    name = html.escape(predictor.model.name)
    return f'<p class="soft">The match score of model {name} {"; it also ".join(told[kind] for kind in kinds)}.</p>'


def gallery_html(gallery: Gallery) -> str:
    """A card a video: poster, which runs through the video under the pointer, title, length."""
    cards = "".join(_card(path, name) for path, name in gallery.names.items())
    return f'<p class="soft">{_count(len(gallery.names), "video")}: the examples and your own.</p><ul class="gallery">{cards}</ul>'


def _card(path: Path, name: str) -> str:
    from clipbert.video import VideoError

    try:
        picture = poster(path)
    except VideoError as error:
        return f'<li><span class="nopic">cannot be read</span><b>{html.escape(name)}</b><span class="soft">{html.escape(explain(error))}</span></li>'
    about = f'<b>{html.escape(name)}</b><span class="soft">{clock(picture.duration)}</span>'
    moving = f'<i class="moving" style="background-image:url({picture.moving})"></i>'
    return f'<li><span class="poster"><img src="{picture.source}" alt="" loading="lazy">{moving}</span>{about}</li>'


def indexing_html(state: Indexing, *, stopped: bool = False) -> str:
    """Videos, megabytes and seconds so far."""
    told = f"{state.done}/{_count(state.total, 'video')} · {state.num_bytes / 1e6:.2f} MB · {state.seconds:.1f} s"
    if stopped and state.done < state.total:
        return f'<p class="state" role="status"><b class="partial">Stopped:</b> indexed {told}; press Index to go on</p>'
    bar = f'<progress value="{state.done}" max="{state.total}"></progress> ' if state.done < state.total else ""
    return f'<p class="state" role="status">{bar}{"indexing" if bar else "indexed"} {told}</p>'


def ranking_html(ranking: "Ranking", gallery: Gallery, query: str, model: str, *, seconds: float, stopped: bool = False) -> str:
    """The hits so far as cards, under what has been read and what remains."""
    cards = "".join(_hit(place, hit, gallery) for place, hit in enumerate(ranking.hits))
    about = f'<p class="soft">“{html.escape(query)}” · model {html.escape(model)} · a click plays from the best clip</p>'
    return f'<p class="state" role="status">{_progress(ranking, seconds, stopped=stopped)}</p>{about}<ol class="hits">{cards}</ol>'


def _progress(ranking: "Ranking", seconds: float, *, stopped: bool) -> str:
    pass_ = "first pass, the middle clip of each" if ranking.stage == "one clip" else "second pass, all clips of the best"
    told = f"{ranking.done}/{_count(ranking.total, 'video')} ({pass_}), {seconds:.1f} s"
    if stopped:
        return f'<b class="partial">Partial ranking:</b> stopped after {told}'
    if ranking.stage == "one clip" or ranking.done < ranking.total:
        return f'<progress value="{ranking.done}" max="{ranking.total}"></progress> {told}'
    rest = " · those marked “one clip” were read with their middle clip only" if ranking.partial else ""
    return f"read {told}{rest}"


def _hit(place: int, hit: "Hit", gallery: Gallery) -> str:
    name = gallery.named(hit.path)
    coarse = "" if hit.exact else ' <span class="doubt">one clip</span>'
    notices = "".join(f'<span class="soft">{html.escape(notice)}</span>' for notice in hit.notices)
    picture = f'<img src="{poster(Path(hit.path)).source}" alt="">'
    return (
        f'<li><button type="button" class="hit" data-hit="{place}" title="Play from {clock(hit.start)}">{picture}'
        f'<span class="about"><b>{place + 1}. {html.escape(name)}</b>{coarse}<span>match {percent(hit.score)} '
        f'<span class="soft">({hit.score:+.2f} log-odds)</span></span><span class="when">best clip {time_range(hit.start, hit.end)}</span>'
        f"{clips_strip(hit)}{notices}</span></button></li>"
    )


def clips_strip(hit: "Hit", beside: "Hit | None" = None) -> str:
    """Where the clips that were read lie in the video; the higher, the better they match; the best is filled.

    With another hit `beside` it, seconds and heights are on the scale of both.
    """
    both = (hit, beside or hit)
    scores, seconds = [score for each in both for score in each.clip_scores], max(*(each.duration for each in both), 1e-9)
    low, high, best = min(scores), max(scores), hit.clip_scores.index(max(hit.clip_scores))
    marks = []
    for n, ((start, end), score) in enumerate(zip(hit.spans, hit.clip_scores, strict=False)):
        left, width = 100 * start / seconds, 100 * (end - start) / seconds
        height = 100 if high == low else 25 + 75 * (score - low) / (high - low)
        marks.append(f'<i class="{"best" if n == best else ""}" style="left:{left:.1f}%;width:max(3px,{width:.1f}%);height:{height:.0f}%"></i>')
    label = "; ".join(f"{time_range(*span)} {score:+.2f}" for span, score in zip(hit.spans, hit.clip_scores, strict=False))
    return f'<span class="strip" role="img" aria-label="match log-odds of the clips: {label}" title="{label}">{"".join(marks)}</span>'


def captions_html(ranked: Sequence[tuple[str, float]], name: str, model: str) -> str:
    """Captions for one video, best first."""
    rows = "".join(bar_row(f"{caption} ({score:+.2f})", probability(score)) for caption, score in ranked)
    about = f"captions for {html.escape(name)}, best first · model {html.escape(model)} · probability of a match, log-odds in brackets"
    return f'<p class="soft">{about}</p><div class="bars">{rows}</div>'


def probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def percent(log_odds: float) -> str:
    return f"{100 * probability(log_odds):.1f} %"


def metrics_html(metrics: dict[str, float], num_texts: int, num_videos: int, model: str, *, stopped: str = "") -> str:
    """Recall and median rank, text to video and back."""
    rows = "".join(
        f"<tr><th scope=row>{label}</th>"
        + "".join(f"<td class=number>{100 * metrics[f'{way}/recall_at_{k}']:.1f} %</td>" for k in (1, 5, 10))
        + f"<td class=number>{metrics[f'{way}/median_rank']:g}</td></tr>"
        for way, label in (("text_to_video", "text to video"), ("video_to_text", "video to text"))
    )
    about = f"{_count(num_texts, 'caption')}, {_count(num_videos, 'video')} · model {html.escape(model)} · chance R@1 {100 / num_videos:.1f} %"
    head = "<tr><th></th><th scope=col>R@1</th><th scope=col>R@5</th><th scope=col>R@10</th><th scope=col>median rank</th></tr>"
    return f'<p class="soft">{stopped}{about}</p><div class="wide"><table class="paper">{head}{rows}</table></div>'


def slices_html(slices: "Sequence[Slice]", num_captions: int) -> str:
    """How often videos are found within each slice of the captions."""
    rows = "".join(
        f"<tr><th scope=row>{html.escape(part.name)}</th><td class=number>{part.num_captions}</td>"
        + "".join(f"<td class=number>{told}</td>" for told in _told(part))
        + "</tr>"
        for part in slices
    )
    if not rows:
        return ""
    about = f"Text to video within slices of the {_count(num_captions, 'caption')}, each ranked among all videos"
    head = "<tr><th></th><th scope=col>captions</th><th scope=col>R@1</th><th scope=col>R@10</th><th scope=col>median rank</th></tr>"
    return f'<div class="wide"><table class="paper" id="retrieve-slices"><caption>{about}</caption>{head}{rows}</table></div>'


def _told(part: "Slice") -> tuple[str, str, str]:
    if not part.num_captions:
        return "–", "–", "–"
    return f"{100 * part.recall_at_1:.1f} %", f"{100 * part.recall_at_10:.1f} %", f"{part.median_rank:g}"


def why_html(query: "Query", hits: "Sequence[Hit]", first_captions: Sequence[str]) -> str:
    """A caption's own video beside the one that stands first, their clips on one scale, and the words in which the captions differ."""
    own, first = hits
    beside = ((f"rank {query.rank:g}, its video", query.video, own, first), ("first", query.first, first, own))
    cards = "".join(
        f'<li><img src="{poster(Path(hit.path)).source}" alt=""><b>{label}: {html.escape(name)}</b>'
        f'<span>match {percent(hit.score)} <span class="soft">({hit.score:+.2f} log-odds), best clip {time_range(hit.start, hit.end)}</span></span>'
        f"{clips_strip(hit, other)}</li>"
        for label, name, hit, other in beside
    )
    told = "Its own video stands first." if own.path == first.path else _differing(query.caption, first_captions)
    lead = f'<p>“{html.escape(query.caption)}”</p><p class="soft">Bars: each clip alone, on one scale of seconds and of score. {told}</p>'
    return f'{lead}<ul class="why">{cards}</ul>'


def _differing(caption: str, others: Sequence[str]) -> str:
    if not others:
        return "No caption describes the video that stands first."
    words, theirs = (dict.fromkeys(re.findall(r"\w+", text.lower())) for text in (caption, " ".join(others)))
    alone = ", ".join(word for word in words if word not in theirs) or "none"
    added = ", ".join(word for word in theirs if word not in words) or "none"
    return f"Words of this caption alone: <b>{html.escape(alone)}</b>; of the first video's captions alone: <b>{html.escape(added)}</b>."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
