"""Rounds: fair turns, nothing mixed, nothing kept, one visitor's failure its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import Result
from ferstream.stream.serve.rounds import RoundFailed, Rounds, RoundsClosed, RoundsFull
from ferstream.stream.sources import open_source

from .fakes import FakeRecognizer

SMALL = np.zeros((48, 64, 3), np.uint8)


class Paced(FakeRecognizer):
    """Waits for a permit before each round, notes rounds and farewells, fails where told."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = threading.Semaphore(0)
        self.free = False
        self.rounds: list[list[str]] = []
        self.forgotten: list[str] = []
        self.find_fails_for = ""
        self.score_fails = False

    def go(self) -> None:
        self.free = True
        self.permits.release()

    def find(self, frame: Frame) -> Frame:
        if frame.source == self.find_fails_for:
            raise ArithmeticError("an odd frame")
        return frame

    def score(self, sightings: Sequence[Frame]) -> list[Result]:
        if not self.free:
            self.permits.acquire()
        self.rounds.append([frame.source for frame in sightings])
        if self.score_fails:
            raise ArithmeticError("an odd batch")
        return super().score(sightings)

    def forget(self, source: str) -> None:
        self.forgotten.append(source)


def frame(index: int = 0) -> Frame:
    return Frame(SMALL, index / 10, index, "whatever it says")


def until(true: Callable[[], object], limit_s: float = 60.0) -> None:
    """Wait for another thread to get there."""
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.002)


def reaching(items: Sequence[object], count: int) -> Callable[[], bool]:
    """Whether there are so many items by then."""
    return lambda: len(items) >= count


@pytest.fixture
def paced() -> Iterator[Paced]:
    recognizer = Paced()
    yield recognizer
    recognizer.go()


def test_a_round_has_one_frame_of_each_however_fast_one_sends(paced: Paced) -> None:
    seen: dict[str, list[int]] = {"hasty": [], "calm": []}
    with Rounds(paced) as rounds:
        hasty = rounds.join(lambda f, r: seen["hasty"].append(f.index))
        calm = rounds.join(lambda f, r: seen["calm"].append(f.index))
        hasty.submit(frame(0))
        until(lambda: not paced.permits._value and hasty.dropped == 0)
        time.sleep(0.05)  # the first round is under way and waits
        for index in range(1, 500):
            hasty.submit(frame(index))
        calm.submit(frame(0))
        paced.go()
        until(lambda: seen["calm"])
        until(lambda: 499 in seen["hasty"])
        assert hasty.dropped == 498
        assert calm.dropped == 0
    assert all(len(set(one)) == len(one) for one in paced.rounds)
    assert sorted(paced.rounds[1]) == ["visitor-1", "visitor-2"]


def test_more_visitors_than_a_round_holds_take_turns(paced: Paced) -> None:
    with Rounds(paced, batch=3) as rounds:
        visitors = [rounds.join(lambda f, r: None) for _ in range(9)]
        stop = threading.Event()

        def flood() -> None:
            index = 0
            while not stop.is_set():
                for visitor in visitors:
                    visitor.submit(frame(index))
                index += 1

        thread = threading.Thread(target=flood)
        thread.start()
        paced.go()
        until(lambda: len(paced.rounds) > 60)
        stop.set()
        thread.join()
    served = [name for one in paced.rounds[:60] for name in one]
    counts = [served.count(visitor.name) for visitor in visitors]
    assert max(len(one) for one in paced.rounds) == 3
    assert min(counts) >= max(counts) - 2


def test_a_clip_loses_nothing_and_leaves_room_for_the_live(paced: Paced) -> None:
    paced.go()
    live: list[int] = []
    with Rounds(paced) as rounds:
        visitor = rounds.join(lambda f, r: live.append(f.index))
        clips: queue.Queue[list[int]] = queue.Queue()

        def score() -> None:
            got = [f.index for f, r in rounds.score(frame(index) for index in range(200))]
            clips.put(got)

        threads = [threading.Thread(target=score) for _ in range(3)]
        for thread in threads:
            thread.start()
        for index in range(50):
            visitor.submit(frame(index))
            time.sleep(0.001)
        for thread in threads:
            thread.join()
        assert [clips.get() for _ in threads] == [list(range(200))] * 3
        until(lambda: 49 in live)
    shared = [one for one in paced.rounds if visitor.name in one]
    assert shared
    assert all(len(one) <= 2 for one in shared), "beside the live, one frame of all the clips"
    assert sorted(paced.forgotten) == ["visitor-1", "visitor-2", "visitor-3", "visitor-4"]


def test_results_name_their_visitor_and_reach_nobody_else(paced: Paced) -> None:
    paced.go()
    got: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}

    def note(which: int) -> Callable[[Frame, Result], None]:
        return lambda f, r: got[which].update({f.source, r.source})

    with Rounds(paced) as rounds:
        visitors = [rounds.join(note(which)) for which in range(3)]
        for index in range(20):
            for visitor in visitors:
                visitor.submit(frame(index))
        until(lambda: all(got.values()))
        assert rounds.visitors == 3
    assert got == {0: {"visitor-1"}, 1: {"visitor-2"}, 2: {"visitor-3"}}


def test_who_leaves_is_forgotten_and_its_name_is_not_given_again(paced: Paced) -> None:
    paced.go()
    with Rounds(paced, max_visitors=1) as rounds:
        first = rounds.join(lambda f, r: None)
        with pytest.raises(RoundsFull, match="1 live visitors already"):
            rounds.join(lambda f, r: None)
        first.leave()
        first.leave()
        until(lambda: paced.forgotten == [first.name])
        with pytest.raises(RoundsClosed, match="has left"):
            first.submit(frame())
        second = rounds.join(lambda f, r: None)
        assert second.name != first.name
        assert not second.left
    assert second.left
    assert paced.forgotten == [first.name, second.name]


def test_a_visitor_who_cannot_take_results_is_sent_away_alone(
    paced: Paced, caplog: pytest.LogCaptureFixture
) -> None:
    paced.go()
    fine: list[int] = []

    def broken(*_: object) -> None:
        raise RuntimeError("the connection is closed")

    with Rounds(paced) as rounds:
        bad, good = rounds.join(broken), rounds.join(lambda f, r: fine.append(f.index))
        bad.submit(frame(1))
        until(lambda: bad.left)
        good.submit(frame(2))
        until(lambda: fine == [2])
        assert rounds.running
    assert "cannot take its results" in caplog.text


def test_a_frame_that_makes_finding_fail_is_its_visitors_alone(
    paced: Paced, caplog: pytest.LogCaptureFixture
) -> None:
    paced.go()
    failures: list[Exception] = []
    fine: list[int] = []
    with Rounds(paced) as rounds:
        bad = rounds.join(lambda f, r: None, on_failure=failures.append)
        good = rounds.join(lambda f, r: fine.append(f.index))
        paced.find_fails_for = bad.name
        for index in range(3):
            bad.submit(frame(index))
            good.submit(frame(index))
            until(reaching(fine, index + 1))
            until(reaching(failures, index + 1))
        assert not bad.left
        assert rounds.running
    assert all(isinstance(failure, RoundFailed) for failure in failures)
    assert paced.forgotten.count(bad.name) >= 3, "nothing half done is kept"


def test_rounds_that_always_fail_are_not_ready(
    paced: Paced, caplog: pytest.LogCaptureFixture
) -> None:
    paced.go()
    paced.score_fails = True
    failures: list[Exception] = []
    with Rounds(paced) as rounds:
        assert rounds.running
        visitor = rounds.join(lambda f, r: None, on_failure=failures.append)
        for index in range(5):
            visitor.submit(frame(index))
            until(reaching(failures, index + 1))
        assert not rounds.running
        with pytest.raises(RoundFailed, match="could not be scored"):
            list(rounds.score([frame()]))
        paced.score_fails = False
        assert len(list(rounds.score([frame()]))) == 1
        assert rounds.running
    assert not rounds.running


def test_the_end_reaches_everyone(paced: Paced) -> None:
    told: list[str] = []
    rounds = Rounds(paced).start()
    rounds.join(lambda f, r: None, on_end=lambda: told.append("live"))
    patient = rounds.join(lambda f, r: None, patient=True, on_end=lambda: told.append("patient"))
    blocked: queue.Queue[Any] = queue.Queue()

    def push() -> None:
        try:
            for index in range(10):
                patient.submit(frame(index))
        except RoundsClosed as error:
            blocked.put(error)

    def score() -> None:
        try:
            list(rounds.score(frame(index) for index in range(10)))
        except RoundsClosed as error:
            blocked.put(error)

    threads = [threading.Thread(target=push), threading.Thread(target=score)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert all(thread.is_alive() for thread in threads), "a patient visitor waits for room"
    paced.go()
    rounds.close()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(told) == ["live", "patient"]
    assert blocked.qsize() <= 2
    with pytest.raises(RoundsClosed, match="closing"):
        rounds.join(lambda f, r: None)


def test_a_clip_given_up_halfway_leaves(paced: Paced) -> None:
    paced.go()
    with Rounds(paced) as rounds:
        scored = rounds.score(frame(index) for index in range(100))
        next(scored)
        assert rounds.patient == 1
        scored.close()  # type: ignore[attr-defined]
        assert rounds.patient == 0
        until(lambda: paced.forgotten == ["visitor-1"])


def test_faces_of_real_visitors_stay_apart() -> None:
    """The sample, whole and mirrored in time: each visitor's readings are those it gets alone."""
    frames = list(open_source("sample").frames())[::6]
    backwards = [
        Frame(f.pixels, frames[at].time_s, at, "b") for at, f in enumerate(reversed(frames))
    ]
    with Recognizer() as recognizer, Rounds(recognizer) as rounds:

        def read(clip: list[Frame]) -> list[dict[str, Any]]:
            rows = [result.to_json(3) for _, result in rounds.score(clip)]
            return [{**row, "source": ""} for row in rows]

        alone = [read(frames), read(backwards)]
        together: dict[int, list[dict[str, Any]]] = {}
        threads = [
            threading.Thread(target=lambda at=at, clip=clip: together.update({at: read(clip)}))
            for at, clip in enumerate((frames, backwards))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: not recognizer._trackers and not recognizer._memory._faces)
        assert len(rounds.units) == 52
    for at in (0, 1):
        assert [face["id"] for row in together[at] for face in row["faces"]] == [1] * len(frames)
        for row, same in zip(together[at], alone[at], strict=True):
            assert row["faces"][0]["label"] == same["faces"][0]["label"]
            assert row["faces"][0]["box"] == same["faces"][0]["box"]
