"""Crops as poor cameras give them: out of focus, in the dark, far away. H, W pixels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

HARDSHIPS = ("blur", "dark", "small")
_BLUR_PX = 2.0
_LIGHT = 0.15
_NOISE = 3.0
_SMALL_PX = 16

Crops = npt.NDArray[np.uint8]


def worsened(crops_N1HW: Crops, how: str, seed: int = 0) -> Crops:
    """All crops (N, 1, H, W) in one of HARDSHIPS' ways.

    ``blur``: a Gaussian of 2 pixels; ``dark``: 15 % of the light and sensor noise of 3 grey
    levels; ``small``: a crop of 16 pixels, enlarged.

    Raises:
        ValueError: no such hardship.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_worse(crop[0], how, rng)[None] for crop in crops_N1HW])


def _worse(crop: Crops, how: str, rng: np.random.Generator) -> Crops:
    if how == "blur":
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), _BLUR_PX), np.uint8)
    if how == "dark":
        dim = crop * _LIGHT + rng.normal(0, _NOISE, crop.shape)
        return np.clip(dim + 0.5, 0, 255).astype(np.uint8)
    if how == "small":
        few = cv2.resize(crop, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
        size = (crop.shape[1], crop.shape[0])
        return np.asarray(cv2.resize(few, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    raise ValueError(f"no such hardship: {how!r}; there are {', '.join(HARDSHIPS)}")
