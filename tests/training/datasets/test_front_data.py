"""What the face front end learns from: exact geometry of views, scenes and cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ferstream.stream.faces.head import MEAN_HEAD
from ferstream.stream.faces.own import decoded
from ferstream.stream.faces.points import IRISES, MIRRORED, POINTS, angles_deg, head_turn
from ferstream.training.datasets.point_faces import PointFaces, joined, load_point_faces
from ferstream.training.datasets.scenes import box_of, five_of
from ferstream.training.learning.draws import Draw
from ferstream.training.learning.front_images import Offset, PointViews, cell_targets, mirrored

Points = npt.NDArray[np.float32]


def head_points(scale: float = 60.0, yaw_deg: float = 0.0) -> Points:
    """The mean head's points (106, 2), its irises between the eyes' corners."""
    yaw = np.radians(yaw_deg)
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    head = (MEAN_HEAD @ turn.T)[:, :2] * scale + 50
    mesh = head[list(POINTS[: -len(IRISES)])]
    irises = [head[[33, 133]].mean(0), head[[362, 263]].mean(0)]
    return np.asarray(np.concatenate([mesh, irises]), np.float32)


@pytest.fixture(scope="module")
def faces() -> PointFaces:
    """Three pictures of a gradient, so that where something is can be read off its grey."""
    row = np.linspace(0, 240, 100)
    picture = np.broadcast_to(row, (100, 100)).astype(np.uint8)
    points = np.stack([head_points(50 + 5 * at) for at in range(3)])
    return PointFaces(
        [picture, picture[:, ::-1].copy(), picture.T.copy()],
        points,
        np.array([True, False, True]),
        np.array([[10, 5, 0], [0, 0, 0], [-20, 3, 2]], np.float32),
        np.array([[0.9, 0.1], [np.nan, np.nan], [1, 1]], np.float32),
        np.array([0, 1, 3], np.int8),
    )


def test_kept_faces_are_read_as_they_were(faces: PointFaces, tmp_path: Path) -> None:
    longer = joined([faces, replace(faces, pictures=[p[:40] for p in faces.pictures])])
    longer.save(tmp_path / "faces.npz")
    read = load_point_faces(tmp_path / "faces.npz")
    assert [p.shape for p in read.pictures] == [p.shape for p in longer.pictures]
    assert all((a == b).all() for a, b in zip(read.pictures, longer.pictures, strict=True))
    np.testing.assert_array_equal(read.points_xy, longer.points_xy)
    assert len(read.of("wild")) == 2


def test_points_of_a_view_lie_where_the_picture_shows_them(faces: PointFaces) -> None:
    views = PointViews(faces, 64, varied=False)
    item = views[Draw(0, 0)]
    crop, points = item["crop"][0, 0].numpy(), item["points"][0].numpy()
    inside = (np.abs(points) < 0.48).all(1)
    place = ((points[inside] + 0.5) * 64 - 0.5).round().astype(int)
    shown = crop[place[:, 1], place[:, 0]].astype(float)
    wanted = faces.points_xy[0][inside, 0] / 99 * 240
    assert inside.sum() > 90
    assert np.abs(shown - wanted).max() < 3


def test_a_turned_view_turns_the_roll_and_keeps_the_rest(faces: PointFaces) -> None:
    views = PointViews(faces, 64, varied=False)
    rng = np.random.default_rng(0)
    _, plain, pose = views._view(0, Offset(), rng)
    _, turned, turned_pose = views._view(0, Offset(turn_deg=20), rng)
    assert turned_pose - pose == pytest.approx([0, 0, -20])
    found, was = angles_deg(head_turn(turned)), angles_deg(head_turn(plain))
    assert np.subtract(found, was) == pytest.approx([0, 0, -20], abs=0.5)


def test_a_mirror_swaps_sides_and_turns_yaw_and_roll() -> None:
    points = head_points(60, yaw_deg=25)
    crop = np.arange(100 * 100, dtype=np.uint32).reshape(100, 100).astype(np.uint8)
    pose = np.array([25, 4, 7], np.float32)
    other, moved, turned = mirrored(crop, points, pose)
    assert turned.tolist() == [-25, 4, -7]
    assert angles_deg(head_turn(moved))[0] == pytest.approx(
        -angles_deg(head_turn(points))[0], abs=1
    )
    back = mirrored(other, moved, turned)
    np.testing.assert_array_equal(back[0], crop)
    np.testing.assert_allclose(back[1], points, atol=1e-4)
    assert (MIRRORED[MIRRORED] == np.arange(len(POINTS))).all()


def test_varied_views_follow_from_their_draw_and_some_show_no_face(faces: PointFaces) -> None:
    views = PointViews(faces, 64, varied=True)
    first, again = (views[Draw(1, 7)] for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)
    items = [views[Draw(at % 3, at)] for at in range(60)]
    present = [bool(item["present"].all()) for item in items]
    assert 0 < present.count(False) < 30
    for item, here in zip(items, present, strict=True):
        assert bool(item["known"].any()) == here
        assert item["crop"].shape == (2, 1, 64, 64)
    unknown = [item for item, at in zip(items, range(60), strict=True) if at % 3 == 1]
    assert all(not item["opening_known"].any() for item in unknown)


@pytest.mark.parametrize("width", [9.0, 24.0, 70.0, 120.0])
def test_cells_say_what_is_read_off_them(width: float) -> None:
    """Targets, taken for a network's sure answer, are read as the faces that they stand for."""
    points = head_points(width)
    points += 64 - points.mean(0)
    box, five = box_of(points), five_of(points)
    targets = cell_targets(box[None], five[None], 128)
    assert (targets.face == 1).any()
    told = {
        "score": np.where(targets.face == 1, 8.0, -8.0)[None].astype(np.float32),
        "box": targets.box[None],
        "points": targets.points[None],
    }
    (one,) = decoded(told, (128, 128), 0.5)
    assert one.box == pytest.approx(box, abs=1e-3)
    np.testing.assert_allclose(one.points, five, atol=1e-3)


def test_two_faces_are_told_apart_and_none_wants_nothing() -> None:
    near, far = head_points(40) - 20, head_points(20) + 50
    boxes, fives = (np.stack([part(p) for p in (near, far)]) for part in (box_of, five_of))
    targets = cell_targets(boxes, fives, 160)
    told = {
        "score": np.where(targets.face == 1, 8.0, -8.0)[None].astype(np.float32),
        "box": targets.box[None],
        "points": targets.points[None],
    }
    assert len(decoded(told, (160, 160), 0.5)) == 2
    empty = cell_targets(boxes[:0], fives[:0], 160)
    assert not empty.face.any()
