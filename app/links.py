"""An address that says what is asked, of which bundled example, and how: ?video=street&question=...&n=16&t=2&policy=paper."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from app.asking import MATCH, OPEN, Question
from app.saving import MODES as TASKS  # a session's task -> what the page calls it
from clipbert.checks import check_known
from clipbert.sampling_config import AGGREGATIONS, POLICY_NAMES, SamplingConfig

SETTINGS = {"n": "num_clips", "t": "num_frames", "fps": "fps", "policy": "policy", "aggregation": "aggregation", "seed": "seed"}
KNOWN = ("video", "question", "text", "task", *SETTINGS, "model")
LONGEST = 8000  # characters
READ_ADDRESS = "() => window.location.search"


@dataclass(frozen=True)
class Link:
    """What an address asks for; what it does not name stays as it is."""

    video: str = ""  # the name of an example
    question: Question | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # of SamplingConfig
    model: str = ""

    def __post_init__(self) -> None:
        assert all(name in SETTINGS.values() for name in self.settings)

    def __bool__(self) -> bool:
        return self != Link()

    def sampling(self, own: SamplingConfig) -> SamplingConfig:
        return replace(own, **self.settings)

    def advice(self, model: str) -> str:
        """What a visitor who followed it should know; "" where nothing is special."""
        said = [] if self.video else ["the link carries no video: open the one it is about, then press Ask."]
        other = f"it was made with model {self.model}, and this page runs {shown_name(model)}: press Ask for this one's answer."
        return " ".join(said + [other] * (self.model not in ("", shown_name(model))))

    def query(self) -> str:
        """The address behind the question mark."""
        short = {name: letter for letter, name in SETTINGS.items()}
        pairs = [("video", self.video), *((short[name], f"{value:g}" if name == "fps" else str(value)) for name, value in self.settings.items())]
        if self.question is not None:
            task = next(task for task, mode in TASKS.items() if mode == self.question.mode)
            said = "" if self.question.mode == MATCH else self.question.text
            pairs += [("task", task), ("question", said), *(("text", text) for text in self.question.texts)]
        return urlencode([(name, value) for name, value in (*pairs, ("model", self.model)) if value])


def shown_name(model: str) -> str:
    """A model's name without the folders of the server."""
    return Path(model).name


def read_link(query: str, examples: tuple[str, ...]) -> Link:
    """The link in an address's query, with or without its question mark.

    Raises ValueError, naming what is wrong, for one that cannot be followed.
    Names that begin with two underscores, and "view", are Gradio's own.
    """
    if len(query) > LONGEST:
        raise ValueError(f"the address is {len(query)} characters long; a link has at most {LONGEST}.")
    given = parse_qs(query.lstrip("?"), keep_blank_values=True)
    given = {name: values for name, values in given.items() if not name.startswith("__") and name != "view"}
    for name, values in given.items():
        check_known("a name in a link", name, KNOWN)
        if name != "text" and len(values) > 1:
            raise ValueError(f"{name} stands {len(values)} times in the link; keep one.")
    one = {name: values[0] for name, values in given.items() if name != "text"}
    if "video" in one:
        check_known("video of a link", one["video"], examples)
    settings = {name: _number(letter, one[letter]) for letter, name in SETTINGS.items() if letter in one}
    _check(settings)
    return Link(one.get("video", ""), _question(one, tuple(given.get("text", ()))), settings, one.get("model", ""))


def _number(letter: str, value: str) -> Any:
    kind = {"n": int, "t": int, "seed": int, "fps": float}.get(letter, str)
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"{letter} in a link must be a number, got {value!r:.40}.") from None


def _check(settings: Mapping[str, Any]) -> None:
    check_known("policy of a link", settings.get("policy", "paper"), POLICY_NAMES)
    check_known("aggregation of a link", settings.get("aggregation", "lse"), AGGREGATIONS)
    replace(SamplingConfig(), **settings)


def _question(one: Mapping[str, str], texts: tuple[str, ...]) -> Question | None:
    if not (texts or {"task", "question"} & set(one)):
        return None
    check_known("task of a link", one.get("task", "open"), tuple(TASKS))
    mode = TASKS[one.get("task", "open")]
    if mode == OPEN and texts:
        raise ValueError("a link with text=... needs task=choices or task=match; an open question has no texts to choose from.")
    if mode == MATCH and one.get("question"):
        raise ValueError("a link with task=match has texts and no question; leave question=... out.")
    return Question(mode, one.get("question", ""), texts)
