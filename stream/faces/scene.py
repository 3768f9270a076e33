"""Whether a picture has changed: enough for a look for new faces, or into another scene."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .sight import unit

Box = tuple[float, float, float, float]
Scene = NDArray[np.float32]
"""Grey levels of a grid of pixels, row by row."""

GRID = (18, 32)
"""Rows and columns of pixels that stand for the picture."""
_SAME_SCENE = 0.85
"""Correlation of two frames' scenes; a cut has less."""
_SAME_SCENE_GREY = 10.0
"""And it changes their grey levels by more than noise does."""
_CHANGED_GREY = 18.0
"""Noise changes a pixel by less, somebody who comes in changes some by more."""
_REACH = 0.5
"""Around a known face so much of its size may move with it."""


def scene_of(rgb: NDArray[np.uint8]) -> Scene:
    """A few hundred of a picture's pixels."""
    return np.asarray(rgb[_places(*rgb.shape[:2])].mean(-1, dtype=np.float32).ravel())


def is_cut(before: Scene | None, now: Scene) -> bool:
    """Whether the whole picture is another one."""
    if before is None or np.abs(now - before).mean() < _SAME_SCENE_GREY:
        return False
    return float(unit(before) @ unit(now)) < _SAME_SCENE


@lru_cache(maxsize=64)
def _places(height: int, width: int) -> tuple[NDArray[np.intp], ...]:
    """The rows and columns of `GRID` in a picture of this size."""
    return np.ix_(
        *(
            np.linspace(0, size - 1, count).astype(int)
            for size, count in zip((height, width), GRID, strict=True)
        )
    )


class Watch:
    """Compares scenes with that of the last look; a slow change adds up until it counts."""

    def __init__(self) -> None:
        self._seen: Scene | None = None

    def looked(self, scene: Scene | None) -> None:
        """It was looked for faces in this scene."""
        self._seen = scene

    def changed(self, scene: Scene | None, shape: tuple[int, ...], known: Iterable[Box]) -> bool:
        """Whether anything is another than at the last look, in a picture (H, W, ...), apart from
        where the known faces are."""
        if scene is None or self._seen is None or scene.shape != self._seen.shape:
            return True
        moved = (np.abs(scene - self._seen) > _CHANGED_GREY).reshape(GRID)
        if not moved.any():
            return False
        rows, columns = np.nonzero(moved)
        y, x = (
            at * (side - 1) / (count - 1)
            for at, side, count in zip((rows, columns), shape[:2], GRID, strict=True)
        )
        outside = np.ones(len(x), bool)
        for left, top, width, height in known:
            reach_x, reach_y = _REACH * width, _REACH * height
            beside = (x < left - reach_x) | (x > left + width + reach_x)
            outside &= beside | (y < top - reach_y) | (y > top + height + reach_y)
        return bool(outside.any())
