"""Tracking: who is who on real clips, through loss, cuts and crossings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pytest

from ferstream.stream.faces.detect import FaceDetector
from ferstream.stream.faces.front import open_front_end
from ferstream.stream.faces.mesh import FaceMesh
from ferstream.stream.faces.options import FaceOptions
from ferstream.stream.faces.track import FaceTracker
from ferstream.stream.frame import Frame

from .footage import (
    PATCH_PX,
    Picture,
    at_rate,
    canvas,
    faces_cut_out,
    frames_of,
    paste,
    pictures_of,
)

Ids = list[int]


@pytest.fixture(scope="module")
def new_tracker() -> Iterator[Callable[..., FaceTracker]]:
    detector, mesh = FaceDetector(), FaceMesh(workers=2)
    yield lambda **faces: FaceTracker(FaceOptions(**faces), detector, mesh)
    mesh.close()
    detector.close()


@pytest.fixture(scope="module")
def own_tracker() -> Iterator[Callable[..., FaceTracker]]:
    detector, mesh = open_front_end("own", threads=1)
    yield lambda **faces: FaceTracker(FaceOptions(**faces), detector, mesh)
    mesh.close()
    detector.close()


def ids_of(tracker: FaceTracker, frames: Iterable[Frame]) -> list[Ids]:
    return [[face.id for face in tracker.update(frame)] for frame in frames]


def spells(rows: list[Ids]) -> list[Ids]:
    """The ids in the order in which they change."""
    return [ids for ids, _ in groupby(rows)]


@pytest.mark.parametrize(
    ("clip", "ids"),
    [
        ("single_face.mp4", [1]),
        ("smiling_man.mp4", [1]),
        ("two_faces.mp4", [1, 2]),
        ("three_faces.mp4", [1, 2, 3]),
        ("book.mkv", [1]),
        ("eat.mkv", [1]),
        ("no_face.mp4", []),
    ],
)
def test_every_frame_of_a_clip_shows_the_same_faces(
    clips_dir: Path, new_tracker: Callable[..., FaceTracker], clip: str, ids: Ids
) -> None:
    assert spells(ids_of(new_tracker(), frames_of(clips_dir / clip))) == [ids]


@pytest.mark.parametrize(
    ("clip", "wanted"),
    [("face_noface.mov", [[1], []]), ("noface_face.mov", [[], [1], []])],
)
def test_a_face_that_leaves_or_comes(
    clips_dir: Path, new_tracker: Callable[..., FaceTracker], clip: str, wanted: list[Ids]
) -> None:
    """The clips cut between a face and an animation; the second ends on a black frame."""
    rows = ids_of(new_tracker(), frames_of(clips_dir / clip))
    assert spells(rows) == wanted
    assert Counter(len(ids) for ids in rows)[1] == 72


def test_faces_are_as_documented(clips_dir: Path, new_tracker: Callable[..., FaceTracker]) -> None:
    tracker = new_tracker()
    for frame in frames_of(clips_dir / "three_faces.mp4"):
        for face in tracker.update(frame):
            x, y, width, height = face.box
            assert face.landmarks_xy.shape == (468, 2)
            assert face.landmarks_xy.dtype == np.float32
            np.testing.assert_allclose(face.landmarks_xy.min(0), (x, y), rtol=1e-5)
            np.testing.assert_allclose(np.ptp(face.landmarks_xy, axis=0), (width, height), 1e-4)
            assert face.crop.shape == (64, 64)
            assert 25 < face.quality.size_px < 80
            assert 0 <= face.quality.score <= 1


@pytest.mark.parametrize("rate_hz", [2.0, 5.0, 120.0])
def test_the_frame_rate_does_not_matter(
    clips_dir: Path, new_tracker: Callable[..., FaceTracker], rate_hz: float
) -> None:
    step = max(round(30 / rate_hz), 1)
    pictures = pictures_of(clips_dir / "single_face.mp4")[::step]
    assert spells(ids_of(new_tracker(), at_rate(pictures, rate_hz))) == [[1]]


def hidden(picture: Picture) -> Picture:
    covered = picture.copy()
    covered[80:340, 180:420] = (120, 90, 70)
    return covered


@pytest.mark.parametrize("hide", [hidden, np.zeros_like], ids=["covered", "black"])
@pytest.mark.parametrize(
    ("frames", "remember_s", "comes_back_as"),
    [(20, 0, 1), (60, 0, 2), (60, 10, 1)],
    ids=["0.7 s", "2 s, forgotten", "2 s"],
)
def test_a_loss_keeps_the_id_for_as_long_as_wanted(
    clips_dir: Path,
    new_tracker: Callable[..., FaceTracker],
    hide: Callable[[Picture], Picture],
    frames: int,
    remember_s: float,
    comes_back_as: int,
) -> None:
    pictures = pictures_of(clips_dir / "single_face.mp4")[:30]
    clip = [*pictures, *[hide(pictures[-1])] * frames, *pictures[::-1]]
    rows = ids_of(new_tracker(remember_s=remember_s), at_rate(clip, 30))
    assert spells(rows) == [[1], [], [comes_back_as]]
    assert rows[30] == [], "a hidden face must not linger"
    assert rows[30 + frames + 4] == [comes_back_as], "it must be found again within 0.1 s or so"


def test_a_cut_to_another_person_is_another_id(
    clips_dir: Path, new_tracker: Callable[..., FaceTracker]
) -> None:
    """Both faces are about in the middle: the place must not count after a cut."""
    one = pictures_of(clips_dir / "single_face.mp4")[:15]
    other = pictures_of(clips_dir / "smiling_man.mp4", (640, 360))[:15]
    rows = ids_of(new_tracker(), at_rate([*one, *other, *one, *other], 30))
    assert spells(rows) == [[1], [2], [1], [2]]


def test_a_reset_forgets_and_ids_go_on_while_a_gap_forgets_nobody(
    clips_dir: Path, new_tracker: Callable[..., FaceTracker]
) -> None:
    picture = pictures_of(clips_dir / "single_face.mp4")[0]
    tracker = new_tracker()
    frames = [Frame(picture, time_s, 0, "x") for time_s in (0.0, 0.9, 3.0, 1.0)]
    assert ids_of(tracker, frames) == [[1]] * 4, "the last clock runs backwards"
    tracker.restart()
    assert ids_of(tracker, [Frame(picture, 3.1, 0, "x")]) == [[1]]
    tracker.reset()
    assert ids_of(tracker, [Frame(picture, 3.2, 0, "x")]) == [[2]]


@pytest.fixture(scope="module")
def cut_outs(
    clips_dir: Path, new_tracker: Callable[..., FaceTracker]
) -> Callable[[str], list[Picture]]:
    def cut(clip: str) -> list[Picture]:
        pictures = pictures_of(clips_dir / clip)[:40]
        (face,) = new_tracker().update(Frame(pictures[0], 0, 0, clip))
        return faces_cut_out(pictures, face.box)

    return cut


@pytest.mark.parametrize(
    ("trackers", "behind", "before", "rate_hz", "duration_s", "lower_px"),
    [
        ("new_tracker", "single_face.mp4", "smiling_man.mp4", 30, 3.0, 0),
        ("new_tracker", "smiling_man.mp4", "eat.mkv", 15, 3.0, 40),
        ("new_tracker", "book.mkv", "single_face.mp4", 30, 3.0, 0),
        ("new_tracker", "eat.mkv", "book.mkv", 60, 1.5, 10),
        ("new_tracker", "book.mkv", "eat.mkv", 30, 6.0, 0),
        ("own_tracker", "single_face.mp4", "smiling_man.mp4", 30, 3.0, 0),
        ("own_tracker", "smiling_man.mp4", "eat.mkv", 15, 3.0, 40),
        ("own_tracker", "book.mkv", "single_face.mp4", 30, 3.0, 0),
        ("own_tracker", "eat.mkv", "book.mkv", 60, 1.5, 10),
    ],
)
def test_two_faces_cross_and_keep_their_ids(
    cut_outs: Callable[[str], list[Picture]],
    request: pytest.FixtureRequest,
    trackers: str,
    behind: str,
    before: str,
    rate_hz: float,
    duration_s: float,
    lower_px: int,
) -> None:
    back, front = cut_outs(behind), cut_outs(before)
    tracker = request.getfixturevalue(trackers)()
    count = round(rate_hz * duration_s)
    seen: dict[str, Counter[int]] = {"back": Counter(), "front": Counter()}
    for index in range(count):
        back_x = 20 + 640 * index / (count - 1)
        front_x = 680 - back_x
        ground = canvas()
        paste(ground, back[index % len(back)], back_x, 150)
        paste(ground, front[index % len(front)], front_x, 150 + lower_px)
        faces = tracker.update(Frame(ground, index / rate_hz, index, "crossing"))
        assert len(faces) <= 2
        if abs(back_x - front_x) > 60:
            for face in faces:
                middle = face.box[0] + face.box[2] / 2 - PATCH_PX / 2
                nearer = "back" if abs(middle - back_x) < abs(middle - front_x) else "front"
                seen[nearer][face.id] += 1
    assert len(seen["back"]) == len(seen["front"]) == 1, seen
    assert set(seen["back"]).isdisjoint(seen["front"])
    assert seen["front"].total() > 0.8 * count
    assert seen["back"].total() > 0.65 * count


def crowd(pictures: list[Picture], at: int) -> Picture:
    """Twenty faces in five columns and four rows, each with what is around it."""
    ground = canvas(1280, 720)
    for place in range(20):
        part = pictures[(at + 3 * place) % len(pictures)][60:340, 150:470]
        left, top = 250 * (place % 5), 180 * (place // 5)
        small = cv2.resize(part, (240, 180), interpolation=cv2.INTER_AREA)
        ground[top : top + 180, left : left + 240] = small
    return ground


def test_twenty_faces_and_a_limit(clips_dir: Path, new_tracker: Callable[..., FaceTracker]) -> None:
    pictures = pictures_of(clips_dir / "single_face.mp4")
    frames = list(at_rate([crowd(pictures, at) for at in range(6)], 30))
    assert spells(ids_of(new_tracker(), frames)) == [list(range(1, 21))]
    assert spells(ids_of(new_tracker(max_faces=5), frames)) == [list(range(1, 6))]


@pytest.mark.parametrize("trackers", ["new_tracker", "own_tracker"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (4320, 7680)])
def test_odd_sizes_show_nobody(
    request: pytest.FixtureRequest, shape: tuple[int, int], trackers: str
) -> None:
    pictures = [np.full((*shape, 3), 90, np.uint8)] * 3
    tracker = request.getfixturevalue(trackers)()
    assert spells(ids_of(tracker, at_rate(pictures, 30))) == [[]]
