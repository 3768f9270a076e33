"""Where rows go, by the text that names it.

| text | place |
|---|---|
| a path | a file of JSON lines |
| - | standard output |
| tcp://HOST:PORT | JSON lines over TCP |
| http://..., https://... | a POST of some rows every half second |
| mqtt://..., mqtts://... | an MQTT broker |
"""

from __future__ import annotations

from pathlib import Path

from ..errors import SinkError
from ..sources.base import is_address, without_password
from .background import ROWS, BackgroundWriter
from .base import check_writable
from .courier import Say
from .jsonl import JsonlFile
from .rows import RowWriter
from .whole import STANDARD_OUTPUT

NETWORK = ("tcp", "http", "https", "mqtt", "mqtts")
"""Schemes of the places that are reached over the network."""


def is_network(target: str) -> bool:
    """Whether rows for `target` would leave by the network."""
    return is_address(target)


def row_writer(
    target: str,
    *,
    capacity: int = ROWS,
    on_failure: Say | None = None,
    on_return: Say | None = None,
) -> RowWriter:
    """A writer of rows for `target`; writes nothing and connects to nobody before it is opened.

    A file is written by the caller's own thread, each row at once. Standard output and the
    network have threads of their own (`BackgroundWriter`): `capacity` rows may wait there, and
    `on_failure` and `on_return` are told in one line when writing begins to fail and when it
    succeeds again.

    Raises `SinkError` for a place that cannot be written and an address of no known form,
    ModuleNotFoundError where a library is missing.
    """
    if not is_network(target):
        path = Path(target)
        if path != STANDARD_OUTPUT:
            check_writable(path)
            return JsonlFile(path)
        writer: RowWriter = JsonlFile(path)
        name = "standard output"
    else:
        writer = _network_writer(target)
        name = without_password(target)
    return BackgroundWriter(writer, capacity, name, on_failure=on_failure, on_return=on_return)


def _network_writer(target: str) -> RowWriter:
    scheme = target.partition("://")[0].lower()
    if scheme == "tcp":
        from .tcp import TcpLines

        return TcpLines(target)
    if scheme in ("http", "https"):
        from .http import HttpPost

        return HttpPost(target)
    if scheme in ("mqtt", "mqtts"):
        from .mqtt import MqttWriter

        return MqttWriter(target)
    raise SinkError(
        f"{without_password(target)}: rows go to a file, - (standard output), or an address that "
        f"begins with {', '.join(NETWORK[:-1])} or {NETWORK[-1]} and ://"
    )
