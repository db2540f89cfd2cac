"""The package's attribution methods in plain words: what a chooser lists, and what stands under it."""

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipbert.per_clip import PerClipModel

SPELLED = {
    "clip_shapley": "Shapley value", "frame_shapley": "Shapley value", "cell_grad_cam": "Grad-CAM",
    "cell_gradient_x_activation": "Gradient × activation", "cell_relevance": "Relevance (gradient × attention)",
    "token_relevance": "Relevance (gradient × attention)",
}  # fmt: skip
UNITS = {
    "nats": "change of a log-probability: 1 nat is a factor of 2.7",
    "share": "parts of a whole; it says nothing about the direction",
    "relative": "no unit: only the order, and the proportions within one clip, mean something",
}


def method_choices(level: str, model: "PerClipModel") -> list[tuple[str, str]]:
    """(label, name) of a level's methods that can explain the model."""
    from clipbert.attribution import METHODS, methods_for

    return [(method_label(name), name) for name in methods_for(model) if METHODS[name].level == level]


def method_label(name: str) -> str:
    from clipbert.attribution import METHODS

    label = SPELLED.get(name) or name.split("_", 1)[1].replace("_", " ").capitalize()
    return f"{label} (not an explanation)" if "not an explanation" in METHODS[name].about else label


def makes_steps(name: str) -> bool:
    """Whether the number of steps is a setting of the method: of integrated gradients."""
    return name.endswith("integrated_gradients")


def unit_html(unit: str) -> str:
    """A unit with its meaning."""
    return f'<abbr title="{html.escape(UNITS[unit])}">{html.escape(unit)}</abbr>'


def about_html(name: str) -> str:
    """What a method tells, its unit and its cost, in one line."""
    from clipbert.attribution import METHODS

    method = METHODS[name]
    return (
        f'<p class="soft about-method">{html.escape(method_label(name))}: {html.escape(method.about)}. Unit: {unit_html(method.unit)}. '
        f"Cost: {html.escape(method.cost)}.</p>"
    )


def is_signed(name: str) -> bool:
    """Whether values below 0 mean something: against the score."""
    from clipbert.attribution import METHODS

    return METHODS[name].signed
