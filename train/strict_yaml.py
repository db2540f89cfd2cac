"""YAML to frozen dataclasses, checked to the last leaf: an unknown key is an error that names the nearest known one.

A file may name another as its `base` and say only what differs.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml


def read(kind: Any, path: Path, overrides: Sequence[str] = ()) -> Any:
    """The dataclass `kind` from a YAML file and `key.key=value` overrides; ValueError naming file and key for any that is wrong."""
    return _build(kind, merged(path, overrides), "", str(path) + (" with overrides" if overrides else ""))


def merged(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a YAML file and its bases say, with the overrides in it; of their keys nothing is checked."""
    content = _read_yaml(path)
    for override in overrides:
        _override(content, override)
    return content


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word; this says so."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"line {node.start_mark.line + 1}: {key} is set twice")
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as error:
        raise ValueError(f"cannot read settings: {path}: {error.strerror}.") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no YAML of settings: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold settings as key: value, got {type(content).__name__}.")
    base = content.pop("base", None)
    return content if base is None else _merged(_read_yaml(path.parent / base), content)


def _merged(base: Any, changes: Any) -> Any:
    """`changes` over `base`, mapping by mapping; lists of equal length entry by entry."""
    if isinstance(base, dict) and isinstance(changes, dict):
        return base | {key: _merged(base.get(key), value) for key, value in changes.items()}
    if isinstance(base, list) and isinstance(changes, list) and len(base) == len(changes) and all(isinstance(one, dict) for one in changes):
        return [_merged(one, change) for one, change in zip(base, changes, strict=True)]
    return changes


def _override(content: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise ValueError(f"an override reads key.key=value, got {override!r}.")
    *parents, last = key.split(".")
    place: Any = content
    for depth, parent in enumerate(parents):
        if isinstance(place, list):
            if not parent.isdigit() or int(parent) >= len(place):
                raise ValueError(f"{override}: {'.'.join(parents[:depth])} has {len(place)} entries, numbered from 0.")
            place = place[int(parent)]
        else:
            place = place.setdefault(parent, {})
        if not isinstance(place, dict | list):
            raise ValueError(f"{override}: {'.'.join(parents[: depth + 1])} is a value and has no keys.")
    if isinstance(place, list):
        raise ValueError(f"{override}: name a setting of the entry, as in {'.'.join(parents)}.{last}.KEY=value.")
    place[last] = yaml.safe_load(text) if text else ""


def _build(kind: Any, content: Any, where: str, file: str) -> Any:
    """`content` as a `kind`, checked to the last leaf."""
    if is_dataclass(kind):
        return _build_dataclass(kind, content, where, file)
    if get_origin(kind) is tuple:
        if not isinstance(content, list):
            raise ValueError(f"{file}: {where} must be a list, got {content!r}.")
        return tuple(_build(get_args(kind)[0], one, f"{where}.{index}", file) for index, one in enumerate(content))
    if get_origin(kind) is not None:
        if not isinstance(content, Mapping):
            raise ValueError(f"{file}: {where} must be key: value, got {content!r}.")
        return dict(content)
    if kind is float and isinstance(content, int | str) and not isinstance(content, bool):
        try:
            return float(content)  # YAML reads 1e-5, without a point, as a text
        except ValueError:
            pass
    if type(content) is not kind:
        raise ValueError(f"{file}: {where} must be {'a text' if kind is str else kind.__name__}, got {content!r}.")
    return content


def _build_dataclass(kind: Any, content: Any, where: str, file: str) -> Any:
    prefix = f"{where}." if where else ""
    if not isinstance(content, Mapping):
        raise ValueError(f"{file}: {where} must be key: value, got {content!r}.")
    hints, known = get_type_hints(kind), [f.name for f in fields(kind)]
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)[0]
            raise ValueError(f"{file}: {prefix}{key} is no setting; did you mean {prefix}{near}?")
    for f in fields(kind):
        if f.name not in content and f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(f"{file}: {prefix}{f.name} is missing.")
    values = {name: _build(hints[name], value, prefix + name, file) for name, value in content.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{file}: {where + ': ' if where else ''}{error}") from None
