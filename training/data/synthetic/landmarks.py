"""Which vertices of the 3D face are landmarks.

The 68 points of the Multi-PIE markup (dlib's too), with ICT-FaceKit's own vertex numbers as its
README lists them under "Facial Landmarks": 0-16 jaw, 17-21 and 22-26 brows, 27-30 nose bridge,
31-35 nose base, 36-41 and 42-47 eyes, 48-59 outer and 60-67 inner lip line. The first half of
each pair is the face's own right, the picture's left.

The 160 points are those of MediaPipe's mesh that a teacher's landmarks have too; their vertices
were found by running that mesh on synthetic faces (mesh_vertices.json says how well they fit).
"""

from __future__ import annotations

import json
from pathlib import Path

from ferstream.stream.align import ANCHOR_LANDMARKS

LANDMARK_VERTICES = (
    *(1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966),
    *(3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443),
    *(268, 493, 1914, 2044, 1401),
    *(3615, 4240, 4114, 2734, 2509),
    *(978, 4527, 4942, 4857),
    *(1140, 2075, 1147, 4269, 3360),
    *(1507, 1542, 1537, 1528, 1518, 1511),
    *(3742, 3751, 3756, 3721, 3725, 3732),
    *(5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841),
    *(5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966),
)
KIT_VERTICES = 26719
"""How many vertices the mesh has that these numbers are for."""

JAW = tuple(range(17))
BROWS = (tuple(range(17, 22)), tuple(range(22, 27)))
EYES = (tuple(range(36, 42)), tuple(range(42, 48)))
NOSE_BASE = tuple(range(31, 36))
OUTER_LIPS = tuple(range(48, 60))
INNER_LIPS = tuple(range(60, 68))

ANCHORS_OF_68 = (36, 39, 42, 45, 27, 33)
"""The landmarks that can stand for `stream.align.ANCHOR_LANDMARKS` (MediaPipe's 33, 133, 362,
263, 168, 2) where a mesh has no 160: outer and inner eye corners, nose bridge, nose base."""


def _mesh() -> dict[int, int]:
    listed = json.loads(Path(__file__).with_name("mesh_vertices.json").read_text("utf-8"))
    return {int(number): int(vertex) for number, vertex in listed["vertices"].items()}


MESH_NUMBERS = tuple(sorted(_mesh()))
"""MediaPipe's numbers of the 160 points, ascending."""
MESH_VERTICES = tuple(_mesh()[number] for number in MESH_NUMBERS)
"""Their vertices in ICT-FaceKit."""
ANCHORS_OF_MESH = tuple(MESH_NUMBERS.index(number) for number in ANCHOR_LANDMARKS)
"""Where the anchors stand among the 160."""
