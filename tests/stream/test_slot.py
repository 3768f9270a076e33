"""Hand-over between threads: what is dropped, what waits, how ends and failures arrive."""

from __future__ import annotations

import threading

import pytest

from ferstream.stream.inputs import Every, Latest, SlotClosed, SlotEmpty


class Steps:
    """A clock that goes on by a second each time it is read."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


def test_latest_keeps_the_newest_and_counts_the_rest() -> None:
    slot: Latest[int] = Latest()
    for item in range(5):
        slot.put(item)
    assert slot.take() == 4
    assert slot.dropped == 4


def test_every_keeps_order_and_drops_nothing() -> None:
    slot: Every[int] = Every(2)
    taken: list[int] = []

    def consume() -> None:
        while True:
            try:
                taken.append(slot.take())
            except SlotClosed:
                return

    thread = threading.Thread(target=consume)
    thread.start()
    for item in range(100):
        slot.put(item)
    slot.close()
    thread.join(10)
    assert taken == list(range(100))
    assert slot.dropped == 0


def test_a_full_every_makes_the_producer_wait() -> None:
    slot: Every[int] = Every(1)
    slot.put(0)
    done = threading.Event()

    def produce() -> None:
        slot.put(1)
        done.set()

    thread = threading.Thread(target=produce)
    thread.start()
    assert not done.wait(0.02)
    assert slot.take() == 0
    assert done.wait(10)
    assert slot.take() == 1
    thread.join(10)


@pytest.mark.parametrize("slot", [Latest[int](), Every[int](3)], ids=["latest", "every"])
def test_a_failure_arrives_after_what_was_put_before_it(slot: Latest[int] | Every[int]) -> None:
    slot.put(1)
    error = ConnectionError("the camera went away")
    slot.close(error)
    slot.close()
    assert slot.take() == 1
    for _ in range(2):
        with pytest.raises(ConnectionError) as caught:
            slot.take()
        assert caught.value is error


@pytest.mark.parametrize("slot", [Latest[int](), Every[int](1)], ids=["latest", "every"])
def test_nobody_can_put_into_a_closed_slot(slot: Latest[int] | Every[int]) -> None:
    slot.close()
    with pytest.raises(SlotClosed):
        slot.put(1)
    with pytest.raises(SlotClosed):
        slot.take()


def test_closing_wakes_a_waiting_producer() -> None:
    slot: Every[int] = Every(1)
    slot.put(0)
    ended: list[bool] = []

    def produce() -> None:
        try:
            slot.put(1)
        except SlotClosed:
            ended.append(True)

    thread = threading.Thread(target=produce)
    thread.start()
    slot.close()
    thread.join(10)
    assert ended == [True]


def test_waiting_ends_by_the_clock() -> None:
    with pytest.raises(SlotEmpty, match=r"within 0\.5 s"):
        Latest[int](clock=Steps()).take(timeout_s=0.5)
    with pytest.raises(SlotEmpty):
        Every[int](1).take(timeout_s=0)


def test_an_empty_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="not 0"):
        Every[int](0)
