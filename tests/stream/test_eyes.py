"""Opening of the eyes and blinks: found by seconds, at any frame rate that shows them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.stream.eyes import (
    GAP_S,
    OPEN,
    SHUT,
    Blink,
    Blinks,
    Eyes,
    gaze_deg,
    opening,
    seen_well,
)
from ferstream.stream.faces.align import crop as aligned_crop
from ferstream.stream.faces.head import MEAN_HEAD
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.table import FaceTable, requested
from ferstream.stream.sinks.tally import ClipSink
from ferstream.stream.sources.sample import SampleSource

from .fakes import face


def lids(time_s: float, *blinks: tuple[float, float], lowest: float = 0.1) -> float:
    """Opening at a time, of eyes that are wide open but for blinks: middle and length at half way,
    seconds."""
    closed = sum(math.exp(-math.log(2) * (2 * (time_s - at) / long) ** 4) for at, long in blinks)
    return 1 - (1 - lowest) * min(closed, 1)


def seen(times_s: NDArray[np.float64], *blinks: tuple[float, float], **more: float) -> list[Eyes]:
    """What is told of one face."""
    finder, told = Blinks(), []
    for time_s in times_s.tolist():
        open_ = lids(time_s, *blinks, **more)
        (eyes,) = finder.add(time_s, [(1, (open_, open_), True)])
        assert eyes is not None
        told.append(eyes)
    return told


def found(told: list[Eyes]) -> list[Blink]:
    return [eyes.blink for eyes in told if eyes.blink is not None]


def test_opening_is_a_scale_between_shut_and_open() -> None:
    middle = (SHUT + OPEN) / 2
    assert opening({"eyeBlinkRight": OPEN, "eyeBlinkLeft": SHUT}) == (1, 0)
    half = opening({"eyeBlinkRight": middle, "eyeBlinkLeft": 1.0})
    assert half == pytest.approx((0.5, 0.0))
    assert opening({"eyeBlinkRight": 0.0, "eyeBlinkLeft": 0.0}) == (1, 1)
    assert opening({"eyeBlinkRight": 0.0}) is None and opening({}) is None


@pytest.mark.parametrize("rate_hz", [12.5, 15, 25, 30, 60, 120])
def test_blinks_are_found_at_every_rate_that_shows_them(rate_hz: float) -> None:
    times_s = 1000 + np.arange(0, 6, 1 / rate_hz)
    blinks = ((1001.0, 0.15), (1002.53, 0.2), (1004.87, 0.3))
    told = seen(times_s, *blinks)
    each = found(told)
    assert len(each) == 3
    for one, (middle_s, long_s) in zip(each, blinks, strict=True):
        assert (one.from_s + one.to_s) / 2 == pytest.approx(middle_s, abs=0.5 / rate_hz)
        assert one.duration_s == pytest.approx(long_s, abs=1 / rate_hz)
    # It is told once it is over, and not much later.
    rows = [at for at, eyes in enumerate(told) if eyes.blink]
    for at, one in zip(rows, each, strict=True):
        assert one.to_s <= times_s[at] <= one.to_s + 0.15
    assert sum(eyes.watched_s for eyes in told) == pytest.approx(5.9, abs=0.15)


def test_too_few_frames_tell_of_no_blink() -> None:
    for rate_hz in (5, 8, 10, 11):
        told = seen(np.arange(0, 6, 1 / rate_hz), (1.0, 0.2), (2.5, 0.2), (4.0, 0.3))
        assert not found(told) and all(eyes.watched_s == 0 for eyes in told)


def test_what_is_no_blink() -> None:
    times_s = np.arange(0, 5, 1 / 30)
    assert not found(seen(times_s, (2.5, 0.8))), "eyes that are closed"
    assert not found(seen(times_s, (2.5, 0.2), lowest=0.85)), "a twitch"
    finder = Blinks()
    laugh = [finder.add(t, [(1, (1 - 0.5 * (t > 2),) * 2, True)]) for t in times_s.tolist()]
    assert not any(eyes and eyes.blink for (eyes,) in laugh), "eyes that stay narrowed"
    spike = [finder.add(10 + t, [(1, (1 - (t == times_s[60]),) * 2, True)]) for t in times_s]
    assert not any(eyes and eyes.blink for (eyes,) in spike), "one frame of thirty a second"
    told = seen(times_s, (2.0, 0.8), (3.5, 0.2))
    (one,) = found(told)
    assert one.from_s == pytest.approx(3.4, abs=0.04), "after closed eyes blinks count again"


def test_gaps_and_dropped_frames() -> None:
    blinks = ((1.0, 0.2), (2.0, 0.2), (3.0, 0.2), (4.0, 0.2))
    times_s = np.arange(0, 5, 1 / 30)
    # A frame is missing now and then, in the second blink three in a row.
    kept = [t for at, t in enumerate(times_s) if at % 7 and not 1.95 < t < 2.06]
    told = seen(np.array(kept), *blinks)
    assert [round((one.from_s + one.to_s) / 2) for one in found(told)] == [1, 3, 4]
    gap = next(at for at, (a, b) in enumerate(pairwise(kept)) if b - a > GAP_S)
    assert told[gap + 1].watched_s == 0 < told[gap].watched_s
    # Between two cameras' clocks, and where a clock goes back, nothing goes on.
    finder, all_of_them = Blinks(), []
    for time_s in (*times_s[:30], *times_s[:15], *(times_s + 900)):
        open_ = 0.1 if time_s == times_s[0] else 1.0
        all_of_them += finder.add(float(time_s), [(1, (open_, open_), True)])
    assert not any(eyes and eyes.blink for eyes in all_of_them)


def test_each_face_has_its_own_lids() -> None:
    finder = Blinks()
    told: dict[int, list[Eyes | None]] = {1: [], 2: [], 3: []}
    for time_s in np.arange(0, 3, 1 / 25).tolist():
        eyes = [lids(time_s, (at, 0.2)) for at in (1.0, 1.1, 2.0)]
        faces = [(1, (eyes[0],) * 2, True), (2, (eyes[1],) * 2, False), (3, None, True)]
        if not 1.9 < time_s < 2.3:  # out of sight, back in the middle of nothing
            for (one, *_), what in zip(faces, finder.add(time_s, faces), strict=True):
                told[one].append(what)
    assert len([eyes for eyes in told[1] if eyes and eyes.blink]) == 1
    poor = [eyes for eyes in told[2] if eyes]
    assert all(eyes.blink is None and eyes.watched_s == 0 for eyes in poor), "a poor view"
    assert min(eyes.right for eyes in poor) < 0.3, "whose opening is told all the same"
    assert set(told[3]) == {None}


def with_eyes(eyes: Eyes | None, face_id: int = 1) -> FaceResult:
    return replace(face(face_id), eyes=eyes)


def test_rows_tables_and_summaries_tell_them() -> None:
    blink = Blink(0.5, 0.65)
    shown = [with_eyes(Eyes(0.9, 0.8, 0.04, blink, (12.25, -3.0))), with_eyes(None, 2)]
    table = FaceTable(top=1, asked=["eyes"])
    first, second = table.rows(Result(9, 0.7, "clip", shown))
    named = dict(zip(table.names, first, strict=True))
    assert [named[f"eye_open_{side}"] for side in ("right", "left")] == [0.9, 0.8]
    assert [named[f"blink_{of}_s"] for of in ("watched", "from", "to")] == [0.04, 0.5, 0.65]
    assert (named["gaze_yaw"], named["gaze_pitch"]) == (12.25, -3.0)
    assert dict(zip(table.names, second, strict=True))["eye_open_left"] is None
    assert requested(shown[0], ["eyes"])["eyes"]["blink"] == {"from_s": 0.5, "to_s": 0.65}
    assert requested(shown[0], ["eyes"])["eyes"]["gaze"] == {"yaw_deg": 12.2, "pitch_deg": -3.0}
    assert requested(shown[1], ["eyes"]) == {"eyes": None}

    sink = ClipSink()
    sink.open(SinkInfo("clip", (8, 8), 25.0, live=False))
    for at in range(500):
        one = Eyes(0.9, 0.8, 0.04 if at else 0.0, blink if at % 125 == 100 else None)
        result = Result(at, at / 25, "clip", [with_eyes(one), with_eyes(Eyes(1, 1), 2)])
        sink.write(Frame(np.zeros((8, 8, 3), np.uint8), at / 25, at, "clip"), result)
    sink.close()
    told = sink.over_time(1)["blinks"]
    assert told == {"count": 4, "per_min": pytest.approx(12, abs=0.1), "watched_s": 19.96}
    assert sink.over_time(2)["blinks"] == {"count": None, "per_min": None, "watched_s": 0.0}


def test_a_face_without_landmarks_has_no_eyes() -> None:
    with Recognizer(faces="own") as recognizer:
        frame = next(SampleSource().frames())
        detected = recognizer.find(replace(frame, ahead=False))
        (known,) = recognizer.score([detected])
        detected.faces[:] = [replace(one, posed=True) for one in detected.faces]
        (unknown,) = recognizer.score([detected])
    (eyes,) = [found.eyes for found in known.faces]
    assert eyes is not None and min(eyes.right, eyes.left) > 0.8, "she looks at the camera"
    assert eyes.gaze_deg is not None and np.abs(eyes.gaze_deg).max() < 20
    assert [found.eyes for found in unknown.faces] == [None]


def test_real_blinks(clips_dir: Path) -> None:
    """Two people blink six times, as can be seen frame by frame; twelve frames a second."""
    blinks: dict[int, list[float]] = {}
    with Recognizer(faces="own") as recognizer:
        for result in recognizer(clips_dir / "two_faces.mp4", stream=True, pictures=False):
            for found in result.faces:
                if found.eyes and (blink := found.eyes.blink):
                    blinks.setdefault(found.id, []).append((blink.from_s + blink.to_s) / 2)
    once, often = sorted(blinks.values(), key=len)
    assert once == pytest.approx([3.54], abs=0.1)
    assert often == pytest.approx([0.67, 1.62, 2.35, 3.08, 4.12], abs=0.1)


def drawn_eyes(right: float, down: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A mean head whose irises lie so far from the middle, in eye lengths: crop and landmarks."""
    points = (MEAN_HEAD[:, :2] * 120 + (80, 80)).astype(np.float32)
    picture = np.full((160, 160), 170, np.uint8)
    for corners in ((33, 133), (362, 263)):
        first, last = points[list(corners)]
        long = float(np.linalg.norm(last - first))
        x, y = (first + last) / 2 + long * np.array([right, down])
        cv2.ellipse(picture, ((float(x), float(y)), (0.4 * long, 0.4 * long), 0), 30, -1)
    return aligned_crop(picture, points, 64), points


def test_gaze_follows_the_irises() -> None:
    ahead, right, left, up, down = (
        gaze_deg(*drawn_eyes(*at), 0.0, 0.0)
        for at in ((0, 0), (0.15, 0), (-0.15, 0), (0, -0.1), (0, 0.1))
    )
    assert right[0] > ahead[0] + 8 and left[0] < ahead[0] - 8
    assert up[1] < ahead[1] - 5 and down[1] > ahead[1] + 5
    assert abs(right[0] + left[0] - 2 * ahead[0]) < 4, "both sides alike"
    crop, points = drawn_eyes(0.1, 0)
    brighter = np.clip(crop.astype(float) * 0.6 + 60, 0, 255).astype(np.uint8)
    assert gaze_deg(brighter, points, 0, 0) == pytest.approx(gaze_deg(crop, points, 0, 0), abs=1.5)
    assert all(np.isfinite(gaze_deg(np.full((64, 64), 9, np.uint8), points, 0.0, 0.0)))


def test_gaze_is_told_of_eyes_that_are_seen() -> None:
    quality = face().quality
    assert seen_well((0.9, 0.8), quality)
    assert not seen_well((0.9, 0.2), quality)
    assert not seen_well((0.9, 0.8), replace(quality, yaw_deg=-50.0))
    assert not seen_well((0.9, 0.8), replace(quality, score=0.2))
