"""Clips made of one face's views of unequal quality: what the attention learns from.

Half-way expressions, blur, darkness, occlusion and misalignment stand for the frames of a real
video that a person would not judge by. Made from photographs, and called so.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import warp

from .augment import CROP_PX, Augmentation, random_matrix, vary_light
from .fer import FerPlus
from .motion import Crop, FaceShape, MovingFace, aligned_landmarks

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
