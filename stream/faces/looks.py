"""What a face looks like, so that it is known again: for ids, for nothing else.

A pattern of the aligned crop (local binary patterns, which light and size hardly change), and the
colours of skin and hair with what is about it. It lives in memory only, as long as the id may come
back. It tells the few people of one recording apart; it is too weak to find anybody among many.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

CROP_PX = 64
"""Side of the aligned crops that are read."""
_CELLS, _REACH_PX, _BLUR_PX = 8, 2, 1.2
_KINDS = 59  # of binary patterns: 58 with two changes at most, and all others
_PATCH_PX, _WIDER = 96, 2.0
"""The colours are taken from a square patch, so many sides of the face wide."""
_SKIN = (slice(36, 68), slice(36, 60))  # rows and columns of the patch: face, without its rim
_HAIR = (slice(4, 26), slice(20, 76))
_LEVELS = (4, 8, 8)  # of lightness and of the two axes of colour
_RANGES = [0, 256, 96, 160, 96, 160]
_COLOURFUL = 5.0
"""Mean distance from grey, in OpenCV's Lab, from which skin has a colour."""
_ALIKE = (0.75, 0.85)
"""Colours less alike than the first say nothing; from the second on they count in full."""
_NOTHING_NEW, _MOST_VIEWS = 0.85, 6
_COLOURS_SAY = 0.13
"""What agreeing colours add to the pattern's correlation."""

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """One view of a face."""

    pattern: NDArray[np.float16]
    """(3776,) of length 1, its mean taken out."""
    skin: Vector | None
    """(256,) square roots of shares, of length 1; None for a grey picture."""
    hair: Vector
    """As `skin`."""

    @classmethod
    def of(
        cls,
        rgb: NDArray[np.uint8],
        box: tuple[float, float, float, float],
        crop: NDArray[np.uint8],
    ) -> Looks:
        """The looks of a face in a frame (H, W, 3).

        Args:
            box: x, y, width, height of its landmarks in the frame.
            crop: (64, 64) its aligned grey crop.
        """
        lab = np.asarray(cv2.cvtColor(_patch(rgb, box), cv2.COLOR_RGB2LAB), np.uint8)
        skin = lab[_SKIN]
        away = skin[..., 1:].reshape(-1, 2).mean(0, dtype=np.float32) - 128
        colourful = float(np.hypot(*away)) >= _COLOURFUL
        return cls(_pattern(crop), _colours(skin) if colourful else None, _colours(lab[_HAIR]))

    def likeness(self, other: Looks) -> float:
        """-1..1.13: how much two views look like one face."""
        alike = float(self.pattern.astype(np.float32) @ other.pattern.astype(np.float32))
        if self.skin is None or other.skin is None:
            return alike
        colours = min(float(self.skin @ other.skin), float(self.hair @ other.hair))
        low, high = _ALIKE
        return alike + _COLOURS_SAY * min(max((colours - low) / (high - low), 0.0), 1.0)


class Views:
    """How one person has looked: a few views that differ."""

    def __init__(self) -> None:
        self._views: list[Looks] = []
        self.poor = False
        """Whether there is none but a poor one."""

    def __len__(self) -> int:
        return len(self._views)

    def add(self, looks: Looks, poor: bool = False) -> None:
        """Remember a view, unless one much like it is. Of too many the second goes: the first is
        as the person came, the others are newer. A poor one counts until there is a better."""
        if poor and self._views:
            return
        if self.poor:
            self._views.clear()
        self.poor = poor
        if self.likeness(looks) >= _NOTHING_NEW:
            return
        self._views.append(looks)
        if len(self._views) > _MOST_VIEWS:
            del self._views[1]

    def take_over(self, other: Views) -> None:
        """Remember another's views too: they are of the same person."""
        for looks in other._views:
            self.add(looks, other.poor)

    def likeness_of(self, other: Views) -> float:
        """That of the two most alike of two people's views; -1 without any."""
        return max((self.likeness(looks) for looks in other._views), default=-1.0)

    def likeness(self, looks: Looks) -> float:
        """That of the view most like it; -1 without any."""
        return max((view.likeness(looks) for view in self._views), default=-1.0)


def _patch(rgb: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """Head and hair, upright as the frame, of an even size."""
    x, y, width, height = box
    side = max(_WIDER * max(width, height), 1.0)
    left, top = x + (width - side) / 2, y + (height - side) / 2 - 0.04 * side
    scale = _PATCH_PX / side
    skip = max(int(0.5 / scale), 1)
    matrix = np.array([[scale * skip, 0, -scale * left], [0, scale * skip, -scale * top]])
    return np.asarray(
        cv2.warpAffine(
            rgb[::skip, ::skip],
            matrix,
            (_PATCH_PX, _PATCH_PX),
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def _colours(lab: NDArray[np.uint8]) -> Vector:
    """(256,) how often each colour occurs, neighbours sharing, so that a little more light or
    another white balance does not change it much."""
    counts = cv2.calcHist([np.ascontiguousarray(lab)], [0, 1, 2], None, list(_LEVELS), _RANGES)
    spread = np.asarray(counts, np.float32)
    for axis in (1, 2):
        padded = np.pad(spread, [(int(axis == one),) * 2 for one in range(3)])
        before, after = (padded.take(range(at, at + 8), axis) for at in (0, 2))
        spread = spread / 2 + (before + after) / 4
    roots = np.sqrt(spread.ravel())
    return np.asarray(roots / max(float(np.linalg.norm(roots)), 1e-6), np.float32)


def _pattern(crop: NDArray[np.uint8]) -> NDArray[np.float16]:
    """(3776,) histograms of local binary patterns in 8 x 8 cells."""
    smooth = np.asarray(cv2.GaussianBlur(crop, (0, 0), _BLUR_PX))
    side = CROP_PX - 2 * _REACH_PX
    middle = smooth[_REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX]
    code = np.zeros((side, side), np.uint8)
    around = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    for bit, (down, across) in enumerate(around):
        y, x = down * _REACH_PX, across * _REACH_PX
        code |= (smooth[y : y + side, x : x + side] >= middle).astype(np.uint8) << np.uint8(bit)
    cell = side // _CELLS
    used = _CELLS * cell
    kinds = _kinds()[code[:used, :used]].reshape(_CELLS, cell, _CELLS, cell).transpose(0, 2, 1, 3)
    numbered = kinds.reshape(_CELLS**2, -1) + _KINDS * np.arange(_CELLS**2)[:, None]
    counts = np.bincount(numbered.ravel(), minlength=_KINDS * _CELLS**2)
    roots = np.sqrt(counts.astype(np.float32))
    roots -= roots.mean()
    return np.asarray(roots / max(float(np.linalg.norm(roots)), 1e-6), np.float16)


@cache
def _kinds() -> NDArray[np.intp]:
    """Which kind each of the 256 patterns is: those that change twice at most, and the rest."""
    kinds = np.full(256, _KINDS - 1, np.intp)
    plain = [v for v in range(256) if (v ^ ((v >> 1) | ((v & 1) << 7))).bit_count() <= 2]
    kinds[plain] = np.arange(len(plain))
    return kinds
