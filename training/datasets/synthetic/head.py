"""The 3D head that synthetic pictures show: ICT-FaceKit thinned out, its parts named, hair added.

N vertices, T triangles, E expression shapes, I identity shapes. cm, x to the face's own left,
y up, z to the viewer.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .kit import (
    ANCHORS_OF_68,
    ANCHORS_OF_MESH,
    EYES,
    INNER_LIPS,
    NOSE_BASE,
    OUTER_LIPS,
    FaceKit,
    load_face_kit,
    simplify,
)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


class Part(IntEnum):
    """What a triangle belongs to."""

    SKIN = 0
    MOUTH = 1
    GUMS = 2
    TEETH = 3
    EYE = 4


_PART_OF_MATERIAL = {
    "M_Face": Part.SKIN,
    "M_BackHead": Part.SKIN,
    "M_GumsTongue": Part.GUMS,
    "M_Teeth": Part.TEETH,
    "M_ScleraLeft": Part.EYE,
    "M_ScleraRight": Part.EYE,
}
"""Materials that are not named are not drawn: the iris is painted on the eyeball, lashes, tears
and the like are smaller than a pixel."""

_REACH_CM = {Part.SKIN: 0.5, Part.MOUTH: 0.9, Part.GUMS: 0.7, Part.TEETH: 0.25, Part.EYE: 0.3}
_FINE_CM = 1.1
"""Within this of eyes, lips and nose base every vertex is kept."""

_UPPER_LIP, _LOWER_LIP = (61, 62, 63), (67, 66, 65)
"""Landmarks of the inner lip line that lie on each other in a shut mouth."""
HAIRLINE_ZY = ((-9, -5), (-6, -4), (-2, -1), (1.5, 0.8), (3, 2.5), (4.5, 5.5), (7, 8.5), (9, 9.8))
"""Hair grows above this line of the resting head, seen from its side: (z, y) in cm."""
NECK_ZY = ((-12, -1.0), (0, -1.0), (2, -1.8), (4.5, -3.2), (6, -5.0), (7.35, -6.5), (10.5, -8.0))
"""The neck is below this line."""
CLOTHES_Y = -14.5
_LONG_HAIR_Z, _OFF_NECK_CM = 0.8, 2.6
"""Long hair falls behind this plane, and so far off the neck."""


class SyntheticHead:
    """Vertices and what they mean; people and expressions are weights on its shapes.

    rest (N, 3) the neutral head; triangles (T, 3); part (T,) `Part`. Vertex numbers: landmarks
    (68,), mesh (160,) or none where the kit has none, anchors (6,) those of `stream.align`.
    hair (N,) cm above the hairline, negative below; ear (N,) 0 or 1; neck (N,) cm below the jaw;
    eye_centre (2, 3) of the right and left eyeball; kept (N,) each vertex's number in the kit.
    """

    def __init__(self, kit: FaceKit) -> None:
        triangles, part = _triangles(kit)
        landmarks, mesh = np.array(kit.landmarks), np.array(kit.mesh, np.int64)
        reach = _reach(kit.neutral, triangles, part, landmarks, mesh)
        kept, self.triangles = simplify(kit.neutral, triangles, reach)
        self.rest: Floats = kit.neutral[kept]
        self.landmarks: Ints = np.searchsorted(kept, landmarks).astype(np.int32)
        self.mesh: Ints = np.searchsorted(kept, mesh).astype(np.int32)
        on_mesh = self.mesh[list(ANCHORS_OF_MESH)] if len(mesh) else None
        self.anchors: Ints = self.landmarks[list(ANCHORS_OF_68)] if on_mesh is None else on_mesh
        part_of_vertex = np.zeros(len(kit.neutral), np.uint8)
        part_of_vertex[triangles] = part[:, None]
        self.part: npt.NDArray[np.uint8] = part_of_vertex[kept][self.triangles].max(1)
        self.part_of_vertex = part_of_vertex[kept]
        self.expression_names = kit.expression_names
        self._expression = kit.expression[:, kept].astype(np.float32).reshape(-1, kept.size * 3)
        self._identity = kit.identity[:, kept].astype(np.float32).reshape(-1, kept.size * 3)
        self.hair, self.ear, self.neck = _regions(self.rest, self.part_of_vertex == Part.SKIN)
        self.eye_centre = np.stack([self._eye_centre(side) for side in (-1, 1)])
        self.kept = kept

    @property
    def people(self) -> int:
        """How many identity weights there are, I."""
        return len(self._identity)

    @cached_property
    def rest_normals(self) -> Floats:
        """Normals (N, 3) of the neutral head."""
        return self.normals(self.rest)

    def hair_of(self, hairline_cm: float, long_cm: float) -> Floats:
        """How deep in the hair each vertex lies (N,), cm; negative is bare.

        `hairline_cm` moves the hairline up; long hair falls behind the ears, `long_cm` below
        them.
        """
        hair = self.hair - np.float32(hairline_cm)
        if long_cm <= 0:
            return np.asarray(hair)
        y, z = self.rest[:, 1], self.rest[:, 2]
        behind = np.minimum(_LONG_HAIR_Z - z + 0.12 * (y - 2), y + 2 + np.float32(long_cm))
        skin = self.part_of_vertex == Part.SKIN
        return np.where(skin, np.maximum(hair, behind), hair).astype(np.float32)

    def person(self, identity: Floats, hair: Floats, hair_cm: float, long_cm: float) -> Floats:
        """The resting head (N, 3) of identity weights (I,), with hair (N,) as `hair_of` tells.

        The hair is `hair_cm` thick on the head and stands off the neck where it is long.
        """
        head = self.rest + (identity @ self._identity).reshape(-1, 3)
        head += self._shut(head)
        falling = np.clip((1.0 - self.rest[:, 1]) / 5, 0, 1) * (long_cm > 0) * _OFF_NECK_CM
        thick = (hair_cm + falling) * np.clip(hair / 2.5, 0, 1) * (1 - self.ear)
        return np.asarray(head + thick[:, None] * self.rest_normals, dtype=np.float32)

    def express(self, person: Floats, weights: Floats) -> Floats:
        """A person's head (N, 3) with expression weights (E,) in 0..1."""
        on = np.flatnonzero(weights)
        return np.asarray(person + (weights[on] @ self._expression[on]).reshape(-1, 3))

    def normals(self, points: Floats) -> Floats:
        """Unit normals (N, 3), the average of the triangles around each vertex by area."""
        a, b, c = (points[self.triangles[:, corner]] for corner in range(3))
        u, v = b - a, c - a
        facing = np.empty_like(u)
        facing[:, 0] = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
        facing[:, 1] = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
        facing[:, 2] = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
        corners = self.triangles.T.ravel()
        total = np.empty_like(points)
        for axis in range(3):
            each = np.tile(facing[:, axis], 3)
            total[:, axis] = np.bincount(corners, each, len(points))
        length = np.sqrt((total * total).sum(1, keepdims=True))
        return np.asarray(total / np.maximum(length, 1e-9), dtype=np.float32)

    def _shut(self, head: Floats) -> Floats | float:
        """What shuts the lips (N, 3) of someone whose shape parts them: a jaw less open."""
        if "jawOpen" not in self.expression_names:
            return 0.0
        jaw = self._expression[self.expression_names.index("jawOpen")].reshape(-1, 3)
        upper, lower = self.landmarks[list(_UPPER_LIP)], self.landmarks[list(_LOWER_LIP)]
        gap_cm = float(
            np.max((head[upper] - head[lower])[:, 1] - (self.rest[upper] - self.rest[lower])[:, 1])
        )
        opens_cm = float((jaw[upper] - jaw[lower])[:, 1].mean())
        if gap_cm <= 0 or opens_cm <= 0.1:
            return 0.0
        return np.asarray(-min((gap_cm + 0.06) / opens_cm, 0.25) * jaw, dtype=np.float32)

    def _eye_centre(self, side: int) -> Floats:
        ball = self.rest[(self.part_of_vertex == Part.EYE) & (np.sign(self.rest[:, 0]) == side)]
        if not len(ball):
            return np.array([3.1 * side, 3.4, 7.5], np.float32)
        return np.asarray((ball.min(0) + ball.max(0)) / 2, dtype=np.float32)


def load_synthetic_head(folder: str | Path | None = None) -> SyntheticHead:
    """The head from the face kit in a folder; see `load_face_kit`, also for what it raises."""
    return SyntheticHead(load_face_kit(folder))


def _triangles(kit: FaceKit) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """Quads cut in two, of the materials that are drawn, with their parts."""
    part_of = [_PART_OF_MATERIAL.get(name) for name in kit.material_names]
    drawn = np.array([part is not None for part in part_of])[kit.face_material]
    quads = kit.faces[drawn]
    number = np.array([int(part or 0) for part in part_of], np.uint8)[kit.face_material[drawn]]
    back = np.array([name == "M_BackHead" for name in kit.material_names])
    # The sockets of mouth and eyes share the material of the back of the head.
    centre = kit.neutral[quads].mean(1)
    within = (abs(centre[:, 0]) < 4.8) & (centre[:, 2] > 0.3)
    within &= (centre[:, 1] > -6.2) & (centre[:, 1] < 5.3)
    number[back[kit.face_material[drawn]] & within] = Part.MOUTH
    both = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    part = np.concatenate([number, number])
    whole = (both[:, 1] != both[:, 2]) & (both[:, 0] != both[:, 2])
    return both[whole], part[whole]


def _reach(
    points: Floats,
    triangles: Ints,
    part: npt.NDArray[np.uint8],
    landmarks: npt.NDArray[np.int64],
    mesh: npt.NDArray[np.int64],
) -> Floats:
    """How far each vertex (N,) may gather others, cm."""
    reach = np.zeros(len(points), np.float32)
    for name, reach_cm in _REACH_CM.items():
        reach[triangles[part == name]] = reach_cm
    fine = points[landmarks[[*EYES[0], *EYES[1], *NOSE_BASE, *OUTER_LIPS, *INNER_LIPS]]]
    near = np.full(len(points), np.inf, np.float32)
    for point in fine:
        near = np.minimum(near, ((points - point) ** 2).sum(1))
    skin = reach == np.float32(_REACH_CM[Part.SKIN])
    far = points[:, 2] < 4.0
    reach[skin & far & ~_at_ear(points)] = 0.8
    reach[_at_ear(points) & skin] = 0.3
    # Landmarks choose early, so that they are kept and gather their surroundings evenly.
    reach[np.concatenate([landmarks, mesh])] = 0.2
    reach[skin & (near < _FINE_CM**2)] = 0.0
    return reach


def _regions(rest: Floats, skin: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """hair, ear and neck of each vertex, see `SyntheticHead`."""
    y, z = rest[:, 1], rest[:, 2]
    hair = y - np.interp(z, *np.array(HAIRLINE_ZY, np.float32).T)
    ear = _at_ear(rest) & skin
    neck = np.interp(z, *np.array(NECK_ZY, np.float32).T) - y
    return (
        np.where(skin, hair, -9).astype(np.float32),
        ear.astype(np.float32),
        np.where(skin, neck, -9).astype(np.float32),
    )


def _at_ear(points: Floats) -> npt.NDArray[np.bool_]:
    x, y, z = abs(points[:, 0]), points[:, 1], points[:, 2]
    return np.asarray((x > 6.95) & (z < 2.7) & (z > -2.5) & (y > -2.4) & (y < 4.3))
