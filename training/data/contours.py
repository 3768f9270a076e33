"""The 68 landmarks of Multi-PIE, of which F2ED draws its poses, among MediaPipe's.

N faces, L landmarks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong
from .learning_faces import LearningFaces

JAW = (127, 234, 93, 132, 172, 150, 149, 148, 152, 377, 378, 379, 397, 361, 323, 454, 356)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
NOSE = (168, 197, 195, 4, 98, 97, 2, 326, 327)
EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14, 178)
MESH_OF_68 = (*JAW, *BROWS, *NOSE, *EYES, *LIPS)
"""MediaPipe's number of each of the 68, in their order: jaw from the picture's left to its right,
brows, nose bridge and base, eyes, outer and inner lips. Chosen as the nearest points on a 3D face
that has both, alike on both sides; on the jaw they lie a fiftieth of a picture apart, a third of
that elsewhere."""


def contours_of(faces: LearningFaces) -> npt.NDArray[np.float32]:
    """The 68 landmarks of every face, (N, 68, 2) in pixels of its image: the set's own, or taken
    from its mesh.

    Raises:
        OptionsWrong: the set has neither.
    """
    if faces.contours_xy is not None:
        return faces.contours_xy
    place = {int(number): at for at, number in enumerate(faces.landmark_index)}
    if not set(MESH_OF_68) <= place.keys():
        raise OptionsWrong(
            f"{faces.name} has no landmarks to draw poses from: choose faces that `ferstream data "
            "prepare` made or synthetic ones, or --synthesis no"
        )
    return faces.landmarks_xy[:, [place[number] for number in MESH_OF_68]]


def in_crop(
    points_L2: npt.NDArray[np.floating[Any]], matrix: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float32]:
    """Points of an image in the pixels of its crop; ``matrix`` (2, 3) is `LearningFaces.matrix`."""
    return np.asarray(points_L2 @ matrix[:, :2].T + matrix[:, 2], np.float32)
