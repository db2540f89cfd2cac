"""One look for every picture: colours that colour-blind readers tell apart, each with a shape and a dash of its own.

Categories take the colours of Okabe and Ito; unsigned quantities cividis;
signed ones blue to red through the neutral 0.
"""

import unicodedata
from dataclasses import dataclass

from clipbert.checks import check_known


@dataclass(frozen=True)
class Look:
    """What besides its colour tells a series apart."""

    marker: tuple[str, str]
    """In Plotly's and in matplotlib's words."""
    dash: tuple[str, str]
    """In Plotly's and in matplotlib's words."""


LOOKS = (
    Look(("circle", "o"), ("solid", "solid")),
    Look(("square", "s"), ("dash", "dashed")),
    Look(("diamond", "D"), ("dot", "dotted")),
    Look(("triangle-up", "^"), ("dashdot", "dashdot")),
    Look(("cross", "P"), ("longdash", "dashed")),
    Look(("x", "X"), ("longdashdot", "dashdot")),
)
OUTLINE = "#D55E00"
BOX_EDGE = "#808080"
UNSIGNED = ("Cividis", "cividis")
SIGNED = ("RdBu", "RdBu")  # negative red, positive blue, in both packages

WIDTHS = {"column": 3.3, "page": 6.9}
"""Inches of a column and of a page, in print."""
POINTS = 8


@dataclass(frozen=True)
class Theme:
    """Colours of what is not data."""

    text: str
    faint: str
    grid: str
    unseen: str
    """Parts of a video that no clip touches."""
    series: tuple[str, ...]
    """Okabe and Ito's, as many as LOOKS; of their two blues the one that stands out comes first."""

    def color(self, number: int) -> str:
        return self.series[number % len(self.series)]


THEMES = {
    "light": Theme(
        text="#1f2328",
        faint="#57606a",
        grid="#d8dee4",
        unseen="#d0d4d9",
        series=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    ),
    "dark": Theme(
        text="#e6edf3",
        faint="#a5b1bd",
        grid="#3d444d",
        unseen="#4a515a",
        series=("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2"),
    ),
}


def theme_of(name: str) -> Theme:
    """Raises ValueError for a theme that does not exist."""
    check_known("theme", name, tuple(THEMES))
    return THEMES[name]


def look(number: int) -> Look:
    """Beyond the colours another than the colour had before, so that no two of the first thirty-six series are alike."""
    return LOOKS[(number + number // len(LOOKS)) % len(LOOKS)]


def panel_columns(num_panels: int) -> int:
    """Panels side by side: three, but four as two by two."""
    return 2 if num_panels == 4 else min(num_panels, 3)


def plain(text: str, limit: int = 0) -> str:
    """One line of printable characters, cut to `limit` with an ellipsis: file names and questions may hold anything."""
    shown = "".join(" " if c.isspace() else "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    shown = " ".join(shown.split())
    return shown if not limit or len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def text_on(share: float, *, signed: bool) -> str:
    """Black or white, whichever reads on a colour scale at `share` of its range."""
    dark = abs(share - 0.5) > 0.3 if signed else share < 0.5
    return "#ffffff" if dark else "#000000"


def clock(seconds: float) -> str:
    """A time as 00:03.2, with hours where there are any."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:" if hours else "") + f"{minutes:02d}:{rest // 10:02d}.{rest % 10}"


def time_range(start: float, end: float) -> str:
    """00:03.2–00:04.2"""
    return f"{clock(start)}–{clock(end)}"
