"""Frames that are one face each: nothing is detected, and there is always one.

What other programs cut out is aligned as well as it goes: by the landmark network where it sees the
face, else by the near detector's points, else as it stands. Looks tell whose face it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from .align import ANCHOR_LANDMARKS, anchor_matrix
from .detect import Detection, mesh_of
from .front import Detector, Landmarker, Look, open_front_end
from .head import MEAN_HEAD
from .mesh import Mesh, Region
from .options import FaceOptions
from .sight import COAST_S, SAME_LOOKS, Face, Sight, Track
from .track import MOST_PEOPLE

_VIEWS = (1.3, 1.0, 1.7)
"""Sides of the squares in which the landmark network looks for the face, in longer sides."""
_LEAST = 0.3
"""A mesh narrower than this share of the frame is of a part of the face."""


class CroppedFace:
    """The face that each frame of one source is; see `FaceTracker`, whose place it takes."""

    left_out = 0
    joined: Mapping[int, int] = {}

    def __init__(
        self,
        options: FaceOptions | None = None,
        detector: Detector | None = None,
        mesh: Landmarker | None = None,
    ) -> None:
        self._options = options or FaceOptions()
        rotate = self._options.rotate
        self._roll_rad = 0.0 if rotate == "auto" else -np.radians(rotate)
        if detector is None or mesh is None:
            detector, mesh = open_front_end(self._options.front_end)
        self._detector, self._mesh = detector, mesh
        self._id = 0
        self.reset()

    def reset(self) -> None:
        """Forget every face; ids go on counting."""
        self._people: list[Track] = []  # who was seen last comes first
        self._last: Mesh | None = None
        self._last_s: float | None = None
        self._shape: tuple[int, ...] | None = None

    def restart(self) -> None:
        """Begin anew, as with a camera opened again; who comes back soon is known by looks."""
        self._last = self._last_s = None

    def settled(self) -> dict[int, int]:
        """Nobody: each picture's looks are compared with everybody's at once."""
        return {}

    def expect(self, frame: Frame) -> list[Region]:
        """Nowhere: one look may be enough, or it takes another."""
        return []

    def search(self, frame: Frame, meshes: Sequence[Mesh] | None = None) -> list[Look]:
        """Nothing: it is where the frame is."""
        return []

    def update(
        self,
        frame: Frame,
        meshes: Sequence[Mesh] | None = None,
        seen: Sequence[list[Detection]] | None = None,
    ) -> list[Face]:
        """The face of this frame."""
        rgb, now_s = frame.pixels, frame.time_s
        if self._shape != rgb.shape:
            self._last, self._shape = None, rgb.shape
        mesh = self._find(rgb)
        sight = Sight(rgb, mesh)
        one = self._who(sight, now_s)
        one.see(sight, now_s, frame.index, in_contact=not mesh.presence)
        sight.let_go()
        kept_s = np.inf if frame.ahead else self._options.remember_s
        others = [t for t in self._people if t is not one and abs(now_s - t.seen_s) <= kept_s]
        self._people = [one, *others][:MOST_PEOPLE]
        self._last = mesh if mesh.shows_face else None
        self._last_s = now_s
        return [one.face()]

    def _who(self, sight: Sight, now_s: float) -> Track:
        """The person whose face this is: the last one, unless it looks like another's."""
        if self._people:
            last = self._people[0]
            soon = self._last_s is not None and 0 < now_s - self._last_s <= COAST_S
            if not sight.mesh.presence or (soon and last.likeness(sight) >= SAME_LOOKS):
                return last
            sure = [(track.known_by_looks(sight, now_s), track) for track in self._people]
            best, one = max(sure, key=lambda pair: pair[0])
            if best > -np.inf:
                return one
        self._id += 1
        return Track(self._id, sight)

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
            found = mesh_of(rgb, closer, self._mesh, self._detector.trust)
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
