"""A real RTSP camera on loopback, in a process of its own, to be killed, frozen and switched.

    with Camera(size=(640, 480)) as camera:
        frames = open_source(camera.url).frames()

It needs GStreamer's RTSP server with its bindings, in the system's Python or in this one; a test
calls `require_rtsp` first, which skips it without.
"""

from __future__ import annotations

import contextlib
import functools
import json
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from .rtsp_pictures import MODULUS, Pictures, read_number, written

_SERVER = Path(__file__).with_name("rtsp_server.py")
_PROBE = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
wanted = ("appsrc", "rtph264pay", "x264enc")
missing = [name for name in wanted if Gst.ElementFactory.find(name) is None]
raise SystemExit(f"no {missing}" if missing else 0)
"""
# How long a busy machine may take to start the camera or to obey.
_ANSWER_S = 20.0


@functools.lru_cache(maxsize=1)
def camera_python() -> str | None:
    """A Python that can serve RTSP: the system's, where Debian's bindings are, or this one."""
    for python in ("/usr/bin/python3", sys.executable):
        if Path(python).exists():
            probe = subprocess.run([python, "-c", _PROBE], capture_output=True, timeout=60)
            if probe.returncode == 0:
                return python
    return None


def require_rtsp() -> None:
    """Skip the test where no camera can be had."""
    if camera_python() is None:
        pytest.skip(
            "no RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 "
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-ugly"
        )


@functools.lru_cache(maxsize=1)
def _folder() -> Path:
    """Where the pictures of all cameras of this run lie; gone with the run."""
    folder = tempfile.TemporaryDirectory(prefix="rtsp-camera-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


class Camera:
    """A camera that films `Pictures` from when it is started.

    Every connection joins it where it just is. By default its pictures are coded beforehand, which
    costs a test machine next to nothing; `coder` puts a real x264 in the camera instead.

    Args:
        size: width and height, pixels; even numbers.
        rate_hz: frames per second.
        gop: frames from one key frame to the next.
        scene: `face` or `empty`.
        user, password: what it asks for; nothing where there is no user.
        digest: ask for them in a digest, as most cameras do, rather than in plain words.
        coder: code while filming.
        certificate: speak TLS, with the certificate and key in these files.
    """

    def __init__(
        self,
        size: tuple[int, int] = (640, 480),
        rate_hz: float = 30.0,
        gop: int = 30,
        *,
        scene: str = "face",
        user: str = "",
        password: str = "",
        digest: bool = True,
        coder: bool = False,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.pictures = Pictures(size, rate_hz, scene)
        self._shown = [self.pictures]
        self.epoch_s = 0.0
        """When frame 0 was captured, on the monotonic clock."""
        self.starts = 0
        """How often it was started."""
        self._gop, self._coder = gop, coder
        self._user, self._password, self._digest = user, password, digest
        self._certificate = certificate
        self._port = 0
        self._orders = 0
        self._process: subprocess.Popen[str] | None = None
        self._frozen = False

    @property
    def url(self) -> str:
        """Its address, without a password; /pyav and /gstreamer below it are the same film."""
        return f"{self._scheme}://127.0.0.1:{self._port}/film"

    @property
    def url_with_password(self) -> str:
        """Its address with the password it now asks for."""
        return self.url.replace("://", f"://{self._user}:{self._password}@")

    @property
    def _scheme(self) -> str:
        return "rtsps" if self._certificate else "rtsp"

    @property
    def port(self) -> int:
        """Its port: the same after every start."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether it is switched on and not frozen."""
        return self._process is not None and self._process.poll() is None and not self._frozen

    def start(self) -> Camera:
        """Switch it on, at the port it had before; returns once it answers."""
        if self._process is not None:
            raise RuntimeError("the camera is on already: stop or kill it first")
        python = camera_python()
        if python is None:
            raise RuntimeError("GStreamer's RTSP server is not installed")
        if not self._port:
            self._port = free_port()
        told = {
            "port": self._port,
            "mounts": ["/film", *(f"/film/{name}" for name in ("pyav", "gstreamer"))],
            "rate_hz": self.pictures.rate_hz,
            "gop": self._gop,
            "user": self._user,
            "password": self._password,
            "digest": self._digest,
            "certificate": [str(path) for path in self._certificate or ()],
            "loop": self._film(self.pictures),
        }
        self._process = subprocess.Popen(
            [python, str(_SERVER), json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.epoch_s = float(self._answer()["epoch_s"])
        self.starts += 1
        return self

    def stop(self) -> None:
        """Switch it off properly; no error where it is off."""
        if self._process is None:
            return
        self.thaw()
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._gone()

    def kill(self) -> None:
        """Pull its plug."""
        if self._process is not None:
            self._process.kill()
            self._gone()

    def restart(self) -> None:
        """Pull its plug and switch it on again."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Let it hang: connections stay, nothing comes."""
        self._signal(signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        if self._frozen:
            self._signal(signal.SIGCONT)
            self._frozen = False

    def prepare(self, size: tuple[int, int] | None = None, scene: str | None = None) -> None:
        """Make the film of another size or scene beforehand, which takes seconds on a busy machine.

        `set_size` and `show` make what they need themselves otherwise.
        """
        one = Pictures(
            size or self.pictures.size, self.pictures.rate_hz, scene or self.pictures.scene
        )
        self._film(one)

    def set_size(self, size: tuple[int, int]) -> None:
        """Go on in another resolution, from the next key frame, in the same connection.

        A camera with a real coder hangs up instead, as many cameras do, and shows the other
        resolution to who connects again.
        """
        self._show(Pictures(size, self.pictures.rate_hz, self.pictures.scene))

    def show(self, scene: str) -> None:
        """Film another scene, from the next key frame."""
        self._show(Pictures(self.pictures.size, self.pictures.rate_hz, scene))

    def set_password(self, user: str, password: str) -> None:
        """Ask whoever connects from now on for this; who is connected stays."""
        self._user, self._password = user, password
        if self._process is not None:
            self._order(user=user, password=password)

    def hang_up(self) -> None:
        """Drop every connection."""
        self._order(hang_up=True)

    def end(self) -> None:
        """Tell everybody that the stream is over; who connects again gets a new one."""
        self._order(end=True)

    def frame_number(self, pixels: NDArray[np.uint8], now_s: float) -> int | None:
        """Which frame since its start a picture is, if it is one that was captured by `now_s`."""
        code = read_number(pixels)
        if code is None:
            return None
        repeat = MODULUS if self._coder else self.pictures.count
        newest = int((now_s - self.epoch_s) * self.pictures.rate_hz + 0.5)
        return newest - (newest - code) % repeat

    def captured_s(self, pixels: NDArray[np.uint8], now_s: float) -> float | None:
        """When a received picture was captured, on the monotonic clock."""
        number = self.frame_number(pixels, now_s)
        return None if number is None else self.epoch_s + number / self.pictures.rate_hz

    def compare(self, pixels: NDArray[np.uint8]) -> tuple[str, float]:
        """Which of the scenes filmed so far a received picture shows, and its strangeness to it."""
        return min(
            ((one.scene, one.strangeness(pixels)) for one in self._shown),
            key=lambda found: found[1],
        )

    def __enter__(self) -> Camera:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _show(self, pictures: Pictures) -> None:
        self.pictures = pictures
        if pictures not in self._shown:
            self._shown.append(pictures)
        if self._process is not None:
            self._order(loop=self._film(self.pictures))
            if self._coder:
                self.hang_up()

    def _film(self, pictures: Pictures) -> dict[str, Any]:
        pictures.prepare()
        return written(pictures, _folder(), self._gop, raw=self._coder)

    def _order(self, **order: Any) -> None:
        """Have the process change something; returns when it has."""
        assert self._process is not None and self._process.stdin is not None
        self._orders += 1
        self._process.stdin.write(json.dumps({"number": self._orders, **order}) + "\n")
        self._process.stdin.flush()
        if not self._frozen:
            while self._answer().get("done") != self._orders:
                pass

    def _answer(self) -> dict[str, Any]:
        """The process's next line; kills it where none comes."""
        assert self._process is not None and self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER_S)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.kill()
            raise RuntimeError("the camera did not start or does not answer; its errors are above")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _gone(self) -> None:
        assert self._process is not None
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process, self._frozen = None, False


def free_port() -> int:
    """A port on loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def cameras(count: int, **options: Any) -> Iterator[list[Camera]]:
    """Several cameras of one kind; all are switched off in the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Camera(**options)) for _ in range(count)]
