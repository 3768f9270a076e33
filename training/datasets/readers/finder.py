"""The one face of a picture, and of a clip, cut out as run time cuts it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import crop as aligned_crop
from ferstream.stream.faces.align import crop_matrix
from ferstream.stream.faces.detect import (
    FaceDetector,
    FaceMesh,
    Mesh,
    Region,
    find_meshes,
    overlap,
)
from ferstream.stream.faces.front import Detector, Landmarker
from ferstream.stream.faces.views import MIN_FACE_PX

from .pixels import Picture

_SAME_FACE = 0.3
"""Overlap of a face with its last place, or with the box that a set gives."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Crop:
    """One aligned face: pixels (px, px) grey, landmarks (468, 2) in pixels of the crop."""

    pixels: npt.NDArray[np.uint8]
    landmarks_xy: npt.NDArray[np.float32]
    time_s: float = 0.0


class FaceFinder:
    """Finds the face to cut out, by MediaPipe's networks or by others; not for two threads at
    once."""

    def __init__(self, front: tuple[Detector, Landmarker] | None = None) -> None:
        self._detector, self._mesh = front or (FaceDetector(), FaceMesh(workers=1))

    def faces(self, picture: Picture) -> list[Mesh]:
        """All faces of a picture, RGB or grey, as run time finds them in a first frame."""
        rgb = _rgb(picture)
        detections = self._detector.detect(rgb, thorough=True)
        found = find_meshes(rgb, detections, self._mesh, self._detector)
        return [mesh for mesh in found if _box(mesh)[2] >= MIN_FACE_PX]

    def crop(self, picture: Picture, crop_px: int, box: Box | None = None) -> Crop | None:
        """The face of a picture, RGB or grey: the one at `box`, else the largest; None if none."""
        rgb = _rgb(picture)
        mesh = self._find(rgb, box)
        return _cut(rgb, mesh, crop_px) if mesh is not None else None

    def clip(self, frames: list[tuple[float, Picture]], crop_px: int) -> list[Crop]:
        """The face of a clip in the frames that show it: the largest of the first, followed by its
        landmarks as run time does; where it is lost, looked for again."""
        crops = []
        last: Mesh | None = None
        for time_s, picture in frames:
            rgb = _rgb(picture)
            mesh = self._follow(rgb, last) if last is not None else None
            if mesh is None:
                mesh = self._find(rgb, _box(last) if last is not None else None)
            if mesh is not None:
                last = mesh
                crops.append(_cut(rgb, mesh, crop_px, time_s))
        return crops

    def _follow(self, rgb: Picture, last: Mesh) -> Mesh | None:
        (mesh,) = self._mesh.run(rgb, [Region.around(last.xy)])
        same = mesh.shows_face and overlap(_box(mesh), _box(last)) > _SAME_FACE
        return mesh if same else None

    def _find(self, rgb: Picture, box: Box | None) -> Mesh | None:
        found = self.faces(rgb)
        if box is not None:
            found = [mesh for mesh in found if overlap(_box(mesh), box) > _SAME_FACE]
        return max(found, key=lambda mesh: _box(mesh)[2] * _box(mesh)[3], default=None)


def _rgb(picture: Picture) -> Picture:
    if picture.ndim == 3:
        return np.ascontiguousarray(picture)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)


def _box(mesh: Mesh) -> Box:
    low, high = mesh.xy.min(0), mesh.xy.max(0)
    width, height = (float(side) for side in high - low)
    return float(low[0]), float(low[1]), width, height


def _cut(rgb: Picture, mesh: Mesh, crop_px: int, time_s: float = 0.0) -> Crop:
    matrix = crop_matrix(mesh.xy, crop_px)
    landmarks_xy = mesh.xy @ matrix[:, :2].T + matrix[:, 2]
    return Crop(aligned_crop(rgb, mesh.xy, crop_px), landmarks_xy.astype(np.float32), time_s)
