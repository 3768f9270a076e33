"""Pictures, and pictures that move: JPEG, PNG, WebP, TIFF, AVIF and HEIC, read by Pillow.

Pillow knows where each of them keeps its orientation, puts the tiles of a phone's HEIC together
and plays WebP. Whatever it cannot read is left to FFmpeg, as are GIF and APNG. Of pictures that
strangers send, kind, size and cost are read from their first bytes before anything is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ferstream.engines.terminal import plain

from ..errors import SourceTooLarge, SourceUnreadable
from ..frame import Frame
from .base import BaseSource
from .failures import reason

_PLUGINS = (
    *(JpegImagePlugin, MpoImagePlugin, PngImagePlugin),
    *(WebPImagePlugin, TiffImagePlugin, AvifImagePlugin),
    *(GifImagePlugin, BmpImagePlugin),
)
"""Named so that they are there; Pillow loads them by endings of names."""
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF")
# Elsewhere what follows the first is no motion: pages, other views, bursts.
_MOVING = frozenset(("WEBP", "AVIF"))
# What FFmpeg reads of files.
_OTHERS = ("GIF", "BMP", "PNG")
_HEAD_BYTES = 16
_HEIF_BRANDS = frozenset((b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1"))
# Browsers show what is to be over at once for so long.
_USUAL_STEP_S, _LEAST_STEP_S = 0.1, 0.0105
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, Image.DecompressionBombError)
"""What Pillow throws at a damaged picture."""

pi_heif.register_heif_opener()


class ImageSource(BaseSource):
    """A picture, which is a clip of one frame, or a moving one; see `open_image`."""

    live = False
    duration_s: float | None = None

    def __init__(
        self,
        file: IO[bytes],
        name: str,
        most_px: int | None = None,
        formats: tuple[str, ...] = _FORMATS,
    ) -> None:
        self._file = file
        self._image = image = opened(file, formats)
        if most_px is not None and image.width * image.height > most_px:
            raise SourceTooLarge(
                f"{name} has {image.width} x {image.height} pixels: "
                f"{most_px / 1e6:.1f} million at most"
            )
        self.name = plain(name)
        moves = image.format in _MOVING or formats is _OTHERS
        self._count = int(getattr(image, "n_frames", 1)) if moves else 1
        self._first = upright_rgb(image)
        self._step_s = _step_s(image)
        self.rate_hz = 1 / self._step_s if self._count > 1 else None
        self._notes: list[str] = []
        self._stop = self._reading = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return self._first.shape[1], self._first.shape[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """Damage met while reading."""
        return tuple(self._notes)

    def frames(self) -> Iterator[Frame]:
        """The pictures at their times."""
        time_s, self._reading = 0.0, True
        try:
            for index in range(self._count):
                if self._stop:
                    return
                if index:
                    time_s += self._step_s
                    self._image.seek(index)
                pixels = upright_rgb(self._image) if index else self._first
                self._step_s = _step_s(self._image)
                yield Frame(pixels, time_s, index, self.name)
        except DAMAGE as error:
            self._notes.append(
                f"{index} of {self._count} frames could be read: the file is damaged "
                f"({reason(error)})"
            )
        finally:
            self._image.close()
            self._file.close()

    def close(self) -> None:
        """End `frames` at its next picture."""
        self._stop = True
        if not self._reading:
            self._file.close()


def open_picture(path: Path) -> ImageSource | None:
    """The picture at a path; None where FFmpeg is to have the file, or to say what is wrong."""
    try:
        file = path.open("rb")
    except OSError:
        return None
    source = open_image(file, str(path))
    if source is None:
        file.close()
    return source


def open_image(file: IO[bytes], name: str, most_px: int | None = None) -> ImageSource | None:
    """The picture in a file; None where FFmpeg is to have it, then nothing was read.

    The file stays open for as long as the pictures move. Raises `SourceTooLarge` before anything
    of more than `most_px` pixels is decoded.
    """
    image = None
    if _is_picture(file):
        try:
            image = ImageSource(file, name, most_px)
        except SourceTooLarge:
            raise
        except DAMAGE:
            image = None  # FFmpeg shows what is left of it, or says why not
    if image is None:
        file.seek(0)
    return image


def open_simple(file: IO[bytes], name: str) -> ImageSource | None:
    """A GIF, a BMP or a PNG that moves, without FFmpeg, which would follow what bytes name; None
    for all else."""
    file.seek(0)
    try:
        return ImageSource(file, name, formats=_OTHERS)
    except DAMAGE:
        return None


def upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) as it is to be seen: turned as its Exif says, on white where it is transparent.

    Raises OSError, ValueError and others of Pillow for a damaged picture.
    """
    image.load()
    if image.mode in ("I", "F"):
        raise ValueError("its grey values have no known range")
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I;16"):
        grey = np.asarray(turned).astype(np.uint16) >> 8
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if turned.has_transparency_data:
        seen = turned.convert("RGBA")
        white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        turned = Image.alpha_composite(white, seen)
    return np.ascontiguousarray(turned.convert("RGB"), np.uint8)


def opened(file: IO[bytes], formats: tuple[str, ...] = _FORMATS) -> Image.Image:
    """Pillow's picture in a file, not decoded yet; raises as `DAMAGE` has it."""
    with warnings.catch_warnings():
        # A photograph of a hundred million pixels is no attack on its owner.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file, formats=formats)


def _is_picture(file: IO[bytes]) -> bool:
    """Whether it begins as one of those; a row of JPEGs and a PNG that moves are videos."""
    head = file.read(_HEAD_BYTES)
    if head.startswith(b"\xff\xd8\xff"):
        rest = file.read()
        return b"\xff\xd9\xff\xd8" not in rest or b"MPF\x00" in rest[:65536]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"acTL" not in file.read(4096)
    if head[4:8] == b"ftyp":
        return head[8:12] in _HEIF_BRANDS
    return head.startswith((b"II*\x00", b"MM\x00*")) or (head[:4], head[8:12]) == (b"RIFF", b"WEBP")


def _step_s(image: Image.Image) -> float:
    """For how long the picture at hand is shown."""
    duration = image.info.get("duration", 0)
    step_s = duration / 1000 if isinstance(duration, int | float) else 0.0
    return step_s if step_s > _LEAST_STEP_S else _USUAL_STEP_S


# A progressive JPEG has about ten scans. Thousands of tiny ones keep a decoder busy for minutes.
_MAX_SCANS = 100


_USUAL_SCANS = 12


# Segments before the one that tells the size; a picture has a dozen, some padding included.
_MAX_MARKS = 4096


class PictureHead(NamedTuple):
    """What a picture says of itself."""

    kind: str
    """jpeg, png or webp."""
    width_px: int
    height_px: int


def picture_head(data: bytes) -> PictureHead:
    """Kind and stored size of a JPEG, PNG or WebP, read from its first bytes.

    Raises SourceUnreadable for anything else, and for one that ends before it says its size.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            return PictureHead("png", *struct.unpack_from(">II", data, 16))
        if data.startswith(b"\xff\xd8\xff"):
            return PictureHead("jpeg", *_jpeg_size(data))
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return PictureHead("webp", *_webp_size(data))
    except struct.error:
        raise SourceUnreadable("this picture is cut off: send all of it") from None
    raise SourceUnreadable("this is no JPEG, PNG or WebP picture: send one of those")


def decoding_cost(data: bytes) -> float:
    """What decoding a picture takes, in pixels times scans; 0 for what is no picture."""
    try:
        head = picture_head(data)
    except SourceUnreadable:
        return 0.0
    scans = data.count(b"\xff\xda") if head.kind == "jpeg" else 1
    return float(head.width_px * head.height_px * max(scans, 1))


def decode_picture(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB pixels, upright as its Exif says.

    Raises SourceUnreadable for a picture that is damaged, SourceTooLarge for one of no or of more
    than `max_pixels` pixels.
    """
    head = picture_head(data)
    if not 0 < head.width_px * head.height_px <= max_pixels:
        raise SourceTooLarge(
            f"a picture of {head.width_px} x {head.height_px} is too large: "
            f"{max_pixels / 1e6:.1f} million pixels at most"
        )
    if head.kind == "jpeg" and data.count(b"\xff\xda") > _MAX_SCANS:
        raise SourceUnreadable(f"this jpeg picture has more than {_MAX_SCANS} scans: send another")
    if head.kind == "jpeg" and decoding_cost(data) > max(_USUAL_SCANS * max_pixels, 1):
        raise SourceTooLarge("this jpeg picture has too many scans for its size: send another")
    # A JPEG that was cut off would be decoded, grey from there on.
    if head.kind == "jpeg" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise SourceUnreadable("this jpeg picture is cut off: send all of it")
    # By Pillow: OpenCV 4.11 has a known fault in reading JPEG (CVE-2025-53644).
    try:
        with opened(io.BytesIO(data)) as image:
            return upright_rgb(image)
    except DAMAGE:
        raise SourceUnreadable(f"this {head.kind} picture is damaged: send it again") from None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height from the first frame header."""
    at = 2
    for _ in range(_MAX_MARKS):
        mark, kind = struct.unpack_from(">BB", data, at)
        if mark != 0xFF:
            raise struct.error
        if kind == 0xFF:  # padding
            at += 1
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        alone = kind == 0x01 or 0xD0 <= kind <= 0xD8
        at += 2 if alone else 2 + max(struct.unpack_from(">H", data, at + 2)[0], 2)
    raise SourceUnreadable("this jpeg picture never says its size: send another")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas, for the three kinds of WebP."""
    kind = data[12:16]
    if kind == b"VP8X":
        flags_and_size = struct.unpack_from("<10B", data, 20)
        width = int.from_bytes(bytes(flags_and_size[4:7]), "little")
        height = int.from_bytes(bytes(flags_and_size[7:10]), "little")
        return width + 1, height + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
