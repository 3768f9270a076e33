"""Clips: which features are kept, and when motion is measured. Numbers stand in for clocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.engines.views import Reading
from ferstream.stream.clip import FaceClip, MotionEstimator

FRAMES, DURATION_S, FIELDS, GAP_S = 32, 2.0, 8, 0.1


def new_clip() -> FaceClip:
    return FaceClip(1, FRAMES, DURATION_S, FIELDS, GAP_S)


def kept(clip: FaceClip) -> list[float]:
    """The valid features, in order; the tests store a frame's time as its feature."""
    feature = np.full((FRAMES, 1), np.nan, np.float32)
    mask = np.full(FRAMES, np.nan, np.float32)
    clip.read_features(feature, mask)
    assert set(mask.tolist()) <= {0.0, 1.0}
    assert not feature[mask == 0].any(), "holes are zeros"
    return sorted(feature[mask == 1, 0].tolist())


def feed(clip: FaceClip, times_s: NDArray[np.float64]) -> None:
    for time_s in times_s.tolist():
        clip.add_feature(time_s, np.array([time_s], np.float32))


@pytest.mark.parametrize("rate_hz", [2, 8, 12, 15, 16, 24, 25, 29.97, 30, 50, 60, 120, 240])
def test_a_clip_spans_its_duration_at_any_frame_rate(rate_hz: float) -> None:
    clip, times_s = new_clip(), 100 + np.arange(round(10 * rate_hz)) / rate_hz
    feed(clip, times_s)
    have = np.array(kept(clip))
    assert have[-1] == pytest.approx(times_s[-1]), "the newest is always in"
    assert len(have) <= FRAMES
    assert have[-1] - have[0] <= DURATION_S + 1e-3
    if rate_hz <= FRAMES / DURATION_S:
        assert len(have) == pytest.approx(DURATION_S * rate_hz + 1, abs=1), "nothing thinned out"
    else:
        assert have[-1] - have[0] > 0.9 * DURATION_S
        assert np.diff(have)[:-1].min() >= DURATION_S / FRAMES - 2e-3
        assert np.diff(have).max() < 2 * DURATION_S / FRAMES


def test_the_newest_can_be_told_from_the_others() -> None:
    clip = new_clip()
    for time_s in np.arange(0, 5, 1 / 60).tolist():
        clip.add_feature(time_s, np.array([time_s], np.float32))
        feature, mask = np.empty((FRAMES, 1), np.float32), np.empty(FRAMES, np.float32)
        clip.read_features(feature, mask)
        assert mask[clip.newest] == 1
        assert feature[clip.newest, 0] == pytest.approx(time_s)
        assert clip.time_s == time_s


def test_after_a_pause_the_old_features_are_out() -> None:
    clip = new_clip()
    feed(clip, np.array([0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 2.15]))
    assert kept(clip) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.15])
    feed(clip, np.array([2.7, 2.8]))
    assert kept(clip) == pytest.approx([2.7, 2.8]), "frames half a second apart are no moment"
    feed(clip, np.array([9.0]))
    assert kept(clip) == [9.0]
    feed(clip, np.array([1.0, 1.5]))
    assert kept(clip) == [1.0, 1.5], "a clock set back begins anew"


def drifting(time_s: float) -> NDArray[np.uint8]:
    """A pattern that moves right by 6 pixels a second."""
    y, x = np.mgrid[0:64, 0:64].astype(np.float64)
    wave = np.sin((x - 6 * time_s) / 4) + np.cos(y / 5) + np.sin((x - 6 * time_s + y) / 7)
    return np.asarray(128 + 35 * wave, np.uint8)


@pytest.mark.parametrize("rate_hz", [12.0, 25.0, 60.0, 120.0])
@pytest.mark.parametrize("ahead", [False, True])
def test_frames_that_are_kept_take_turns_as_they_are_and_mirrored(
    rate_hz: float, ahead: bool
) -> None:
    clip = new_clip()
    sides: dict[float, bool] = {}
    for index in range(int(rate_hz * 1.5)):
        time_s = index / rate_hz
        reading = clip.reading(time_s, ahead)
        if index == 0:
            assert reading is Reading.ALONE
        else:
            assert reading in (Reading.AS_IS, Reading.MIRRORED)
        sides[time_s] = reading is Reading.MIRRORED
        clip.add_feature(time_s, np.array([time_s], np.float32), mirrored=sides[time_s])
    stamps = {float(np.float32(time_s)): side for time_s, side in sides.items()}
    turns = [stamps[time_s] for time_s in kept(clip)]
    assert len(turns) > 10
    assert all(one != other for one, other in itertools.pairwise(turns[:-1]))


def test_a_slow_recording_is_read_both_ways_and_a_slow_camera_in_turns() -> None:
    clip = new_clip()
    clip.add_feature(0.0, np.zeros(1, np.float32))
    assert clip.reading(0.25, True) is Reading.BOTH
    assert clip.reading(0.25, False) is Reading.MIRRORED
    assert clip.reading(0.75, True) is clip.reading(0.75, False) is Reading.ALONE
    assert clip.reading(0.0, False) is Reading.ALONE, "a clock that stands begins anew"


@pytest.mark.parametrize("rate_hz", [12.0, 15.0, 25.0, 30.0, 60.0])
def test_motion_does_not_depend_on_the_frame_rate(rate_hz: float) -> None:
    clip = new_clip()
    made = [clip.add_crop(t, drifting(t)) for t in (np.arange(3 * rate_hz) / rate_hz).tolist()]
    frames_per_field = np.ceil(GAP_S * rate_hz - 1e-6)
    assert sum(made) == (len(made) - 1) // frames_per_field
    stack = clip.stack()
    assert stack is not None
    assert stack.shape == (2 * FIELDS, 32, 32)
    assert stack.dtype == np.float32
    inner = stack[:, 8:24, 8:24]
    expected = 6 / (0.79 * 64)  # face widths per second
    assert inner[0::2].mean() == pytest.approx(expected, rel=0.15)
    assert abs(inner[1::2].mean()) < 0.1 * expected


def test_a_stack_fills_from_the_newest_end() -> None:
    clip = new_clip()
    for count, time_s in enumerate(np.arange(0, 1.05, 0.1).tolist()):
        assert clip.add_crop(time_s, drifting(time_s)) == (count > 0)
        stack = clip.stack()
        assert (stack is None) == (count < 3) == (not clip.has_motion)
        if stack is not None:
            filled = [bool(stack[2 * at : 2 * at + 2].any()) for at in range(FIELDS)]
            assert filled == [at >= FIELDS - count for at in range(FIELDS)]


@pytest.mark.parametrize("jump_s", [0.31, 5.0, -1.0, 0.0])
def test_motion_begins_anew_after_a_gap(jump_s: float) -> None:
    clip = new_clip()
    for time_s in np.arange(0, 2, 0.1).tolist():
        clip.add_crop(time_s, drifting(time_s))
    before = clip.stack()
    assert before is not None
    then_s = 1.9 + jump_s
    assert not clip.add_crop(then_s, drifting(0.0))
    assert clip.stack() is None
    for step in (1, 2, 3):
        clip.add_crop(then_s + 0.1 * step, drifting(0.1 * step))
    stack = clip.stack()
    assert stack is not None
    assert not stack[: 2 * (FIELDS - 3)].any(), "nothing from before the gap"


def test_velocity_is_divided_by_the_true_gap() -> None:
    class Recorder(MotionEstimator):
        gaps_s: list[float]

        def field(
            self, previous_crop: NDArray[np.uint8], crop: NDArray[np.uint8], gap_s: float
        ) -> NDArray[np.float32]:
            self.gaps_s.append(gap_s)
            return np.zeros((2, 32, 32), np.float32)

    recorder = Recorder()
    recorder.gaps_s = []
    clip = FaceClip(1, FRAMES, DURATION_S, FIELDS, GAP_S, recorder)
    for time_s in (0.0, 0.04, 0.13, 0.2, 0.25, 0.55, 0.56, 0.9):
        clip.add_crop(time_s, drifting(time_s))
    assert recorder.gaps_s == pytest.approx([0.13, 0.12, 0.3])


def test_older_frames_count_for_less_where_the_bundle_says_so() -> None:
    clip = FaceClip(2, frames=4, duration_s=1.0, fields=2, gap_s=0.1, recency_s=0.5)
    for time_s in (0.0, 0.25, 0.5):
        clip.add_feature(time_s, np.full(2, time_s, np.float32))
    feature, mask = np.empty((4, 2), np.float32), np.empty(4, np.float32)
    clip.read_features(feature, mask)
    by_time = dict(zip(feature[mask > 0, 0].tolist(), mask[mask > 0].tolist(), strict=True))
    assert by_time == pytest.approx({0.0: np.exp(-1), 0.25: np.exp(-0.5), 0.5: 1.0})
