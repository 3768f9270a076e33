"""dlib in a front end: its HOG detector, its correlation tracker, and the bundle's landmarks.

The detector looks for frontal faces by histograms of gradients (King 2015), the tracker carries a
face's place from frame to frame by correlation (Danelljan et al. 2014). dlib brings no points of
faces that may be passed on: those are the bundle's landmark network's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .detect import Detection, FaceDetector
from .front import Opening
from .head import MEAN_HEAD
from .mesh import Region
from .own_front import FIVE, OwnMesh, open_landmarks, six_points

_WIDER, _HIGHER, _ABOVE = 1.07, 1.2, 0.07
"""A face's landmarks against the detector's square, which is cut off at the brows: width, height
and how far their middle lies above, in its sides."""
_SURE = 8.0
"""Peak to side lobes of the tracker from which its place counts; a still face has 20 and more."""
_WITHIN = 0.75
"""So far, in face sizes, the tracker may lead away from where a face was, and no farther."""


class DlibNetwork:
    """The HOG detector as one of a `FaceDetector`'s networks: faces from 40 pixels on."""

    def __init__(self) -> None:
        import dlib

        self._detector = dlib.get_frontal_face_detector()

    def look(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Faces in a picture (H, W, 3), in pixels of it. Scores are 0.5 where dlib's are 0."""
        boxes, scores, _ = self._detector.run(np.ascontiguousarray(picture), 1, 0.0)
        found = []
        for one, score in zip(boxes, scores, strict=True):
            side = float(one.width())
            width, height = _WIDER * side, _HIGHER * side
            x = one.left() + (side - width) / 2
            y = one.top() + (side - height) / 2 - _ABOVE * side
            five = _front_view() * (width, height) + (x, y)
            box = (x, y, width, height)
            found.append(Detection(box, 1 / (1 + math.exp(-score)), six_points(five)))
        return found

    def close(self) -> None:
        """Nothing is held."""


class DlibDetector(FaceDetector):
    """Finds faces by the HOG detector; they are carried from frame to frame by correlation."""

    def __init__(self) -> None:
        network = DlibNetwork()
        super().__init__(near=network, far=network)

    def pursuit(self) -> Correlation:
        """For the faces of one source."""
        return Correlation()


class Correlation:
    """Says where the faces of one source went since the frame before."""

    def __init__(self) -> None:
        self._trackers: dict[int, Any] = {}
        self._regions: dict[int, Region] = {}

    def moved(self, rgb: NDArray[np.uint8], regions: Mapping[int, Region]) -> list[Region]:
        """Where faces are in this frame that should be in these regions, by id: as the tracker
        says where it is sure, else as they stand."""
        return [self._moved(rgb, face, region) for face, region in regions.items()]

    def keep(self, rgb: NDArray[np.uint8], regions: Mapping[int, Region]) -> None:
        """Where each face that is seen is in this frame, by id; others are let go."""
        import dlib

        self._trackers, self._regions = {}, dict(regions)
        for face, region in regions.items():
            half = region.side_px / 3  # of the face itself
            x, y = region.x, region.y
            tracker = dlib.correlation_tracker()
            place = dlib.drectangle(x - half, y - half, x + half, y + half)
            tracker.start_track(np.ascontiguousarray(rgb), place)
            self._trackers[face] = tracker

    def _moved(self, rgb: NDArray[np.uint8], face: int, expected: Region) -> Region:
        if face not in self._trackers:
            return expected
        before, tracker = self._regions[face], self._trackers[face]
        # NaN of a picture without any contrast.
        if not tracker.update(np.ascontiguousarray(rgb)) >= _SURE:
            return expected
        place = tracker.get_position().dcenter()
        dx, dy = place.x - before.x, place.y - before.y
        if math.hypot(dx, dy) > _WITHIN * before.side_px:
            return expected
        return before.moved(dx, dy)


def open_dlib(opening: Opening) -> tuple[DlibDetector, OwnMesh]:
    """dlib's detector and tracker with the bundle's landmark network. Raises as `open_own`."""
    return DlibDetector(), open_landmarks(opening)


@cache
def _front_view() -> NDArray[np.float64]:
    """The five points (5, 2) of a face seen from the front, in sides of the box about it, 0..1."""
    flat = MEAN_HEAD[:, :2]
    low, high = flat.min(0), flat.max(0)
    points: Sequence[NDArray[np.float64]] = [flat[list(of)].mean(0) for of in FIVE]
    return np.asarray((np.stack(points) - low) / (high - low), np.float64)
