"""Windows on both sides of a frame, and recordings that are read with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ferstream.stream.frame import Frame
from ferstream.stream.memory import BLIP_S, WAITING_BYTES, Around, Seen
from ferstream.stream.recognize import Recognizer, Result
from ferstream.stream.run import run

from .fakes import FakeSource, ListSink
from .footage import pictures_of

FRAMES, DURATION_S = 32, 1.0


def seen(time_s: float, smile: float = 0.0) -> Seen:
    basic8 = np.array([1 - smile, smile], np.float32)
    outputs = {"feature": np.array([time_s], np.float32)}
    return Seen(time_s, outputs, basic8, None, 0.0)


def window(around: Around, centre: Seen) -> list[float]:
    feature, mask = np.full((FRAMES, 1), np.nan, np.float32), np.empty(FRAMES, np.float32)
    row = around.read_features(centre, feature, mask)
    times_s = feature[mask == 1, 0]
    assert times_s[row] == np.float32(centre.time_s)
    assert (np.diff(times_s) > 0).all() and not feature[mask == 0].any()
    return [float(t) for t in times_s]


@pytest.mark.parametrize("rate_hz", [5, 12, 25, 29.97, 60, 120])
def test_a_window_reaches_as_far_ahead_as_back(rate_hz: float) -> None:
    around = Around(FRAMES, DURATION_S)
    frames = [seen(float(t)) for t in 10 + np.arange(round(2 * rate_hz)) / rate_hz]
    read = {}
    for newest in frames:
        around.add(newest)
        for old in frames:
            if old.time_s not in read and newest.time_s - old.time_s >= DURATION_S / 2 - 1e-3:
                read[old.time_s] = window(around, old)
    whole = {t: w for t, w in read.items() if t > 10.5}
    assert whole
    for time_s, times_s in whole.items():
        assert len(times_s) <= FRAMES
        assert time_s - times_s[0] == pytest.approx(times_s[-1] - time_s, abs=1e-3)
        assert 0.5 + 1e-3 >= times_s[-1] - time_s > 0.5 - 1 / rate_hz - 2 * DURATION_S / FRAMES


def test_a_window_ends_where_another_expression_begins() -> None:
    around = Around(FRAMES, DURATION_S)
    frames = [seen(n / 25, float(n >= 25)) for n in range(38)]
    for one in frames:
        around.add(one)
    assert max(window(around, frames[23])) < 1.0 + BLIP_S
    assert min(window(around, frames[26])) > 1.0 - BLIP_S
    assert np.mean(np.array(window(around, frames[24])) >= 1.0) < 0.5


def test_a_blip_is_no_edge() -> None:
    around = Around(FRAMES, DURATION_S)
    frames = [seen(n / 25, float(n not in (25, 26))) for n in range(38)]
    for one in frames:
        around.add(one)
    assert len(window(around, frames[25])) > 20


def test_frames_far_apart_are_not_read_together() -> None:
    around = Around(FRAMES, 4.0)
    frames = [seen(t) for t in (0.0, 0.4, 1.2, 1.6)]
    for one in frames:
        around.add(one)
    assert window(around, frames[1]) == pytest.approx([0.0, 0.4])
    assert window(around, frames[2]) == pytest.approx([1.2, 1.6])


class Shown(FakeSource):
    """A recording of one man who smiles or does not, at times of one's own choosing."""

    def __init__(self, clips_dir: Path, times_s: Sequence[float], smiling: Sequence[bool]) -> None:
        super().__init__(times_s)
        pictures = pictures_of(clips_dir / "single_face.mp4")
        self.size = (640, 360)
        self._shown = [pictures[40] if smile else pictures[0] for smile in smiling]

    def frames(self) -> Iterator[Frame]:
        for index, picture in enumerate(self._shown):
            yield Frame(picture, self._times_s[index], index, self.name)


def read(source: FakeSource, live: bool = False) -> list[Result]:
    with Recognizer() as recognizer:
        if live:
            return [recognizer.process(frame) for frame in source.frames()]
        sink = ListSink()
        run(source, recognizer, [sink])
    return sink.rows


@pytest.mark.parametrize("rate_hz", [10.0, 25.0])
@pytest.mark.parametrize("smile_s", [(0.6, 3.4), (1.0, 1.4)])
def test_a_smile_in_a_recording_is_reported_when_it_is_seen(
    clips_dir: Path, rate_hz: float, smile_s: tuple[float, float]
) -> None:
    times_s = [n / rate_hz for n in range(round(4.4 * rate_hz))]
    source = Shown(clips_dir, times_s, [smile_s[0] <= t + 1e-6 < smile_s[1] for t in times_s])
    rows = read(source)
    assert [row.frame for row in rows] == list(range(len(times_s)))
    shown = [row.time_s for row in rows if row.faces[0].emotions.basic8["happiness"] > 0.5]
    assert shown[0] == pytest.approx(smile_s[0], abs=0.1)
    assert shown[-1] + 1 / rate_hz == pytest.approx(smile_s[1], abs=0.1)
    assert len(shown) == pytest.approx((smile_s[1] - smile_s[0]) * rate_hz, abs=2)


@pytest.mark.parametrize("live", [False, True])
def test_frames_a_second_apart_are_each_their_own(clips_dir: Path, live: bool) -> None:
    smiling = [n % 2 == 1 for n in range(8)]
    rows = read(Shown(clips_dir, [float(n) for n in range(8)], smiling), live)
    assert [row.faces[0].emotions.label != "neutral" for row in rows] == smiling
    assert all(row.faces[0].among == 1 for row in rows)


def waiting(recognizer: Recognizer) -> int:
    return sum(len(ahead._waiting) for ahead in recognizer._scorer.memory._ahead.values())


def test_frames_wait_half_a_window_and_no_longer() -> None:
    """Without faces: results come in order, whole, and the wait is bounded in time and bytes."""
    picture = np.zeros((48, 64, 3), np.uint8)
    with Recognizer() as recognizer:
        half_s = recognizer.bundle.manifest.clip_duration_s / 2
        got: list[Result] = []
        for n in range(60):
            frame = Frame(picture, n / 25, n, "clip", ahead=True)
            got += recognizer.score([recognizer.find(frame)])
            assert waiting(recognizer) <= half_s * 25 + 1
        again = Frame(picture, 0.0, 60, "clip", restart=True, ahead=True)
        got += recognizer.score([recognizer.find(again)])
        assert [r.frame for r in got] == list(range(60)), "a break ends the wait"
        got += recognizer.finish("clip")
        assert [r.frame for r in got] == list(range(61))
        assert recognizer.finish("clip") == []
        huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (2000, WAITING_BYTES // 24000, 3))
        huge = np.ascontiguousarray(huge)
        for n in range(8):
            recognizer.score([recognizer.find(Frame(huge, n / 25, n, "wide", ahead=True))])
            assert waiting(recognizer) <= 4
        recognizer.reset("wide")
        assert recognizer.finish("wide") == []


def test_a_recording_gets_every_frame_its_result_and_a_live_source_at_once() -> None:
    for live in (False, True):
        sink = ListSink()
        times_s = tuple(n / 10 for n in range(12))
        with Recognizer() as recognizer:
            run(FakeSource(times_s, live=live), recognizer, [sink], policy="every")
        assert [r.frame for r in sink.rows] == list(range(12))
