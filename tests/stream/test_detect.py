"""Detection, the mesh, and the quiet start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from ferstream.stream.faces.detect import FaceDetector, find_meshes, overlap
from ferstream.stream.faces.graphs import quiet
from ferstream.stream.faces.mesh import FaceMesh, Region

from .footage import frames_of


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    detector = FaceDetector()
    yield detector
    detector.close()


@pytest.fixture(scope="module")
def mesh() -> Iterator[FaceMesh]:
    mesh = FaceMesh(workers=2)
    yield mesh
    mesh.close()


@pytest.mark.parametrize(
    ("clip", "faces"),
    [("single_face.mp4", 1), ("two_faces.mp4", 2), ("three_faces.mp4", 3), ("no_face.mp4", 0)],
)
def test_finds_the_faces_of_a_picture(
    clips_dir: Path, detector: FaceDetector, clip: str, faces: int
) -> None:
    rgb = next(frames_of(clips_dir / clip)).pixels
    assert len(detector.detect(rgb, thorough=True)) == faces


def test_tiles_find_what_the_whole_picture_hides(clips_dir: Path, detector: FaceDetector) -> None:
    rgb = next(frames_of(clips_dir / "single_face.mp4")).pixels
    small = cv2.resize(rgb, (160, 90), interpolation=cv2.INTER_AREA)  # a face of 40 pixels
    large = np.full((720, 1280, 3), 110, np.uint8)
    large[500:590, 900:1060] = small
    assert detector.detect(large) == []
    (found,) = detector.detect(large, thorough=True)
    x, y, width, height = found.box
    assert 940 < x + width / 2 < 1010
    assert 520 < y + height / 2 < 580


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (30, 30), (4320, 7680)])
def test_odd_sizes_hold_no_face(
    detector: FaceDetector, mesh: FaceMesh, shape: tuple[int, int]
) -> None:
    rgb = np.full((*shape, 3), 90, np.uint8)
    assert detector.detect(rgb, thorough=True) == []
    (empty,) = mesh.run(rgb, [Region(0, 0, 20, 0)])
    assert empty.presence < 0.5


@pytest.mark.parametrize("roll_deg", [-30.0, 0.0, 30.0])
def test_landmarks_follow_the_picture(
    clips_dir: Path, detector: FaceDetector, mesh: FaceMesh, roll_deg: float
) -> None:
    """The same face turned gives the same landmarks, turned."""
    rgb = next(frames_of(clips_dir / "single_face.mp4")).pixels
    turn = cv2.getRotationMatrix2D((320, 180), roll_deg, 1.0)
    turned = np.asarray(cv2.warpAffine(rgb, turn, (640, 360)), np.uint8)
    (straight,) = find_meshes(rgb, detector.detect(rgb), mesh, detector)
    (rolled,) = find_meshes(turned, detector.detect(turned), mesh, detector)
    expected = straight.xy @ turn[:, :2].T + turn[:, 2]
    apart = np.linalg.norm(rolled.xy - expected, axis=1)
    assert straight.presence > 0.9
    assert apart.mean() < 0.03 * np.ptp(straight.xy[:, 0])


def test_mesh_agrees_with_the_ready_made_solution(
    clips_dir: Path, detector: FaceDetector, mesh: FaceMesh
) -> None:
    rgb = next(frames_of(clips_dir / "single_face.mp4")).pixels
    with quiet():
        import mediapipe as mp

        with mp.solutions.face_mesh.FaceMesh(max_num_faces=1) as solution:
            for _ in range(3):
                landmarks = solution.process(rgb).multi_face_landmarks[0].landmark
    theirs = np.array([(point.x * 640, point.y * 360) for point in landmarks])
    (ours,) = find_meshes(rgb, detector.detect(rgb), mesh, detector)
    assert np.abs(ours.xy - theirs).mean() < 0.01 * np.ptp(theirs[:, 0])


def test_many_regions_give_what_each_gives_alone(
    clips_dir: Path, detector: FaceDetector, mesh: FaceMesh
) -> None:
    rgb = next(frames_of(clips_dir / "three_faces.mp4")).pixels
    regions = [found.region for found in detector.detect(rgb)]
    together = mesh.run(rgb, regions)
    assert len(together) == 3
    for region, one in zip(regions, together, strict=True):
        (alone,) = mesh.run(rgb, [region])
        np.testing.assert_array_equal(alone.landmarks, one.landmarks)


def test_overlap_is_the_smaller_ones_covered_share() -> None:
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(0.5)
    assert overlap((0, 0, 10, 10), (2, 2, 4, 4)) == pytest.approx(1.0)
    assert overlap((0, 0, 10, 10), (20, 0, 10, 10)) == 0
    assert overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_hushed_holds_back_chatter_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="boom"), quiet():
        os.write(2, b"W0000 00:00:17.1 12 some_file.cc:114] chatter\n")
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        print("ours", file=sys.stderr)
        os.write(2, b"E0000 00:00:17.1 12 some_file.cc:114] an error\n")
        raise RuntimeError("boom")
    os.write(2, b"after\n")
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["ours", "E0000 00:00:17.1 12 some_file.cc:114] an error", "after"]


@pytest.mark.mediapipe
def test_start_is_silent(repository: Path) -> None:
    code = (
        "import numpy as np; from ferstream.stream.faces.detect import FaceDetector; "
        "from ferstream.stream.faces.mesh import FaceMesh, Region; "
        "r = np.zeros((90, 160, 3), np.uint8); "
        "d, m = FaceDetector(), FaceMesh(2); d.detect(r); m.run(r, [Region(9, 9, 9, 0)] * 4); "
        "m.close(); d.close()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=repository, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
