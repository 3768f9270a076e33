"""Connections that say nothing, or say it slowly: others are served, and they are let go."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from ferstream.stream.recognize import Recognizer
from ferstream.stream.serve.guard import Limits, client_network
from ferstream.stream.serve.server import ConnectionLimit, RateLimitedLog

from .serving import Served, encoded, frames, served

HEAD_S = 1.5
LIMITS = Limits(connections=32, head_s=HEAD_S)
KINDS = {
    "silent": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: x",
    "half a handshake": b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n",
    "a body that never comes": b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 9999\r\n\r\n",
    "kept alive": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    with Recognizer() as recognizer, served(recognizer, LIMITS) as service:
        yield service


def connected(port: int, said: bytes, address: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10, (address, 0))
    if said:
        connection.sendall(said)
    return connection


def is_over(connection: socket.socket, within_s: float) -> bool:
    """Whether the other side closes; what it says before is thrown away."""
    connection.settimeout(within_s)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def answered(service: Served, address: str) -> bytes:
    """What one more who asks from this address is told."""
    with connected(service.port, KINDS["kept alive"], address) as asking:
        asking.settimeout(60)
        return asking.recv(4096)


@pytest.mark.parametrize("kind", KINDS)
def test_so_many_of_one_address_hold_up_nobody(service: Served, kind: str) -> None:
    """Neither others nor the next of the same address; the oldest make room."""
    with ExitStack() as closing:
        held = [connected(service.port, KINDS[kind]) for _ in range(60)]
        for connection in held:
            closing.enter_context(connection)
        for address in ("127.0.0.1", "127.0.0.2"):
            # The requests of those who hold are answered first: until then they are at work.
            end_s = time.monotonic() + 60
            while b"200 OK" not in (answer := answered(service, address)):
                assert b"503" in answer and time.monotonic() < end_s, answer
                time.sleep(0.05)
        assert sum(is_over(connection, 0.05) for connection in held) >= 60 - 16


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_let_go_in_time(service: Served, kind: str) -> None:
    with connected(service.port, KINDS[kind]) as connection:
        begun_s = time.monotonic()
        assert is_over(connection, 15)
        assert time.monotonic() - begun_s > 0.5 * HEAD_S


def test_a_head_that_drips_is_not_waited_for(service: Served) -> None:
    with connected(service.port, b"GET /healthz HTTP/1.1\r\n") as connection:
        begun_s = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun_s < 20:
                connection.sendall(b"X: y\r\n")
                time.sleep(0.1)
        assert time.monotonic() - begun_s < 15


def test_addresses_that_fill_the_house_make_room(service: Served) -> None:
    with ExitStack() as closing:
        for host in range(2, 8):
            for _ in range(15):
                connection = connected(service.port, b"", f"127.0.0.{host}")
                closing.enter_context(connection)
        with connected(service.port, KINDS["kept alive"], "127.0.0.99") as asking:
            asking.settimeout(60)
            assert b"200 OK" in asking.recv(4096)


def test_slow_uploads_of_one_address_hold_up_no_other(service: Served) -> None:
    head = b"POST /v1/image HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n"
    picture = encoded(frames(100)[0], ".jpg")
    with ExitStack() as closing:
        for _ in range(14):
            closing.enter_context(connected(service.port, head + b"x"))
        time.sleep(0.5)
        elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(base_url=service.url, timeout=60, transport=elsewhere) as client:
            assert client.post("/v1/image", content=picture).status_code == 200


class Line(asyncio.Transport):
    """A connection that only knows whether it was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = False

    def abort(self) -> None:
        self.cut = True


def entered(limit: ConnectionLimit, address: str, busy: bool = False) -> Line | None:
    line = Line()
    if not limit.enter(line, address):
        return None
    limit.set_busy(line, busy)
    return line


def test_who_has_a_request_in_hand_is_not_put_out() -> None:
    limit = ConnectionLimit(total=4, head_s=1)
    first, second = entered(limit, "a", busy=True), entered(limit, "a")
    assert first and second
    third = entered(limit, "a", busy=True)
    assert third and second.cut and not first.cut
    assert entered(limit, "a") is None, "all of this address are busy"
    assert len(limit) == 2


def test_room_is_made_by_those_who_take_most() -> None:
    limit = ConnectionLimit(total=4, head_s=1)
    lines = [entered(limit, address) for address in "aabc"]
    assert entered(limit, "d") and all(lines)
    assert [line.cut for line in lines if line] == [True, False, False, False]
    limit.leave(lines[2])  # type: ignore[arg-type]
    limit.leave(lines[2])  # type: ignore[arg-type]
    assert len(limit) == 3


def test_a_hundred_behind_one_address_come_in_and_leave_room() -> None:
    limit = ConnectionLimit(Limits().connections, head_s=1)
    assert all(entered(limit, "school", busy=True) for _ in range(100))
    greedy = [entered(limit, f"greedy {n % 3}", busy=True) for n in range(2000)]
    assert sum(line is not None for line in greedy) > 200
    assert entered(limit, "somebody else", busy=True)


def test_an_address_of_ipv6_is_its_network() -> None:
    assert client_network(("2001:db8:1:2:3:4:5:6", 1)) == client_network(("2001:db8:1:2::1", 1))
    assert client_network(("2001:db8:1:3::1", 1)) != client_network(("2001:db8:1:2::1", 1))
    assert (
        client_network(("::ffff:192.0.2.1", 1)) == client_network(("192.0.2.1", 1)) == "192.0.2.1"
    )
    assert client_network(("fe80::1%eth0", 1)) == client_network(("fe80::2%eth0", 1))
    assert (client_network(("testclient", 1)), client_network(None)) == ("testclient", "")


def test_behind_a_proxy_there_are_many() -> None:
    limit = ConnectionLimit(total=9, head_s=1, proxies=frozenset({"p"}))
    assert all(entered(limit, "p", busy=True) for _ in range(8))
    assert entered(limit, "a")


def test_a_flood_of_lines_is_told_of_now_and_then() -> None:
    times = iter((0.0, 0.0, 1.0, 1.0, 4.9, 4.9, 5.0, 5.0))
    limited = RateLimitedLog(every_s=5, clock=lambda: next(times))

    def passes(text: str) -> bool:
        return limited.filter(logging.LogRecord("x", logging.WARNING, "", 0, text, (), None))

    told = [(passes("no request"), passes("something else")) for _ in range(4)]
    assert told == [(True, True), (False, False), (False, False), (True, True)]
