"""The command line's answers about real videos, until the explorer exists: `make app`."""

import sys
from pathlib import Path

from clipbert.cli import main
from clipbert.data.footage import demo_videos

for video in demo_videos(Path(__file__).parent.parent / "cache" / "footage"):
    print(f"\n$ clipbert ask {video.path} '{video.question}'\n", flush=True)
    if code := main(["ask", str(video.path), video.question]):
        sys.exit(code)
print("\nNow your own: .venv/bin/clipbert ask VIDEO 'QUESTION'   (clipbert --help lists the rest)")
