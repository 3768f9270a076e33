"""The unit that travels from a source to a sink."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture with its place in time; a bare array never travels alone."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, C-contiguous, upright. Not to be written to."""
    time_s: float
    """Files: seconds from where the container begins, which sound may do before the pictures.
    Live: the monotonic clock at capture."""
    index: int
    """Place in the source's order, from 0; a gap means that frames were dropped."""
    source: str
    """Name of the source, free of passwords."""
    restart: bool = False
    """The first frame after a break (a camera that was lost and came back): faces, motion and
    clips begin anew with it."""
    ahead: bool = False
    """Whether its reading may wait for what follows, as in a recording: see `stream.around`."""

    dense: bool = False
    """Whether pictures follow each other within a fraction of a second, for a second or more: what
    is overlooked in one is found in the next."""

    @property
    def height_px(self) -> int:
        """Rows of the picture."""
        return int(self.pixels.shape[0])

    @property
    def width_px(self) -> int:
        """Columns of the picture."""
        return int(self.pixels.shape[1])
