"""The process of `tests.rtsp_camera.Camera`: an RTSP server that plays a loop of pictures.

It runs in any Python that has GStreamer's bindings (Debian's own has no numpy) and therefore
imports nothing but those and the standard library. A JSON object in its one argument says what to
be; further objects, one per line of standard input, change it; the end of standard input ends it.

The camera has been filming since it was switched on, whether or not anybody looks: frame number n
is captured at `epoch_s + n / rate_hz`, so that who connects joins wherever it just is, mostly in
the middle of a group of pictures.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

# Late by more than this, the camera goes on with the picture that is due now.
_LATE_S = 0.5


class Loop:
    """The pictures that are shown, over and over.

    A file of coded pictures holds an H.264 access unit each, the first parameter sets in front;
    one of raw pictures holds I420 planes, into which the code of the frame number is drawn here.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self.width_px, self.height_px = told["size"]
        self.raw = bool(told["raw"])
        self.header = bytes.fromhex(told["header"])
        self.keys = frozenset(told["keys"])
        self._code = told["code"]
        data = Path(told["path"]).read_bytes()
        ends = told["ends"]
        starts = [0, *ends[:-1]]
        self._pictures = [data[start:end] for start, end in zip(starts, ends, strict=True)]

    def is_key(self, number: int) -> bool:
        """Whether a decoder can begin with this picture."""
        return self.raw or number % len(self._pictures) in self.keys

    def picture(self, number: int) -> bytes:
        """What is captured as frame `number`."""
        picture = self._pictures[number % len(self._pictures)]
        return self._coded(picture, number) if self.raw else picture

    def _coded(self, picture: bytes, number: int) -> bytes:
        """Raw planes with the frame number as blocks of black and white along the top."""
        side, row = self._code["block_px"], bytearray()
        value = number % self._code["modulus"]
        bits = f"10{value:016b}{(value ^ value >> 8) & 0xFF:08b}"
        for bit in bits:
            row += (b"\xeb" if bit == "1" else b"\x10") * side
        planes = bytearray(picture)
        for y in range(side):
            start = y * self.width_px
            planes[start : start + len(row)] = row
        return bytes(planes)


class Camera:
    """The server, its clock and its one stream."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.rate_hz = float(told["rate_hz"])
        self.loop = Loop(told["loop"])
        self._told = told
        self._server = GstRtspServer.RTSPServer()
        self._server.set_address("127.0.0.1")
        self._server.set_service(str(told["port"]))
        self._factory = GstRtspServer.RTSPMediaFactory()
        self._factory.set_shared(True)
        self._factory.set_launch(self._launch())
        self._factory.connect("media-configure", self._configure)
        self.secure(told["user"], told["password"])
        for mount in told["mounts"]:
            self._server.get_mount_points().add_factory(mount, self._factory)
        self.epoch_s = time.monotonic()
        self._over = threading.Event()
        if not self._server.attach(None):
            raise SystemExit(f"port {told['port']} is taken")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.get_bound_port())

    def secure(self, user: str, password: str) -> None:
        """Let in only who knows this user's password; anybody where there is no user."""
        permissions = GstRtspServer.RTSPPermissions()
        if user:
            auth = GstRtspServer.RTSPAuth()
            token = GstRtspServer.RTSPToken()
            token.set_string("media.factory.role", "viewer")
            if self._told["digest"]:
                auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
                auth.add_digest(user, password, token)
            else:
                auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
            for permission in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role("viewer", permission, True)
            self._factory.set_permissions(permissions)
        else:
            auth = None
            self._factory.set_permissions(None)
        if self._told["certificate"]:
            auth = auth or GstRtspServer.RTSPAuth()
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*self._told["certificate"]))
        self._server.set_auth(auth)

    def hang_up(self) -> None:
        """Drop everybody who is connected."""
        self._server.client_filter(lambda server, client: GstRtspServer.RTSPFilterResult.REMOVE)

    def obey(self, order: dict[str, Any]) -> bool:
        """Do as a line of standard input says; for GLib's loop."""
        if "loop" in order:
            self.loop = Loop(order["loop"])
        if "password" in order:
            self.secure(order["user"], order["password"])
        if order.get("hang_up"):
            self.hang_up()
        if order.get("end"):
            self._over.set()
        print(json.dumps({"done": order["number"]}), flush=True)
        return False

    def _launch(self) -> str:
        pay = "rtph264pay name=pay0 pt=96 config-interval=-1"
        if not self.loop.raw:
            return f"( appsrc name=film is-live=true format=time do-timestamp=true ! {pay} )"
        gop = self._told["gop"]
        return (
            "( appsrc name=film is-live=true format=time do-timestamp=true max-bytes=0 "
            f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={gop} threads=1 "
            f"bitrate=6000 ! video/x-h264,profile=baseline ! {pay} )"
        )

    def _configure(self, factory: Any, media: Any) -> None:
        """A new pipeline for who comes first: film for it in a thread until it is given up."""
        film = media.get_element().get_by_name("film")
        loop = self.loop
        if loop.raw:
            rate = f"{round(self.rate_hz * 1000)}/1000"
            size = f"width={loop.width_px},height={loop.height_px}"
            caps = f"video/x-raw,format=I420,{size},framerate={rate}"
        else:
            caps = "video/x-h264,stream-format=byte-stream,alignment=au"
        film.set_property("caps", Gst.Caps.from_string(caps))
        given_up = threading.Event()
        media.connect("unprepared", lambda _: given_up.set())
        self._over = threading.Event()
        threading.Thread(target=self._film, args=(film, given_up, self._over), daemon=True).start()

    def _film(self, film: Any, given_up: threading.Event, over: threading.Event) -> None:
        loop, number = self.loop, self._due()
        # While the pipeline starts it takes nothing for a moment.
        while not self._push(film, loop.header) and not given_up.wait(0.01):
            pass
        while not given_up.is_set():
            if over.is_set():
                film.emit("end-of-stream")
                return
            time.sleep(max(0.0, self.epoch_s + number / self.rate_hz - time.monotonic()))
            if self.loop is not loop and self.loop.is_key(number) and self._fits(loop):
                loop = self.loop
            self._push(film, loop.picture(number))
            number += 1
            if self._due() - number > _LATE_S * self.rate_hz:
                # It was frozen. A coder would go on from what it showed last; a recording can
                # only go on where a picture stands for itself.
                number = self._due()
                while not loop.is_key(number):
                    number += 1

    def _fits(self, loop: Loop) -> bool:
        """Whether the new loop can follow this one in the same stream: a coder keeps its size."""
        sizes = [(one.width_px, one.height_px) for one in (loop, self.loop)]
        return not loop.raw or sizes[0] == sizes[1]

    def _due(self) -> int:
        """The number of the next frame to be captured."""
        return int((time.monotonic() - self.epoch_s) * self.rate_hz) + 1

    def _push(self, film: Any, data: bytes) -> bool:
        """Whether the pipeline took it; it always takes nothing."""
        return not data or bool(
            film.emit("push-buffer", Gst.Buffer.new_wrapped(data)) == Gst.FlowReturn.OK
        )


def main() -> None:
    """Serve until standard input ends."""
    Gst.init(None)
    camera = Camera(json.loads(sys.argv[1]))
    main_loop = GLib.MainLoop()

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(camera.obey, json.loads(line))
        main_loop.quit()

    threading.Thread(target=listen, daemon=True).start()
    # The port once more tells that requests are served from now on.
    ready = {"port": camera.port, "epoch_s": camera.epoch_s}
    GLib.idle_add(lambda: print(json.dumps(ready), flush=True))
    main_loop.run()


if __name__ == "__main__":
    main()
