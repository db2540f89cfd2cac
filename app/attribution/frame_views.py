"""The frames of a clip as the model is given them, each with its bar, to be clicked."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from app.attribution.explained import Explained
from clipbert.viz.style import clock

if TYPE_CHECKING:
    from clipbert.predict import Predictor
    from clipbert.types import Attribution

CARD_PIXELS, LARGE_PIXELS = 320, 720  # longer side
CLICK_FRAME = """element.addEventListener('click', (click) => {
  const frame = click.target.closest('[data-frame]');
  if (!frame) return;
  element.querySelectorAll('[data-frame]').forEach((other) => {
    other.classList.toggle('selected', other === frame);
    other.setAttribute('aria-pressed', other === frame);
  });
  trigger('click', {frame: Number(frame.dataset.frame)});
});"""


def clip_images(predictor: "Predictor", explained: Explained, clip: int, longest: int) -> list[Image.Image]:
    """The true pixels of a clip's frames, small; from the predictor's cache where it has them.  Raises VideoError."""
    from clipbert.source import source_of
    from clipbert.video import VideoError
    from clipbert.viz.strip import frame_image_within

    try:
        frames = predictor.pictures(source_of(explained.path, None), explained.clips[clip])
    except KeyError as error:
        raise VideoError(f"frame {error} of {explained.path.name} can no longer be decoded; choose the video again.") from error
    return [frame_image_within(frame, longest) for frame in frames]


def frames_html(explained: Explained, clip: int, images: Sequence[Image.Image], found: "Attribution | None", selected: int | None) -> str:
    """A button for each frame: its picture, its second, its signed bar.  Without `found` the bars are still to come."""
    from clipbert.viz.strip import data_url

    values = None if found is None else found.values[0].tolist()
    low, high = (ends[0].tolist() for ends in found.interval()) if found is not None else ([], [])
    largest = max((abs(value) for value in values or []), default=0.0) or 1.0
    cards = []
    for t, (image, seconds, index) in enumerate(zip(images, explained.video.times[clip].tolist(), _indices(explained, clip), strict=True)):
        value = "" if values is None else f"{values[t]:+.3f} nats"
        spread = f" ({low[t]:+.3f} to {high[t]:+.3f})" if found is not None and found.standard_error is not None else ""
        said = f"Frame {t + 1}, {clock(seconds)}{': ' + value if value else ''}. Look into it."
        cards.append(
            f'<li><button type="button" class="clip-card{" selected" * (t == selected)}" aria-pressed="{str(t == selected).lower()}" '
            f'data-frame="{t}" aria-label="{said}"><img alt="" src="{data_url(image, 85)}" class="true-pixels">'
            f'<span class="when">frame {t + 1} · {clock(seconds)}</span><span class="soft">source frame {index}</span>'
            f"{_signed(values[t], largest) if values is not None else ''}<span>{value}<span class='soft'>{spread}</span></span></button></li>"
        )
    return f'<p class="soft">{_lead(found, len(images))}</p><ol class="cards frame-cards">{"".join(cards)}</ol>'


def _lead(found: "Attribution | None", num_frames: int) -> str:
    if found is None:
        return "What the model is given of this clip; its values are being computed …"
    from clipbert.attribution import METHODS

    about = METHODS[found.method].about if num_frames > 1 else "the clip has one frame, so all of its score above the text alone is this frame's"
    return f"{html.escape(about)}. Score: {html.escape(found.value_function)}. Click a frame to see where in it."


def _indices(explained: Explained, clip: int) -> list[int]:
    return explained.clips[clip].frame_index.tolist()


def _signed(value: float, largest: float) -> str:
    kind, side = ("for", "left") if value >= 0 else ("against", "right")
    return f'<span class="signed"><i class="{kind}" style="{side}:50%;width:{50 * abs(value) / largest:.1f}%"></i></span>'


def frame_rows(explained: Explained, found: "Attribution") -> list[dict[str, object]]:
    """The frames as rows of a table, in their order."""
    clip = found.clip_index[0]
    low, high = (ends[0].tolist() for ends in found.interval())
    places = zip(explained.video.times[clip].tolist(), _indices(explained, clip), found.values[0].tolist(), low, high, strict=True)
    return [
        {"frame": t, "seconds": seconds, "source_frame": index, "value_nats": value, **({"low": a, "high": b} if a < b else {})}
        for t, (seconds, index, value, a, b) in enumerate(places, 1)
    ]
