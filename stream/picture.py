"""Pictures that callers and strangers hand over: their sizes, their pixels, their frames.

Arrays, PIL images, encoded pictures and paths each become a checked frame, a source of its own.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np
from numpy.typing import NDArray

from .errors import SourceError, SourceTooLarge, SourceUnreadable
from .frame import Frame

if TYPE_CHECKING:
    from PIL import Image

    from .sources.base import Source


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
    from .sources.image import DAMAGE, opened, upright_rgb

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


Picture = Union[
    Frame,
    "NDArray[Any]",
    "Image.Image",
    bytes,
    bytearray,
    memoryview,
    str,
    "os.PathLike[str]",
]
"""A frame; an array (H, W, 3) RGB, (H, W, 4) with transparency or (H, W) grey, uint8 or floats from
0 to 1; a PIL image; a picture file's bytes; its path."""

_ROUNDING = 1e-3
"""So far beyond 0 and 1 a float may lie: resizing and arithmetic do that."""
_numbers = count()


class Taken(NamedTuple):
    """One picture as the networks take it."""

    frame: Frame
    name: str | None
    """What its result calls its source; None for a caller's own frame, whose source goes on."""


def take(pictures: Iterable[Picture]) -> Iterator[Taken]:
    """Frames of pictures, one by one.

    Raises TypeError for what is no picture, ValueError for an array of another shape or range and
    for a clip, and a SourceError (`SourceUnreadable`, a ValueError, `SourceMissing`, a
    FileNotFoundError) for bytes and paths that hold none. Of several it says which.
    """
    items = pictures if isinstance(pictures, list | tuple) else list(pictures)
    for at, item in enumerate(items):
        yield take_one(item, at, len(items))


def take_one(item: object, at: int, among: int | None) -> Taken:
    """The frame of the picture at this place, from 0, among so many; None: nobody knows how many.

    Raises as `take`.
    """
    try:
        return _taken(item, at)
    except SourceError as error:
        error.args = (_placed(error, at, among),)
        raise
    except (TypeError, ValueError) as error:
        raise type(error)(_placed(error, at, among)) from None


def _placed(error: Exception, at: int, among: int | None) -> str:
    text = " ".join(str(error).split())
    if among == 1:
        return text
    return f"picture {at + 1}{f' of {among}' if among else ''}: {text}"


def _taken(item: object, at: int) -> Taken:
    if isinstance(item, Frame):
        return Taken(item, None)
    name = f"picture {at + 1}"
    if isinstance(item, np.ndarray):
        pixels = rgb_of(item)
    elif isinstance(item, bytes | bytearray | memoryview):
        pixels = _decoded(bytes(item))
    elif isinstance(item, str | os.PathLike):
        name = str(os.fspath(item))
        pixels = _read(Path(name))
    else:
        pixels = _of_image(item)
    return Taken(Frame(pixels, 0.0, at, f"\0picture-{next(_numbers)}"), name)


def rgb_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of an array as `Picture` describes it.

    Raises TypeError for another dtype, ValueError for another shape and for floats beyond 0..1.
    """
    shape, kind = array.shape, array.dtype
    if array.ndim == 4:
        raise ValueError(f"an array of shape {shape}: one picture has (H, W, 3); pass list(array)")
    if array.ndim == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        raise ValueError(
            f"an array of shape {shape}: channels come last, (H, W, 3); "
            "pass numpy.moveaxis(array, 0, -1)"
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise ValueError(
            f"an array of shape {shape}: a picture has (H, W, 3) RGB, (H, W, 4) or (H, W)"
        )
    if 0 in shape:
        raise ValueError(f"an array of shape {shape} holds no pixel")
    if kind.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("an array of floats with NaN or infinity: pixels are from 0 to 1")
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ValueError(
                f"an array of floats from {low:g} to {high:g}: pixels are from 0 to 1; "
                "divide by 255, or pass uint8"
            )
        array = np.rint(np.clip(array.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    elif kind != np.uint8:
        raise TypeError(f"an array of {kind}: pixels are uint8, 0 to 255, or floats from 0 to 1")
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] == 4:  # on white, as pictures with transparency are shown
        share = array[..., 3:].astype(np.float32) / 255
        array = np.rint(array[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array)


def _of_image(item: object) -> NDArray[np.uint8]:
    """The pixels of a PIL image, upright."""
    from PIL import Image

    from .sources.image import DAMAGE, upright_rgb

    if not isinstance(item, Image.Image):
        raise TypeError(
            f"{type(item).__name__} is no picture: pass a NumPy array (H, W, 3), a PIL image, "
            "bytes, a path, a Frame, or a list of them"
        )
    if 0 in item.size:
        raise ValueError(f"a PIL image of {item.width} x {item.height} holds no pixel")
    try:
        return upright_rgb(item)
    except DAMAGE as error:
        raise SourceUnreadable(f"this PIL image cannot be read: {error}") from error


def _decoded(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a picture file's bytes; only Pillow reads them, as they may be a stranger's."""
    from .sources.image import open_image, open_simple

    name = "this picture"
    file = io.BytesIO(data)
    source = open_image(file, name) or open_simple(file, name)
    if source is None:
        what = f"these {len(data)} bytes are" if data else "0 bytes are"
        raise SourceUnreadable(
            f"{what} no picture that can be read: JPEG, PNG, WebP, TIFF, AVIF, HEIC, GIF, BMP"
        )
    return _only(source)


def _read(path: Path) -> NDArray[np.uint8]:
    """The pixels of a picture file."""
    from .sources import pyav
    from .sources.image import open_picture

    return _only(open_picture(path) or pyav.open_file(path))


def _only(source: Source) -> NDArray[np.uint8]:
    """The only frame of a source, which is closed."""
    frames = source.frames()
    try:
        first = next(frames, None)
        if first is None:
            raise SourceUnreadable(f"{source.name} holds no picture that can be decoded")
        if next(frames, None) is not None:
            raise ValueError(
                f"{source.name} is a clip, no picture: for frame in open_source(path).frames()"
            )
        return first.pixels
    finally:
        frames.close()  # type: ignore[attr-defined]
        source.close()
