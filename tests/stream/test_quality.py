"""Quality: each part falls with what it is meant to measure."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ferstream.stream.clip import MOTION_CROP_PX
from ferstream.stream.faces.align import crop
from ferstream.stream.faces.detect import FaceDetector, find_meshes
from ferstream.stream.faces.mesh import FaceMesh, Mesh
from ferstream.stream.faces.quality import Quality, clear_features, measure, pose_deg, sharpness

from .footage import Picture, frames_of


def look(networks: tuple[FaceDetector, FaceMesh], rgb: Picture) -> list[Mesh]:
    return find_meshes(rgb, networks[0].detect(rgb), networks[1], networks[0])


def quality(rgb: Picture, mesh: Mesh) -> Quality:
    return measure(mesh.landmarks, crop(rgb, mesh.xy, MOTION_CROP_PX), mesh.presence)


def test_a_good_view_scores_high_and_spoiled_ones_low(
    clips_dir: Path, networks: tuple[FaceDetector, FaceMesh]
) -> None:
    rgb = next(frames_of(clips_dir / "single_face.mp4")).pixels
    (mesh,) = look(networks, rgb)
    good = quality(rgb, mesh)
    blurred = quality(np.asarray(cv2.GaussianBlur(rgb, (0, 0), 8), np.uint8), mesh)
    dark = quality((rgb // 25).astype(np.uint8), mesh)
    assert good.score > 0.8
    assert good.sharpness > 0.7
    assert blurred.sharpness < 0.4
    assert blurred.score < good.score - 0.1
    assert dark.score < good.score / 2
    assert 140 < good.size_px < 170


def test_sharpness_falls_with_blur_but_not_with_contrast(
    clips_dir: Path, networks: tuple[FaceDetector, FaceMesh]
) -> None:
    rgb = next(frames_of(clips_dir / "smiling_man.mp4")).pixels
    (mesh,) = look(networks, rgb)
    sharp = crop(rgb, mesh.xy, MOTION_CROP_PX)
    blurs = [np.asarray(cv2.GaussianBlur(sharp, (0, 0), s), np.uint8) for s in (0.5, 1, 2, 4)]
    values = [sharpness(picture) for picture in (sharp, *blurs)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.25 < values[0]
    pale = (128 + (sharp.astype(int) - 128) * 0.7).astype(np.uint8)
    assert sharpness(pale) == pytest.approx(values[0], abs=0.1)
    assert sharpness(np.full((64, 64), 7, np.uint8)) == 0


def test_two_people_turned_as_they_are(
    clips_dir: Path, networks: tuple[FaceDetector, FaceMesh]
) -> None:
    rgb = next(frames_of(clips_dir / "two_faces.mp4")).pixels
    left, right = sorted(look(networks, rgb), key=lambda mesh: float(mesh.xy[0, 0]))
    assert pose_deg(left.landmarks)[0] < -20  # she looks out of the picture, to its left
    assert 5 < pose_deg(right.landmarks)[0] < 25


def test_yaw_changes_sign_in_the_mirror(
    clips_dir: Path, networks: tuple[FaceDetector, FaceMesh]
) -> None:
    rgb = next(frames_of(clips_dir / "book.mkv")).pixels
    (mesh,) = look(networks, rgb)
    (mirrored,) = look(networks, np.ascontiguousarray(rgb[:, ::-1]))
    yaw, pitch = pose_deg(mesh.landmarks)
    mirrored_yaw, mirrored_pitch = pose_deg(mirrored.landmarks)
    assert yaw < -5
    assert mirrored_yaw == pytest.approx(-yaw, abs=4)
    assert mirrored_pitch == pytest.approx(pitch, abs=6)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 0, 0), (-20, 15, 25)])
def test_pose_of_a_flat_face_is_how_it_was_turned(yaw: float, pitch: float, roll: float) -> None:
    flat = np.zeros((468, 3), np.float32)
    flat[33], flat[263] = (-3, -2, 0), (3, -2, 0)
    flat[234], flat[454] = (-5, 0, 0), (5, 0, 0)
    flat[10], flat[152] = (0, -6, 0), (0, 6, 0)
    y, p, r = np.radians([yaw, pitch, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    turned = (flat @ (about_z @ about_y @ about_x).T).astype(np.float32)
    got_yaw, got_pitch = pose_deg(turned)
    assert got_yaw == pytest.approx(yaw, abs=8)
    assert got_pitch == pytest.approx(pitch, abs=8)


def test_gradients_are_those_of_opencv() -> None:
    if not hasattr(cv2, "HOGDescriptor"):
        pytest.skip("OpenCV 5 has no HOGDescriptor")
    its = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9)
    random = np.random.default_rng(0)
    slope = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    smooth = cv2.GaussianBlur(random.integers(0, 256, (64, 64), np.uint8), (0, 0), 4)
    for picture in (random.integers(0, 256, (64, 64), np.uint8), smooth, slope, slope.T.copy()):
        found = clear_features(picture)
        np.testing.assert_allclose(found, np.ravel(its.compute(picture)), atol=1e-5)
    assert not clear_features(np.full((64, 64), 9, np.uint8)).any()
