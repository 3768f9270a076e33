"""A bad line between a client and an RTSP camera: what passes through it can be spoiled.

The relay is told one fault at a time. It knows RTSP as it runs over one TCP connection: answers in
text, and between them packets behind a `$`, a channel and a length.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

Fault = Callable[[bytes], bytes]
"""From a whole interleaved packet to the bytes to send in its place; may raise `HangUp`."""

_HEADER = 4  # $, channel, length (2)
_RTP_HEADER = 12
_FRAGMENT, _KEY_SLICE = 28, 5  # kinds of H.264 units


class HangUp(Exception):
    """Raised by a fault: send these last bytes and drop the connection."""

    def __init__(self, last: bytes = b"") -> None:
        super().__init__("the relay hangs up")
        self.last = last


class Relay:
    """Listens on loopback and passes everything to and from a camera's port."""

    def __init__(self, port: int) -> None:
        self._camera = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._left = 0
        self._only: Callable[[bytes], bool] = is_key
        self._links: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._open = True
        self.connections = 0
        """How many clients came."""
        self.packets = 0
        """How many packets went to clients."""

    @property
    def url(self) -> str:
        """The camera's address through the relay."""
        return f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/film"

    def spoil(
        self, fault: Fault, packets: int = 1, only: Callable[[bytes], bool] = lambda packet: True
    ) -> None:
        """Spoil the next so many packets of pictures, of those that are wanted."""
        with self._lock:
            self._fault, self._left, self._only = fault, packets, only

    @property
    def spoiling(self) -> bool:
        """Whether there are packets left to spoil."""
        return self._left > 0

    def __enter__(self) -> Relay:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open = False
        for link in (self._server, *self._links):
            _drop(link)
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True, name="relay")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            try:
                camera = socket.create_connection(("127.0.0.1", self._camera), 2)
            except OSError:
                client.close()
                continue
            camera.settimeout(None)
            self._links += [client, camera]
            self._start(self._pass_on, client, camera, False)
            self._start(self._pass_on, camera, client, True)

    def _pass_on(self, source: socket.socket, target: socket.socket, to_client: bool) -> None:
        held = b""
        try:
            while data := source.recv(65536):
                if not to_client:
                    target.sendall(data)
                    continue
                whole, held = _split(held + data)
                target.sendall(b"".join(self._spoilt(part) for part in whole))
        except HangUp as end:
            with contextlib.suppress(OSError):
                target.sendall(end.last)
        except OSError:
            pass
        _drop(source)
        _drop(target)

    def _spoilt(self, part: bytes) -> bytes:
        """A packet as it leaves; only packets of pictures (channel 0) are ever touched."""
        if part[:2] != b"$\x00":
            return part
        with self._lock:
            self.packets += 1
            if not self._left or not self._only(part):
                return part
            self._left -= 1
            fault = self._fault
        assert fault is not None
        return fault(part)


def is_key(packet: bytes) -> bool:
    """Whether a packet holds a part of a picture that stands for itself."""
    kind, part = (byte & 0x1F for byte in packet[_HEADER + _RTP_HEADER :][:2])
    return (part if kind == _FRAGMENT else kind) == _KEY_SLICE


def half(packet: bytes) -> bytes:
    """Only the first half, and then nothing ever again."""
    raise HangUp(packet[: len(packet) // 2])


def lost(packet: bytes) -> bytes:
    """The packet does not arrive."""
    return b""


def shortened(packet: bytes) -> bytes:
    """Bytes are missing in its middle: whoever trusts its length reads on into the next."""
    return packet[: len(packet) // 2] + packet[len(packet) // 2 + 97 :]


def garbled(packet: bytes) -> bytes:
    """Its second half is noise; its headers are right."""
    kept = max(len(packet) // 2, _HEADER + _RTP_HEADER + 2)
    noise = bytes((31 * place + 7) % 251 for place in range(len(packet) - kept))
    return packet[:kept] + noise


def shifted(by_s: float) -> Fault:
    """Its RTP time is another by so many seconds of the picture clock."""

    def shift(packet: bytes) -> bytes:
        (stamp,) = struct.unpack_from(">I", packet, _HEADER + 4)
        moved = (stamp + round(by_s * 90_000)) & 0xFFFFFFFF
        return packet[: _HEADER + 4] + struct.pack(">I", moved) + packet[_HEADER + 8 :]

    return shift


def stopped(packet: bytes) -> bytes:
    """Its RTP time is 0."""
    return packet[: _HEADER + 4] + bytes(4) + packet[_HEADER + 8 :]


def doubled() -> Fault:
    """Every second picture has the RTP time of the one before."""
    last, told, second = b"", b"", True

    def double(packet: bytes) -> bytes:
        nonlocal last, told, second
        stamp = packet[_HEADER + 4 : _HEADER + 8]
        if stamp != last:
            last, second = stamp, not second
            told = told if second else stamp
        return packet[: _HEADER + 4] + told + packet[_HEADER + 8 :]

    return double


def renamed(every: int) -> Fault:
    """Its sender (SSRC) is another, and another again after so many packets."""
    count = 0

    def rename(packet: bytes) -> bytes:
        nonlocal count
        count += 1
        source = struct.pack(">I", 4711 + count // every)
        return packet[: _HEADER + 8] + source + packet[_HEADER + 12 :]

    return rename


def swapped(every: int) -> Fault:
    """Of so many packets one comes after the next."""
    count, held = 0, b""

    def swap(packet: bytes) -> bytes:
        nonlocal count, held
        count += 1
        if count % every == 0:
            held = packet
            return b""
        late, held = held, b""
        return packet + late

    return swap


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole answers and packets at the front of what came, and the rest."""
    whole = []
    while data:
        if data[:1] == b"$":
            size = _HEADER + int.from_bytes(data[2:4], "big") if len(data) >= _HEADER else 0
        else:
            size = _answer_size(data)
        if not size or len(data) < size:
            break
        whole.append(data[:size])
        data = data[size:]
    return whole, data


def _answer_size(data: bytes) -> int:
    """Length of the RTSP message in text at the front, its body included; 0 where unfinished."""
    head, blank, _ = data.partition(b"\r\n\r\n")
    if not blank:
        return 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return len(head) + 4 + int(value)
    return len(head) + 4


def _drop(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()
