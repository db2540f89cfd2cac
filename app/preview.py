"""A form of a video that browsers can play, made without ffmpeg."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image

PLAYABLE = {".mp4": ("h264", "vp9", "av1"), ".m4v": ("h264",), ".mov": ("h264",), ".webm": ("vp8", "vp9", "av1")}
ENCODER = "libx264"
LONGEST_SECONDS = 60
LONGER_SIDE = 480


def preview(path: Path, folder: Path) -> Path | None:
    """`path` itself if browsers play it, else an MP4 made from it in `folder`.

    None for a video too long to convert at once, and where this build of PyAV cannot write H.264.

    Raises VideoError.
    """
    from clipbert.source import content_hash, source_of

    if _plays(path):
        return path
    timeline, _ = source_of(path, None).timeline()
    if timeline.duration > LONGEST_SECONDS or ENCODER not in av.codecs_available:
        return None
    made = folder / f"{content_hash(path)[:32]}.mp4"
    if not made.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = made.with_suffix(".part.mp4")
        _convert(path, timeline.times.tolist(), unfinished)
        unfinished.replace(made)
    return made


def _plays(path: Path) -> bool:
    from clipbert.source import source_of

    codecs = PLAYABLE.get(path.suffix.lower())
    if not codecs:
        return False
    codec, pixel_format = source_of(path, None).encoding()
    return codec.removeprefix("lib").split("-")[0] in codecs and pixel_format in ("yuv420p", "yuvj420p")


def _convert(path: Path, times: list[float], out: Path) -> None:
    from clipbert.video import Video
    from clipbert.viz.strip import frame_image_within

    with Video.open(path) as video, av.open(str(out), "w", options={"movflags": "faststart"}) as output:
        stream: Any = None
        for start in range(0, len(times), 32):
            for frame, time in zip(video.frames_at(times[start : start + 32]).frames, times[start : start + 32], strict=True):
                image = _even(frame_image_within(frame, LONGER_SIDE))
                if stream is None:
                    stream = output.add_stream(ENCODER, rate=30, options={"preset": "veryfast", "crf": "26", "threads": "1"})
                    stream.width, stream.height, stream.pix_fmt = *image.size, "yuv420p"
                    stream.codec_context.time_base = Fraction(1, 1000)
                picture = av.VideoFrame.from_image(image)
                picture.pts, picture.time_base = round(time * 1000), Fraction(1, 1000)
                output.mux(stream.encode(picture))
        output.mux(stream.encode())


def _even(image: Image.Image) -> Image.Image:
    width, height = (max(2, side // 2 * 2) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)
