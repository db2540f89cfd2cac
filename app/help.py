"""The help sheet: keys, what each tab answers, and the words the page uses; `?` opens it, Esc closes it."""

import html
from collections.abc import Iterable
from types import ModuleType

KEYS = (
    ("Ctrl Enter", "ask the question"),
    ("Esc", "stop what the model is doing; close this sheet"),
    ("Tab, Shift Tab", "go to the next or the previous control"),
    ("← → Home End", "in a timeline: go from clip to clip"),
    ("↑ ↓", "in a timeline: go from policy to policy"),
    ("← → ↑ ↓", "in a map of a frame: go from cell to cell, which reads it"),
    ("Enter", "on a clip: play the video from there"),
    ("?", "open this sheet"),
)
WORDS = (
    ("clip", "A short stretch of the video, about a second. The model looks at a few clips, each by itself, and never at the whole video."),
    ("N_test", "How many clips the model looks at when it answers. N_train is how many it was shown of a video at each step of its training."),
    ("T", "How many frames of a clip it sees. Where a model averages their features, their order has no effect."),
    ("policy", "The rule by which clips are placed in the video."),
    ("pooling", "Each clip votes by itself; pooling makes one answer of the votes: mean, max, or lse, a softened max."),
    (
        "contribution",
        "How much one clip moved the answer: its Shapley value, the average change when the clip joins any group of the others. In nats: +0.69 "
        "doubles the odds, −0.69 halves them. It tells what moved this model, not whether the model is right.",
    ),
    (
        "map",
        "An attribution drawn: how much each clip, frame, grid cell or word moved a score. A map is tested by taking its units away in its order and "
        "in random orders; one that is not better than random tells nothing.",
    ),
    ("padding", "The model is given squares: what a frame leaves empty is filled with zeros, drawn hatched. Nothing can be seen there."),
    ("probability", "The model's share of belief among the answers it knows. “Not sure” is shown where it is too low to trust."),
    ("log-odds", "How a text matches a video: above 0 the model leans to yes, below 0 to no."),
)


def help_html(tabs: Iterable[ModuleType]) -> str:
    """The button and the sheet; what a tab answers is the first sentence of its file."""
    answers = ((tab.TITLE, _sentence(tab)) for tab in tabs)
    return (
        '<button type="button" id="open-help" aria-haspopup="dialog" aria-keyshortcuts="?">Help <kbd aria-hidden="true">?</kbd></button>'
        '<dialog id="help-sheet" aria-labelledby="help-title"><form method="dialog"><h2 id="help-title">Help</h2>'
        "<button autofocus>Close <kbd aria-hidden=true>Esc</kbd></button></form>"
        "<p>Upload a video or take an example, write a question, press Ask. The cards under the answer are the clips the model saw: each has its "
        "seconds, its own vote, and how much it moved the answer. A click on a clip plays it.</p>"
        f"<h3>What each tab answers</h3>{_list(answers)}<h3>Words</h3>{_list(WORDS)}<h3>Keys</h3>{_list(KEYS, 'kbd')}"
        "<p>Every chart can be saved, and read as a table below it.</p></dialog>"
    )


def _sentence(tab: ModuleType) -> str:
    said = (tab.__doc__ or "").partition("\n")[0].partition(": ")[2]
    return said[:1].upper() + said[1:]


def _list(pairs: Iterable[tuple[str, str]], tag: str = "b") -> str:
    rows = (f"<div><dt><{tag}>{html.escape(name)}</{tag}></dt><dd>{html.escape(meaning)}</dd></div>" for name, meaning in pairs)
    return f"<dl>{''.join(rows)}</dl>"
