"""Turns shared out among addresses: numbers for times, no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ferstream.stream.serve.guard import QueueFull, Turns


class Asking:
    """Tasks that ask for turns and hold them until they are let go."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.served: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, heavy: bool = False) -> None:
        """A task of this name, its first letter the address."""

        async def hold() -> None:
            async with self.turns.turn(name[0], heavy):
                self.served.append(name)
                await self._leave[name].wait()

        self._leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(hold())
        await settle()

    async def let_go(self, name: str) -> None:
        self._leave[name].set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def within_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


@within_a_loop
async def test_addresses_take_turns() -> None:
    asking = Asking(Turns(1, line=10))
    for name in ("a1", "a2", "a3", "b1", "a4", "c1"):
        await asking.ask(name)
    for _ in range(5):
        await asking.let_go(asking.served[-1])
    assert asking.served[0] == "a1"
    assert asking.served.index("b1") < asking.served.index("a3")
    assert asking.served.index("c1") < asking.served.index("a3")


@within_a_loop
async def test_who_took_long_waits_for_who_took_little() -> None:
    now_s = [0.0]
    asking = Asking(Turns(1, line=10, clock=lambda: now_s[0]))
    for name in ("a1", "b1", "a2", "b2", "b3", "a3"):
        await asking.ask(name)
    cost_s = {"a": 10.0, "b": 1.0}
    for _ in range(6):
        now_s[0] += cost_s[asking.served[-1][0]]
        await asking.let_go(asking.served[-1])
    assert asking.served == ["a1", "b1", "b2", "b3", "a2", "a3"]


@within_a_loop
async def test_what_is_heavy_leaves_a_turn_to_the_light() -> None:
    asking = Asking(Turns(2, line=10))
    for name in ("a1", "b1", "c1"):
        await asking.ask(name, heavy=True)
    assert asking.served == ["a1"]
    await asking.ask("d1")
    assert asking.served == ["a1", "d1"]
    await asking.let_go("a1")
    assert asking.served[2] in ("b1", "c1") and len(asking.served) == 3


@within_a_loop
async def test_of_one_address_only_so_many_wait() -> None:
    asking = Asking(Turns(1, line=2))
    for name in ("a1", "a2", "a3"):
        await asking.ask(name)
    with pytest.raises(QueueFull):
        async with asking.turns.turn("a"):
            pass
    await asking.ask("b1")
    await asking.let_go("a1")
    assert asking.served[-1] == "b1"


@within_a_loop
async def test_who_gives_up_takes_nothing() -> None:
    """While waiting, and at the moment the turn is given."""
    asking = Asking(Turns(1, line=5))
    for name in ("a1", "b1", "c1"):
        await asking.ask(name)
    asking.tasks["b1"].cancel()
    await settle()
    asking._leave["a1"].set()
    await asyncio.sleep(0)
    asking.tasks["c1"].cancel()
    await settle()
    await asking.ask("d1")
    assert asking.served[-1] == "d1"
    await asking.let_go("d1")
    assert not asking.turns._held.total() and not asking.turns._spent_s


@within_a_loop
async def test_a_turn_may_be_held_by_an_exit_stack() -> None:
    turns = Turns(1, line=5)
    async with AsyncExitStack() as holding:
        await asyncio.wait_for(holding.enter_async_context(turns.turn("a")), 5)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(turns.turn("b").__aenter__(), 0.01)
    assert not turns._held.total()
