"""What of a frame a detector's network is shown: the whole, its tiles, with a border or without."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from .front import Look

if TYPE_CHECKING:
    from .detect import Detection

MIN_FACE_PX = 12
"""Faces narrower than this are left out: nothing can be read off them."""
Tile = tuple[int, int, int, int]
"""Left, top, width and height, pixels of the frame."""
NETWORK_PX = 256  # the networks see 128 and 192; a little more lets their own sampling choose
_COARSE_FROM_PX, _COARSE = 480, 0.6
"""Frames whose longer side is so large are looked at by the far network in four tiles too, each of
this share of the frame."""
_FINE_FROM_PX, _FINE, _FINE_STEP = 960, 0.36, 0.7
"""And from here on by the near one in square tiles of this share of the shorter side, each so many
sides from the next: of many small faces the far network overlooks some."""
_BORDER = 0.3
"""A black border so wide, as a share of the longer side, where no face is found without: a face
that is cut off by the picture's edge, or fills it, is taken for one then."""


@dataclass(frozen=True, slots=True)
class View:
    """A look as a network is shown it, and where that lies in the frame."""

    picture: NDArray[np.uint8]
    scale: NDArray[np.float64]
    """(2,) pixels of the frame in one of the picture, x and y."""
    rim: int = 0
    """How wide its border is."""
    tile: Tile | None = None
    """What it shows of the frame; None: all of it."""
    frame: tuple[int, int] = (0, 0)
    """Height and width."""

    @classmethod
    def of(cls, look: Look) -> View | None:
        """None where there is too little to see."""
        rgb, tile = look.rgb, None
        frame = (rgb.shape[0], rgb.shape[1])
        if look.tile is not None:
            _, tile = _tiles(*frame)[look.tile]
            left, top, columns, rows = tile
            rgb = rgb[top : top + rows, left : left + columns]
        height, width = rgb.shape[:2]
        if min(height, width) < MIN_FACE_PX:
            return None
        picture = _reduced(rgb)
        scale = np.array([width / picture.shape[1], height / picture.shape[0]])
        rim = round(_BORDER * max(picture.shape[:2])) if look.bordered else 0
        if rim:
            picture = np.asarray(
                cv2.copyMakeBorder(picture, *[rim] * 4, cv2.BORDER_CONSTANT), np.uint8
            )
        return cls(picture, scale, rim, tile, frame)

    def in_frame(self, seen: Sequence[Detection]) -> list[Detection]:
        """What the network sees, in pixels of the frame; without what a tile cuts off."""
        corner = np.array(self.tile[:2] if self.tile is not None else (0, 0))
        found = []
        for one in seen:
            x, y = ((np.array(one.box[:2]) - self.rim) * self.scale + corner).tolist()
            width, height = (np.array(one.box[2:]) * self.scale).tolist()
            box = (x, y, width, height)
            cut_off = self.tile is not None and _cut_off(box, self.tile, *self.frame[::-1])
            if width >= MIN_FACE_PX and not cut_off:
                points_xy = (one.points_xy - self.rim) * self.scale + corner
                found.append(replace(one, box=box, points_xy=points_xy))
        return found


def tiles_of(rgb: NDArray[np.uint8]) -> tuple[list[int], list[int]]:
    """The numbers of a frame's coarse and of its fine tiles; none where it is small."""
    kinds = [is_fine for is_fine, _ in _tiles(*rgb.shape[:2])]
    return (
        [tile for tile, is_fine in enumerate(kinds) if not is_fine],
        [tile for tile, is_fine in enumerate(kinds) if is_fine],
    )


def _reduced(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at the size the network needs: pixels skipped first, then averaged."""
    longer = max(rgb.shape[:2])
    skip = max(longer // (4 * NETWORK_PX), 1)
    picture = rgb[::skip, ::skip]
    scale = NETWORK_PX / max(picture.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(picture)
    size = tuple(max(round(side * scale), 1) for side in picture.shape[1::-1])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


@lru_cache(maxsize=64)
def _tiles(height: int, width: int) -> tuple[tuple[bool, Tile], ...]:
    """Each tile, and whether it is a fine one; the four coarse ones come first."""
    if max(height, width) < _COARSE_FROM_PX:
        return ()
    rows, columns = math.ceil(height * _COARSE), math.ceil(width * _COARSE)
    corners = [(left, top) for top in (0, height - rows) for left in (0, width - columns)]
    coarse = [(False, (left, top, columns, rows)) for left, top in corners]
    if max(height, width) < _FINE_FROM_PX:
        return tuple(coarse)
    side = max(round(_FINE * min(height, width)), MIN_FACE_PX)
    fine = [
        (True, (left, top, side, side))
        for top in _steps(height, side)
        for left in _steps(width, side)
    ]
    return (*coarse, *fine)


def _steps(length: int, side: int) -> list[int]:
    """Where tiles of this side begin, from edge to edge."""
    count = math.ceil((length - side) / (_FINE_STEP * side)) + 1
    return [round(at) for at in np.linspace(0, length - side, count)]


def _cut_off(
    box: tuple[float, float, float, float],
    tile: Tile,
    width: int,
    height: int,
) -> bool:
    """Whether a face reaches over an edge of the tile that is not the frame's own edge."""
    left, top, columns, rows = tile
    return (
        (box[0] < left and left > 0)
        or (box[1] < top and top > 0)
        or (box[0] + box[2] > left + columns and left + columns < width)
        or (box[1] + box[3] > top + rows and top + rows < height)
    )
