"""A story as a file: its pictures one after the other, encoded as H.264 or GIF, the same bytes every time."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from PIL import Image

from clipbert.data.shapes import Story, background, draw, pose


def pictures(story: Story) -> Iterator[tuple[Image.Image, bool]]:
    """Each upright frame, and whether a scene begins with it."""
    for scene in story.scenes:
        behind = background(scene.location, scene.daytime, story.size, scene.texture_seed)
        shown, picture = None, behind
        for index in range(scene.first_frame, scene.end_frame):
            if shown != (shown := [pose(figure, index) for figure in scene.figures]):
                picture = draw(scene.figures, index, behind)
            yield picture, index == scene.first_frame


def write_video(story: Story, path: Path) -> None:
    """Encode the story as H.264 or GIF, without sound, the same bytes every time; a cut is a key frame."""
    unfinished = path.with_stem(f"{path.stem}.part")
    is_gif, is_turned = path.suffix == ".gif", story.variant == "rotated"
    options = (
        {} if is_gif else {"preset": "veryfast", "crf": "31", "threads": "1", "forced-idr": "1", "g": "1000", "x264-params": "scenecut=0:mbtree=0"}
    )
    width, height = story.size[::-1] if is_turned else story.size
    with av.open(str(unfinished), "w", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("gif" if is_gif else "libx264", rate=story.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "pal8" if is_gif else "yuv420p"
        palette = _palette(story) if is_gif else None
        for picture, is_cut in pictures(story):
            if is_gif:
                frame = _palette_frame(picture.quantize(palette=palette, dither=Image.Dither.NONE))
            else:
                stored = picture.transpose(Image.Transpose.ROTATE_90) if is_turned else picture
                frame = av.VideoFrame.from_ndarray(np.asarray(stored), format="rgb24")
                frame.pict_type = PictureType.I if is_cut else PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if is_turned:
        _ask_to_turn(unfinished)
    unfinished.replace(path)


def _palette(story: Story) -> Image.Image:
    """One palette for all scenes: with several, every frame of a GIF would be stored whole."""
    starts = [np.asarray(picture) for picture, is_cut in pictures(story) if is_cut]
    return Image.fromarray(np.concatenate(starts)).quantize(255, method=Image.Quantize.MEDIANCUT)


def _palette_frame(picture: Image.Image) -> av.VideoFrame:
    colors = np.array(picture.getpalette()).reshape(-1, 3)
    palette = np.full((256, 4), 255, np.uint8)
    palette[: len(colors), 1:] = colors
    indexed: Any = (np.asarray(picture), palette)
    return av.VideoFrame.from_ndarray(indexed, format="pal8")


def _ask_to_turn(path: Path) -> None:
    """Write into an MP4's track header that the picture is to be turned clockwise by 90 degrees, which PyAV cannot."""
    content, one = path.read_bytes(), 1 << 16
    upright, turned = (struct.pack(">9i", *matrix, 0, 0, 0, 1 << 30) for matrix in ((one, 0, 0, 0, one), (0, one, 0, -one, 0)))
    at = content.index(upright, content.index(b"tkhd"))
    path.write_bytes(content[:at] + turned + content[at + len(upright) :])
