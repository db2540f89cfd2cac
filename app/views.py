"""Results as HTML that screens of any width and screen readers can read."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.asking import FRAMES_SHOWN, MATCH

if TYPE_CHECKING:
    from app.asking import Asked, Picture
    from clipbert.processing import TextPieces
    from clipbert.sampling import ClipTimes
    from clipbert.types import Prediction

CLICK_OTHER = """element.addEventListener('click', (click) => {
  const other = click.target.closest('[data-versus]');
  if (other) trigger('click', {versus: other.dataset.versus});
});"""
# a click on anything that carries data-seconds becomes the component's click event, with those seconds
CLICK_SECONDS = """element.addEventListener('click', (click) => {
  const card = click.target.closest('[data-seconds]');
  if (card) trigger('click', {seconds: Number(card.dataset.seconds)});
});"""


def answer_html(asked: "Asked", otherwise: "Sequence[Asked]" = ()) -> str:
    """The answer so far and the five likeliest candidates as bars; what `otherwise` pools lies ready in attributes, for keys.js to show at once."""
    ready = "".join(f'<i hidden data-pooled="{other.prediction.aggregation}" data-answer="{html.escape(_answer(other))}"></i>' for other in otherwise)
    return f'<div class="answer">{_answer(asked)}</div>{ready}'


def _answer(asked: "Asked") -> str:
    found = asked.prediction
    notices = "".join(f"<li>{html.escape(notice)}</li>" for notice in found.notices)
    return (
        f'<p class="state" role="status">{_state(asked)}</p>{likeliest_html(found, asks_why=_can_be_explained(asked))}'
        f'<p class="soft">model {html.escape(asked.model)} · {len(found.times)} clips pooled by {found.aggregation}'
        f"{f' · {asked.num_reused} of {asked.num_done} clips reused' if asked.video else ''}</p>"
        f"{f'<ul class=notices>{notices}</ul>' if notices else ''}"
    )


def likeliest_html(found: "Prediction", *, asks_why: bool = False) -> str:
    """The answer, large, and the five likeliest candidates as bars; with `asks_why`, all but the answer can be asked "why not?"."""
    ranked = found.scores.argsort(descending=True)[:5].tolist()
    others = [found.candidates[j] for j in ranked if asks_why and found.candidates[j] != found.answer]
    bars = "".join(bar_row(found.candidates[j], float(found.scores[j]), asks_why=found.candidates[j] in others) for j in ranked)
    doubt = "" if found.sure else '<span class="doubt">not sure</span> '
    return (
        f'<p class="big">{doubt}<b>{html.escape(found.answer)}</b> <span class="soft">{percent(float(found.scores[ranked[0]]))}</span></p>'
        f'<div class="bars">{bars}</div>'
    )


def _state(asked: "Asked") -> str:
    if asked.stopped:
        return f'<b class="partial">Partial result:</b> stopped after {asked.num_done} of {asked.num_planned} clips'
    if asked.num_done < asked.num_planned:
        progress = f'<progress value="{asked.num_done}" max="{asked.num_planned}"></progress>'
        answer = html.escape(asked.prediction.answer)
        return f"{progress} after {asked.num_done}/{asked.num_planned} clips: {answer}, {float(asked.prediction.scores.max()):.2f}"
    return f"<b>{html.escape(asked.origin)}</b>" if asked.origin else f"after all {asked.num_planned} clips"


def _can_be_explained(asked: "Asked") -> bool:
    return asked.finished and asked.video is not None and asked.question.mode != MATCH


def bar_row(label: str, share: float, *, asks_why: bool = False) -> str:
    """One bar of a bar list; `share` in [0, 1]."""
    name = html.escape(label)
    why = f' <button type="button" class="why-not" data-versus="{name}" aria-label="Why not {name}? Opens Attribution">why not?</button>' * asks_why
    return (
        f'<div class="bar"><span><span class="name">{name}</span>{why}</span><span class="track"><i style="width:{100 * share:.1f}%"></i></span>'
        f"<span>{percent(share)}</span></div>"
    )


def planned_html(clips: "Sequence[ClipTimes]") -> str:
    """A place for each clip that the model is going to look at."""
    return f'<p class="soft">The clips that the model is going to look at.</p><ol class="cards">{_places(clips)}</ol>'


def cards_html(asked: "Asked") -> str:
    """A card for each clip: its frames as the model sees them, its seconds, its own answer, its contribution.  A click seeks.

    Clips still to come have a place.
    """
    lead = (
        'Each clip on its own. The bar is its exact part in the answer <abbr title="Shapley value of the log-probability: how much the answer gains, '
        'on average over all orders, when this clip joins. 1 nat = a factor of 2.7.">(contribution)</abbr>: '
        "right, for it; left, against it. Hatched: padding. Click a clip to play it."
    )
    starts = asked.spans[:, 0].tolist()
    to_come = asked.footage.clips[asked.num_done :] if asked.footage is not None and not asked.stopped else ()
    drawn = _cards(asked, [f'data-seconds="{start:.3f}" title="Play from here"' for start in starts], to_come)
    return f'<p class="soft">{lead if len(starts) <= 16 else lead.replace("exact", "sampled")}</p>{drawn}'


def cards_to_drop_html(asked: "Asked") -> str:
    """The same cards; a click leaves the clip out."""
    drawn = _cards(asked, [f'data-clip="{n}" title="Leave this clip out" aria-label="Leave clip {n + 1} out"' for n in range(len(asked.spans))])
    return f'<p class="soft">What the model is shown now. Click a clip to leave it out.</p>{drawn}'


def _cards(asked: "Asked", attributes: Sequence[str], to_come: "Sequence[ClipTimes]" = ()) -> str:
    shares = [float(value) for value in asked.prediction.contribution]
    votes, total, largest = asked.own_votes(), sum(shares), max((abs(share) for share in shares), default=0.0) or 1.0
    cards = []
    for n, (start, end) in enumerate(asked.spans.tolist()):
        part = f" · {100 * shares[n] / total:.0f} %" if min(shares) >= 0 and total > 0 else ""
        vote = f"{html.escape(votes[n][0])} {percent(votes[n][1])}"
        cut = asked.video is not None and asked.video.shortened[n]
        shortened = ' <abbr title="The clip is longer than the video, so it was shortened.">shortened</abbr>' if cut else ""
        cards.append(
            f'<li><button type="button" class="clip-card" {attributes[n]}>'
            f'<span class="frames">{"".join(map(_frame, asked.pictures[n]))}</span><span class="when">{clock(start)}–{clock(end)}{shortened}</span>'
            f'<span class="vote">{vote}</span>{_share(shares[n], largest)}<span class="soft">{shares[n]:+.3f} nats{part}</span></button></li>'
        )
    return f'<ol class="cards">{"".join(cards)}{_places(to_come)}</ol>'


def _places(clips: "Sequence[ClipTimes]") -> str:
    frames = '<span class="frame"></span>'
    return "".join(
        f'<li><span class="waiting-card"><span class="frames">{frames * min(len(clip.times), FRAMES_SHOWN)}</span>'
        f'<span class="when">{clock(clip.start)}–{clock(clip.end)}</span><span class="soft">not looked at yet</span></span></li>'
        for clip in clips
    )


def _frame(picture: "Picture") -> str:
    return (
        f'<span class="frame"><img src="{picture.source}" alt="" style="width:{100 * picture.width:.1f}%;height:{100 * picture.height:.1f}%"></span>'
    )


def _share(share: float, largest: float) -> str:
    width = 50 * abs(share) / largest
    side = f"left:50%;width:{width:.1f}%" if share >= 0 else f"right:50%;width:{width:.1f}%"
    return f'<span class="share"><i class="{"for" if share >= 0 else "against"}" style="{side}"></i></span>'


def pieces_html(texts: Sequence[tuple[str, "TextPieces"]], longest: int) -> str:
    """The WordPieces that the model reads; unknown words and what is cut off are marked by form, not colour alone."""
    chips = []
    for _, pieces in texts:
        chips += [f'<span class="piece{" unknown" if piece == "[UNK]" else ""}">{html.escape(piece)}</span>' for piece in pieces.pieces]
        chips += [f'<span class="piece cut"><s>{html.escape(piece)}</s></span>' for piece in pieces.cut]
        chips.append("<br>")
    if not any(pieces.pieces for _, pieces in texts):
        return ""
    cut = sum(len(pieces.cut) for _, pieces in texts)
    read = sum(len(pieces.pieces) for _, pieces in texts)
    told = f" {cut} of {cut + read} pieces are not used (struck through): the model reads {longest} of a text." if cut else ""
    unknown = sorted({word for _, pieces in texts for word in pieces.unknown})
    told += f" It knows no piece of: {html.escape(', '.join(unknown))}." if unknown else ""
    about = f"{read} word pieces{':' + told if told else ''}"
    return f'<details class="pieces"{" open" if told else ""}><summary>What the model reads: {about}</summary>{"".join(chips[:-1])}</details>'


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def clock(seconds: float) -> str:
    """00:03.2"""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes):02d}:{rest:04.1f}"
