"""The unit that travels from a source to a sink."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture with its place in time; a bare array never travels alone.

    Frames of one source come in the order of their times and share faces, ids and clips. Where a
    time is not after the last one, motion and clips begin anew, and faces are known by their looks.
    """

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, C-contiguous, upright. Not to be written to. A sink that takes no pictures
    is given one black pixel for all."""
    time_s: float
    """Files: seconds from where the container begins, which sound may do before the pictures.
    Live: the monotonic clock at capture."""
    index: int
    """Place in the source's order, from 0; a gap means that frames were dropped."""
    source: str
    """Name of the source, free of passwords."""
    restart: bool = False
    """The first frame after a break (a camera that was lost and came back): motion and clips begin
    anew with it, and faces are known by their looks alone."""
    ahead: bool = False
    """Whether its reading may wait for what follows, as in a recording: see `stream.memory`."""
    dense: bool = False
    """Whether pictures follow each other within a fraction of a second, for a second or more: what
    is overlooked in one is found in the next."""
    region: tuple[int, int, int, int] | None = None
    """x, y, width, height in pixels: where faces are looked for. None: in all of the picture."""

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for pixels or a time that no network can take."""
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            what = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise TypeError(f"a frame of {what}: its pixels are a NumPy array of uint8, 0 to 255")
        if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(f"a frame of shape {pixels.shape}: (H, W, 3), RGB, at least one pixel")
        if not pixels.flags.c_contiguous and any(pixels.strides):  # one pixel for all is as good
            raise ValueError("a frame's pixels lie in one piece: numpy.ascontiguousarray(pixels)")
        if not math.isfinite(self.time_s):
            raise ValueError(f"a frame at {self.time_s} s: a number of seconds")

    @property
    def height_px(self) -> int:
        """Rows of the picture."""
        return int(self.pixels.shape[0])

    @property
    def width_px(self) -> int:
        """Columns of the picture."""
        return int(self.pixels.shape[1])
