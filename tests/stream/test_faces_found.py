"""Faces of all sizes, cut off, turned and many, and pictures that show none.

The faces are the sample's photograph, placed, scaled and cut.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.stream.faces.align import crop_matrix
from ferstream.stream.faces.detect import FaceDetector, find_meshes
from ferstream.stream.faces.head import MEAN_HEAD, posed_head
from ferstream.stream.faces.mesh import FaceMesh, Mesh, Region
from ferstream.stream.faces.options import FaceOptions
from ferstream.stream.faces.quality import pose_deg
from ferstream.stream.faces.track import FaceTracker
from ferstream.stream.frame import Frame
from ferstream.stream.sources.sample import SampleSource
from ferstream.training.datasets.faceless import faceless_pictures

from .footage import Picture, canvas

Networks = tuple[FaceDetector, FaceMesh]


@pytest.fixture(scope="module")
def networks() -> Iterator[Networks]:
    detector, mesh = FaceDetector(), FaceMesh(workers=2)
    yield detector, mesh
    mesh.close()
    detector.close()


@pytest.fixture(scope="module")
def smile() -> Picture:
    """The sample where she smiles, (480, 640, 3)."""
    return next(f.pixels for f in SampleSource().frames() if f.time_s > 1.4)


@pytest.fixture(scope="module")
def whole(smile: Picture, networks: Networks) -> Mesh:
    (mesh,) = faces(smile, networks)
    return mesh


def faces(rgb: Picture, networks: Networks) -> list[Mesh]:
    detector, mesh = networks
    return find_meshes(rgb, detector.detect(rgb, thorough=True), mesh, detector)


def around(rgb: Picture, mesh: Mesh, margin: float) -> tuple[Picture, tuple[int, int]]:
    """The face's box with `margin` of its width about it (below 0: cut off), and its corner."""
    low, high = mesh.xy.min(0), mesh.xy.max(0)
    rim = margin * (high[0] - low[0])
    left, top = np.maximum(low - rim, 0).astype(int)
    right, bottom = (high + rim).astype(int)
    return np.ascontiguousarray(rgb[top:bottom, left:right]), (int(left), int(top))


@pytest.mark.parametrize("margin", [1.0, 0.5, 0.25, 0.1, 0.0, -0.08])
@pytest.mark.parametrize("width", [90, 376, 900])
def test_a_face_that_fills_the_picture_is_found_where_it_is(
    smile: Picture, whole: Mesh, networks: Networks, margin: float, width: int
) -> None:
    part, corner = around(smile, whole, margin)
    scale = width / part.shape[1]
    near = np.asarray(cv2.resize(part, None, fx=scale, fy=scale), np.uint8)
    (found,) = faces(near, networks)
    apart = np.linalg.norm(found.xy / scale + corner - whole.xy, axis=1).mean()
    assert apart < 0.08 * np.ptp(whole.xy[:, 0])


def gallery(smile: Picture, whole: Mesh, sizes: tuple[int, ...]) -> Picture:
    """Five by five faces of these widths in turn, 1920 x 1080."""
    ground = canvas(1920, 1080)
    part, _ = around(smile, whole, 0.45)
    for place in range(25):
        share = sizes[place % len(sizes)] / np.ptp(whole.xy[:, 0])
        small = cv2.resize(part, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        rows, columns = small.shape[:2]
        top, left = 216 * (place // 5) + 20, 384 * (place % 5) + 120
        ground[top : top + rows, left : left + columns] = small
    return ground


@pytest.mark.parametrize("sizes", [(91, 57), (57,)])
def test_a_gallery_shows_all_its_faces(
    smile: Picture, whole: Mesh, networks: Networks, sizes: tuple[int, ...]
) -> None:
    tracker = FaceTracker(detector=networks[0], mesh=networks[1])
    found = tracker.update(Frame(gallery(smile, whole, sizes), 0.0, 0, "gallery"))
    assert len(found) == 25


def test_a_recordings_scenes_show_their_faces_from_the_first_frame(
    smile: Picture, whole: Mesh, networks: Networks
) -> None:
    """Small ones too, and right after another scene, though the next frames would show them."""
    tracker = FaceTracker(detector=networks[0], mesh=networks[1])
    shown = [gallery(smile, whole, (44,)), np.asarray(cv2.resize(smile, (1920, 1080)), np.uint8)]
    counts = [
        len(tracker.update(Frame(picture, n / 25, n, "clip", ahead=True, dense=True)))
        for n, picture in enumerate(shown)
    ]
    assert counts[0] >= 24
    assert counts[1] == 1


def test_small_faces_may_be_left_out(smile: Picture, whole: Mesh, networks: Networks) -> None:
    picture = gallery(smile, whole, (91, 57))
    tracker = FaceTracker(FaceOptions(min_face_px=75), *networks)
    found = tracker.update(Frame(picture, 0.0, 0, "gallery"))
    assert len(found) == 13
    assert all(face.box[2] > 80 for face in found)


def test_too_many_faces_are_counted(smile: Picture, whole: Mesh, networks: Networks) -> None:
    picture = gallery(smile, whole, (91, 57))
    tracker = FaceTracker(FaceOptions(max_faces=10), *networks)
    found = tracker.update(Frame(picture, 0.0, 0, "gallery"))
    assert len(found) == 10
    assert all(face.box[2] > 80 for face in found), "the largest come first"
    assert tracker.left_out == 15


def test_what_is_no_face_is_not_found(networks: Networks) -> None:
    counts = [len(faces(picture, networks)) for picture in faceless_pictures(80)]
    assert sum(counts) == 0


def turned(yaw_deg: float, pitch_deg: float, roll_deg: float) -> NDArray[np.float64]:
    """The mean head turned, 200 pixels from ear to ear, somewhere in a picture (468, 3)."""
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_y = [[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    about_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    turn = np.array(about_z) @ np.array(about_y) @ np.array(about_x)
    return np.asarray(200 * MEAN_HEAD @ turn.T + [300, 250, 0], np.float64)


@pytest.mark.parametrize("yaw", [-80, -40, 0, 30, 60])
@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (20, -30), (-15, 170)])
def test_a_detectors_points_pose_the_head(yaw: float, pitch: float, roll: float) -> None:
    head = turned(yaw, pitch, roll)
    named = ((33, 133), (362, 263), (4,), (13, 14), (234,), (454,))
    points_xy = np.array([head[list(of), :2].mean(0) for of in named])
    posed = posed_head(points_xy)
    np.testing.assert_allclose(posed[:, :2], head[:, :2], atol=0.5)
    depth = posed[:, 2] - posed[:, 2].mean() - (head[:, 2] - head[:, 2].mean())
    np.testing.assert_allclose(depth, 0, atol=0.5)
    assert pose_deg(posed) == pytest.approx(pose_deg(head.astype(np.float32)), abs=0.5)


@pytest.mark.parametrize("roll_deg", [-25, 0, 25])
def test_a_posed_head_is_cropped_as_the_mesh_is(
    smile: Picture, networks: Networks, roll_deg: float
) -> None:
    """Both crops show the face at the template's place, size and angle."""
    turn = cv2.getRotationMatrix2D((320, 240), roll_deg, 1.0)
    rgb = np.asarray(cv2.warpAffine(smile, turn, (640, 480)), np.uint8)
    (mesh,) = faces(rgb, networks)
    closer = networks[0].look_closer(rgb, Region.around(mesh.xy))
    assert closer is not None and closer.score > 0.8
    matrices = [crop_matrix(xy, 1) for xy in (mesh.xy, posed_head(closer.points_xy)[:, :2])]
    corners = np.array([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]])
    back = cv2.invertAffineTransform(matrices[0])
    again = (corners @ back[:, :2].T + back[:, 2]) @ matrices[1][:, :2].T + matrices[1][:, 2]
    assert np.linalg.norm(again - corners, axis=1).max() < 0.1


@pytest.mark.parametrize("turn_deg", [90, 180, 270])
def test_a_clip_that_is_not_upright_is_found_out_once(
    smile: Picture, whole: Mesh, networks: Networks, turn_deg: int
) -> None:
    """Places are those of the frame as it is; the crop is upright."""
    small = canvas(640, 480)
    small[120:360, 160:480] = cv2.resize(smile, (320, 240), interpolation=cv2.INTER_AREA)
    rgb = np.ascontiguousarray(np.rot90(small, turn_deg // 90))
    tracker = FaceTracker(detector=networks[0], mesh=networks[1])
    empty = canvas(rgb.shape[1], rgb.shape[0])
    assert tracker.update(Frame(empty, 0.0, 0, "turned")) == []
    (face,) = tracker.update(Frame(rgb, 0.1, 1, "turned"))
    upright = whole.xy / 2 + (160, 120)
    back = np.rot90(np.arange(640 * 480).reshape(480, 640), turn_deg // 90)
    at = back[tuple(np.rint(face.landmarks_xy).astype(int).T[::-1])]
    apart = np.linalg.norm(np.stack([at % 640, at // 640], 1) - upright, axis=1)
    assert apart.mean() < 0.05 * np.ptp(upright[:, 0])
    assert tracker._search._turn_deg == turn_deg
    (again,) = tracker.update(Frame(rgb, 0.2, 2, "turned"))
    assert again.id == face.id


def test_an_upside_down_face_is_found_without_being_told(
    smile: Picture, networks: Networks
) -> None:
    rgb = np.ascontiguousarray(smile[::-1, ::-1])
    tracker = FaceTracker(detector=networks[0], mesh=networks[1])
    (face,) = tracker.update(Frame(rgb, 0.0, 0, "turned"))
    (whole,) = FaceTracker(detector=networks[0], mesh=networks[1]).update(Frame(smile, 0, 0, "x"))
    assert np.abs(face.crop.astype(int) - whole.crop).mean() < 8
    assert face.quality.score > 0.8 * whole.quality.score
