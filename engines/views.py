"""Several views of a face in place of a clip: what a network says of them is averaged.

In a video the frames of a clip differ by a pixel here and there, and the mean over them is steadier
than any one. A picture that stands alone has no neighbours: its crop is shifted instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .contract import Array

# B crops, N of them that stand alone, S side of a crop

VIEWS = 3
"""The crop as it is, shifted up to the left and shifted down to the right."""
_SHIFT = 1 / 48
"""How far, in sides of the crop."""


def with_views(crops: NDArray[np.uint8], alone_B: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Crops (B, C, S, S) and after them the shifted views of those that stand alone
    (B + 2 N, C, S, S)."""
    if not alone_B.any():
        return crops
    single, px = crops[alone_B], max(1, round(crops.shape[-1] * _SHIFT))
    padded = np.pad(single, ((0, 0), (0, 0), (px, px), (px, px)), mode="edge")
    end = -2 * px
    return np.concatenate([crops, padded[..., :end, :end], padded[..., 2 * px :, 2 * px :]])


def joined_views(outputs: Mapping[str, Array], alone_B: NDArray[np.bool_]) -> dict[str, Array]:
    """Outputs of `with_views`' crops, by name (B + 2 N, ...), to one row for each crop (B, ...)."""
    count = len(alone_B)
    if not alone_B.any():
        return dict(outputs)
    joined = {}
    for name, rows in outputs.items():
        first, one, other = rows[:count].copy(), *np.split(rows[count:], VIEWS - 1)
        first[alone_B] = (first[alone_B] + one + other) / VIEWS
        joined[name] = first
    return joined
