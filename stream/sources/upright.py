"""Turning a decoded picture the way its metadata says it is to be seen."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av


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
    def of(cls, picture: av.VideoFrame) -> Orientation:
        """That of a decoded picture."""
        try:
            matrix: Any = picture.side_data.get("DISPLAYMATRIX")
        except ValueError:
            # PyAV 18 lists no side data where FFmpeg adds a kind it does not know; its
            # `rotation` is right there, but takes a mirrored picture for a turned one.
            return cls.from_rotation(picture.rotation)
        return cls.from_matrix(None if matrix is None else bytes(matrix))

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
