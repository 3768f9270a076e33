"""Masked faces: unrecognisable, also where the tracker missed them; and nothing else changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from ferstream.stream.errors import SinkError
from ferstream.stream.faces.detect import FaceDetector
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.run import run
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.blur import LEAD_S, BlurSink, blurred, masked
from ferstream.stream.sources import open_source
from ferstream.stream.sources.base import SourceEvent, State

from .fakes import Box, ListSink, face

INFO = SinkInfo("clip", (320, 240), 30.0)


class PixelSink(ListSink):
    """Keeps the frames too."""

    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__(fail_at)
        self.frames: list[Frame] = []
        self.told: list[SourceEvent] = []

    def write(self, frame: Frame, result: Result) -> None:
        super().write(frame, result)
        self.frames.append(frame)

    def on_event(self, event: SourceEvent) -> None:
        self.told.append(event)


def noise(
    seed: int = 0, size: tuple[int, int] = (320, 240)
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def shown(
    faces_in: Callable[[int], Iterable[FaceResult]],
    frames: int = 120,
    rate_hz: float = 30.0,
    lead_s: float = LEAD_S,
) -> list[np.ndarray[tuple[int, int], np.dtype[np.bool_]]]:
    """Which pixels of each frame were changed."""
    inner = PixelSink()
    sink = BlurSink(inner, lead_s=lead_s)
    sink.open(INFO)
    pixels = noise()
    for index in range(frames):
        frame = Frame(pixels, 100 + index / rate_hz, index, "clip")
        sink.write(frame, Result(index, frame.time_s, "clip", list(faces_in(index))))
    sink.close()
    assert [frame.index for frame in inner.frames] == list(range(frames))
    assert [row.frame for row in inner.rows] == list(range(frames))
    return [(frame.pixels != pixels).any(axis=2) for frame in inner.frames]


BOX: Box = (100.0, 80.0, 60.0, 70.0)


def covered(changed: np.ndarray[tuple[int, int], np.dtype[np.bool_]], box: Box = BOX) -> float:
    x, y, w, h = (int(value) for value in box)
    return float(changed[y : y + h, x : x + w].mean())


def test_a_face_is_masked_with_a_margin_and_nothing_else_is_touched() -> None:
    pixels = noise()
    masked_pixels = blurred(pixels, [face(1, BOX)])
    changed = (masked_pixels != pixels).any(axis=2)
    assert changed[62:170, 82:180].mean() > 0.98
    changed[58:172, 78:182] = False
    assert not changed.any()
    np.testing.assert_array_equal(pixels, noise())
    np.testing.assert_array_equal(blurred(pixels, []), pixels)


def test_what_is_left_is_little() -> None:
    """Two faces that differ only in detail look the same; a mask has few colours and no edges."""
    x, y, w, h = (int(value) for value in BOX)
    smooth = np.full((240, 320, 3), 128, np.uint8)
    fine = smooth.copy()
    fine[y : y + h, x : x + w] = 118 + 20 * (np.indices((h, w)).sum(0) % 2)[..., None]
    one, other = (blurred(pixels, [face(1, BOX)]) for pixels in (smooth, fine))
    difference = np.abs(one.astype(int) - other).max()
    assert difference <= 16
    inside = blurred(noise(3), [face(1, BOX)])[y : y + h, x : x + w].astype(int)
    assert np.abs(np.diff(inside, axis=1)).max() <= 16


@pytest.mark.parametrize("lead_s", [0.0, LEAD_S])
def test_a_missed_face_stays_masked_and_a_gone_one_not_for_ever(lead_s: float) -> None:
    changed = shown(lambda index: [face(1, BOX)] if index < 30 else [], lead_s=lead_s)
    assert all(covered(picture) > 0.98 for picture in changed[:74])
    assert not any(picture.any() for picture in changed[76:])


def test_the_mask_of_a_missed_face_grows() -> None:
    changed = shown(lambda index: [face(1, BOX)] if index < 30 else [])
    areas = [int(picture.sum()) for picture in changed]
    assert areas[40] > areas[29] and areas[70] > 1.5 * areas[29]


def test_a_new_face_is_masked_before_it_is_found() -> None:
    """The detector may take half a second to look."""
    changed = shown(lambda index: [face(1, BOX)] if index >= 60 else [])
    assert all(covered(picture) > 0.98 for picture in changed[44:])
    assert not any(picture.any() for picture in changed[:40])
    at_once = shown(lambda index: [face(1, BOX)] if index >= 60 else [], lead_s=0)
    assert not any(picture.any() for picture in at_once[:60])


def test_a_lost_face_is_masked_at_both_places() -> None:
    other: Box = (200.0, 150.0, 60.0, 70.0)

    def moving(index: int) -> list[FaceResult]:
        if index < 30:
            return [face(1, BOX)]
        return [face(1, other)] if index >= 45 else []

    changed = shown(moving)
    assert all(covered(changed[at]) > 0.98 for at in range(30, 45))
    assert all(covered(changed[at], other) > 0.98 for at in range(30, 45))
    assert covered(changed[60], (80.0, 60.0, 20.0, 20.0)) == 0, "found again, the old place is free"


def test_every_face_of_many() -> None:
    boxes: list[Box] = [(20.0 + 90 * k, 60.0 + 30 * k, 40.0, 44.0) for k in range(3)]
    changed = shown(lambda index: [face(k, box) for k, box in enumerate(boxes)], frames=10)
    for picture in changed:
        assert all(covered(picture, box) > 0.97 for box in boxes)


@pytest.mark.parametrize(
    "box",
    [
        (-50.0, -40.0, 80.0, 90.0),
        (300.0, 220.0, 90.0, 90.0),
        (-500.0, 0.0, 50.0, 50.0),
        (10.0, 10.0, 0.2, 0.3),
        (-100.0, -100.0, 900.0, 900.0),
    ],
)
def test_boxes_beyond_the_frame(box: Box) -> None:
    assert masked(noise(), [box]).shape == (240, 320, 3)
    assert blurred(noise(size=(1, 1)), [face(1, box)]).shape == (1, 1, 3)


def test_frames_wait_no_longer_than_said_and_all_arrive() -> None:
    inner = PixelSink()
    sink = BlurSink(inner)
    sink.open(INFO)
    for index in range(60):
        sink.write(Frame(noise(), index / 30, index, "c"), Result(index, index / 30, "c", []))
        waiting = index + 1 - len(inner.frames)
        assert waiting <= LEAD_S * 30 + 1
    sink.close()
    assert len(inner.frames) == 60 and inner.closed == 1


def test_large_frames_do_not_fill_the_memory() -> None:
    inner = PixelSink()
    sink = BlurSink(inner)
    sink.open(INFO)
    pixels = np.zeros((3000, 4000, 3), np.uint8)
    for index in range(12):
        sink.write(Frame(pixels, index / 30, index, "c"), Result(index, index / 30, "c", []))
    assert 12 - len(inner.frames) <= 5
    sink.close()


def test_a_second_clip_begins_anew() -> None:
    inner = PixelSink()
    sink = BlurSink(inner)
    sink.open(INFO)
    for index, time_s in enumerate((5.0, 5.1, 0.0, 0.1)):
        faces = [face(1, BOX)] if time_s == 5.1 else []
        sink.write(Frame(noise(), time_s, index, "c"), Result(index, time_s, "c", faces))
    sink.close()
    changed = [bool((frame.pixels != noise()).any()) for frame in inner.frames]
    assert changed == [True, True, False, False]


def test_it_is_as_the_sink_within() -> None:
    inner = PixelSink(fail_at=0)
    sink = BlurSink(inner, lead_s=0)
    sink.open(INFO)
    assert inner.info is INFO
    event = SourceEvent("clip", State.lost, 1.0)
    sink.on_event(event)
    assert inner.told == [event]
    with pytest.raises(SinkError, match="the disk is full"):
        sink.write(Frame(noise(), 0.0, 0, "c"), Result(0, 0.0, "c", []))
    sink.close()
    assert inner.closed == 1
    assert BlurSink(ListSink()).delivery is None


@pytest.mark.slow
def test_the_detector_finds_no_face_in_the_masked_sample() -> None:
    inner = PixelSink()
    with Recognizer() as recognizer:
        run(open_source("sample"), recognizer, [BlurSink(inner)])
    detector = FaceDetector()
    open_faces = [frame for frame in open_source("sample").frames() if frame.index % 30 == 0]
    assert all(detector.detect(frame.pixels) for frame in open_faces)
    assert not any(detector.detect(frame.pixels) for frame in inner.frames[::30])
