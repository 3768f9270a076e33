"""What watches over a camera: outages, patience, times and the order of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ferstream.stream.errors import (
    SourceDenied,
    SourceError,
    SourceLost,
    SourceMissing,
    SourceRefused,
    SourceTimeout,
    SourceUnreadable,
)
from ferstream.stream.frame import Frame
from ferstream.stream.sources.base import Source, SourceEvent, State
from ferstream.stream.sources.supervised import Backoff, SupervisedSource

from .fakes import FakeSource

REFUSED, LOST = SourceRefused("it refuses"), SourceLost("it was lost")
STEADY = Backoff(jitter=0)


class FakeClock:
    """A clock that only waiting moves."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s
        self.waits_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def wait(self, duration_s: float) -> None:
        self.waits_s.append(round(duration_s, 6))
        self.now_s += duration_s


class Camera:
    """Answers each opening with the next of its answers."""

    def __init__(self, *answers: SourceError | FakeSource, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.answers = list(answers)
        self.opened: list[FakeSource] = []
        self.events: list[SourceEvent] = []
        self.attempt_s = 0.0

    def open(self) -> Source:
        self.clock.now_s += self.attempt_s
        answer = self.answers.pop(0) if self.answers else SourceMissing("gone for good")
        if isinstance(answer, SourceError):
            raise answer
        self.opened.append(answer)
        return answer

    def watched(
        self,
        retries: int | None = 0,
        strict_start: bool = False,
        backoff: Backoff = STEADY,
        on_event: Callable[[SourceEvent], None] | None = None,
    ) -> SupervisedSource:
        return SupervisedSource(
            "cam",
            self.open,
            retries=retries,
            strict_start=strict_start,
            backoff=backoff,
            on_event=on_event or self.events.append,
            clock=self.clock,
            wait=self.clock.wait,
            random=lambda: 1.0,
        )

    @property
    def story(self) -> list[tuple[str, str, int]]:
        return [(event.state.value, event.code, event.attempt) for event in self.events]


def live(*times_s: float, error: Exception | None = LOST) -> FakeSource:
    return FakeSource(times_s, live=True, error=error)


def test_an_outage_from_its_beginning_to_its_end() -> None:
    camera = Camera(live(90.0, 90.1), REFUSED, SourceTimeout("silent"), live(95.0, 95.1))
    source = camera.watched(retries=3)
    frames = source.frames()
    seen = [next(frames) for _ in range(4)]
    assert [frame.index for frame in seen] == [0, 1, 3, 4]
    assert [frame.time_s for frame in seen] == [90.0, 90.1, 95.0, 95.1]
    assert [frame.restart for frame in seen] == [False, False, True, False]
    assert camera.clock.waits_s == [0.5, 1.0, 2.0]
    assert camera.story == [
        ("connecting", "", 1),
        ("live", "", 1),
        ("lost", "LOST", 0),
        ("connecting", "", 1),
        ("lost", "REFUSED", 1),
        ("connecting", "", 2),
        ("lost", "TIMEOUT", 2),
        ("connecting", "", 3),
        ("live", "", 3),
    ]
    assert source.notes == ("lost and reopened once; last: silent",)
    assert source.reconnects == 1
    source.close()
    assert list(frames) == []
    assert camera.story[-1] == ("ended", "", 0)
    assert [one.closed > 0 for one in camera.opened] == [True, True]


def test_a_camera_that_stays_away_is_given_up_after_so_many_attempts() -> None:
    camera = Camera(live(90.0), *[REFUSED] * 4)
    source = camera.watched(retries=4)
    with pytest.raises(SourceLost, match="it refuses; given up after 4 attempts to open it again"):
        list(source.frames())
    assert camera.clock.waits_s == [0.5, 1.0, 2.0, 3.0]
    assert camera.story[-1] == ("ended", "LOST", 4)


def test_one_that_was_never_there_is_given_up_with_its_own_error() -> None:
    camera = Camera(*[REFUSED] * 3)
    with pytest.raises(SourceRefused, match="it refuses"):
        list(camera.watched(retries=2).frames())
    assert camera.clock.waits_s == [0.5, 1.0]
    assert camera.story[-1] == ("ended", "REFUSED", 3)


def test_frames_earn_new_patience() -> None:
    camera = Camera(*[live(float(k)) for k in range(20)])
    source = camera.watched(retries=1)
    with pytest.raises(SourceLost, match="gone for good"):
        list(source.frames())
    assert source.reconnects == 19
    assert set(camera.clock.waits_s) == {0.5}


def test_without_end_it_is_told_less_and_less_often() -> None:
    camera = Camera(live(90.0), *[REFUSED] * 1000, live(5000.0))
    camera.clock = FakeClock(4000.0)
    frames = camera.watched(retries=None).frames()
    assert [next(frames).index for _ in range(2)] == [0, 2]
    attempts = [event.attempt for event in camera.events if event.code == "REFUSED"]
    assert attempts == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert camera.events[-1].state is State.live
    assert camera.events[-1].attempt == 1001
    assert max(camera.clock.waits_s) == 3.0


def test_another_reason_is_told_at_once() -> None:
    camera = Camera(*[REFUSED] * 6, SourceDenied("wrong"), REFUSED, REFUSED)
    with pytest.raises(SourceMissing):
        list(camera.watched(retries=9).frames())
    lost = [(event.code, event.attempt) for event in camera.events if event.state is State.lost]
    assert lost == [
        ("REFUSED", 1),
        ("REFUSED", 2),
        ("REFUSED", 4),
        ("AUTH_FAILED", 7),
        ("REFUSED", 8),
        ("NOT_FOUND", 10),
    ]


def test_wrong_passwords_are_not_tried_over_and_over() -> None:
    denied = SourceDenied("wrong")
    camera = Camera(*[denied] * 9, REFUSED, REFUSED)
    with pytest.raises(SourceMissing):
        list(camera.watched(retries=11).frames())
    assert camera.clock.waits_s == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 3, 3]


@pytest.mark.parametrize("error", [SourceMissing("a"), SourceUnreadable("b"), SourceDenied("c")])
def test_a_strict_start_ends_where_no_waiting_helps(error: SourceError) -> None:
    camera = Camera(error)
    with pytest.raises(type(error)):
        list(camera.watched(retries=None, strict_start=True).frames())
    assert camera.story == [("connecting", "", 1), ("ended", error.code, 1)]


def test_a_strict_start_waits_for_a_camera_that_is_off_and_forgives_later() -> None:
    camera = Camera(REFUSED, live(90.0), SourceMissing("path"), live(91.0))
    frames = camera.watched(retries=None, strict_start=True).frames()
    assert [next(frames).restart for _ in range(2)] == [False, True]


def test_a_stall_is_told_as_one() -> None:
    camera = Camera(live(90.0, error=SourceTimeout("no picture")), live(95.0))
    frames = camera.watched(retries=1).frames()
    assert len([next(frames) for _ in range(2)]) == 2
    assert [state for state, _, _ in camera.story] == [
        *("connecting", "live", "stalled", "lost", "connecting", "live")
    ]


def test_a_slow_attempt_shortens_the_pause_after_it() -> None:
    camera = Camera(live(90.0), *[REFUSED] * 4)
    camera.attempt_s = 2.5
    with pytest.raises(SourceLost):
        list(camera.watched(retries=4).frames())
    assert camera.clock.waits_s == [0.5, 0.1, 0.1, 0.5]


def test_times_go_on_whatever_the_camera_says() -> None:
    wild_s = (90.0, 90.1, 5.0, 90.1, 3600.0, 90.2, 1e9, 100.0, 99.0)
    frames = list(_until_lost(Camera(live(*wild_s)).watched()))
    times_s = [frame.time_s for frame in frames]
    assert len(times_s) == len(wild_s)
    assert all(later > earlier for earlier, later in pairwise(times_s))
    # None lies in the future, and a jump does not stop the clock: the last are near its time.
    assert max(times_s) <= 100.1
    assert times_s[-1] == pytest.approx(100.0, abs=0.01)


def _until_lost(source: SupervisedSource) -> Iterator[Frame]:
    with suppress(SourceLost):
        yield from source.frames()


def test_another_resolution_begins_anew() -> None:
    class Switching(FakeSource):
        def frames(self) -> Iterator[Frame]:
            for frame in super().frames():
                size = (48, 64, 3) if frame.index < 2 else (96, 128, 3)
                yield replace(frame, pixels=np.zeros(size, np.uint8))

    camera = Camera(Switching((90.0, 90.1, 90.2, 90.3), live=True, error=LOST))
    frames = list(_until_lost(camera.watched()))
    assert [frame.restart for frame in frames] == [False, False, True, False]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]


def test_size_and_rate_are_known_once_it_is_open() -> None:
    source = Camera(live(90.0)).watched()
    assert (source.size, source.rate_hz, source.live) == (None, None, True)
    frames = source.frames()
    next(frames)
    assert (source.size, source.rate_hz) == ((64, 48), 10.0)
    with pytest.raises(SourceLost):
        next(frames)
    assert (source.size, source.rate_hz) == ((64, 48), 10.0)


def test_an_address_that_holds_a_clip_is_played_once_at_its_pace() -> None:
    camera = Camera(FakeSource((0.0, 0.0001, 0.0002)))
    frames = list(camera.watched(retries=None).frames())
    assert len(frames) == 3
    assert [state for state, _, _ in camera.story] == ["connecting", "live", "ended"]


def test_closing_while_it_waits_ends_it() -> None:
    camera = Camera(live(90.0), *[REFUSED] * 3)
    source = camera.watched(retries=None)
    camera_wait = camera.clock.wait

    def closing(duration_s: float) -> None:
        camera_wait(duration_s)
        if len(camera.clock.waits_s) == 2:
            source.close()

    source._wait = closing
    assert len(list(source.frames())) == 1
    assert camera.story[-1][0] == "ended"
    assert len(camera.answers) == 2


def test_closing_while_it_opens_lets_go_of_what_was_opened() -> None:
    camera = Camera()

    def open_late() -> Source:
        source.close()
        camera.opened.append(live(90.0))
        return camera.opened[0]

    source = SupervisedSource("cam", open_late, on_event=camera.events.append)
    assert list(source.frames()) == []
    assert camera.opened[0].closed == 1
    assert [event.state for event in camera.events] == [State.connecting, State.ended]


def test_who_stops_reading_lets_go_of_the_camera() -> None:
    camera = Camera(live(90.0, 90.1))
    frames = camera.watched().frames()
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert camera.opened[0].closed == 1
    assert camera.events[-1].state is State.ended


def test_a_bug_is_not_taken_for_an_outage() -> None:
    camera = Camera(live(90.0, error=ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        list(camera.watched(retries=None).frames())
    assert camera.story[-1][:2] == ("ended", "FAILED")


def test_events_hide_passwords() -> None:
    camera = Camera(SourceRefused("rtsp://ann:s3cret@cam/1 refuses"))
    with pytest.raises(SourceRefused):
        list(camera.watched().frames())
    assert "s3cret" not in str(camera.events)
    assert "ann:***@cam" in camera.events[1].message


def test_pauses_are_shortened_at_random_and_bounded() -> None:
    backoff = Backoff()
    assert backoff.pause_s(0, 0, lambda: 0.0) == 0.5
    assert backoff.pause_s(0, 0, lambda: 1.0) == 0.375
    assert backoff.pause_s(10**9, 0, lambda: 0.0) == 3.0
    assert backoff.pause_s(10**9, 10**9, lambda: 0.0) == 30.0
    with pytest.raises(ValueError, match="at least as long"):
        Backoff(first_s=5.0)
    with pytest.raises(ValueError, match="jitter"):
        Backoff(jitter=1.0)
    with pytest.raises(ValueError, match="retries -1"):
        SupervisedSource("cam", lambda: live(), retries=-1)
