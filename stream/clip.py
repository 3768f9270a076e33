"""One face over the last seconds: features of its frames, and its motion (optical flow).

Memory and cost per frame are fixed, however long the face is watched and however fast the camera.
Motion is estimated between aligned crops: alignment has already taken head motion out, so what is
left is the face's own.
"""

# T frames a clip keeps, D features, L motion fields, P side of a field

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from ferstream.engines.views import Reading

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


# T frames a clip keeps, D features, L motion fields, P side of a field


MOTION_RESTART_S = 0.3
"""Motion over a longer gap is no motion: the fields start afresh."""
MIN_FIELDS = 3
"""Fewer motion fields than this say nothing."""
APART_S = 0.5
"""Frames farther apart than this are not of one moment, and are not read together."""
CLOSE_S = 0.12
"""Frames of a recording this close share their views; a live camera's do always, so that a slow
machine is not made slower."""
CLOCK_S = 1e-3
"""Cameras' times are this exact: a gap that is too short by less is long enough."""


class FaceClip:
    """The recent features and motion of one face.

    Args:
        feature_dim: D.
        frames: T, features kept at most.
        duration_s: how far back they reach.
        fields: L, motion fields in a stack.
        gap_s: time from one motion field to the next, at least.
        estimator: to share one between clips; None: the clip makes its own.
        recency_s: a frame this much older counts by a factor e less; 0: all alike.
    """

    def __init__(
        self,
        feature_dim: int,
        frames: int,
        duration_s: float,
        fields: int,
        gap_s: float,
        estimator: MotionEstimator | None = None,
        recency_s: float = 0.0,
    ) -> None:
        self._feature_TD = np.zeros((frames, feature_dim), np.float32)
        self._time_T = np.full(frames, -np.inf)
        self._mirrored_T = np.zeros(frames, bool)
        self._newest = 0
        self._duration_s, self._recency_s = duration_s, recency_s
        self._spacing_s = duration_s / frames
        self._estimator = estimator or MotionEstimator()
        self._stack = np.zeros((2 * fields, MOTION_FIELD_PX, MOTION_FIELD_PX), np.float32)
        self._fields = 0
        self._gap_s = gap_s
        self._reference: NDArray[np.uint8] | None = None
        self._reference_s = -np.inf

    @property
    def newest(self) -> int:
        """The row of the newest feature."""
        return self._newest

    @property
    def time_s(self) -> float:
        """The time of the newest feature; minus infinity where there is none."""
        return float(self._time_T[self._newest])

    def begins(self, time_s: float) -> bool:
        """Whether a feature of this time begins the clip anew: its time does not follow the last
        one, or follows it late (`APART_S`)."""
        return not 0 < time_s - self.time_s <= APART_S + CLOCK_S

    def reading(self, time_s: float, ahead: bool) -> Reading:
        """In which views a frame of this time is to be read; ``ahead`` in a recording.

        Frames that follow each other closely take turns as they are and mirrored, so that the
        clip's attention is over both.
        """
        if self.begins(time_s):
            return Reading.ALONE
        if ahead and time_s - self.time_s > CLOSE_S + CLOCK_S:
            return Reading.BOTH
        return Reading.AS_IS if self._mirrored_T[self._row(time_s) - 1] else Reading.MIRRORED

    def add_feature(
        self, time_s: float, feature_D: NDArray[np.float32], *, mirrored: bool = False
    ) -> None:
        """Remember a frame's feature, and whether it is of the mirrored crop alone.

        The newest is always kept; those before it at least a T-th of the duration apart, so that
        T of them span it whole also when frames come faster.
        """
        if self.begins(time_s):
            self._time_T[:] = -np.inf
        row = self._row(time_s)
        self._feature_TD[row] = feature_D
        self._time_T[row] = time_s
        self._mirrored_T[row] = mirrored
        self._newest = row

    def _row(self, time_s: float) -> int:
        """Where a feature of this time goes: after the newest, if that is far enough from the one
        before it to stay, else in its place."""
        row = self._newest
        if np.isfinite(self.time_s):
            since_s = self.time_s - self._time_T[row - 1]
            if since_s >= self._spacing_s - CLOCK_S:
                row = (row + 1) % len(self._time_T)
        return row

    def read_features(self, feature_TD: NDArray[np.float32], mask_T: NDArray[np.float32]) -> None:
        """Write the features (T, D) and how far each counts (T,), 0 to 1, into a batch; 0 where
        nothing valid is.

        Valid is what is no older than the duration, seen from the newest.
        """
        valid_T = self._time_T >= self.time_s - self._duration_s - CLOCK_S
        valid_T &= np.isfinite(self._time_T)
        feature_TD[:] = self._feature_TD
        feature_TD[~valid_T] = 0
        mask_T[:] = valid_T
        if self._recency_s:
            age_T = self.time_s - self._time_T[valid_T]
            mask_T[valid_T] = np.exp(-age_T / self._recency_s)

    def add_crop(self, time_s: float, crop: NDArray[np.uint8]) -> bool:
        """Feed the aligned grey crop (64, 64); True where that made a new motion field.

        A field spans the time since the crop that made the last one, so velocities are measured
        over gaps long enough to rise above the estimator's errors. After a long gap, or when time
        runs backwards, motion begins anew.
        """
        elapsed_s = time_s - self._reference_s
        if self._reference is None or not 0 < elapsed_s <= MOTION_RESTART_S + CLOCK_S:
            self._fields = 0
        elif elapsed_s < self._gap_s - CLOCK_S:
            return False
        else:
            self._stack[:-2] = self._stack[2:]
            self._stack[-2:] = self._estimator.field(self._reference, crop, elapsed_s)
            self._fields += 1
        fresh = self._fields > 0
        self._reference, self._reference_s = crop, time_s
        return fresh

    @property
    def has_motion(self) -> bool:
        """Whether there are motion fields enough to say something."""
        return self._fields >= MIN_FIELDS

    def stack(self) -> NDArray[np.float32] | None:
        """Motion (2 L, P, P), oldest first, zeros where fields are missing; None with too few.

        It is the clip's own memory: the next field changes it.
        """
        if not self.has_motion:
            return None
        missing = max(len(self._stack) // 2 - self._fields, 0)
        self._stack[: 2 * missing] = 0
        return self._stack
