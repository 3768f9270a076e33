"""A relay to an RTSP camera: a capture's requests reach one host and port, and no other.

FFmpeg and GStreamer follow redirects by themselves, at any moment, give the user's name and
password to whoever answers there, go round in circles, and believe any certificate. So they are
given an address on this machine, behind which a `Tunnel` leads to the camera. A redirect ends
there and is followed by `follow_camera`, which takes another tunnel.
"""

from __future__ import annotations

import hashlib
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from ..errors import (
    SourceDenied,
    SourceError,
    SourceRedirected,
    SourceUnreadable,
    SourceUntrusted,
)
from .base import without_password
from .failures import address_failure
from .specs import is_rtsp

Reach = Callable[[str, int], tuple[str, int]]
"""Where to connect for a host and port; raises a `SourceError` for what may not be reached."""

_MOST = 5
_MOST_BYTES = 64 * 1024
_CHUNK = 65536
_PORTS = {"rtsp": 554, "rtsps": 322}
_PIN = re.compile(r"sha256=((?:[0-9a-f]{2}:?){32})", re.I)
# As loosely as the captures read it: FFmpeg leaves every carriage return out, takes any version
# and any blanks. The second is a camera that sends its visitors away by a request.
_REDIRECT = re.compile(rb"RTSP/[^ \t\n]*[ \t][ \t\v\f+0]*3\d\d|\bREDIRECT\s+rtsp", re.I)
_BEGIN = (b"RTSP/", b"REDIRECT")
_LOCATION = re.compile(rb"^location[ \t]*:[ \t]*([^\n]*)", re.I | re.M)

_Opened = TypeVar("_Opened")


def anywhere(host: str, port: int) -> tuple[str, int]:
    """The `Reach` that allows every camera."""
    return host, port


def follow_camera(
    url: str, limit_s: float, opened: Callable[[Tunnel], _Opened], reach: Reach = anywhere
) -> _Opened:
    """What `opened` makes of a tunnel to the camera at `url`, or to where that redirects.

    Name and password in `url` go to its own scheme, host and port alone, and only if the camera
    shows the certificate that `url` names, if it names one (`#sha256=FINGERPRINT`). To connect may
    take `limit_s`. Raises what `opened` raises, `SourceRedirected` for redirects without end, to
    something else than a camera or, of a camera with a named certificate, to another place,
    `SourceUntrusted` for another certificate, and what tells that nobody is there.
    """
    here = url
    for _ in range(_MOST):
        begun_s = time.monotonic()
        try:
            named, tunnel = urlsplit(url), Tunnel(here, limit_s, reach)
        except SourceError:
            raise
        except (OSError, ValueError) as error:
            raise address_failure(here, error, time.monotonic() - begun_s, limit_s) from None
        try:
            return opened(tunnel)
        except BaseException as error:
            tunnel.close()
            if not isinstance(error, SourceError):
                raise
            if tunnel.redirect is None:
                raise _clearest_failure(url, here, error, tunnel.failure, limit_s) from None
        there = tunnel.redirect
        if not is_rtsp(there) or not urlsplit(there).hostname:
            raise SourceRedirected(f"{without_password(url)} redirects to what is no camera")
        at_home = _endpoint(urlsplit(there)) == _endpoint(named)
        if named.fragment and not at_home:
            raise SourceRedirected(
                f"{without_password(url)} redirects to {without_password(there)}, whose "
                "certificate was not named: name that address with its own"
            )
        here = _with_credentials(there, named) if at_home else there
    raise SourceRedirected(f"{without_password(url)} redirects without end: name another address")


class Tunnel:
    """Listens at `url` on this machine and relays what is sent there to a camera and back.

    One connection at a time, each to a connection of its own to the camera, the first of which is
    there at once: OSError where it cannot be, `SourceUntrusted`, and `SourceUnreadable` for a
    fingerprint that is none. Ends by itself at a redirect, else by `close`.
    """

    def __init__(self, address: str, limit_s: float, reach: Reach = anywhere) -> None:
        self._parts = urlsplit(address)
        self._limit_s = limit_s
        self._pin = _pin(self._parts, address)
        self._shown = without_password(address)
        self._reach = reach
        self.redirect: str | None = None
        """Where the camera sent its visitor, as an address; "" where it did not say."""
        self.failure: Exception | None = None
        """Why the camera could not be reached once more."""
        self._lock = threading.Lock()
        self._closed = False
        camera = self._connected()
        self._sockets: list[socket.socket] = [camera]
        try:
            self._server = socket.create_server(("127.0.0.1", 0))
        except OSError:
            camera.close()
            raise
        self._port = int(self._server.getsockname()[1])
        threading.Thread(target=self._run, args=(camera,), name="way", daemon=True).start()

    @property
    def url(self) -> str:
        """Where a capture finds the camera, with its user and password."""
        user, at, _ = self._parts.netloc.rpartition("@")
        own = SplitResult("rtsp", "", self._parts.path, self._parts.query, "")
        return urlunsplit(own._replace(netloc=f"{user}{at}127.0.0.1:{self._port}"))

    def close(self) -> None:
        """Hang up; may be called from any thread, more than once."""
        with self._lock:
            self._closed = True
            for one in (self._server, *self._sockets):
                with suppress(OSError):
                    # Not TLS's own `shutdown`: the other thread is at work with it.
                    socket.socket.shutdown(one, socket.SHUT_RDWR)

    def _run(self, camera: socket.socket | None) -> None:
        """Until it is closed or the camera sends its visitors elsewhere."""
        with self._server:
            while self.redirect is None:
                try:
                    client, _ = self._server.accept()
                except OSError:
                    break
                with client, suppress(OSError):
                    camera = camera or self._reconnected()
                    if camera is not None and self._register(client, camera):
                        with camera:
                            self._relay(client, camera)
                camera = None
        if camera is not None:
            camera.close()

    def _register(self, client: socket.socket, camera: socket.socket) -> bool:
        """Whether both are kept for `close` to end; not once that was called."""
        with self._lock:
            self._sockets = [client, camera]
            if self._closed:
                camera.close()
            return not self._closed

    def _reconnected(self) -> socket.socket | None:
        try:
            return self._connected()
        except (OSError, ValueError, SourceError) as error:
            self.failure = error
            return None

    def _connected(self) -> socket.socket:
        """A connection to the camera, which has shown the certificate that was asked for."""
        host, port = self._parts.hostname or "", self._parts.port or _port(self._parts)
        plain = socket.create_connection(self._reach(host, port), self._limit_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._parts.scheme.lower() != "rtsps":
            return plain
        # Cameras sign their certificates themselves: only a fingerprint tells one from another.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            connection = context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
        shown = hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
        if self._pin not in ("", shown):
            connection.close()
            raise SourceUntrusted(
                f"{self._shown} shows another certificate than the one that was named, with "
                f"sha256={shown}: check who answers there"
            )
        return connection

    def _relay(self, client: socket.socket, camera: socket.socket) -> None:
        """Until one side ends, or the camera redirects; OSError where a connection breaks."""
        reply = _Reply()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(None)
        while True:
            waiting = isinstance(camera, ssl.SSLSocket) and camera.pending()
            ready = [camera] if waiting else select.select([client, camera], [], [])[0]
            if client in ready:
                if not (data := client.recv(_CHUNK)):
                    return
                camera.settimeout(self._limit_s)
                camera.sendall(data)
            if camera in ready:
                camera.settimeout(0)  # what came may be TLS's own and no word of the camera's
                try:
                    data = camera.recv(_CHUNK)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
                if not data:
                    return
                if reply.is_redirect(data):
                    camera.settimeout(self._limit_s)
                    self.redirect = self._target(reply, camera)
                    return
                client.sendall(data)

    def _target(self, reply: _Reply, camera: socket.socket) -> str:
        """Where a redirect leads; the rest of it is read, within bounds."""
        until_s = time.monotonic() + self._limit_s
        with suppress(OSError):
            while not reply.whole and time.monotonic() < until_s and (data := camera.recv(4096)):
                reply.add(data)
        here = _without_credentials(self._parts)
        try:
            there = urlsplit(urljoin(urlunsplit(here), reply.location))
            if _endpoint(there) == ("rtsp", "127.0.0.1", self._port):
                # The camera names itself as it was asked for.
                there = there._replace(scheme=here.scheme, netloc=here.netloc)
        except ValueError:
            return ""
        return urlunsplit(there)


class _Reply:
    """What a camera says, listened to for redirects."""

    def __init__(self) -> None:
        self._tail = b""

    def is_redirect(self, data: bytes) -> bool:
        """Whether it sends its visitors elsewhere; nothing of these bytes is to be passed on then.

        Of a line that is split, what came before is passed on; it says nothing by itself.
        """
        text = self._tail + data.replace(b"\r", b"")
        found = _REDIRECT.search(text)
        begin = max(text.rfind(b"\n"), *(text.upper().rfind(word) for word in _BEGIN), 0)
        self._tail = text[found.start() :] if found else text[begin:][-_MOST_BYTES:]
        return found is not None

    def add(self, data: bytes) -> None:
        """More of a redirect."""
        self._tail += data.replace(b"\r", b"")

    @property
    def whole(self) -> bool:
        """Whether the redirect's head is there, or more than a head may be."""
        return b"\n\n" in self._tail or len(self._tail) > _MOST_BYTES

    @property
    def location(self) -> str:
        """The address that the redirect names; "" for none."""
        found = _LOCATION.search(self._tail.partition(b"\n\n")[0])
        return found[1].strip().decode("utf-8", "replace") if found else ""


def _clearest_failure(
    url: str, here: str, error: SourceError, failure: Exception | None, limit_s: float
) -> SourceError:
    """Why a camera could not be opened, in the words that say most."""
    if isinstance(failure, SourceError):
        return failure
    if failure is not None:
        return address_failure(here, failure, 0.0, limit_s)
    if isinstance(error, SourceDenied) and here != url and "@" not in urlsplit(here).netloc:
        return SourceDenied(
            f"{without_password(url)} redirects to {without_password(here)}, which wants a "
            "password of its own: name that address"
        )
    return error


def _pin(parts: SplitResult, address: str) -> str:
    """The fingerprint that an address names, in small hexadecimal digits; "" for none."""
    if not parts.fragment:
        return ""
    found = _PIN.fullmatch(parts.fragment)
    if found is None or parts.scheme.lower() != "rtsps":
        raise SourceUnreadable(
            f"{without_password(address)} has # and no certificate's fingerprint after it: write "
            "rtsps://camera/1#sha256=... with 64 hexadecimal digits, or %23 for a # of its own"
        )
    return found[1].replace(":", "").lower()


def _port(parts: SplitResult) -> int:
    return _PORTS.get(parts.scheme.lower(), 554)


def _endpoint(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme.lower(), parts.hostname, parts.port or _port(parts)


def _without_credentials(parts: SplitResult) -> SplitResult:
    """Without name, password and fingerprint."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")


def _with_credentials(url: str, named: SplitResult) -> str:
    """With those of the camera that was named."""
    parts = _without_credentials(urlsplit(url))
    user, at, _ = named.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=user + at + parts.netloc, fragment=named.fragment))
