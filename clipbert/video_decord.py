"""Frames by decord, in a process of its own: decord hangs on some files, and only a process can be stopped.

`python -m clipbert.video_decord FILE` is that process: asked once for what it
opened, then for the pixels of indices.  `Video` uses `DecordFrames` for
`backend="decord"`, after `refusal` has let the file through.
"""

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from clipbert.child_process import Child, ChildEnded, Message, Parent

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
        self._child = Child("clipbert.video_decord", path, quiet=True)
        try:
            header, _ = self._answer([])
        except ValueError:
            self.close()
            raise
        self.num_frames, self.size = header["num_frames"], (header["height"], header["width"])

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """uint8[T, H, W, 3] for ascending indices."""
        _, pixels = self._answer(list(indices))
        return pixels.reshape(len(indices), *self.size, 3)

    def close(self) -> None:
        """Stops the process whatever it does; a read under way then fails."""
        self._child.close()

    def _answer(self, request: list[int]) -> Message:
        try:
            [(message, payload)] = self._child.answers(request)
        except ChildEnded as ended:
            raise ValueError(f"decord {ended}") from ended
        if "error" in message:
            raise ValueError(message["error"])
        return message, payload


def _serve(path: str) -> None:
    parent, reader = Parent(), None
    for indices in parent.requests():
        try:
            if reader is None:
                import decord

                reader = decord.VideoReader(path, num_threads=1)
                height, width, _ = reader[0].shape
                reader.seek(0)
                parent.finish({"num_frames": len(reader), "height": height, "width": width})
            else:
                parent.finish({}, reader.get_batch(indices).asnumpy())
        except Exception as error:  # noqa: BLE001 - told to the other side
            parent.finish({"error": " ".join(str(error).split())[:200]})


if __name__ == "__main__":
    _serve(sys.argv[1])
