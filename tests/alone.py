"""Runs a command where there is no network and nobody else's files, and tells what it did.

Run by `unshare`, in fresh namespaces for the network and for mounts: no interface but loopback,
empty folders for temporary files and for the user. The kernel counts for each network namespace
what was sent and what found no way, so that nothing a process does goes unseen.
"""

from __future__ import annotations

import ctypes
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
_PRIVATE, _BIND, _RECURSIVE = 1 << 18, 1 << 12, 1 << 14
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41
COUNTERS = (
    *("IpOutNoRoutes", "Ip6OutNoRoutes", "UdpOutDatagrams", "Udp6OutDatagrams"),
    "TcpActiveOpens",
)
"""What a look-up, a datagram or a connection leaves behind, whether it got anywhere or not."""
_OWN = (
    *("HOME", "TMPDIR", "XDG_", "ORT_", "GRADIO_", "HF_", "MPL", "GST_", "DO_NOT_TRACK", "CI"),
    *("TORCH", "TRITON"),
)


class Alone(NamedTuple):
    """What a command did."""

    status: int
    out: str
    error: str
    sent: dict[str, int]
    """Counters of the kernel that are not 0."""
    left: list[str]
    """Files and folders outside the working folder."""


def alone(work: Path, *command: str | Path, ask: str = "") -> Alone:
    """Run a command in `work` with nothing around it; skips where this machine does not allow that.

    Args:
        ask: for a command that serves: `serve` or `demo`, asked for what it does, then ended.
    """
    spaces = ["unshare", "--net", "--mount", "--ipc"]
    if os.geteuid():
        spaces.append("--map-root-user")
    if shutil.which("unshare") is None or subprocess.run([*spaces, "true"]).returncode:
        pytest.skip("no empty network can be made here: unshare is not permitted")
    told = json.dumps({"work": str(work), "command": [str(word) for word in command], "ask": ask})
    done = subprocess.run(
        [*spaces, sys.executable, "-m", "tests.alone", told],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith(_OWN)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return Alone(**json.loads(done.stdout))


def _main(work: Path, command: list[str], ask: str) -> None:
    _start_loopback()
    _empty(work)
    home = Path(tempfile.mkdtemp(dir="/dev/shm"))
    before = _counters()
    process = subprocess.Popen(
        command,
        cwd=work,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said, opened = "", 0
    if ask:
        assert process.stdout is not None
        said = process.stdout.readline()
        port = re.search(r"http://127\.0\.0\.1:(\d+)", said)
        try:
            if port:
                opened = {"serve": _ask_service, "demo": _ask_page}[ask](int(port[1]))
        finally:
            process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=240)
    sent = {name: count - before.get(name, 0) for name, count in _counters().items()}
    sent["TcpActiveOpens"] -= opened
    left = [str(p) for p in home.rglob("*")]
    left += [str(p) for top in SHARED for p in _within(top, work) if p != home]
    print(
        json.dumps(
            {
                "status": process.returncode,
                "out": said + out,
                "error": error,
                "sent": {name: count for name, count in sent.items() if count},
                "left": left,
            }
        )
    )


def _start_loopback() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh22x", b"lo", _UP_AND_RUNNING))


def _needed(work: Path) -> list[Path]:
    """What has to be seen although it may lie in a folder for temporary files."""
    return [work, ROOT, Path(sys.prefix), Path(sys.base_prefix)]


def _within(top: Path, work: Path) -> list[Path]:
    """What is directly in a folder for temporary files, but for the way to what was needed."""
    ways = {part for needed in _needed(work) for part in (needed, *needed.parents)}
    return [path for path in top.iterdir() if path not in ways]


def _empty(work: Path) -> None:
    """Empty folders for temporary files, in which only what is needed is seen."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: Path, kind: str, flags: int) -> None:
        done = libc.mount(source.encode(), os.fsencode(target), kind.encode(), flags, None)
        if done != 0:
            raise OSError(ctypes.get_errno(), f"mounting {target}")

    mount("none", Path("/"), "none", _PRIVATE | _RECURSIVE)
    for top in SHARED:
        inside = [p for p in _needed(work) if p.is_relative_to(top)]
        held = [(path, os.open(path, os.O_PATH)) for path in inside]
        mount("none", top, "tmpfs", 0)
        top.chmod(0o1777)
        for path, handle in held:
            path.mkdir(parents=True, exist_ok=True)
            mount(f"/proc/self/fd/{handle}", path, "none", _BIND | _RECURSIVE)
            os.close(handle)
    os.chdir(work)


def _counters() -> dict[str, int]:
    found: dict[str, int] = {}
    lines = Path("/proc/net/snmp").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        layer, *columns = names.replace(":", "").split()
        found |= {layer + n: int(v) for n, v in zip(columns, values.split()[1:], strict=True)}
    if Path("/proc/net/snmp6").exists():
        six = (line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
        found |= {name: int(value) for name, value in six}
    return {name: found.get(name, 0) for name in COUNTERS}


class _Client:
    """Asks a server on loopback; counts its connections."""

    def __init__(self, port: int) -> None:
        self._port, self.opened = port, 0

    def __call__(self, method: str, path: str, body: bytes = b"") -> bytes:
        self.opened += 1
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        kind = {"Content-Type": "image/jpeg"} if body else {}
        connection.request(method, path, body or None, kind)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        assert answer.status < 300, (path, answer.status, content)
        return content


def _ask_service(port: int) -> int:
    """A picture and a clip, as uploads."""
    import cv2

    from . import media

    ask = _Client(port)
    coded = cv2.imencode(".jpg", media.picture(3, (320, 240)))[1].tobytes()
    assert b"faces" in ask("POST", "/v1/image", coded)
    clip = media.video(Path.cwd() / "clip.mp4", 5).read_bytes()
    assert b"frames" in ask("POST", "/v1/clip", clip)
    return ask.opened


def _ask_page(port: int) -> int:
    """The page, and the sample scored on it."""
    import time

    ask = _Client(port)
    assert b"ferstream" in ask("GET", "/")
    visit = json.loads(ask("POST", "/page/visits"))["visit"]
    ask("POST", f"/page/visits/{visit}/sample")
    state: dict[str, Any] = {}
    for _ in range(600):
        state = json.loads(ask("GET", f"/page/visits/{visit}/clip"))
        if state["state"] in ("done", "failed"):
            break
        time.sleep(0.1)
    assert state["state"] == "done", state
    return ask.opened


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    _main(Path(told["work"]), told["command"], told["ask"])
