from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.stream.clip import MOTION_CROP_PX, MOTION_FIELD_PX, MotionEstimator
from ferstream.stream.faces.align import FACE_WIDTH_IN_CROP, warp
from ferstream.training.datasets.fer import FerPlus
from ferstream.training.datasets.motion import (
    FIELDS,
    GAPS_S,
    KINDS,
    FaceShape,
    MotionMaker,
    MovingFace,
    aligned_landmarks,
    level_curve,
    load_motion_set,
    make_motion_set,
    motion_target,
)
from tests.training.layout import BLENDSHAPES, landmark_map, typical_blendshapes

ROW = 13
FACE_PX = FACE_WIDTH_IN_CROP * MOTION_CROP_PX


def moving_face(data: FerPlus, row: int = ROW) -> MovingFace:
    return MovingFace(
        data.pixels[row], data.matrices(MOTION_CROP_PX)[row], aligned_landmarks(data)[row]
    )


def shift_of(data: FerPlus, x: float, y: float) -> NDArray[np.float32]:
    return np.tile(np.array([x, y], np.float32), (data.landmarks_xy.shape[1], 1))


def test_a_face_at_rest_is_the_aligned_photograph(tiny: FerPlus) -> None:
    aligned = warp(tiny.pixels[ROW], tiny.matrices(MOTION_CROP_PX)[ROW], MOTION_CROP_PX)
    still = moving_face(tiny).render(shift_of(tiny, 0, 0))
    assert still.shape == aligned.shape and still.dtype == np.uint8
    assert np.abs(still.astype(int) - aligned).max() <= 3


def test_both_crop_sizes_show_the_same_moment(tiny: FerPlus) -> None:
    shift = shift_of(tiny, 2, -1)
    small = moving_face(tiny).render(shift, crop_px=48)
    large = moving_face(tiny).render(shift, crop_px=192)
    assert small.shape == (48, 48)
    reduced = large.reshape(48, 4, 48, 4).mean((1, 3))
    assert np.abs(reduced - small).mean() < 5


def test_jitter_moves_the_whole_crop(tiny: FerPlus) -> None:
    by = np.array([[1.0, 0, 3], [0, 1, 0]])
    still, moved = (moving_face(tiny).render(shift_of(tiny, 0, 0), j) for j in (None, by))
    assert np.abs(moved[:, :-4].astype(int) - still[:, 3:-1]).max() <= 2


@pytest.mark.parametrize("gap_s", [0.1, 0.2])
@pytest.mark.parametrize("shift", [(2.0, 0.0), (0.0, 2.0), (-1.5, 1.0)])
def test_a_known_shift_gives_its_motion(
    tiny: FerPlus, shift: tuple[float, float], gap_s: float
) -> None:
    """In face widths a second, right and down positive, where the landmarks are."""
    face = moving_face(tiny)
    before, after = face.render(shift_of(tiny, 0, 0)), face.render(shift_of(tiny, *shift))
    field = MotionEstimator().field(before, after, gap_s)
    assert field.shape == (2, MOTION_FIELD_PX, MOTION_FIELD_PX)
    middle = np.median(field[:, 10:24, 10:22].reshape(2, -1), axis=1)
    wanted = np.array(shift) / FACE_PX / gap_s
    np.testing.assert_allclose(middle, wanted, atol=0.15 * np.abs(wanted).max())


def test_the_fitted_shape_finds_the_map_that_drew_the_faces(
    tiny: FerPlus, shape: FaceShape
) -> None:
    """Blendshapes of one emotion move the landmarks as the drawing's own map does."""
    assert shape.r2 > 0.8 and shape.names == BLENDSHAPES
    assert shape.weights.shape == (54, 160, 2) and shape.resting.shape == (52,)
    assert shape.resting.max() < 0.1
    for emotion in range(1, 8):
        units = typical_blendshapes(emotion)
        fitted = shape.expression(units).ravel()
        drawn = np.tensordot(units, landmark_map(), 1).ravel()
        assert np.corrcoef(fitted, drawn)[0, 1] > 0.8


def test_rest_has_no_expression(shape: FaceShape) -> None:
    assert not shape.expression(shape.resting).any()


def test_a_direction_sums_both_sides(shape: FaceShape) -> None:
    both = shape.direction("eyeBlink")
    rows = [BLENDSHAPES.index("eyeBlinkLeft"), BLENDSHAPES.index("eyeBlinkRight")]
    np.testing.assert_allclose(both, shape.weights[rows].sum(0))


def test_level_curves() -> None:
    rng = np.random.default_rng(0)
    times_s = np.arange(FIELDS + 1, dtype=np.float32) * 0.1
    assert (level_curve("apex", times_s, rng) == 1).all()
    onsets = np.stack([level_curve("onset", times_s, rng) for _ in range(200)])
    offsets = np.stack([level_curve("offset", times_s, rng) for _ in range(200)])
    assert (np.diff(onsets) >= -1e-6).all() and (np.diff(offsets) <= 1e-6).all()
    for curves in (onsets, offsets):
        assert curves.min() >= 0 and curves.max() <= 1
    assert onsets[:, -1].min() > 0.7 and offsets[:, -1].max() < 0.3
    assert onsets[:, 0].mean() < 0.2 and offsets[:, 0].mean() > 0.8


def test_clips_end_at_their_level(tiny: FerPlus, shape: FaceShape) -> None:
    maker = MotionMaker(tiny, shape, seed=0)
    for kind in KINDS:
        clip = maker.clip(ROW, kind, crop_px=48)
        assert len(clip.motion_crops) == len(clip.crops) == FIELDS + 1
        assert clip.motion_crops[0].shape == (64, 64) and clip.crops[0].shape == (48, 48)
        assert clip.gap_s in GAPS_S
        assert (clip.level < 0.5) == (kind == "offset")
    assert maker.clip(ROW, "apex").level == 1 and not maker.clip(ROW, "apex").crops


def test_a_seed_repeats_the_stacks(tiny: FerPlus, shape: FaceShape) -> None:
    first, again, other = (
        MotionMaker(tiny, shape, seed).stack(ROW, "onset")[0] for seed in (0, 0, 1)
    )
    assert first.shape == (2 * FIELDS, MOTION_FIELD_PX, MOTION_FIELD_PX)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_an_onset_moves_towards_the_expression(tiny: FerPlus, shape: FaceShape) -> None:
    """Summed motion follows the expression's own landmark shifts; an offset goes back."""
    maker = MotionMaker(tiny, shape, seed=0)
    landmarks = aligned_landmarks(tiny)
    agreement: dict[str, list[float]] = {"onset": [], "offset": []}
    for row in np.flatnonzero(tiny.seen & (tiny.majority > 0))[::4]:
        cells = np.clip(landmarks[row] / 2, 0, MOTION_FIELD_PX - 1).astype(int)
        wanted = shape.expression(tiny.blendshapes[row])
        for kind, found in agreement.items():
            fields = maker.stack(int(row), kind)[0].reshape(FIELDS, 2, 32, 32).sum(0)
            there = fields[:, cells[:, 1], cells[:, 0]].T
            found.append(float((there * wanted).sum()))
    assert np.mean(np.array(agreement["onset"]) > 0) > 0.8
    assert np.mean(np.array(agreement["offset"]) < 0) > 0.8


def test_the_target_is_neutral_as_far_as_the_expression_is_off() -> None:
    votes = np.array([0.2, 0.8, 0, 0, 0, 0, 0, 0], np.float32)
    np.testing.assert_allclose(motion_target(votes, 1.0), votes)
    np.testing.assert_allclose(motion_target(votes, 0.0), [1, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(motion_target(votes, 0.5)[:2], [0.6, 0.4])
    assert votes[0] == np.float32(0.2), "the votes themselves stay"


def test_a_motion_set_survives_the_disk(tmp_path: Path, tiny: FerPlus, shape: FaceShape) -> None:
    made = make_motion_set(tiny, shape, [0, 40, 40], seed=0)
    np.savez(tmp_path / "train.npz", **made.__dict__)
    stored = load_motion_set(tmp_path / "train.npz")
    for name, value in made.__dict__.items():
        np.testing.assert_array_equal(stored.__dict__[name], value)
    assert stored.motion.dtype == np.float16 and stored.photograph.tolist() == [0, 40, 40]
    np.testing.assert_allclose(stored.target.sum(1), 1, rtol=1e-5)
    with pytest.raises(FileNotFoundError):
        load_motion_set(tmp_path / "test.npz")
