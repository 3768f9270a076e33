"""Watching a camera through the page: its pictures and what is read in them, over a WebSocket.

The page sends one JSON message, {"address": "rtsp://...", "blur": false}. It gets JSON text
messages about the camera's state and, per picture, a binary one: four bytes with the length of a
row (as the live service tells it, in JSON), the row, and the picture as JPEG. Newest wins.

Visitors may watch RTSP addresses on hosts that were named, and no others.
A page that opens any address would be a way into the network that its server stands in. So a host
counts only as it was named (or by an address that a named host has right now), and whoever
connects, at first, again or after a redirect, asks `CameraHosts.reach` for the one address to
connect to: neither another lookup of a visitor's word nor a redirect leads elsewhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import cv2
import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from numpy.typing import NDArray

from ferstream.stream.errors import PipelineClosed, SourceError, SourceRedirected, StreamError
from ferstream.stream.frame import Frame
from ferstream.stream.pipeline import Pipeline
from ferstream.stream.result import Result
from ferstream.stream.run import Route, run_through
from ferstream.stream.serve.guard import client_network
from ferstream.stream.serve.live import cancelled, live_json
from ferstream.stream.sinks.base import BaseSink, Sink
from ferstream.stream.sinks.blur import BlurSink
from ferstream.stream.sources import Source, open_live
from ferstream.stream.sources.base import SourceEvent
from ferstream.stream.sources.specs import is_ip_address

from .errors import Busy, NotAllowed, PageError

_RTSP_PORT = 554
_LONGEST = 1000

Resolve = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Target:
    """A camera that may be watched."""

    shown: str
    """Its address without user and password."""
    url: str
    """Its address with them, escaped where they are odd."""


class CameraHosts:
    """The hosts that were named: a name or address, with a port for that port only.

    Raises ValueError for what is neither.
    """

    def __init__(self, hosts: Sequence[str], resolve: Resolve | None = None) -> None:
        self._hosts = [_entry(host) for host in hosts]
        self._resolve = resolve or addresses_of

    def target(self, address: str) -> Target:
        """The camera at an address; raises `NotAllowed`, which never repeats a password."""
        if len(address) > _LONGEST or re.search(r"[\s\\\x00-\x20\x7f]", address):
            raise NotAllowed("this is no camera's address: it has spaces or is too long")
        try:
            parts = urlsplit(address)
            host, port = (parts.hostname or "").rstrip("."), parts.port or _RTSP_PORT
        except ValueError:
            raise NotAllowed("this is no camera's address: check host and port") from None
        if parts.scheme.lower() != "rtsp" or not host:
            raise NotAllowed("a camera's address begins with rtsp:// and names a host")
        if self._address(host, port) is None:
            raise NotAllowed(f"this page may not open cameras at {host}:{port}")
        shown = f"[{host}]" if ":" in host else host
        rest = quote(parts.path, safe="/%:=,;+!$&'()*~@-._") or "/"
        if parts.query:
            rest += "?" + quote(parts.query, safe="/%:=,;+!$&'()*~@-._?")
        place = f"{shown}:{port}"
        return Target(f"rtsp://{place}{parts.path}", f"rtsp://{_userinfo(parts)}{place}{rest}")

    def reach(self, host: str, port: int) -> tuple[str, int]:
        """Where to connect; raises `SourceRedirected` for a host that was not named."""
        ip = self._address(host.rstrip("."), port)
        if ip is None:
            raise SourceRedirected(f"{host}:{port} is no camera that this page may open")
        return ip, port

    def _address(self, host: str, port: int) -> str | None:
        """The IP address to connect to, or None where the host was not named."""
        for name, only_port in self._hosts:
            if only_port not in (None, port):
                continue
            if host.lower() == name or _same_ip(host, name):
                found = self._resolve(name)
                if found:
                    return found[0]
            elif is_ip_address(host) and any(_same_ip(host, ip) for ip in self._resolve(name)):
                return host
        return None


def addresses_of(host: str) -> list[str]:
    """The IP addresses of a host; none where it has no name here."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _entry(host: str) -> tuple[str, int | None]:
    """Host and port of one that was named."""
    if is_ip_address(host):
        return host.lower(), None
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or parts.path or parts.username is not None:
        raise ValueError(f"{host!r} is no host: name one as camera.local or 192.168.1.20:554")
    return name.rstrip("."), port


def _userinfo(parts: object) -> str:
    user, password = getattr(parts, "username", None), getattr(parts, "password", None)
    if user is None:
        return ""
    word = quote(unquote(user), safe="")
    return f"{word}:{quote(unquote(password), safe='')}@" if password is not None else f"{word}@"


def _same_ip(one: str, other: str) -> bool:
    return (
        is_ip_address(one)
        and is_ip_address(other)
        and ipaddress.ip_address(one) == ipaddress.ip_address(other)
    )


PATH = "/page/camera"
_WIDEST_PX = 960
_QUALITY = 80
_WORDS = 10
_ASK_S = 20.0
_SEND_S = 10.0
_JOIN_S = 5.0

_log = logging.getLogger(__name__)

_MESSAGES = {
    "REFUSED": "the camera refuses the connection: is it switched on?",
    "TIMEOUT": "the camera cannot be reached",
    "REDIRECTED": "the camera sends its visitors to another address, which may not be opened here",
    "AUTH_FAILED": "the camera asks for another user name or password",
    "NOT_FOUND": "the camera has no stream of that name",
    "UNSUPPORTED": "the camera's stream cannot be decoded",
    "LOST": "the camera has stopped sending",
}


def camera_router(pipeline: Pipeline, hosts: CameraHosts, *, most: int = 4) -> APIRouter:
    """The WebSocket at `PATH`; `most` cameras are watched at once, half of them at most by visitors
    of one network address."""
    router = APIRouter()
    here: Counter[str] = Counter()

    @router.websocket(PATH)
    async def camera(socket: WebSocket) -> None:
        await socket.accept()
        home = client_network(socket.client)
        with suppress(WebSocketDisconnect, RuntimeError):
            try:
                address, blur = await _asked(socket)
                target = await asyncio.to_thread(hosts.target, address)
                if here.total() >= most:
                    raise Busy(f"{most} cameras are being watched already; try again later")
                if here[home] >= max(most // 2, 1):
                    raise Busy(f"{here[home]} cameras are being watched from your address already")
                here[home] += 1
                try:
                    await _Watch(socket, pipeline, target, hosts, blur).run()
                finally:
                    here[home] -= 1
                    if not here[home]:
                        del here[home]
            except (PageError, StreamError) as error:
                code = error.code if isinstance(error, SourceError | PageError) else "BUSY"
                await socket.send_json({"error": {"code": code, "message": str(error)}})
                await socket.close(1008)

    return router


async def _asked(socket: WebSocket) -> tuple[str, bool]:
    """The address, and whether faces are to be blurred."""
    try:
        asked = json.loads(await asyncio.wait_for(socket.receive_text(), _ASK_S))
        return str(asked["address"]), asked.get("blur") is True
    except (ValueError, KeyError, TypeError, AttributeError, asyncio.TimeoutError):
        raise NotAllowed("send the camera's address first") from None


class _Watch:
    """One visitor at one camera: a thread that makes pictures of results, a task that sends."""

    def __init__(
        self,
        socket: WebSocket,
        pipeline: Pipeline,
        target: Target,
        hosts: CameraHosts,
        blur: bool,
    ) -> None:
        self._socket, self._pipeline, self._target = socket, pipeline, target
        self._hosts = hosts
        self._loop = asyncio.get_running_loop()
        self._states: list[str] = []
        self._picture: bytes | None = None
        self._due = asyncio.Event()
        self._over = False
        self._left = threading.Event()
        out = _Pictures(self._hand_over)
        self._sink: Sink = BlurSink(out) if blur else out

    async def run(self) -> None:
        """Send frames until the visitor disconnects or the camera is given up."""
        source = open_live(self._target.url, reach=self._hosts.reach)
        thread = threading.Thread(target=self._watch, args=(source,), daemon=True)
        thread.start()
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._send())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._left.set()
            await cancelled(tasks)
            await asyncio.to_thread(thread.join, _JOIN_S)

    async def _listen(self) -> None:
        """Wait for the visitor to go."""
        while (await self._socket.receive())["type"] != "websocket.disconnect":
            pass

    async def _send(self) -> None:
        while not self._over or self._states or self._picture:
            await self._due.wait()
            self._due.clear()
            states, self._states = self._states, []
            picture, self._picture = self._picture, None
            for state in states:
                await asyncio.wait_for(self._socket.send_text(state), _SEND_S)
            if picture is not None:
                await asyncio.wait_for(self._socket.send_bytes(picture), _SEND_S)
        await self._socket.close(1000)

    def _watch(self, source: Source) -> None:
        """The thread that takes the camera's results and makes pictures of them."""
        try:
            run_through(
                self._pipeline,
                [Route(source, [self._sink])],
                stop=self._left,
                on_event=self._add_event,
                tolerant=True,
            )
        except PipelineClosed:
            pass
        except Exception:
            _log.exception("a camera cannot be watched")
        finally:
            self._soon(self._end)

    def _add_event(self, event: SourceEvent) -> None:
        """A change of the camera's state."""
        code = event.code
        state = {
            "kind": "state",
            "state": event.state.value,
            "source": self._target.shown,
            "code": code,
            "message": _MESSAGES.get(code, "the camera has failed") if code else "",
            "attempt": event.attempt,
        }
        self._soon(self._add_state, json.dumps(state))

    def _hand_over(self, picture: bytes) -> None:
        self._soon(self._set_picture, picture)

    def _add_state(self, state: str) -> None:
        self._states = [*self._states[-15:], state]
        self._due.set()

    def _set_picture(self, picture: bytes) -> None:
        self._picture = picture
        self._due.set()

    def _end(self) -> None:
        self._over = True
        self._due.set()

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *arguments)


class _Pictures(BaseSink):
    """A sink that makes one message of a frame and its result."""

    def __init__(self, hand_over: Callable[[bytes], None]) -> None:
        self._hand_over = hand_over

    def write(self, frame: Frame, result: Result) -> None:
        """Encode the message and pass it to the sender."""
        row: dict[str, Any] = live_json(result, (frame.width_px, frame.height_px), _WORDS)
        row["server_ms"] = round((time.monotonic() - frame.time_s) * 1e3, 1)
        text = json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
        self._hand_over(len(text).to_bytes(4, "big") + text + jpeg(frame.pixels))


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB as JPEG, at most 960 pixels wide."""
    scale = _WIDEST_PX / pixels.shape[1]
    if scale < 1:
        size = (_WIDEST_PX, max(1, round(pixels.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError("a picture could not be coded as JPEG")
    return bytes(coded)
