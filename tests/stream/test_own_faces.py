"""The project's own front end around its networks: crops, places, cells, meshes; exact geometry."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from ferstream.engines.contract import Array, Tensors
from ferstream.stream.faces.head import MEAN_HEAD
from ferstream.stream.faces.own import (
    CROP_PX,
    DETECTOR,
    LANDMARKS,
    UNIT,
    OwnDetector,
    OwnLandmarks,
    cells,
    mesh_of_points,
)
from ferstream.stream.faces.points import IRISES, PLACE, POINTS, square_around
from ferstream.stream.faces.quality import pose_deg

from ..engines.function import FunctionEngine

_KNOWN = list(POINTS[: -len(IRISES)])


def points_of(mesh: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:  # type: ignore[type-arg]
    """The network's points (106, 2) of a mesh (468, 3)."""
    eyes = [mesh[[33, 133], :2].mean(0), mesh[[362, 263], :2].mean(0)]
    return np.concatenate([mesh[_KNOWN, :2], eyes]).astype(np.float32)


def turned_head(yaw_deg: float, pitch_deg: float, scale: float) -> npt.NDArray[np.float64]:
    """The mean head (468, 3) turned, in pixels."""
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    about_y = [[math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0], [math.sin(yaw), 0, math.cos(yaw)]]
    about_x = [
        [1, 0, 0],
        [0, math.cos(pitch), -math.sin(pitch)],
        [0, math.sin(pitch), math.cos(pitch)],
    ]
    return np.asarray(scale * MEAN_HEAD @ (np.array(about_x) @ about_y).T + [80, 70, 0])


class Landmarks:
    """A network that says the same points of every crop, and keeps what it was shown."""

    def __init__(self, points: npt.NDArray[np.float32]) -> None:
        self.points, self.crops = points, np.zeros((0, 1, CROP_PX, CROP_PX), np.uint8)
        self.engine = FunctionEngine(LANDMARKS, self.run)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.crops = inputs["crop"]
        count = len(self.crops)
        return {
            "points": np.tile(self.points, (count, 1, 1)),
            "presence": np.full((count, 1), 2.0, np.float32),
            "pose": np.tile(np.array([10, -5, 3], np.float32), (count, 1)),
            "opening": np.tile(np.array([0.2, 0.9], np.float32), (count, 1)),
        }


@pytest.mark.parametrize("roll", [0.0, 0.6, -2.5])
def test_points_are_told_in_the_frame_and_crops_show_the_square(roll: float) -> None:
    y, x = np.mgrid[0:120, 0:160]
    frame = np.stack([x, y, x + y], axis=-1).astype(np.uint8)
    corners = np.array([[0, 0], [-0.25, 0], [0, 0.25], [0.4, 0.4]])
    network = Landmarks(np.resize(corners, (len(POINTS), 2)).astype(np.float32))
    square = (80.0, 60.0, 50.0, roll)
    found = OwnLandmarks(network.engine).run(frame, [square, (30.0, 40.0, 20.0, 0.0)])
    cos, sin = math.cos(roll), math.sin(roll)
    turn = np.array([[cos, -sin], [sin, cos]])
    wanted = corners @ turn.T * 50 + [80, 60]
    np.testing.assert_allclose(found[0].points_xy[:4], wanted, atol=0.01)
    assert found[0].presence == pytest.approx(1 / (1 + math.exp(-2)))
    yaw, pitch, in_frame = found[0].pose_deg
    assert (yaw, pitch) == (10, -5)
    assert in_frame == pytest.approx(3 + math.degrees(roll))
    assert len(network.crops) == 2
    grey = 0.299 * x + 0.587 * y + 0.114 * (x + y)
    for at, place in enumerate(wanted):
        column, row = ((corners[at] + 0.5) * CROP_PX - 0.5).round().astype(int)
        shown = float(network.crops[0, 0, row, column])
        there = grey[int(place[1].round()), int(place[0].round())]
        assert shown == pytest.approx(there, abs=2)


def test_any_square_of_any_picture_is_read() -> None:
    """At the edge, beyond it, of one pixel, as large as 8K: one batch, no error."""
    network = Landmarks(np.zeros((len(POINTS), 2), np.float32))
    landmarks = OwnLandmarks(network.engine)
    assert landmarks.run(np.zeros((4, 4, 3), np.uint8), []) == []
    for shape in ((1, 1, 3), (5, 3000, 3), (4320, 7680)):
        picture = np.full(shape, 90, np.uint8)
        height, width = shape[:2]
        squares = [
            (0.0, 0.0, 10.0, 0.3),
            (width * 2.0, -height, 40.0, 0.0),
            (width / 2, height / 2, 2.0 * max(width, height), 1.0),
            (width / 2, height / 2, 0.0, 0.0),
        ]
        found = landmarks.run(picture, squares)
        assert all(np.isfinite(one.points_xy).all() for one in found)
        assert (network.crops == 90).all()


def test_large_faces_are_averaged_not_sampled() -> None:
    """A fine pattern much smaller than a crop's pixel comes out as its mean."""
    y, x = np.mgrid[0:2000, 0:2000]
    picture = (255 * ((x + y) % 2)).astype(np.uint8)
    network = Landmarks(np.zeros((len(POINTS), 2), np.float32))
    OwnLandmarks(network.engine).run(picture, [(1000.0, 1000.0, 1500.0, 0.2)])
    assert np.abs(network.crops.astype(int) - 127).max() <= 3


@pytest.mark.parametrize(("yaw_deg", "pitch_deg"), [(0, 0), (35, 0), (-50, 12)])
def test_the_filled_mesh_is_the_head_that_the_points_are_of(
    yaw_deg: float, pitch_deg: float
) -> None:
    mesh = turned_head(yaw_deg, pitch_deg, 60)
    told = pose_deg(mesh.astype(np.float32))
    filled = mesh_of_points(points_of(mesh))
    # The mean head's own lean, which poses are told without, tilts what is filled in.
    assert np.linalg.norm(filled[:, :2] - mesh[:, :2], axis=1).max() < 0.03 * 60
    np.testing.assert_allclose(filled[_KNOWN, :2], mesh[_KNOWN, :2], atol=0.012 * 60)
    assert pose_deg(filled)[0] == pytest.approx(told[0], abs=4)


def test_a_moved_mouth_takes_its_surroundings_along() -> None:
    mesh = turned_head(0, 0, 60)
    points = points_of(mesh)
    lips = [PLACE[number] for number in (17, 84, 314, 14, 178, 402)]
    points[lips, 1] += 6
    filled = mesh_of_points(points)
    moved = np.linalg.norm(filled[:, :2] - mesh_of_points(points_of(mesh))[:, :2], axis=1)
    assert moved[17] > 3
    assert moved[18] > 1  # beside the lower lip, and none of the network's own
    assert moved[10] < 0.6


def test_a_square_is_about_the_mesh_alone() -> None:
    points = points_of(turned_head(0, 0, 60))
    far = points.copy()
    far[-2:] = 900  # unknown irises
    assert square_around(points) == square_around(far)
    x, y, side, roll = square_around(points)
    assert abs(roll) < 0.01
    low, high = points.min(0), points.max(0)
    assert (x, y) == pytest.approx(tuple((low + high) / 2), abs=0.2)
    assert side == pytest.approx(1.3 * float((high - low).max()), rel=1e-3)


def test_detections_are_told_in_the_frame() -> None:
    """One cell speaks; where it lies in a reduced, padded picture is where it lies in the frame."""
    seen: list[tuple[int, ...]] = []

    def run(inputs: Tensors) -> dict[str, Array]:
        height, width = inputs["picture"].shape[2:]
        seen.append((height, width))
        centres, _ = cells(height, width)
        score = np.full((1, len(centres)), -9.0, np.float32)
        (at,) = np.flatnonzero((centres == [99.5, 51.5]).all(1))
        score[0, at] = 3
        box = np.zeros((1, len(centres), 4), np.float32)
        return {
            "score": score,
            "box": box,
            "points": np.zeros((1, len(centres), 5, 2), np.float32),
        }

    frame = np.zeros((720, 1280, 3), np.uint8)
    (found,) = OwnDetector(FunctionEngine(DETECTOR, run), longer_px=320).detect(frame)
    assert seen == [(192, 320)]
    x, y, width, height = found.box
    assert (width, height) == pytest.approx((128, 128))
    assert (x + width / 2, y + height / 2) == pytest.approx((399.5, 207.5))
    assert found.score == pytest.approx(1 / (1 + math.exp(-3)))
    assert found.square[:3] == pytest.approx((399.5, 207.5, 1.3 * 128))


def test_what_many_cells_say_of_one_face_is_one_detection() -> None:
    def run(inputs: Tensors) -> dict[str, Array]:
        height, width = inputs["picture"].shape[2:]
        centres, strides = cells(height, width)
        score = np.full((1, len(centres)), -9.0, np.float32)
        box = np.zeros((1, len(centres), 4), np.float32)
        for face in ([60.0, 60.0], [100.0, 30.0]):
            near = (np.abs(centres - face).max(1) < 9) & (strides == 8)
            score[0, near] = 2
            box[0, near, :2] = (face - centres[near]) / (UNIT * strides[near, None])
        return {
            "score": score,
            "box": box,
            "points": np.zeros((1, len(centres), 5, 2), np.float32),
        }

    detector = OwnDetector(FunctionEngine(DETECTOR, run))
    assert len(detector.detect(np.zeros((128, 128), np.uint8))) == 2
    assert detector.least_score == 0.5
