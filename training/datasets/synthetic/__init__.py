"""Synthetic faces from a 3D model: pictures and clips with everything about them known.

Rendered in numpy and OpenCV from ICT-FaceKit (USC Institute for Creative Technologies, MIT):
person, pose, expression by action units, light and camera are drawn from seeded numbers, and
parsing, landmarks, action units and true motion come with each picture. They make every system
of this project runnable by anyone. They are no photographs, and nothing measured on them stands
in a table beside real data: every result's `origin` is "synthetic".

    head = load_synthetic_head()                       # FERSTREAM_DATA, or a folder
    faces = SyntheticFaces(head, SyntheticOptions(taxonomy="fg33"))
    image, clip = faces.image(0), faces.clip(0)
"""

from __future__ import annotations

from .camera import POSES
from .expressions import ACTION_UNITS, ARKIT_NAMES, TAXONOMIES, labels_of
from .faces import SyntheticFaces, SyntheticOptions, synthetic_sheet
from .head import SyntheticHead, load_synthetic_head
from .kit import (
    LANDMARK_VERTICES,
    MESH_NUMBERS,
    MESH_VERTICES,
    FaceKit,
    load_face_kit,
    write_packed,
)
from .paint import SyntheticPerson, person_of
from .shading import PARSING_CLASSES
from .stage import MOMENTS, ORIGIN, SyntheticClip, SyntheticImage

__all__ = [
    "ACTION_UNITS",
    "ARKIT_NAMES",
    "LANDMARK_VERTICES",
    "MESH_NUMBERS",
    "MESH_VERTICES",
    "MOMENTS",
    "ORIGIN",
    "PARSING_CLASSES",
    "POSES",
    "TAXONOMIES",
    "FaceKit",
    "SyntheticClip",
    "SyntheticFaces",
    "SyntheticHead",
    "SyntheticImage",
    "SyntheticOptions",
    "SyntheticPerson",
    "labels_of",
    "load_face_kit",
    "load_synthetic_head",
    "person_of",
    "synthetic_sheet",
    "write_packed",
]
