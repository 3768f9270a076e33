from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.stream.clip import MOTION_CROP_PX, MOTION_FIELD_PX, MotionEstimator, motion_weight
from ferstream.stream.faces.align import FACE_WIDTH_IN_CROP

FACE_PX = FACE_WIDTH_IN_CROP * MOTION_CROP_PX


def shifted(x_px: float, y_px: float) -> NDArray[np.uint8]:
    """A texture of a face's coarseness, moved right and down."""
    noise = np.random.default_rng(0).normal(128, 400, (128, 128)).astype(np.float32)
    large = cv2.GaussianBlur(noise, (0, 0), 2.5)
    move = np.array([[1, 0, x_px - 32], [0, 1, y_px - 32]], np.float64)
    side = MOTION_CROP_PX
    image = cv2.warpAffine(large, move, (side, side), flags=cv2.INTER_CUBIC)
    return np.asarray(np.clip(image, 0, 255), np.uint8)


@pytest.mark.parametrize("gap_s", [1 / 60, 0.1, 0.5])
@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, -1.5), (2.5, 1.5), (-0.4, 0.3)])
def test_a_known_shift_is_measured(shift: tuple[float, float], gap_s: float) -> None:
    field = MotionEstimator().field(shifted(0, 0), shifted(*shift), gap_s)
    moved_px = field * gap_s * FACE_PX
    inner = moved_px[:, 4:-4, 4:-4].reshape(2, -1)
    np.testing.assert_allclose(np.median(inner, axis=1), shift, atol=0.1)
    np.testing.assert_allclose(inner.mean(axis=1), shift, atol=0.1)


def test_velocity_does_not_depend_on_the_frame_gap() -> None:
    estimator, speed = MotionEstimator(), 20.0
    fields = [
        estimator.field(shifted(0, 0), shifted(speed * gap_s, 0), gap_s)
        for gap_s in (0.05, 0.1, 0.15)
    ]
    for field in fields:
        assert np.median(field[0]) == pytest.approx(speed / FACE_PX, rel=0.1)


def test_the_field_is_float32_and_a_quarter_of_the_crop() -> None:
    field = MotionEstimator().field(shifted(0, 0), shifted(0, 0), 0.1)
    assert field.shape == (2, MOTION_FIELD_PX, MOTION_FIELD_PX)
    assert field.dtype == np.float32 and field.flags["C_CONTIGUOUS"]
    assert np.abs(field).max() < 1e-3, "a still face does not move"


def test_opposite_motion_has_the_opposite_sign() -> None:
    estimator = MotionEstimator()
    there = estimator.field(shifted(0, 0), shifted(2, 0), 0.1)
    back = estimator.field(shifted(2, 0), shifted(0, 0), 0.1)
    assert np.median(there[0]) > 0 > np.median(back[0])


@pytest.mark.parametrize("gap_s", [0.0, -0.1])
def test_a_gap_must_be_positive(gap_s: float) -> None:
    with pytest.raises(ValueError, match="positive time gap"):
        MotionEstimator().field(shifted(0, 0), shifted(1, 0), gap_s)


def test_motion_is_heard_as_far_as_the_face_moves_of_itself() -> None:
    """A shift of the whole crop is alignment's; fields not there yet do not dilute the others."""
    half = np.zeros((2, MOTION_FIELD_PX, MOTION_FIELD_PX), np.float32)
    half[0, : MOTION_FIELD_PX // 2], half[0, MOTION_FIELD_PX // 2 :] = 0.1, -0.1
    stack = np.concatenate([np.zeros((12, *half.shape[1:]), np.float32), half, half])
    assert motion_weight(stack, 0.0, 0.2) == pytest.approx(0.5)
    assert motion_weight(stack, 0.0, 0.1) == 1.0
    assert motion_weight(stack, 0.1, 0.2) == pytest.approx(0.0, abs=1e-6)
    assert motion_weight(np.ones_like(stack), 0.0, 0.1) == 0.0
    assert motion_weight(np.zeros_like(stack), 0.0, 0.1) == 0.0
