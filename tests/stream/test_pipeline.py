"""A pipeline shared by many: fair turns, nothing mixed, nothing kept, a failure its owner's."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from ferstream.stream.errors import FrameFailed, PipelineClosed, PipelineFull, SourceLost
from ferstream.stream.frame import Frame
from ferstream.stream.pipeline import Pipeline
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import Result
from ferstream.stream.sources import open_source
from ferstream.stream.sources.base import GivenFrames

from .fakes import FakeRecognizer, FakeSource

SMALL = np.zeros((48, 64, 3), np.uint8)


class Paced(FakeRecognizer):
    """Waits for a permit before each batch, notes batches and farewells, fails where told."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = threading.Semaphore(0)
        self.free = False
        self.batches: list[list[str]] = []
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

    def score(self, detected: Sequence[Frame]) -> list[Result]:
        if not self.free:
            self.permits.acquire()
        self.batches.append([name(frame.source) for frame in detected])
        if self.score_fails:
            raise ArithmeticError("an odd batch")
        return super().score(detected)

    def forget(self, source: str) -> None:
        self.forgotten.append(name(source))


def name(key: str) -> str:
    """What an input is called, of what the recogniser calls it."""
    return key.partition("\0")[0]


def scored(pipeline: Pipeline, clip: Iterable[Frame], source: str = "clip") -> list[int]:
    """The indices of a clip's frames, as they are scored."""
    with pipeline.score(GivenFrames(source, clip), counted=True) as run:
        return [frame.index for frame, _ in run]


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


def test_a_batch_has_one_frame_of_each_however_fast_one_sends(paced: Paced) -> None:
    seen: dict[str, list[int]] = {"hasty": [], "calm": []}
    with Pipeline(paced) as pipeline:
        hasty = pipeline.join(lambda f, r: seen["hasty"].append(f.index))
        calm = pipeline.join(lambda f, r: seen["calm"].append(f.index))
        hasty.submit(frame(0))
        for index in range(1, 500):
            hasty.submit(frame(index))
        calm.submit(frame(0))
        paced.go()
        until(lambda: seen["calm"])
        until(lambda: 499 in seen["hasty"])
        # One frame is being scored, one batch waits for that, one is being looked at.
        assert 495 <= hasty.dropped + len(seen["hasty"]) <= 500
        assert len(seen["hasty"]) <= 5
        assert calm.dropped == 0
    assert all(len(set(one)) == len(one) for one in paced.batches)


def test_more_visitors_than_a_batch_holds_take_turns(paced: Paced) -> None:
    with Pipeline(paced, batch=3) as pipeline:
        visitors = [pipeline.join(lambda f, r: None) for _ in range(9)]
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
        until(lambda: len(paced.batches) > 60)
        stop.set()
        thread.join()
    served = [name for one in paced.batches[:60] for name in one]
    counts = [served.count(visitor.name) for visitor in visitors]
    assert max(len(one) for one in paced.batches) == 3
    assert min(counts) >= max(counts) - 2


def test_a_clip_loses_nothing_and_leaves_room_for_the_live(paced: Paced) -> None:
    paced.go()
    live: list[int] = []
    with Pipeline(paced) as pipeline:
        visitor = pipeline.join(lambda f, r: live.append(f.index))
        clips: queue.Queue[list[int]] = queue.Queue()

        def score() -> None:
            clips.put(scored(pipeline, (frame(index) for index in range(200))))

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
    shared = [one for one in paced.batches if visitor.name in one]
    assert shared
    assert all(len(one) <= 2 for one in shared), "beside the live, one frame of all the clips"
    assert sorted(paced.forgotten) == ["clip", "clip", "clip", "visitor-1"]


def test_results_name_their_visitor_and_reach_nobody_else(paced: Paced) -> None:
    paced.go()
    got: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}

    def note(which: int) -> Callable[[Frame, Result], None]:
        return lambda f, r: got[which].update({f.source, r.source})

    with Pipeline(paced) as pipeline:
        visitors = [pipeline.join(note(which)) for which in range(3)]
        for index in range(20):
            for visitor in visitors:
                visitor.submit(frame(index))
        until(lambda: all(got.values()))
        assert pipeline.clients == {"latest": 3, "every": 0}
    assert got == {0: {"visitor-1"}, 1: {"visitor-2"}, 2: {"visitor-3"}}


def test_who_leaves_is_forgotten_and_its_name_is_not_given_again(paced: Paced) -> None:
    paced.go()
    with Pipeline(paced, most_live=1) as pipeline:
        first = pipeline.join(lambda f, r: None)
        with pytest.raises(PipelineFull, match="1 live visitors already"):
            pipeline.join(lambda f, r: None)
        first.leave()
        first.leave()
        until(lambda: paced.forgotten == [first.name])
        with pytest.raises(PipelineClosed, match="has left"):
            first.submit(frame())
        second = pipeline.join(lambda f, r: None)
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

    with Pipeline(paced) as pipeline:
        bad, good = pipeline.join(broken), pipeline.join(lambda f, r: fine.append(f.index))
        bad.submit(frame(1))
        until(lambda: bad.left)
        good.submit(frame(2))
        until(lambda: fine == [2])
        assert pipeline.running
    assert "cannot take its results" in caplog.text


def test_a_frame_that_makes_finding_fail_is_its_visitors_alone(
    paced: Paced, caplog: pytest.LogCaptureFixture
) -> None:
    paced.go()
    failures: list[Exception] = []
    fine: list[int] = []
    with Pipeline(paced) as pipeline:
        bad = pipeline.join(lambda f, r: None, on_failure=failures.append)
        good = pipeline.join(lambda f, r: fine.append(f.index))
        paced.find_fails_for = bad.name
        for index in range(3):
            bad.submit(frame(index))
            good.submit(frame(index))
            until(reaching(fine, index + 1))
            until(reaching(failures, index + 1))
        assert not bad.left
        assert pipeline.running
    assert all(isinstance(failure, FrameFailed) for failure in failures)
    assert paced.forgotten.count(bad.name) >= 3, "nothing half done is kept"


def test_a_pipeline_that_always_fails_are_not_ready(
    paced: Paced, caplog: pytest.LogCaptureFixture
) -> None:
    paced.go()
    paced.score_fails = True
    failures: list[Exception] = []
    with Pipeline(paced) as pipeline:
        assert pipeline.running
        visitor = pipeline.join(lambda f, r: None, on_failure=failures.append)
        for index in range(5):
            visitor.submit(frame(index))
            until(reaching(failures, index + 1))
        assert not pipeline.running
        with pytest.raises(FrameFailed, match="could not be scored"):
            scored(pipeline, [frame()])
        paced.score_fails = False
        assert scored(pipeline, [frame()]) == [0]
        assert pipeline.running
    assert not pipeline.running


def test_a_pipeline_that_never_finds_is_not_ready(paced: Paced) -> None:
    paced.go()
    failures: list[Exception] = []
    with Pipeline(paced) as pipeline:
        client = pipeline.join(lambda f, r: None, on_failure=failures.append)
        paced.find_fails_for = client.name
        for index in range(5):
            assert pipeline.running
            client.submit(frame(index))
            until(reaching(failures, index + 1))
        until(lambda: not pipeline.running)


def test_the_end_reaches_everyone(paced: Paced) -> None:
    told: list[str] = []
    pipeline = Pipeline(paced).start()
    client = pipeline.join(lambda f, r: None, on_end=lambda: told.append("live"))
    closed: queue.Queue[Any] = queue.Queue()

    def score() -> None:
        try:
            scored(pipeline, (frame(index) for index in range(10)))
        except PipelineClosed as error:
            closed.put(error)

    thread = threading.Thread(target=score)
    thread.start()
    until(lambda: pipeline.clients["every"] == 1)
    assert thread.is_alive(), "nothing is scored yet"
    threading.Timer(0.05, paced.go).start()
    pipeline.close()
    thread.join(60)
    assert not thread.is_alive()
    assert told == ["live"]
    assert "closing" in str(closed.get_nowait())
    with pytest.raises(PipelineClosed, match="has left"):
        client.submit(frame())
    with pytest.raises(PipelineClosed, match="closing"):
        pipeline.join(lambda f, r: None)
    with pytest.raises(PipelineClosed, match="closing"):
        scored(pipeline, [frame()])


def test_a_clip_given_up_halfway_leaves(paced: Paced) -> None:
    paced.go()
    with Pipeline(paced) as pipeline:
        clip = GivenFrames("clip", (frame(index) for index in range(100)))
        with pipeline.score(clip, counted=True) as run:
            next(iter(run))
            assert pipeline.clients["every"] == 1
        assert pipeline.clients["every"] == 0
        until(lambda: paced.forgotten == ["clip"])


def test_no_more_uploads_than_there_are_places(paced: Paced) -> None:
    paced.go()
    with Pipeline(paced, most_every=1) as pipeline:
        run = pipeline.score(GivenFrames("a", [frame()] * 3), counted=True)
        with run, pytest.raises(PipelineFull, match="1 clips and images already"):
            scored(pipeline, [frame()])
        assert scored(pipeline, [frame()]) == [0]


def test_results_that_nobody_takes_make_a_clip_wait(paced: Paced) -> None:
    """And nobody else."""
    paced.go()
    live: list[int] = []
    given = 0

    def clip() -> Iterator[Frame]:
        nonlocal given
        for index in range(500):
            given = index
            yield frame(index)

    with Pipeline(paced) as pipeline, pipeline.score(GivenFrames("clip", clip())) as run:
        client = pipeline.join(lambda f, r: live.append(f.index))
        until(lambda: len(run._results) >= 16)
        for index in range(5):
            client.submit(frame(index))
            until(lambda at=index: at in live)  # type: ignore[misc]
        assert given < 50
        assert [f.index for f, _ in run] == list(range(500))


def test_a_source_that_stops_is_told_of_after_what_it_gave(paced: Paced) -> None:
    paced.go()
    source = FakeSource([0.0, 0.1], error=SourceLost("the camera was lost"))
    seen: list[int] = []
    with Pipeline(paced) as pipeline, pipeline.score(source) as run:
        with pytest.raises(SourceLost, match="the camera was lost"):
            seen.extend(f.index for f, _ in run)
        (summary,) = run.summaries()
    assert seen == [0, 1]
    assert (summary.frames, summary.faces) == (2, 1)
    assert source.closed


@pytest.mark.slow
@pytest.mark.mediapipe
def test_faces_of_real_visitors_stay_apart() -> None:
    """The sample, whole and mirrored in time: each visitor's readings are those it gets alone."""
    frames = list(open_source("sample").frames())[::6]
    backwards = [
        Frame(f.pixels, frames[at].time_s, at, "b") for at, f in enumerate(reversed(frames))
    ]
    with Recognizer() as recognizer, Pipeline(recognizer) as pipeline:

        def read(clip: list[Frame]) -> list[dict[str, Any]]:
            with pipeline.score(GivenFrames("", clip)) as run:
                rows = [result.to_json(3) for _, result in run]
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
        until(lambda: not recognizer._finder.trackers and not recognizer._scorer.memory._faces)
    for at in (0, 1):
        assert [face["id"] for row in together[at] for face in row["faces"]] == [1] * len(frames)
        for row, same in zip(together[at], alone[at], strict=True):
            assert row["faces"][0]["label"] == same["faces"][0]["label"]
            assert row["faces"][0]["box"] == same["faces"][0]["box"]
