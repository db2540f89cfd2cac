"""What a file that should be a video is: told from its first bytes, with the sentence a user reads if it is none."""

import os

KNOWN_VIDEOS = "try MP4, WebM, MOV, MKV, AVI or GIF"


class VideoError(ValueError):
    """A video that cannot be read: what, which file, what to do, in one line."""


class PartialDecodeError(VideoError):
    """Some of the frames asked for cannot be decoded; `missing` holds their indices."""

    def __init__(self, message: str, missing: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


_CONTAINERS = {b"\x1aE\xdf\xa3": "Matroska/WebM", b"RIFF": "AVI", b"GIF8": "GIF", b"FLV\x01": "FLV", b"OggS": "Ogg"}
_NOT_VIDEO = {
    b"\xff\xd8\xff": "an image (JPEG)",
    b"\x89PNG": "an image (PNG)",
    b"BM": "an image (BMP)",
    b"II*\0": "an image (TIFF)",
    b"MM\0*": "an image (TIFF)",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"MZ": "a program",
}


def refuse_what_is_no_video(path: str) -> None:
    """Raise VideoError for what can be told from the first bytes; the demuxer judges the rest."""
    try:
        if os.path.isdir(path):
            raise VideoError(f"cannot open video: {path} is a directory; name a file in it.")
        if not os.path.exists(path):
            raise VideoError(f"cannot open video: {path} does not exist; check the path.")
        if not os.path.isfile(path):
            raise VideoError(f"cannot open video: {path} is not a regular file; save it to one first.")
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise VideoError(f"cannot open video: {path} cannot be read ({error.strerror}); check its permissions.") from error
    if not head:
        raise VideoError(f"cannot open video: {path} is empty (0 bytes); download or export it again.")
    what = next((name for magic, name in _NOT_VIDEO.items() if head.startswith(magic)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        what = "an image (WebP)"
    elif head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"avif"):
        what = "an image (HEIF)"
    elif not what and _is_text(head):
        what = "text"
    if what:
        raise is_not_video(path, what)


def is_not_video(path: str, what: str) -> VideoError:
    hint = "Predictor.encode treats an image as a one-frame video" if "image" in what else KNOWN_VIDEOS
    return VideoError(f"cannot open video: {path} is {what}, not a video; {hint}.")


def _is_text(head: bytes) -> bool:
    """No control characters in any 8-bit encoding, or a UTF-16 mark; 4 kB of any video hold some."""
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or all(byte >= 32 or byte in b"\t\n\r\f\x1b" for byte in head)


def why_unreadable(path: str) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"mdat", b"moov", b"wide", b"free"):
        return "has no usable index (moov atom missing or damaged): it is cut off; download or export it again"
    container = next((name for magic, name in _CONTAINERS.items() if head.startswith(magic)), None)
    if container:
        return f"has a damaged or cut-off {container} header; download or export it again"
    return f"is not a video that can be decoded (unknown contents); {KNOWN_VIDEOS}"
