"""Turning a decoded picture the way its metadata says it is to be seen."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


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
