"""Rows to an MQTT broker, a topic per source and kind of row.

| topic | what | retained |
|---|---|---|
| PREFIX/SOURCE/status | `online`, `offline`; the latter also if the connection breaks | yes |
| PREFIX/SOURCE/header | the header row: bundle, supervision, purpose | yes |
| PREFIX/SOURCE/state | a live source's last change of state | yes |
| PREFIX/SOURCE/frame, event, window | rows of that kind | no |

Each source has a status of its own, as it has a connection of its own.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import ssl
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from ..errors import SinkError, SinkLost
from .rows import Address, BaseRowWriter, Row, line, reason

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

_RETAINED = ("header", "state")
_KEEP_ALIVE_S = 20
# How long the end of a connection may go unnoticed while an answer is awaited.
_POLL_S = 0.05
_LONGEST_TOPIC = 200


class MqttWriter(BaseRowWriter):
    """Publishes rows to `mqtt://USER:PASSWORD@HOST:PORT/PREFIX`, or mqtts:// for TLS.

    Certificates are checked against the system's, or SSL_CERT_FILE. Rows may arrive twice where an
    answer is lost. Raises ModuleNotFoundError without paho-mqtt, `SinkError` for an address of
    another form, `SinkLost` where the broker does not accept the rows within `timeout_s`.

    Args:
        qos: 1, each row is acknowledged; 0, it is only sent.
    """

    most = 100
    every_s = 0.0

    def __init__(self, address: str, qos: Literal[0, 1] = 1, timeout_s: float = 3.0) -> None:
        import paho.mqtt.client  # noqa: F401  missing: say so before anything runs

        form = "mqtt://HOST/PREFIX or mqtts://HOST/PREFIX"
        self._address = Address.of(address, form, {"mqtt": 1883, "mqtts": 8883})
        self._prefix = unquote(self._address.path).strip("/") or "ferstream"
        if re.search(r"[+#?\0]", self._prefix) or len(self._prefix) > _LONGEST_TOPIC:
            raise SinkError(f"{self.name}: a prefix of topics has no +, # or ?: give another")
        if qos not in (0, 1):
            raise ValueError(f"qos is 0 or 1, not {qos}")
        self._qos = qos
        self._timeout_s = timeout_s
        # One id for all its connections: the broker then ends the one before, and its last will
        # cannot come after our new `online`.
        self._id = f"ferstream-{secrets.token_hex(6)}"
        self._header: Row = {}
        self._topic = self._prefix
        self._client: Client | None = None

    @property
    def name(self) -> str:
        """The address, without its password."""
        return str(self._address)

    def open(self, header: Row) -> None:
        """Keep the header; the first writing connects."""
        self._header = header
        self._topic = f"{self._prefix}/{topic_of(str(header['source']))}"

    def write(self, row: Row) -> None:
        """Publish one row."""
        self.write_all([row])

    def write_all(self, rows: Sequence[Row]) -> None:
        """Publish all of the rows and, at quality of service 1, wait until the broker has them."""
        try:
            if self._client is None or not self._client.is_connected():
                self._disconnect()
                self._client = self._connect()
                self._publish(self._client, "status", "online", retain=True)
                rows = [self._header, *rows]
            self._wait(self._client, [self._publish_row(self._client, row) for row in rows])
        # RuntimeError: what paho says of a connection that ended in between.
        except (OSError, RuntimeError) as error:
            self._disconnect()
            if isinstance(error, SinkLost):
                raise
            why = reason(error) if isinstance(error, OSError) else "hung up"
            raise SinkLost(f"{self.name} {why}: start the broker, or name another") from error

    def close(self) -> None:
        """Publish `offline` and disconnect, where the broker is reachable."""
        client, self._client = self._client, None
        if client is None:
            return
        if client.is_connected():
            info = self._publish(client, "status", "offline", retain=True)
            with contextlib.suppress(
                RuntimeError
            ):  # it has gone: the broker publishes the last will
                info.wait_for_publish(self._timeout_s)
            client.disconnect()
        _stop(client)

    def _connect(self) -> Client:
        """A client that the broker has accepted."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, self._id, reconnect_on_failure=False)
        client.connect_timeout = self._timeout_s
        if self._address.user:
            client.username_pw_set(self._address.user, self._address.password or None)
        if self._address.scheme == "mqtts":
            context = ssl.create_default_context()
            context.sslsocket_class = _TlsSocket
            client.tls_set_context(context)
        client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        answered = threading.Event()
        refusal = ["hung up"]

        def on_connect(client: Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
            refusal[0] = str(code).lower() if code.is_failure else ""
            answered.set()

        client.on_connect = on_connect
        client.on_disconnect = lambda *_: answered.set()
        try:
            client.connect(self._address.host, self._address.port, _KEEP_ALIVE_S)
            client.loop_start()
            if not answered.wait(self._timeout_s):
                raise TimeoutError
            if refusal[0]:
                raise SinkLost(f"{self.name} refuses us: {refusal[0]}; see to name and password")
        except BaseException:
            _stop(client)
            raise
        return client

    def _publish_row(self, client: Client, row: Row) -> MQTTMessageInfo:
        kind = str(row.get("kind", "frame"))
        return self._publish(client, kind, line(row).rstrip(), retain=kind in _RETAINED)

    def _publish(self, client: Client, kind: str, text: str, retain: bool) -> MQTTMessageInfo:
        return client.publish(f"{self._topic}/{kind}", text, 1 if retain else self._qos, retain)

    def _wait(self, client: Client, messages: Sequence[MQTTMessageInfo]) -> None:
        """Wait until the broker has them all. Raises TimeoutError or RuntimeError."""
        deadline_s = time.monotonic() + self._timeout_s
        for message in messages:
            while not message.is_published():
                if not client.is_connected():
                    raise RuntimeError
                if time.monotonic() > deadline_s:
                    raise TimeoutError
                message.wait_for_publish(_POLL_S)

    def _disconnect(self) -> None:
        """Drop a broken connection; the broker publishes the last will."""
        if self._client is not None:
            _stop(self._client)
            self._client = None


def topic_of(source: str) -> str:
    """A source's name as one level of a topic, without user, slash or reserved characters."""
    plain = re.sub(r"^\w+:(?://)?(?:[^@/]*@)?", "", source)
    return re.sub(r"[^\w.-]+", "-", plain).strip("-.")[:_LONGEST_TOPIC] or "source"


class _TlsSocket(ssl.SSLSocket):
    """A TLS socket that is closed when its handshake fails; paho leaves it open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _stop(client: Client) -> None:
    """Stop a client's thread and close its socket."""
    client.loop_stop()
    connection = client.socket()
    if connection is not None:
        connection.close()


def make(target: str) -> MqttWriter:
    """For `stream.formats`."""
    return MqttWriter(target)
