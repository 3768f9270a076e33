"""A real MQTT broker (mosquitto) on loopback, and somebody who listens to it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from .receivers import free_port, until


def _command(name: str) -> str:
    """Where Debian's package puts it; skips where it is missing."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"needs {name}: apt-get install mosquitto")
    return found


class Broker:
    """A mosquitto in a process of its own; the same port each time it is started.

    `user` and `password`: nobody else may come in. `certificate`: TLS, its paths of certificate
    and key.
    """

    def __init__(
        self,
        folder: Path,
        user: str = "",
        password: str = "",
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self._command = _command("mosquitto")
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence false",
            f"allow_anonymous {'false' if user else 'true'}",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # so that it reads its files in a folder that is root's
        if certificate is not None:
            lines += [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
        if user:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            hashing = [_command("mosquitto_passwd"), "-b", str(passwords), user, password]
            subprocess.run(hashing, check=True, capture_output=True)
            lines.append(f"password_file {passwords}")
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [self._command, "-c", str(self._settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._listens)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


Heard = list[tuple[str, str, bool]]
"""Topic, text and whether it was retained, in the order of coming."""


@contextmanager
def listening(broker: Broker, user: str = "", password: str = "") -> Iterator[Heard]:
    """Everything that is published, while this goes on."""
    heard: Heard = []
    subscribed = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    if user:
        client.username_pw_set(user, password)

    def on_message(client: Client, data: object, message: MQTTMessage) -> None:
        heard.append((message.topic, message.payload.decode(), message.retain))

    def on_connect(client: Client, *_: object) -> None:
        client.subscribe("#", qos=1)

    client.on_message = on_message
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert subscribed.wait(10)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()
