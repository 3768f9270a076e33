"""Turning a decoded picture the way its metadata says it is to be seen."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_EXIF_MARK = b"Exif\x00\x00"
_ORIENTATION_TAG, _SHORT = 0x0112, 3
# The tag's values as (swap, flip_x, flip_y).
_EXIF_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


@dataclass(frozen=True, slots=True)
class Orientation:
    """A quarter-turn orientation: first swap x and y, then mirror."""

    swap: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_matrix(cls, side_data: bytes | None) -> Orientation:
        """From a display matrix: nine native int32, 16.16 fixed point, row vectors.

        The matrix sends the stored pixel (x, y) to (a x + c y, b x + d y); only quarter turns and
        mirrors are honoured, as players do.
        """
        if side_data is None or len(side_data) < 36:
            return cls()
        a, b, _, c, d, *_ = struct.unpack("=9i", side_data[:36])
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @classmethod
    def from_rotation(cls, degrees: int) -> Orientation:
        """From a turn counterclockwise, to the nearest quarter."""
        quarter = round(degrees / 90) % 4
        return cls(quarter in (1, 3), quarter in (2, 3), quarter in (1, 2))

    @classmethod
    def from_exif(cls, head: bytes) -> Orientation | None:
        """From the Exif tag in the first bytes of an image; None where there is none."""
        start = head.find(_EXIF_MARK) + len(_EXIF_MARK)
        order = {b"MM": ">", b"II": "<"}.get(head[start : start + 2])
        if start < len(_EXIF_MARK) or order is None:
            return None
        try:
            (table,) = struct.unpack_from(f"{order}I", head, start + 4)
            (entries,) = struct.unpack_from(f"{order}H", head, start + table)
            for entry in range(entries):
                tag, kind, _, value = struct.unpack_from(
                    f"{order}HHIH", head, start + table + 2 + 12 * entry
                )
                if (tag, kind) == (_ORIENTATION_TAG, _SHORT) and value in _EXIF_ORIENTATIONS:
                    return cls(*_EXIF_ORIENTATIONS[value])
        except struct.error:
            pass  # cut off: as if there were no tag
        return None

    def size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Width and height after turning."""
        return (height_px, width_px) if self.swap else (width_px, height_px)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) as it is to be seen; the same array where nothing turns."""
        if self.swap:
            pixels = np.asarray(cv2.transpose(pixels), np.uint8)
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            pixels = np.asarray(cv2.flip(pixels, code), np.uint8)
        return pixels
