"""Pictures, and pictures that move: JPEG, PNG, WebP, TIFF, AVIF and HEIC, read by Pillow.

It knows where each of them keeps its orientation, puts the tiles of a phone's HEIC together and
plays WebP. Whatever it cannot read is left to FFmpeg, as are GIF and APNG.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

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

from ..errors import SourceTooLarge
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
