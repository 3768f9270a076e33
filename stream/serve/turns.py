"""Turns at something scarce, shared out among network addresses.

Each address has a line of its own, of bounded length. A turn that is free goes to the address that
holds fewest, and among those to the one that has had least time so far: somebody with much to ask,
or with costly things, waits behind his own.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


def client_network(client: tuple[str, int] | None) -> str:
    """The network address that shares are counted by; "" where none is known.

    Of IPv6 it is the first 64 bits: whoever has one address there has all of the others too.
    """
    host = client[0] if client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


class LineFull(Exception):
    """So many of this address wait already."""


@dataclass(eq=False, slots=True)
class _Waiting:
    address: str
    heavy: bool
    go: asyncio.Future[None] = field(default_factory=lambda: _future())


class Turns:
    """To be used within one event loop.

    Args:
        at_once: turns held at the same time.
        line: how many of one address may wait.
        heavy_at_once: how many of the turns what is said to be heavy may take; None: all but one.
    """

    def __init__(
        self,
        at_once: int,
        line: int,
        heavy_at_once: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at_once, self._line = at_once, line
        self._heavy_at_once = max(at_once - 1, 1) if heavy_at_once is None else heavy_at_once
        self._clock = clock
        self._waiting: list[_Waiting] = []  # in the order they came
        self._held: Counter[str] = Counter()
        self._heavy = 0
        self._spent_s: dict[str, float] = {}  # of those who wait or hold

    @asynccontextmanager
    async def turn(self, address: str, heavy: bool = False) -> AsyncIterator[None]:
        """Wait for a turn and hold it for the block. Raises `LineFull`."""
        if sum(one.address == address for one in self._waiting) >= self._line:
            raise LineFull(address)
        # Who comes anew has had no less than those who are here, or he would be first for long.
        self._spent_s.setdefault(address, min(self._spent_s.values(), default=0.0))
        one = _Waiting(address, heavy)
        self._waiting.append(one)
        try:
            self._give()
            await one.go
        except BaseException:
            if one in self._waiting:
                self._waiting.remove(one)
                self._forget(address)
            elif not one.go.cancelled():  # it was given and is of no use any more
                self._take_back(one, 0.0)
            raise
        begun_s = self._clock()
        try:
            yield
        finally:
            self._take_back(one, self._clock() - begun_s)

    def _give(self) -> None:
        """Give the turns that are free."""
        while self._held.total() < self._at_once:
            ready = [
                one for one in self._waiting if not one.heavy or self._heavy < self._heavy_at_once
            ]
            if not ready:
                return
            one = min(ready, key=lambda w: (self._held[w.address], self._spent_s[w.address]))
            self._waiting.remove(one)
            if one.go.cancelled():
                self._forget(one.address)
                continue
            self._held[one.address] += 1
            self._heavy += one.heavy
            one.go.set_result(None)

    def _take_back(self, one: _Waiting, took_s: float) -> None:
        self._held[one.address] -= 1
        self._heavy -= one.heavy
        self._spent_s[one.address] += took_s
        self._forget(one.address)
        self._give()

    def _forget(self, address: str) -> None:
        if not self._held[address]:
            del self._held[address]
            if all(one.address != address for one in self._waiting):
                self._spent_s.pop(address, None)


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
