"""Checks of what a caller gives, each an error that says the rule, the value and the fix."""

import difflib


def check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise ValueError that names the nearest known value unless `value` is known."""
    if value not in known:
        near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}{hint}")


def require_text(text: str, name: str) -> str:
    """The text without the space around it.  Raises ValueError where nothing is left."""
    if not text.strip():
        raise ValueError(f"the {name} is empty; write at least one word.")
    return text.strip()
