"""How often a crop goes through the spatial network: as it is, mirrored, shifted.

What a network says of a face changes a little when the crop is mirrored or moved by a pixel, and
the mean over such views is steadier and more often right than one of them. A clip has many frames,
which share the views: each is read once, in turns as it is and mirrored. A picture that stands
alone is read in all views.

B crops, P passes, S side of a crop, K blendshapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from .contract import Array
from .manifest import Manifest


class Reading(Enum):
    """In which views a crop is read."""

    AS_IS = "as it is"
    MIRRORED = "mirrored"
    BOTH = "as it is and mirrored"
    ALONE = "as it is, moved up to the left and down to the right, and all three mirrored"


_SHIFTS = (0, -1, 1)
_SHIFT = 1 / 48
"""How far, in sides of the crop."""
_PASSES: Mapping[Reading, tuple[tuple[int, bool], ...]] = {
    Reading.AS_IS: ((0, False),),
    Reading.MIRRORED: ((0, True),),
    Reading.BOTH: ((0, False), (0, True)),
    Reading.ALONE: tuple((shift, mirrored) for mirrored in (False, True) for shift in _SHIFTS),
}
"""Of each view the shift, down and to the right, and whether it is mirrored."""


class Views:
    """The views that a bundle's spatial network is shown.

    A bundle whose network mirrors crops itself, or was not made for it (`Manifest.mirrored`), is
    never shown a mirrored one.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._mirrors = manifest.mirrored
        names = [name for head in manifest.heads if head.name == "au" for name in head.labels]
        self._other_sides = other_sides(names)

    def crops(self, crops: NDArray[np.uint8], readings: Sequence[Reading]) -> NDArray[np.uint8]:
        """The views (P, C, S, S) of crops (B, C, S, S), one reading for each."""
        passes = self._passes(readings)
        if all(view == (0, False) for _, view in passes):
            return crops[[row for row, _ in passes]] if len(passes) != len(crops) else crops
        px = max(1, round(crops.shape[-1] * _SHIFT))
        return np.stack(
            [_view(crops[row], shift * px, mirrored) for row, (shift, mirrored) in passes]
        )

    def joined(self, outputs: Mapping[str, Array], readings: Sequence[Reading]) -> dict[str, Array]:
        """The network's outputs for `crops`' views, by name (P, ...), to the mean over each crop's
        views (B, ...).

        Blendshapes (`au`) and the place of the zoom (`zoom`) are turned back first; the place is
        that of the first view, as the mean of two places may show neither.
        """
        passes = self._passes(readings)
        of_P = np.array([row for row, _ in passes])
        mirrored_P = np.array([mirrored for _, (_, mirrored) in passes])
        once = len(passes) == len(readings)
        count_B = np.bincount(of_P, minlength=len(readings)).astype(np.float32)
        joined = {}
        for name, rows in outputs.items():
            upright = self._turned_back(name, rows, mirrored_P) if mirrored_P.any() else rows
            if once:
                joined[name] = upright
                continue
            if name == "zoom":
                joined[name] = upright[np.searchsorted(of_P, np.arange(len(readings)))]
                continue
            total = np.zeros((len(readings), *rows.shape[1:]), np.float32)
            np.add.at(total, of_P, upright)
            joined[name] = total / count_B.reshape(-1, *(1,) * (rows.ndim - 1))
        return joined

    def _passes(self, readings: Sequence[Reading]) -> list[tuple[int, tuple[int, bool]]]:
        """The crop's row and the view of each pass."""
        if self._mirrors:
            return [(row, view) for row, how in enumerate(readings) for view in _PASSES[how]]
        plain = [{(shift, False): None for shift, _ in _PASSES[how]} for how in readings]
        return [(row, view) for row, views in enumerate(plain) for view in views]

    def _turned_back(self, name: str, rows: Array, mirrored_P: NDArray[np.bool_]) -> Array:
        if name not in ("au", "zoom"):
            return rows
        rows = rows.copy()
        if name == "au":
            rows[mirrored_P] = rows[mirrored_P][:, self._other_sides]
        else:
            rows[mirrored_P, 0] = 1 - rows[mirrored_P, 0]
        return rows


def other_sides(blendshapes: Sequence[str]) -> list[int]:
    """For each blendshape the number of its mirror image, (K,); a middle one is its own."""
    numbers = {name: number for number, name in enumerate(blendshapes)}

    def other(name: str) -> str:
        for side, opposite in (("Left", "Right"), ("Right", "Left")):
            if name.endswith(side):
                return name.removesuffix(side) + opposite
        return name

    return [numbers.get(other(name), numbers[name]) for name in blendshapes]


def _view(crop: NDArray[np.uint8], shift_px: int, mirrored: bool) -> NDArray[np.uint8]:
    """A crop (C, S, S) moved down and to the right, its edge repeated, then mirrored."""
    if shift_px:
        px = abs(shift_px)
        padded = np.pad(crop, ((0, 0), (px, px), (px, px)), mode="edge")
        start, end = px - shift_px, px - shift_px + crop.shape[-1]
        crop = padded[:, start:end, start:end]
    return crop[..., ::-1] if mirrored else crop
