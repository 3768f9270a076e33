"""When new faces are looked for: in every picture that stands alone, soon after a change, and
rarely where nothing happens."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.stream.faces.detect import FaceDetector
from ferstream.stream.faces.front import Look
from ferstream.stream.faces.mesh import FaceMesh
from ferstream.stream.faces.search import GRID, Watch
from ferstream.stream.faces.track import FaceTracker
from ferstream.stream.frame import Frame
from ferstream.stream.sources.sample import SampleSource

from .footage import Picture


class Counting(FaceDetector):
    """Counts searches."""

    searches = 0

    def looks(self, rgb: NDArray[np.uint8], **how: bool) -> list[Look]:
        self.searches += 1
        return super().looks(rgb, **how)


@pytest.fixture(scope="module")
def networks() -> Iterator[tuple[Counting, FaceMesh]]:
    detector, mesh = Counting(), FaceMesh()
    yield detector, mesh
    mesh.close()
    detector.close()


@pytest.fixture(scope="module")
def room() -> Picture:
    """1280 x 720, nobody there: patches of grey, as soft as a blurred wall."""
    patches = np.random.default_rng(3).uniform(70, 150, (9, 16)).astype(np.float32)
    grey = cv2.resize(patches, (1280, 720), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def with_face(room: Picture, width_px: int, left: int = 700, top: int = 380) -> Picture:
    """The room with the sample's picture of this width in it."""
    smile = next(frame.pixels for frame in SampleSource().frames() if frame.time_s > 1.4)
    size = (width_px, width_px * 3 // 4)
    picture = room.copy()
    picture[top : top + size[1], left : left + size[0]] = cv2.resize(
        smile, size, interpolation=cv2.INTER_AREA
    )
    return picture


@pytest.mark.parametrize("step_s", [0.5, 1.0, 2.0])
def test_a_small_face_in_one_picture_of_a_slow_recording_is_found(
    room: Picture, networks: tuple[Counting, FaceMesh], step_s: float
) -> None:
    tracker = FaceTracker(None, *networks)
    visited = with_face(room, 110)  # a face of about 33 pixels
    found = [
        len(tracker.update(Frame(visited if index == 2 else room, index * step_s, index, "slow")))
        for index in range(4)
    ]
    assert found == [0, 0, 1, 0]


@pytest.mark.parametrize("width_px", [280, 640])
def test_who_comes_into_a_video_is_found_within_a_fraction_of_a_second(
    room: Picture, networks: tuple[Counting, FaceMesh], width_px: int
) -> None:
    tracker = FaceTracker(None, *networks)
    visited = with_face(room, width_px, left=600, top=200)
    first_s = None
    for index in range(90):
        picture = visited if index >= 40 else room
        if tracker.update(Frame(picture, index / 30, index, "video", dense=True)):
            first_s = (index - 40) / 30
            break
    assert first_s is not None and 0 <= first_s <= 0.5


def test_where_nothing_changes_it_is_looked_rarely(
    room: Picture, networks: tuple[Counting, FaceMesh]
) -> None:
    rng, looks = np.random.default_rng(5), []
    grain = [rng.normal(0, 3.0, room.shape) for _ in range(5)]
    tracker = FaceTracker(None, *networks)
    for moving in (False, True):
        tracker.reset()
        networks[0].searches = 0
        for index in range(60):
            picture = np.roll(room, 40 * index, axis=1) if moving else room
            grainy = (picture + grain[index % 5]).clip(0, 255).astype(np.uint8)
            assert not tracker.update(Frame(grainy, index / 30, index, "video", dense=True))
        looks.append(networks[0].searches)
    # The first frame is looked at turned too; then ten times a second, or twice.
    assert 4 <= looks[0] <= 9 and looks[1] >= 18


def test_a_change_counts_where_nobody_is_known() -> None:
    watch, shape = Watch(), (720, 1280, 3)
    rows, columns = GRID
    scene = np.full(rows * columns, 100, np.float32)
    face = (600.0, 300.0, 100.0, 100.0)
    assert watch.changed(scene, shape, [])
    watch.looked(scene)
    assert not watch.changed(scene + 10, shape, [])
    assert watch.changed(scene + 20, shape, []), "a slow change adds up"
    there = scene.copy().reshape(GRID)
    there[rows * 350 // 720, columns * 650 // 1280] += 60
    assert watch.changed(there.ravel(), shape, [])
    assert not watch.changed(there.ravel(), shape, [face])
    there[1, 1] += 60
    assert watch.changed(there.ravel(), shape, [face])


def test_frames_dropped_for_want_of_time_are_no_pictures_that_stand_alone(
    networks: tuple[Counting, FaceMesh],
) -> None:
    """Six pictures 0.5 s apart of a camera that gives 30 a second, and of one that gives two."""
    detector, mesh = networks
    frames = list(SampleSource().frames())[::15][:6]
    looks, ids = [], []
    for gap in (15, 1):
        detector.searches = 0
        tracker = FaceTracker(detector=detector, mesh=mesh)
        for n, frame in enumerate(frames):
            seen = Frame(frame.pixels, n / 2, n * gap, "camera")
            ids.append([face.id for face in tracker.update(seen)])
        looks.append(detector.searches)
    assert ids == [[1]] * 12
    hurried, slow = looks
    assert hurried <= 4 < slow, looks
