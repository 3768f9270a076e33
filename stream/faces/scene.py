"""Whether a picture has changed enough to be worth a look for new faces."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Scene = NDArray[np.float32]
"""Grey levels of a grid of pixels, row by row."""

_CHANGED_GREY = 18.0
"""Noise changes a pixel by less, somebody who comes in changes some by more."""
_REACH = 0.5
"""Around a known face so much of its size may move with it."""


class Watch:
    """Compares scenes with that of the last look; a slow change adds up until it counts."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self._grid = grid
        self._seen: Scene | None = None

    def looked(self, scene: Scene | None) -> None:
        """It was looked for faces in this scene."""
        self._seen = scene

    def changed(self, scene: Scene | None, shape: tuple[int, ...], known: Iterable[Box]) -> bool:
        """Whether anything is another than at the last look, in a picture (H, W, ...), apart from
        where the known faces are."""
        if scene is None or self._seen is None or scene.shape != self._seen.shape:
            return True
        moved = (np.abs(scene - self._seen) > _CHANGED_GREY).reshape(self._grid)
        if not moved.any():
            return False
        rows, columns = np.nonzero(moved)
        y, x = (
            at * (side - 1) / (count - 1)
            for at, side, count in zip((rows, columns), shape[:2], self._grid, strict=True)
        )
        outside = np.ones(len(x), bool)
        for left, top, width, height in known:
            reach_x, reach_y = _REACH * width, _REACH * height
            beside = (x < left - reach_x) | (x > left + width + reach_x)
            outside &= beside | (y < top - reach_y) | (y > top + height + reach_y)
        return bool(outside.any())
