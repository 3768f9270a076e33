"""Strangers' pictures: what their first bytes say, and their pixels."""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import SourceTooLarge, SourceUnreadable

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
