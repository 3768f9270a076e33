"""One person, one id: at any rate, after absences, in any size; and never two people with one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from ferstream.stream.faces.cropped import CroppedFace
from ferstream.stream.faces.detect import FaceDetector
from ferstream.stream.faces.mesh import FaceMesh
from ferstream.stream.faces.options import FaceOptions
from ferstream.stream.faces.sight import Track
from ferstream.stream.faces.track import MOST_PEOPLE, FaceTracker
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import Result
from ferstream.stream.run import run
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.blur import BlurSink
from ferstream.stream.sources import open_source
from ferstream.stream.sources.sample import SampleSource
from tests import media

from .fakes import FakeSource, ListSink
from .fakes import face as fake_face
from .footage import Picture, at_rate, canvas, faces_cut_out, paste, pictures_of

New = Callable[..., FaceTracker]


@pytest.fixture(scope="module")
def new_tracker(networks: tuple[FaceDetector, FaceMesh]) -> New:
    return lambda **faces: FaceTracker(FaceOptions(**faces), *networks)


@pytest.fixture(scope="module")
def portrait() -> list[Picture]:
    """One woman, still and smiling, 320 x 240."""
    frames = list(SampleSource().frames())
    return [
        np.asarray(cv2.resize(f.pixels, (320, 240)), np.uint8) for f in frames[:: len(frames) // 6]
    ]


@pytest.fixture(scope="module")
def man(clips_dir: Path) -> list[Picture]:
    """A man at about the same place, 320 x 240."""
    return pictures_of(clips_dir / "single_face.mp4", (320, 240))[::12]


def ids_of(tracker: FaceTracker, frames: Iterable[Frame]) -> list[list[int]]:
    return [[face.id for face in tracker.update(frame)] for frame in frames]


def at(times_s: Sequence[float], pictures: Sequence[Picture], ahead: bool = False) -> list[Frame]:
    shown = [pictures[n % len(pictures)] for n in range(len(times_s))]
    return [
        Frame(picture, float(time_s), n, "x", ahead=ahead)
        for n, (time_s, picture) in enumerate(zip(times_s, shown, strict=True))
    ]


def nobody(picture: Picture) -> Picture:
    return np.full_like(picture, 110)


@pytest.mark.parametrize("step_s", [0.25, 0.5, 1.0, 1.11, 2.0, 30.0])
@pytest.mark.parametrize("who", ["portrait", "man"])
def test_a_slow_and_uneven_rate_is_one_person(
    request: pytest.FixtureRequest, new_tracker: New, who: str, step_s: float
) -> None:
    uneven = np.random.default_rng(0).uniform(0.7, 1.4, 8)
    frames = at(np.cumsum(step_s * uneven).tolist(), request.getfixturevalue(who))
    assert ids_of(new_tracker(), frames) == [[1]] * 8


@pytest.mark.parametrize("rate_hz", [1.0, 10.0])
def test_three_seconds_away_is_the_same_person(
    portrait: list[Picture], new_tracker: New, rate_hz: float
) -> None:
    there, away = round(2 * rate_hz), round(3 * rate_hz)
    shown = ([portrait[2]] * there + [nobody(portrait[0])] * away) * 3
    rows = ids_of(new_tracker(), at_rate(shown, rate_hz))
    assert {i for row in rows for i in row} == {1}
    assert sum(map(len, rows)) >= 3 * (there - 1), "found again at once"


@pytest.mark.parametrize(("ahead", "comes_back_as"), [(False, 2), (True, 1)])
def test_hours_away_live_is_forgotten_in_a_recording_not(
    portrait: list[Picture], new_tracker: New, ahead: bool, comes_back_as: int
) -> None:
    empty = nobody(portrait[0])
    pictures = [portrait[0], empty, empty, empty, empty, portrait[3]]
    frames = at([0, 1, 2, 3, 7000, 7200], pictures, ahead)
    tracker = new_tracker()
    assert ids_of(tracker, frames) == [[1], [], [], [], [], [comes_back_as]]
    assert len(tracker._tracks) == 1, "nobody is kept for longer than that"
    tracker.reset()
    assert tracker._tracks == []


def test_a_recording_remembers_a_bounded_crowd(portrait: list[Picture], new_tracker: New) -> None:
    tracker = new_tracker()
    tracker.update(Frame(portrait[0], 0.0, 0, "x", ahead=True))
    tracker._tracks *= MOST_PEOPLE + 50
    tracker.update(Frame(nobody(portrait[0]), 60.0, 1, "x", ahead=True))
    assert len(tracker._tracks) == MOST_PEOPLE


@pytest.mark.parametrize("step_s", [0.04, 0.5, 1.0, 1.11, 3.0, 0.0, -1.0])
def test_another_person_at_the_same_place_is_another(
    portrait: list[Picture], man: list[Picture], new_tracker: New, step_s: float
) -> None:
    """Also where the time stamp repeats or turns back: no face of another picture is ever given."""
    shown = [portrait[0], man[0], portrait[1], man[2], nobody(man[0]), man[3]]
    tracker = new_tracker()
    rows = ids_of(tracker, at([10 + n * step_s for n in range(6)], shown))
    assert rows == [[1], [2], [1], [2], [], [2]]


def test_a_repeated_stamp_gives_the_faces_of_its_own_picture(
    portrait: list[Picture], new_tracker: New
) -> None:
    moved = np.roll(portrait[0], 40, axis=1)
    tracker = new_tracker()
    (first,) = tracker.update(Frame(portrait[0], 5.0, 0, "x"))
    (second,) = tracker.update(Frame(moved, 5.0, 1, "x"))
    assert tracker.update(Frame(nobody(moved), 5.0, 2, "x")) == []
    assert second.id == first.id == 1
    assert second.box[0] - first.box[0] == pytest.approx(40, abs=3)


def test_a_face_is_masked_in_each_picture_of_one_stamp() -> None:
    """Two pictures at one time, the face elsewhere in each: neither may show it."""
    given: list[Picture] = []

    class Keeping(ListSink):
        def write(self, frame: Frame, result: Result) -> None:
            given.append(frame.pixels)

    blur = BlurSink(Keeping(), lead_s=1.0)
    blur.open(SinkInfo("x", (320, 240), None))
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    for n, x in enumerate((40.0, 200.0)):
        result = Result(n, 1.0, "x", [fake_face(box=(x, 100.0, 40.0, 40.0))])
        blur.write(Frame(noise, 1.0, n, "x"), result)
    blur.close()
    for pixels, x in zip(given, (40, 200), strict=True):
        masked = pixels[100:140, x : x + 40].astype(int)
        assert np.abs(masked - noise[100:140, x : x + 40]).mean() > 20


def test_two_people_change_places_between_two_pictures(clips_dir: Path, new_tracker: New) -> None:
    """Where nobody looked in between looks decide, not places."""
    cut_out = {}
    for clip in ("single_face.mp4", "smiling_man.mp4"):
        picture = pictures_of(clips_dir / clip)[0]
        (face,) = new_tracker().update(Frame(picture, 0.0, 0, clip))
        (cut_out[clip],) = faces_cut_out([picture], face.box)
    frames = []
    for n in range(4):
        ground = canvas(640, 360)
        for clip, x in zip(cut_out, (60, 400) if n % 2 else (400, 60), strict=True):
            paste(ground, cut_out[clip], x, 100)
        frames.append(Frame(ground, n * 1.0, n, "x"))
    tracker = new_tracker()
    left = []
    for frame in frames:
        faces = sorted(tracker.update(frame), key=lambda face: face.box[0])
        left.append([face.id for face in faces])
    assert left[0] == left[2] and left[1] == left[3] == left[0][::-1]


@pytest.mark.parametrize("size", [(160, 120), (640, 480), (240, 320)], ids=str)
def test_another_size_is_the_same_person(
    portrait: list[Picture], man: list[Picture], new_tracker: New, size: tuple[int, int]
) -> None:
    def resized(picture: Picture) -> Picture:
        if size[0] < size[1]:  # another shape: its sides are cut off
            picture = np.ascontiguousarray(picture[:, 70:250])
        return np.asarray(cv2.resize(picture, size), np.uint8)

    shown = [portrait[0], portrait[0], resized(portrait[1]), resized(portrait[1]), portrait[2]]
    assert ids_of(new_tracker(), at_rate(shown, 25)) == [[1]] * 5
    assert ids_of(new_tracker(), at_rate([portrait[0], resized(man[0])], 25)) == [[1], [2]]


def test_a_camera_opened_anew_shows_the_same_person(
    portrait: list[Picture], man: list[Picture], clips_dir: Path
) -> None:
    """After `restart` motion and clip begin anew, the person does not."""
    large = np.asarray(cv2.resize(portrait[1], (640, 480)), np.uint8)
    with Recognizer() as recognizer:
        seen = [
            recognizer.process(Frame(picture, time_s, n, "x", restart=restart)).faces[0]
            for n, (picture, time_s, restart) in enumerate(
                [
                    (portrait[0], 0.0, False),
                    (portrait[0], 0.1, False),
                    (large, 4.0, True),
                    (man[0], 4.1, True),
                ]
            )
        ]
    assert [one.face.id for one in seen] == [1, 1, 1, 2]
    assert [one.attention == 1 for one in seen] == [True, False, True, True]


def test_joined_recordings_of_two_sizes_are_one_person(
    portrait: list[Picture], new_tracker: New, tmp_path: Path
) -> None:
    parts = [
        media.video(tmp_path / f"{n}.ts", 20, size, rate=10, pictures=[portrait[n]] * 20)
        for n, size in enumerate([(320, 240), (480, 360)])
    ]
    source = open_source(media.joined(tmp_path / "joined.ts", parts))
    frames = list(source.frames())
    assert {frame.pixels.shape for frame in frames} == {(240, 320, 3), (360, 480, 3)}
    assert ids_of(new_tracker(), frames) == [[1]] * 40


class Shown(FakeSource):
    """A recording of these pictures."""

    def __init__(self, times_s: Sequence[float], pictures: Sequence[Picture]) -> None:
        super().__init__(tuple(times_s))
        self.size = (pictures[0].shape[1], pictures[0].shape[0])
        self._shown = pictures

    def frames(self) -> Iterator[Frame]:
        for n, (time_s, picture) in enumerate(zip(self._times_s, self._shown, strict=True)):
            yield Frame(picture, time_s, n, self.name)


def test_a_recording_tells_who_came_back_once_the_face_is_plain(portrait: list[Picture]) -> None:
    """She comes back elsewhere, her mouth behind something, and is known when that is gone: what
    was read of her meanwhile has her own id too, in every frame."""
    away = np.roll(portrait[0], 50, axis=1)
    covered = away.copy()
    covered[112:180, 155:270] = (40, 60, 90)
    shown = [portrait[0]] * 4 + [nobody(away)] * 20 + [covered] * 3 + [away] * 8
    times_s = [n / 10 for n in range(len(shown))]
    sink = ListSink()
    with Recognizer() as recognizer:
        summary = run(Shown(times_s, shown), recognizer, [sink])
        live = [
            [f.face.id for f in recognizer.process(Frame(p, t, n, "live")).faces]
            for n, (t, p) in enumerate(zip(times_s, shown, strict=True))
        ]
    assert 2 in {i for row in live for i in row}, "the first view alone does not tell"
    assert {found.face.id for result in sink.rows for found in result.faces} == {1}
    assert summary.faces == 1
    assert [result.frame for result in sink.rows] == list(range(len(shown)))


def test_who_stood_in_for_a_moment_was_the_same_person(
    portrait: list[Picture], man: list[Picture], new_tracker: New
) -> None:
    """A face with a hand before it, between two plain sights of the person at the same place."""
    behind = portrait[0].copy()
    behind[108:180, 100:220] = (40, 60, 90)
    tracker = new_tracker()
    assert ids_of(tracker, at([0.0, 1.0, 2.0], [portrait[0], behind, portrait[0]])) == [[1]] * 3

    def track(picture: Picture, frame: int) -> Track:
        other = new_tracker()
        other.update(Frame(picture, 0.0, 0, "x"))
        (one,) = other._tracks
        one.born_in = one.seen_in = frame
        return one

    (her,) = tracker._tracks
    her.away_in, her.seen_in = 1, 3
    hand, other = track(behind, 2), track(man[0], 2)
    assert her.was(hand)
    assert not her.was(other), "another person for a picture is another person"
    hand.moved_scene = True
    assert not her.was(hand), "after a cut the place says nothing"
    hand.moved_scene, hand.born_in = False, 1
    assert not her.was(hand), "they were seen at once"


def test_a_face_half_covered_is_one_face(clips_dir: Path, new_tracker: New) -> None:
    """A hand before the mouth: two looks at it once gave two faces, one on the other."""
    pictures = pictures_of(clips_dir / "book.mkv")[86:92]
    rows = [len(new_tracker(rotate=0).update(Frame(p, 0.0, 0, "x"))) for p in pictures]
    assert rows == [1] * 6


def test_crops_tell_people_apart_and_know_them_again(
    portrait: list[Picture], man: list[Picture], networks: tuple[FaceDetector, FaceMesh]
) -> None:
    def crop(picture: Picture) -> Picture:
        (face,) = FaceTracker(None, *networks).update(Frame(picture, 0.0, 0, "x"))
        x, y, width, height = (round(value) for value in face.box)
        part = picture[max(y, 0) : y + height, max(x, 0) : x + width]
        return np.asarray(cv2.resize(part, (112, 132)), np.uint8)

    her, him = [crop(picture) for picture in portrait[:3]], [crop(picture) for picture in man[:2]]
    shown = [her[0], her[1], him[0], him[1], her[2], np.zeros_like(her[0])]
    for step_s in (0.04, 1.5):
        follower = CroppedFace(None, *networks)
        frames = at([n * step_s for n in range(6)], shown)
        assert [follower.update(frame)[0].id for frame in frames] == [1, 1, 2, 2, 1, 1]
