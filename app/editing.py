"""A pinned answer and the answers to edited versions of it, as values and as HTML."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.asking import Asked
from app.views import likeliest_html, percent

if TYPE_CHECKING:
    from clipbert.edits import Footage

MOST_VERSIONS = 20
ORDER_FREE = "pooling does not look at the order of clips"
MEAN_FUSION = "this model averages the frames of a clip"


@dataclass(frozen=True)
class Version:
    """One step: what was changed, the answer to it, and why none should differ from the step before, where that is so."""

    name: str
    asked: Asked
    same_because: str = ""

    @property
    def footage(self) -> "Footage":
        """The clips that the answer is of, pooled as it was."""
        import torch

        shown, video = self.asked.footage, self.asked.video
        assert shown is not None and video is not None
        kept = tuple(clip for clip in shown.clips if any(torch.equal(clip.times, times) for times in video.times))
        return replace(shown, clips=kept, sampling=self.asked.sampling)


def pinned(asked: Asked | None) -> tuple[Version, ...]:
    """The first version.  Raises ValueError for an answer that is not there, not whole, or not of a video that is."""
    if asked is None:
        raise ValueError("there is no answer to pin; ask about the video first.")
    if asked.video is None:
        raise ValueError("a saved answer has no video to edit; ask its video again, then pin the answer.")
    if not asked.finished:
        raise ValueError(f"the answer is of {asked.num_done} of {asked.num_planned} clips; ask again, let it finish, then pin it.")
    return (Version("pinned", asked),)


def followed(versions: Sequence[Version], new: Version) -> tuple[Version, ...]:
    """Raises ValueError where there are too many."""
    if len(versions) >= MOST_VERSIONS:
        raise ValueError(f"{MOST_VERSIONS - 1} edits are made, which is the most this page keeps; undo some, or pin again.")
    return (*versions, new)


def asked_again(before: Asked, after: Asked) -> str:
    """What is new about an answer that was asked for."""
    said = [f"asked “{after.question.text or ', '.join(after.question.texts)}”"] if after.question != before.question else []
    said += [
        f"{name.replace('_', ' ')} {value}" for name, value in vars(after.sampling).items() if value != getattr(before.sampling, name)
    ]  # fmt: skip
    return ", ".join(said) or "asked again, unedited"


def versus_html(versions: Sequence[Version]) -> str:
    """The pinned answer beside the newest."""
    sides = (("Pinned", versions[0]), ("Edited", versions[-1])) if len(versions) > 1 else (("Pinned", versions[0]),)
    return f'<div class="versus">{"".join(_side(name, version) for name, version in sides)}</div>'


def _side(name: str, version: Version) -> str:
    asked = version.asked
    about = html.escape(asked.question.text or "which caption fits?")
    how = f"{len(asked.prediction.times)} clips pooled by {asked.prediction.aggregation}"
    return (
        f'<section class="card answer" aria-label="{name} answer"><p><b>{name}</b> <span class="soft">{about} · {how}</span></p>'
        f"{likeliest_html(asked.prediction)}</section>"
    )


def history_html(versions: Sequence[Version]) -> str:
    """Every step with its answer and the largest change that it alone made."""
    rows = "".join(
        f"<li><b>{html.escape(version.name)}</b>: {html.escape(version.asked.prediction.answer)} "
        f"{percent(float(version.asked.prediction.scores.max()))}{_told(versions[n - 1], version) if n else ''}</li>"
        for n, version in enumerate(versions)
    )
    return f'<p class="soft">Each edit is made to the result of the one before it.</p><ol class="versions">{rows}</ol>'


def _told(before: Version, after: Version) -> str:
    from clipbert.edits import NO_CHANGE, changes

    found = changes(before.asked.prediction, after.asked.prediction)
    if not found:
        return '<br><span class="soft">no answer can be given in both steps, so nothing can be compared</span>'
    largest = max(found, key=lambda change: abs(change.after - change.before))
    size = abs(largest.after - largest.before)
    points = f"{largest.candidate} by {100 * size:.1f} percentage points"
    measured = f"the largest change of a probability is {size:.2g}" if size < NO_CHANGE else points
    if after.same_because and size < NO_CHANGE:
        said = f"No change, as it must be: {after.same_because} (measured: {measured})"
    elif after.same_because:
        said = f"Changed, which should not be, since {after.same_because}: {measured}"
    else:
        said = f"No change: {measured}" if size < NO_CHANGE else f"Changed most: {measured}"
    return f'<br><span class="soft">{html.escape(said)}</span>'
