"""Faces varied for training, and crops as poor cameras give them.

How crops are varied: place, light, blur, noise and things in the way; plain numpy.

Crops as poor cameras give them: out of focus, in the dark, far away. H, W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

CROP_PX = 48


@dataclass(frozen=True)
class Augmentation:
    """How far crops are varied; ranges are symmetric about no change."""

    shift: float = 0.07
    """in crop sides"""
    rotation_deg: float = 12.0
    scale: float = 0.12
    aspect: float = 0.06
    contrast: float = 0.35
    brightness: float = 30.0
    blur_share: float = 0.15
    noise_share: float = 0.2
    erase_share: float = 0.5
    erase_side: float = 0.4
    """largest side of the erased rectangle in crop sides"""
    gamma: float = 0.0
    """of the tone curve, in the logarithm of its power"""
    coarse_share: float = 0.0
    """of crops that are made from fewer pixels, down to a third a side"""
    corners: bool = False
    """shift into one of the four corners or not at all, instead of anywhere"""


RANDOM_CROPS = Augmentation(
    shift=1 / 14,
    rotation_deg=0,
    scale=0,
    aspect=0,
    contrast=0,
    brightness=0,
    blur_share=0,
    noise_share=0,
    erase_share=0,
)
"""The random crops of 224 pixels that papers cut from pictures of 256: shifts, nothing else."""
CORNER_CROPS = Augmentation(
    shift=27 / 170,
    rotation_deg=10,
    scale=0.1,
    aspect=0,
    contrast=0,
    brightness=0,
    blur_share=0,
    noise_share=0.3,
    erase_share=0,
    corners=True,
)
"""Paper 003: 170 of 224 pixels from a corner or the centre (V-B), and its rotation, scaling and
Gaussian noise (III), whose amounts are not told."""


def random_matrix(
    rng: np.random.Generator, how: Augmentation, mirror: bool, crop_px: int = CROP_PX
) -> npt.NDArray[np.float64]:
    """A random similarity with a little stretch about the crop's centre, (3, 3)."""
    angle = np.deg2rad(rng.uniform(-how.rotation_deg, how.rotation_deg))
    scale = np.exp(rng.uniform(-how.scale, how.scale))
    stretch = np.exp(rng.uniform(-how.aspect, how.aspect))
    centre = (crop_px - 1) / 2
    if how.corners:
        place = int(rng.integers(5))
        away = (0, 0) if place == 4 else (place % 2 * 2 - 1, place // 2 * 2 - 1)
        shift = how.shift * crop_px * np.array(away, np.float64)
    else:
        shift = rng.uniform(-how.shift, how.shift, 2) * crop_px
    linear = (
        scale
        * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        @ np.diag([stretch * (-1 if mirror else 1), 1 / stretch])
    )
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + shift - linear @ [centre, centre]
    return matrix


def vary_light(
    crop: npt.NDArray[np.uint8], rng: np.random.Generator, how: Augmentation
) -> npt.NDArray[np.uint8]:
    """Contrast, brightness, blur, noise and an erased rectangle."""
    side = crop.shape[0]
    image = crop.astype(np.float32)
    if how.gamma:
        image = 255 * (image / 255) ** np.exp(np.float32(rng.uniform(-how.gamma, how.gamma)))
    if how.coarse_share and rng.random() < how.coarse_share:
        fewer = int(rng.integers(side // 3, side))
        small = cv2.resize(image, (fewer, fewer), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
    mean = image.mean()
    image = (image - mean) * np.exp(rng.uniform(-how.contrast, how.contrast)) + mean
    image += rng.uniform(-how.brightness, how.brightness)
    if rng.random() < how.blur_share:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < how.noise_share:
        image += rng.normal(0, rng.uniform(2, 10), image.shape).astype(np.float32)
    if rng.random() < how.erase_share:
        h, w = (rng.uniform(0.1, how.erase_side, 2) * side).astype(int)
        y, x = rng.integers(0, side - h + 1), rng.integers(0, side - w + 1)
        image[y : y + h, x : x + w] = rng.uniform(0, 255)
    return np.asarray(np.clip(image + 0.5, 0, 255), dtype=np.uint8)


CORRUPTIONS = ("blur", "dark", "small")
_BLUR_PX = 2.0
_LIGHT = 0.15
_NOISE = 3.0
_SMALL_PX = 16

Crops = npt.NDArray[np.uint8]


def corrupted(crops_N1HW: Crops, how: str, seed: int = 0) -> Crops:
    """All crops (N, 1, H, W) in one of CORRUPTIONS' ways.

    ``blur``: a Gaussian of 2 pixels; ``dark``: 15 % of the light and sensor noise of 3 grey
    levels; ``small``: a crop of 16 pixels, enlarged.

    Raises:
        ValueError: no such corruption.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_corrupted(crop[0], how, rng)[None] for crop in crops_N1HW])


def _corrupted(crop: Crops, how: str, rng: np.random.Generator) -> Crops:
    if how == "blur":
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), _BLUR_PX), np.uint8)
    if how == "dark":
        dim = crop * _LIGHT + rng.normal(0, _NOISE, crop.shape)
        return np.clip(dim + 0.5, 0, 255).astype(np.uint8)
    if how == "small":
        few = cv2.resize(crop, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
        size = (crop.shape[1], crop.shape[0])
        return np.asarray(cv2.resize(few, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    raise ValueError(f"no such corruption: {how!r}; there are {', '.join(CORRUPTIONS)}")
