"""An app in a process of its own, for tests that kill it: python tests/app_server.py PORT FOLDER, with a slow tiny model and a login."""

import sys
import time
from pathlib import Path
from typing import Any

from test_predict import make_predictor
from videos import write_video

from app.app import serve


def slow_predictor() -> Any:
    """Half a second a clip, so that a question can be interrupted."""
    predictor = make_predictor()
    score = predictor.model.score

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.5)
        return score(*arguments)

    predictor.model.score = slowly  # pyright: ignore[reportAttributeAccessIssue]
    return predictor


def prepare(folder: Path) -> None:
    """Examples that need no time to make."""
    (folder / "made").mkdir(parents=True, exist_ok=True)
    for name in ("cat-rocket-coffee.mp4", "long.mp4"):
        write_video(folder / "made" / name)
    write_video(folder / "made" / "cat.gif", codec="gif", pix_fmt="rgb8", num_frames=10)


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    prepare(folder)
    serve(slow_predictor, host="127.0.0.1", port=port, share=False, auth=("ann", "secret"), max_file_size="1mb", examples=folder)
