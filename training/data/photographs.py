"""FER+ photographs as faces to learn from, whatever their labels are."""

from __future__ import annotations

from typing import Any

from .fer import LAYOUT, DataMissing, FerPlus
from .learning_faces import LearningFaces
from .synthetic.action_units import ARKIT_NAMES


def faces_of_photographs(data: FerPlus, **columns: Any) -> LearningFaces:
    """Photographs with name, labels, names, target and further columns of LearningFaces; their
    blendshapes in ARKIT_NAMES' order, zeros where the teacher saw no face.

    Raises:
        DataMissing: the teacher does not tell all blendshapes.
    """
    if missing := set(ARKIT_NAMES) - set(data.blendshape_names):
        names = ", ".join(sorted(missing))
        raise DataMissing(f"teacher.npz lacks the blendshapes {names}: {LAYOUT}")
    in_order = [data.blendshape_names.index(name) for name in ARKIT_NAMES]
    return LearningFaces(
        pixels=data.pixels,
        anchors_xy=data.anchors_xy,
        seen=data.seen,
        landmarks_xy=data.landmarks_xy,
        landmark_index=data.landmark_index,
        blendshapes=data.blendshapes[:, in_order] * data.seen[:, None],
        **columns,
    )
