"""Frames by decord, in a process of its own: decord hangs on some files, and only a process can be stopped.

Run as a script, this file is that process: indices come in on stdin, one line
a request, pixels go out on stdout.  `Video` uses `DecordFrames` for
`backend="decord"`, after `refusal` has let the file through.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

# What decord 0.6.0 was measured to get wrong: HEVC frames off by one, WMV frames wrong, AV1 and GIF errors, MPEG-TS hangs.
WRONG_CODECS = {"hevc": "HEVC", "av1": "AV1", "libdav1d": "AV1", "gif": "GIF", "wmv1": "WMV", "wmv2": "WMV", "wmv3": "WMV", "vc1": "WMV"}
WRONG_FORMATS = {"mpegts": "MPEG-TS", "mpeg": "MPEG-PS", "gif": "GIF", "h264": "a raw stream"}


def refusal(stream: Any, container_format: str, *, open_gop: bool) -> str | None:
    """Why decord must not read such a stream, None if it may."""
    if importlib.util.find_spec("decord") is None:
        return "decord is not installed (its wheel exists for x86-64 only: pip install decord==0.6.0)"
    context = stream.codec_context
    wrong = WRONG_CODECS.get(context.name) or WRONG_FORMATS.get(container_format)
    if not wrong and context.name == "mpeg4" and context.has_b_frames:
        wrong = "MPEG-4 part 2 with B-frames"
    if not wrong and context.format is not None and context.format.components[0].bits > 8:
        wrong = "the colours of more than 8 bits"
    if not wrong and open_gop:
        wrong = "open groups of pictures"
    return f"decord gets {wrong} wrong" if wrong else None


class DecordFrames:
    """A decord reader with one thread; its `size` is the upright (H, W).  Raises ValueError with decord's words."""

    def __init__(self, path: str) -> None:
        command = [sys.executable, __file__, path]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            header = self._answer()
        except ValueError:
            self.close()
            raise
        self.num_frames, self.size = header["num_frames"], (header["height"], header["width"])

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """uint8[T, H, W, 3] for ascending indices."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(indices)).encode() + b"\n")
        self._process.stdin.flush()
        count = self._answer()["num_bytes"]
        pixels = np.frombuffer(self._process.stdout.read(count), dtype=np.uint8)
        return pixels.reshape(len(indices), *self.size, 3)

    def close(self) -> None:
        """Stops the process whatever it does; a read under way then fails."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline() or '{"error": "decord stopped"}')
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer


def _serve(path: str) -> None:
    out = sys.stdout.buffer
    try:
        import decord

        reader = decord.VideoReader(path, num_threads=1)
        height, width, _ = reader[0].shape
        reader.seek(0)
        out.write(json.dumps({"num_frames": len(reader), "height": height, "width": width}).encode() + b"\n")
        out.flush()
        for line in sys.stdin:
            pixels = reader.get_batch(json.loads(line)).asnumpy().tobytes()
            out.write(json.dumps({"num_bytes": len(pixels)}).encode() + b"\n" + pixels)
            out.flush()
    except Exception as error:  # noqa: BLE001 - told to the other side
        out.write(json.dumps({"error": " ".join(str(error).split())[:200]}).encode() + b"\n")


if __name__ == "__main__":
    _serve(sys.argv[1])
