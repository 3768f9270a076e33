"""Frames that are one face each: nothing is detected, and there is always one.

What other programs cut out is aligned as well as it goes: by the landmark network where it sees the
face, else by the near detector's points, else as it stands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .align import ANCHOR_LANDMARKS, anchor_matrix
from .detect import FaceDetector, mesh_of
from .face_options import FaceOptions
from .frame import Frame
from .head import MEAN_HEAD
from .mesh import FaceMesh, Mesh, Region
from .track import GAP_S, Face, face_of

_VIEWS = (1.3, 1.0, 1.7)
"""Sides of the squares in which the landmark network looks for the face, in longer sides."""
_LEAST = 0.3
"""A mesh narrower than this share of the frame is of a part of the face."""


class CroppedFace:
    """The face that each frame of one source is; see `FaceTracker`, whose place it takes."""

    left_out = 0

    def __init__(
        self,
        options: FaceOptions | None = None,
        detector: FaceDetector | None = None,
        mesh: FaceMesh | None = None,
    ) -> None:
        rotate = (options or FaceOptions()).rotate
        self._roll_rad = 0.0 if rotate == "auto" else -np.radians(rotate)
        self._detector = detector or FaceDetector()
        self._mesh = mesh or FaceMesh()
        self._id = 0
        self.reset()

    def reset(self) -> None:
        """Another face comes, with another id."""
        self._last: Mesh | None = None
        self._last_s: float | None = None

    def update(self, frame: Frame) -> list[Face]:
        """The face of this frame."""
        rgb, now_s = frame.pixels, frame.time_s
        if self._last_s is None or not 0 <= now_s - self._last_s <= GAP_S:
            self.reset()
            self._id += 1
        mesh = self._find(rgb)
        self._last = mesh if mesh.shows_face else None
        self._last_s = now_s
        return [face_of(self._id, rgb, mesh)]

    def _find(self, rgb: NDArray[np.uint8]) -> Mesh:
        height, width = rgb.shape[:2]
        longer = max(height, width)
        views = [Region(width / 2, height / 2, view * longer, self._roll_rad) for view in _VIEWS]
        if self._last is not None:
            views.insert(0, Region.around(self._last.xy))
        for view in views:
            (rough,) = self._mesh.run(rgb, [view])
            if rough.shows_face:
                (fine,) = self._mesh.run(rgb, [Region.around(rough.xy)])
                if fine.shows_face and np.ptp(fine.xy, axis=0).max() >= _LEAST * longer:
                    return fine
        closer = self._detector.look_closer(rgb, views[-1])
        if closer is not None:
            found = mesh_of(rgb, closer, self._mesh)
            if found.shows_face and np.ptp(found.xy, axis=0).max() >= _LEAST * longer:
                return found
        return _as_it_stands(height, width, self._roll_rad)


def _as_it_stands(height: int, width: int, roll_rad: float) -> Mesh:
    """The mean head, placed so that the aligned crop is the frame's middle square."""
    anchors = MEAN_HEAD[list(ANCHOR_LANDMARKS), :2].astype(np.float32)
    side = min(height, width)
    matrix = anchor_matrix(anchors, side)
    cos, sin = np.cos(roll_rad), np.sin(roll_rad)
    turn = np.array([[cos, -sin], [sin, cos]])
    landmarks = MEAN_HEAD * np.hypot(matrix[0, 0], matrix[1, 0])
    placed = MEAN_HEAD[:, :2] @ matrix[:, :2].T + matrix[:, 2] - (side - 1) / 2
    landmarks[:, :2] = placed @ turn.T + [(width - 1) / 2, (height - 1) / 2]
    return Mesh(landmarks.astype(np.float32), 0.0, posed=True)
