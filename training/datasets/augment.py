"""Faces varied for training: place, light, blur, noise and things in the way; crops as poor cameras
give them; and clips of one face's views of unequal quality, which the attention learns from.

Half-way expressions, blur, darkness, occlusion and misalignment stand for the frames of a real
video that a person would not judge by. Made from photographs, and called so. H, W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import warp

from .fer import FerPlus
from .motion import Crop, FaceShape, MovingFace, aligned_landmarks

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


SPOILS = ("blur", "dark", "occluded", "misaligned", "halfway")
MILD = Augmentation(
    shift=0.03,
    rotation_deg=5,
    scale=0.05,
    aspect=0.02,
    contrast=0.15,
    brightness=12,
    blur_share=0.1,
    noise_share=0.3,
    erase_share=0,
)


class ViewMaker:
    """Makes views of photographs; one random generator, so runs can be repeated."""

    def __init__(self, data: FerPlus, shape: FaceShape, seed: int) -> None:
        self.data = data
        self.shape = shape
        self.rng = np.random.default_rng(seed)
        self._matrices = data.matrices(CROP_PX)
        self._motion_matrices = data.matrices(64)
        self._landmarks = aligned_landmarks(data)

    def clip(
        self, index: int, length: int, spoiled: int, how: str | None = None
    ) -> tuple[Crop, npt.NDArray[np.bool_]]:
        """Views (length, 48, 48) in random order, and which of them are spoiled (length,).

        All in one way, as a hand or a late onset spoils a stretch of video, or each in its own.
        """
        marks = self.rng.permutation(np.arange(length) < spoiled)
        if how == "halfway" and self.data.seen[index]:
            # All through the same warp, or its traces would tell the good views from the others.
            away = np.where(marks, self.rng.uniform(0.6, 1.1, length), self.rng.uniform(0, 0.15))
            return np.stack([self._taken_back(index, float(share)) for share in away]), marks
        views = [
            self.spoiled(index, how or str(self.rng.choice(SPOILS))) if mark else self.clean(index)
            for mark in marks
        ]
        return np.stack(views), marks

    def any_way(self) -> str | None:
        """How the spoiled views of a training clip are spoiled: mostly all in one way, and often
        by the expression's not being there yet; None where each is spoiled in its own."""
        if self.rng.random() < 0.4:
            return None
        return "halfway" if self.rng.random() < 0.6 else str(self.rng.choice(SPOILS))

    def clean(self, index: int) -> Crop:
        """A view as a good frame gives it: small differences of place and light."""
        return vary_light(self._warped(index, MILD), self.rng, MILD)

    def spoiled(self, index: int, how: str) -> Crop:
        """A view spoiled in one of SPOILS' ways."""
        rng = self.rng
        if how == "halfway":
            return self._halfway(index)
        if how == "misaligned":
            bad = Augmentation(shift=0.35, rotation_deg=60, scale=0.5, aspect=0.2)
            return vary_light(self._warped(index, bad), rng, MILD)
        view = self.clean(index)
        if how == "blur":
            kernel = np.zeros((9, 9), np.float32)
            cv2.line(kernel, (0, int(rng.integers(9))), (8, int(rng.integers(9))), 1.0)
            view = np.asarray(cv2.filter2D(view, -1, kernel / kernel.sum()), np.uint8)
            return np.asarray(cv2.GaussianBlur(view, (0, 0), rng.uniform(1.5, 3.5)), np.uint8)
        if how == "dark":
            dim = view * rng.uniform(0.03, 0.15) + rng.normal(4, rng.uniform(2, 6), view.shape)
            return np.clip(dim, 0, 255).astype(np.uint8)
        if how == "occluded":
            return self._occluded(view)
        raise ValueError(f"no such spoil: {how!r}; there are {', '.join(SPOILS)}")

    def _warped(self, index: int, how: Augmentation) -> Crop:
        square = np.vstack([self._matrices[index], [0, 0, 1]])
        matrix = random_matrix(self.rng, how, mirror=False)[:2] @ square
        return warp(self.data.pixels[index], matrix, CROP_PX)

    def _occluded(self, view: Crop) -> Crop:
        """A hand's size of somebody else's picture over the mouth or the eyes."""
        rng = self.rng
        height, width = rng.integers(CROP_PX * 2 // 5, CROP_PX * 3 // 5), rng.integers(30, CROP_PX)
        top = rng.integers(8, CROP_PX - height + 1)
        left = rng.integers(0, CROP_PX - width + 1)
        other = self.data.pixels[rng.integers(len(self.data))]
        patch = cv2.GaussianBlur(other, (0, 0), 3.0)[:height, :width]
        covered = view.copy()
        covered[top : top + height, left : left + width] = patch
        return covered

    def _halfway(self, index: int) -> Crop:
        """The expression mostly taken back, as before an onset; needs landmarks."""
        if not self.data.seen[index]:
            return self.spoiled(index, "blur")
        return self._taken_back(index, self.rng.uniform(0.6, 1.1))

    def _taken_back(self, index: int, share: float) -> Crop:
        """The face with this share of its expression taken back, 0 to 1 and a little over."""
        face = MovingFace(
            self.data.pixels[index], self._motion_matrices[index], self._landmarks[index]
        )
        shift = self.shape.expression(self.data.blendshapes[index])
        return vary_light(face.render(-share * shift, crop_px=CROP_PX), self.rng, MILD)
