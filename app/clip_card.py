"""The frames of a clip as the page shows them, and a moving picture of many clips, made without ffmpeg."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from app.timeline import clip_title
from clipbert.viz.style import clock

if TYPE_CHECKING:
    from clipbert.sampling import ClipTimes

CARD_PIXELS, REEL_PIXELS = 320, 240  # longer side
REEL_MILLISECONDS = 400
LABEL_HEIGHT = 16


def clip_card(video: Path, lane: str, n: int, clip: "ClipTimes") -> str:
    """The frames the model is fed of one clip, large, each with its time and source index.  Raises VideoError."""
    pictures = _pictures(video, [clip], CARD_PIXELS)
    figures = "".join(
        f"<figure>{_picture(pictures.get(index), f'source frame {index}')}<figcaption>frame {index}, {float(time):.2f} s</figcaption></figure>"
        for index, time in zip(clip.frame_index.tolist(), clip.times, strict=True)
    )
    return f'<div class="card"><p><b>{html.escape(clip_title(lane, n, clip))}</b></p><div class="frames">{figures}</div></div>'


def write_reel(video: Path, clips: "Sequence[ClipTimes]", out: Path) -> None:
    """A GIF of the frames the model is fed, in the order of the clips, each with its clip's number and its time.

    Raises VideoError, also where none of the frames can be decoded.
    """
    from clipbert.video import VideoError

    pictures = _pictures(video, clips, REEL_PIXELS)
    shown = [
        _labelled(pictures[index], f"clip {n} · {clock(float(time))}")
        for n, clip in enumerate(clips, 1) for index, time in zip(clip.frame_index.tolist(), clip.times, strict=True) if index in pictures
    ]  # fmt: skip
    if not shown:
        raise VideoError(f"cannot decode any of the clips of {video.name}; the file is damaged where they lie.")
    shown[0].save(out, save_all=True, append_images=shown[1:], duration=REEL_MILLISECONDS, loop=0)


def _pictures(video: Path, clips: "Sequence[ClipTimes]", longest: int) -> dict[int, Image.Image]:
    """The clips' decodable frames by source index, small."""
    from clipbert.source import source_of
    from clipbert.viz.strip import frame_image_within

    with source_of(video, None).open() as opened:
        frames, _ = opened.decode(sorted({int(i) for clip in clips for i in clip.frame_index}))
    return {index: frame_image_within(frame, longest) for index, frame in frames.items()}


def _picture(image: Image.Image | None, about: str) -> str:
    if image is None:
        return '<span class="lost">cannot be decoded</span>'
    from clipbert.viz.strip import data_url

    return f'<img alt="{html.escape(about)}" src="{data_url(image, 85)}">'


def _labelled(image: Image.Image, text: str) -> Image.Image:
    framed = Image.new("RGB", (image.width, image.height + LABEL_HEIGHT))
    framed.paste(image, (0, 0))
    ImageDraw.Draw(framed).text((4, image.height + 2), text.replace("·", "-"), fill="white")
    return framed
