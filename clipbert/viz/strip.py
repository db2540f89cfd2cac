"""What the model sees: each clip's frames at its own resolution, padding told apart, alone or as one strip."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from clipbert.viz.style import plain, time_range

HATCH = (150, 156, 163)
PAGE, INK, LINE = (255, 255, 255), (31, 35, 40), (208, 212, 217)
GAP, CAPTION = 6, 18
COLUMNS = 4


@dataclass(frozen=True, eq=False)
class SeenFrames:
    """Frames as the model gets them: `SeenFrames(*predictor.clip_pictures(path, video))`.

    `size` is the (height, width) of the picture; the rest, right or below, is padding.
    """

    frames: UInt8[Tensor, "N T 3 S S"] = field(repr=False)
    size: tuple[int, int]

    @property
    def padding_fraction(self) -> float:
        height, width = self.size
        return 1 - height * width / self.frames.shape[-1] ** 2

    def image(self, clip_index: int, frame_index: int, side: int | None = None) -> Image.Image:
        """One frame, `side` pixels wide (default: as the model has it), its padding hatched so that nobody takes it for a dark part."""
        height, width = self.size
        side, own = side or self.frames.shape[-1], self.frames.shape[-1]
        shown = (max(1, round(width * side / own)), max(1, round(height * side / own)))
        hatched = hatching(side)
        hatched.paste(frame_image(self.frames[clip_index, frame_index, :, :height, :width], shown))
        return hatched


def strip(seen: SeenFrames, spans: Float[Tensor, "N 2"], *, side: int = 112, captions: Sequence[str] = ()) -> Image.Image:
    """All clips in one picture, left to right and down, each with its frames side by side and its time range under them.

    `captions` are a second line for each clip, such as its answer.
    """
    num_clips, num_frames = seen.frames.shape[:2]
    columns = max(1, min(num_clips, COLUMNS, 16 // num_frames))
    lines = 2 if captions else 1
    width, height = num_frames * (side + 1) - 1 + GAP, side + lines * CAPTION + GAP
    page = Image.new("RGB", (columns * width + GAP, -(-num_clips // columns) * height + GAP), PAGE)
    draw, font = ImageDraw.Draw(page), font_of(11)
    for n, (start, end) in enumerate(spans.tolist()):
        left, top = GAP + n % columns * width, GAP + n // columns * height
        for t in range(num_frames):
            page.paste(seen.image(n, t, side), (left + t * (side + 1), top))
        draw.rectangle((left - 1, top - 1, left + width - GAP, top + side), outline=LINE)
        text = [f"{n + 1}: {time_range(start, end)}", *captions[n : n + 1]]
        for line, words in enumerate(text):
            draw.text((left, top + side + 3 + line * CAPTION), fitting(plain(words), font, width - GAP), INK, font)
    return page


def frame_image(frame: UInt8[Tensor, "3 H W"], size: tuple[int, int] | None = None) -> Image.Image:
    """The frame as an image, of this (width, height) if given."""
    image = Image.fromarray(frame.permute(1, 2, 0).numpy())
    return image.resize(size, Image.Resampling.BILINEAR) if size else image


def frame_image_within(frame: UInt8[Tensor, "3 H W"], longer_side: int) -> Image.Image:
    """The frame as an image, made smaller where its longer side is longer."""
    height, width = frame.shape[-2:]
    scale = min(1.0, longer_side / max(height, width))
    return frame_image(frame, (max(1, round(width * scale)), max(1, round(height * scale))))


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def data_url(image: Image.Image, quality: int = 80) -> str:
    """The image as a JPEG within a page."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(image, quality)).decode()}"


def hatching(side: int) -> Image.Image:
    """A square of what stands for padding."""
    image = Image.new("RGB", (side, side), PAGE)
    draw = ImageDraw.Draw(image)
    for offset in range(-side, side, max(5, side // 28)):
        draw.line((offset, side, offset + side, 0), fill=HATCH, width=max(1, side // 160))
    return image


def font_of(points: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib ships: Pillow's own font lacks most scripts, and the dash of a time range."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", points)


def fitting(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text, cut with an ellipsis to a width in pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
