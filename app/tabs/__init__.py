"""One file a tab: `TITLE`, `PLACE` (tabs are ordered by it) and `build(shared)`; a new file here is a new tab."""

import importlib
import pkgutil
from types import ModuleType


def tabs() -> list[ModuleType]:
    """The tab modules, in order."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return sorted((module for module in modules if hasattr(module, "PLACE")), key=lambda module: module.PLACE)
