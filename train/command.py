"""What the commands of this folder share: results on stdout, bad input in one line on stderr."""

import json
import sys
from collections.abc import Callable
from typing import Any

from transformers.utils.logging import disable_progress_bar


def exit_code(name: str, run: Callable[[], Any]) -> int:
    """0 once `run` has returned, whose result is printed as JSON; 2 where it raises ValueError."""
    disable_progress_bar()
    try:
        print(json.dumps(run(), indent=1))
    except ValueError as error:  # VideoError is one
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0
