"""Where faces are in one frame: MediaPipe's full-range face detector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .graphs import load_mediapipe
from .hush import hushed
from .mesh import FaceMesh, Mesh, Region

__all__ = ["Detection", "FaceDetector", "FaceMesh", "Mesh", "Region", "find_meshes", "overlap"]

MIN_FACE_PX = 12
"""Faces narrower than this are left out: nothing can be read off them."""
_NETWORK_PX = 256  # the network sees 192; a little more lets its own sampling choose
_TILED_FROM_PX = 480
_TILE_SHARE = 0.6  # four tiles of 60 % overlap by a fifth: a face is whole in one of them
TILES = 4
"""Tiles that `FaceDetector.detect_tile` numbers from 0."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found in a frame."""

    box: tuple[float, float, float, float]
    """x, y, width, height in pixels of the frame; may reach beyond its edges."""
    score: float
    """0..1."""
    roll_rad: float
    """Angle of the line between the eyes, clockwise in the picture."""

    @property
    def region(self) -> Region:
        """Where to look for the face's landmarks."""
        x, y, width, height = self.box
        side = 1.5 * max(width, height)
        return Region(x + width / 2, y + height / 2, side, self.roll_rad)


class FaceDetector:
    """Finds faces; keeps nothing between frames. Not for use by two threads at once.

    The network looks at 192 x 192 pixels, so a face is found where it is at least about a
    twentieth of the frame's longer side; in tiles, half of that.

    Args:
        min_score: detections below are left out, 0..1.
    """

    def __init__(self, min_score: float = 0.5) -> None:
        mp = load_mediapipe()
        with hushed():
            self._solution: Any = mp.solutions.face_detection.FaceDetection(
                min_detection_confidence=min_score, model_selection=1
            )
            self._solution.process(np.zeros((_NETWORK_PX, _NETWORK_PX, 3), np.uint8))

    def detect(self, rgb: NDArray[np.uint8], *, thorough: bool = False) -> list[Detection]:
        """Faces in a frame (H, W, 3) uint8, best first; with `thorough` in its tiles too."""
        found = self._look(rgb, 0, 0)
        if thorough:
            for tile in range(TILES):
                found += self.detect_tile(rgb, tile)
        return _without_repeats(found)

    def detect_tile(self, rgb: NDArray[np.uint8], tile: int) -> list[Detection]:
        """Faces in one of the frame's overlapping quarters; none where the frame is small."""
        height, width = rgb.shape[:2]
        if max(height, width) < _TILED_FROM_PX:
            return []
        rows, columns = math.ceil(height * _TILE_SHARE), math.ceil(width * _TILE_SHARE)
        top = (height - rows) * (tile // 2 % 2)
        left = (width - columns) * (tile % 2)
        found = self._look(rgb[top : top + rows, left : left + columns], left, top)
        return [d for d in found if not _cut_off(d.box, (left, top, columns, rows), width, height)]

    def close(self) -> None:
        """Stop the network."""
        self._solution.close()

    def _look(self, rgb: NDArray[np.uint8], left: int, top: int) -> list[Detection]:
        """Faces in one picture whose corner lies at `left`, `top` of the frame."""
        height, width = rgb.shape[:2]
        if min(height, width) < MIN_FACE_PX:
            return []
        answer = self._solution.process(_reduced(rgb)).detections
        found = []
        for one in answer or ():
            place = one.location_data
            box = place.relative_bounding_box
            right_eye, left_eye = place.relative_keypoints[:2]
            roll = math.atan2(
                (left_eye.y - right_eye.y) * height, (left_eye.x - right_eye.x) * width
            )
            if box.width * width >= MIN_FACE_PX:
                corner_x, corner_y = box.xmin * width + left, box.ymin * height + top
                in_frame = (corner_x, corner_y, box.width * width, box.height * height)
                found.append(Detection(in_frame, float(one.score[0]), roll))
        return found


def find_meshes(
    rgb: NDArray[np.uint8], detections: list[Detection], mesh: FaceMesh, min_presence: float = 0.5
) -> list[Mesh]:
    """Landmarks of fresh detections: one look to find the region, one to read it well.

    Detections in which the landmark network sees no face are left out.
    """
    rough = mesh.run(rgb, [detection.region for detection in detections])
    likely = [one for one in rough if one.presence >= min_presence]
    fine = mesh.run(rgb, [Region.around(one.xy) for one in likely])
    return [one for one in fine if one.presence >= min_presence]


def overlap(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> float:
    """Share of the smaller of two boxes (x, y, width, height) that the other covers, 0..1."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    smaller = min(first[2] * first[3], second[2] * second[3])
    return max(width, 0.0) * max(height, 0.0) / smaller if smaller > 0 else 0.0


def _reduced(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at the size the network needs: pixels skipped first, then averaged."""
    longer = max(rgb.shape[:2])
    skip = max(longer // (4 * _NETWORK_PX), 1)
    picture = rgb[::skip, ::skip]
    scale = _NETWORK_PX / max(picture.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(picture)
    size = tuple(max(round(side * scale), 1) for side in picture.shape[1::-1])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _without_repeats(found: list[Detection]) -> list[Detection]:
    """The best of those that cover each other, best first."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda detection: -detection.score):
        if all(overlap(one.box, other.box) < 0.5 for other in kept):
            kept.append(one)
    return kept


def _cut_off(
    box: tuple[float, float, float, float],
    tile: tuple[int, int, int, int],
    width: int,
    height: int,
) -> bool:
    """Whether a face reaches over an edge of the tile that is not the frame's own edge."""
    left, top, columns, rows = tile
    return (
        (box[0] < left and left > 0)
        or (box[1] < top and top > 0)
        or (box[0] + box[2] > left + columns and left + columns < width)
        or (box[1] + box[3] > top + rows and top + rows < height)
    )
