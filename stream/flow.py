"""Two aligned crops and their time gap to a motion field, in face widths per second.

Alignment has already taken head motion out, so what is left is the face's own motion.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .faces.align import FACE_WIDTH_IN_CROP, Image

MotionField = npt.NDArray[np.float32]

MOTION_CROP_PX = 64
"""Side of the crops between which motion is estimated."""
MOTION_FIELD_PX = 32
"""Side of the motion field that the temporal network sees."""


class MotionEstimator:
    """Dense inverse search (DIS) optical flow on small crops.

    OpenCV's medium preset works down to half resolution here: its default finest scale of a
    quarter would leave a 64-pixel face 16 pixels wide.
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setFinestScale(1)

    def field(self, previous_crop: Image, crop: Image, gap_s: float) -> MotionField:
        """Motion from one crop to the next: (2, 32, 32) float32, x right and y down.

        Args:
            previous_crop: the earlier aligned grey crop (64, 64).
            crop: the later one.
            gap_s: seconds between them; velocities do not depend on the frame rate.

        Raises:
            ValueError: the gap is not positive.
        """
        if gap_s <= 0:
            raise ValueError(f"motion needs a positive time gap, got {gap_s} s")
        flow_px = self._dis.calc(previous_crop, crop, None)
        small = cv2.resize(
            flow_px, (MOTION_FIELD_PX, MOTION_FIELD_PX), interpolation=cv2.INTER_AREA
        )
        face_px = FACE_WIDTH_IN_CROP * previous_crop.shape[1]
        return np.ascontiguousarray(small.transpose(2, 0, 1), dtype=np.float32) / np.float32(
            face_px * gap_s
        )


# The crop's rim, where alignment invents pixels, in cells of the field.
_RIM = 4


def motion_weight(stack: npt.NDArray[np.float32], still: float, moving: float) -> float:
    """How far a stack (2 L, P, P) of motion fields shows a moving face, 0..1.

    0 up to a mean speed of `still` face widths per second, 1 from `moving` on. A common shift of
    the whole crop is alignment's trembling and does not count; empty fields do not either. A still
    face says nothing about what it expresses: held smile and resting face look the same then.
    """
    size = stack.shape[-1]
    field_L2PP = stack.reshape(-1, 2, size, size)[:, :, _RIM:-_RIM, _RIM:-_RIM]
    filled = field_L2PP.any(axis=(1, 2, 3))
    if not filled.any():
        return 0.0
    own = field_L2PP[filled] - field_L2PP[filled].mean(axis=(2, 3), keepdims=True)
    speed = float(np.sqrt((own * own).sum(axis=1)).mean())
    return min(max((speed - still) / (moving - still), 0.0), 1.0)
