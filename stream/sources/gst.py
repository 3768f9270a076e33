"""GStreamer's Python bindings, and a pipeline that gives decoded pictures.

GStreamer comes from the operating system, not from a wheel: its bindings are the module `gi`, which
Debian and Ubuntu install for their own Python. A virtual environment does not see that module, so
it is loaded from the system's folder alone; nothing else in that folder becomes importable. Its
binary fits the system's own minor version of Python only.

`Pipeline` runs a description that ends in an appsink; all its errors are `PipelineError`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ferstream.engines.offline import keep_gstreamer_private

from ..errors import GstreamerMissing
from .pixels import shown_width

PACKAGES = (
    "python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav"
)
"""Packages of Debian and Ubuntu for capturing with GStreamer."""
SERVER_PACKAGES = "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-rtsp gstreamer1.0-plugins-ugly"
"""Packages for serving RTSP, beside `PACKAGES`."""

_SYSTEM_FOLDERS = ("/usr/lib/python3/dist-packages",)
_VERSION, _GLIB_VERSION = "1.0", "2.0"
_lock = threading.Lock()
_loaded: dict[str, Any] = {}


def load_gst(namespace: str = "Gst") -> Any:
    """The bindings of GStreamer, initialised, or of a namespace such as GstRtspServer or GLib.

    Safe from any thread, and cheap after the first call. Raises `GstreamerMissing`, whose message
    names the packages to install.
    """
    with _lock:
        if namespace not in _loaded:
            with warnings.catch_warnings():
                # The bindings of some releases use parts of Python's import that are going away.
                warnings.simplefilter("ignore", ImportWarning)
                warnings.simplefilter("ignore", DeprecationWarning)
                if "Gst" not in _loaded:
                    _loaded["Gst"] = _initialised()
                if namespace not in _loaded:
                    _loaded[namespace] = _required(namespace)
        return _loaded[namespace]


def has_gst() -> bool:
    """Whether GStreamer can be used in this process."""
    try:
        load_gst()
        load_gst("GstApp")
    except GstreamerMissing:
        return False
    return True


def _initialised() -> Any:
    """Import and initialise the namespace Gst."""
    # GStreamer brings libunwind into the process, which has functions of the same names as the
    # compiler's own library and would take the place of some of them: an exception in any C++
    # library loaded later (MediaPipe's among them) then ends the process. Who is first, stays.
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
    keep_gstreamer_private()
    gst = _required("Gst")
    done, _ = gst.init_check(None)
    if not done:
        raise GstreamerMissing("GStreamer does not start: does `gst-inspect-1.0` run?")
    return gst


def _required(namespace: str) -> Any:
    """Import a namespace in the version that this package supports."""
    gi = _bindings()
    try:
        gi.require_version(namespace, _GLIB_VERSION if namespace == "GLib" else _VERSION)
        return import_module(f"gi.repository.{namespace}")
    except (ValueError, ImportError) as error:
        packages = SERVER_PACKAGES if "Server" in namespace else PACKAGES
        raise GstreamerMissing(
            f"GStreamer's {namespace} is not installed: sudo apt install {packages}"
        ) from error


def _bindings() -> Any:
    """The module `gi` of this environment, else of the system."""
    try:
        return import_module("gi")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "gi":
            return _system_bindings()
        raise GstreamerMissing(f"GStreamer's module gi does not load ({error})") from error


def _system_bindings() -> Any:
    """Load the system's `gi` alone; its submodules are then found through its own path."""
    spec = PathFinder.find_spec("gi", list(_SYSTEM_FOLDERS))
    if spec is None or spec.loader is None or spec.origin is None:
        raise GstreamerMissing(f"GStreamer's module gi is not here: sudo apt install {PACKAGES}")
    gi = module_from_spec(spec)
    sys.modules["gi"] = gi
    try:
        spec.loader.exec_module(gi)
    except ImportError as error:
        for name in [name for name in sys.modules if name == "gi" or name.startswith("gi.")]:
            del sys.modules[name]
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise GstreamerMissing(
            f"the system's gi in {Path(spec.origin).parent} is made for another Python than this "
            f"{here} ({error}): use the system's own Python for the environment, or "
            "pip install PyGObject"
        ) from error
    return gi


SINK, COUNTER = "sink", "counter"
"""Names of elements: the appsink, and an `identity` that counts what arrives undecoded."""

# How long a wait for a picture may keep an error or a stop unnoticed.
_POLL_S = 0.05
# A capture time older than this is a clock that jumped, not a picture that waited.
_OLDEST_S = 2.0
# For elements that have such a property: no concealed parts, nothing after a loss until a key
# frame, and no decoder threads, which hold back as many pictures as there are threads.
_SAFE_PROPERTIES: dict[str, Any] = {
    "output-corrupt": False,
    "discard-corrupted-frames": True,
    "wait-for-keyframe": True,
    "max-threads": 1,
}
_NS = 1_000_000_000


class PipelineError(Exception):
    """A pipeline failed; `debug`, `domain` and `code` are GStreamer's."""

    def __init__(self, message: str, debug: str = "", domain: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.debug, self.domain, self.code = debug, domain, code


class PipelineEnd(Exception):
    """The stream has ended."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    stamp_s: float | None
    """Its time in the stream, seconds; None where it has none."""
    age_s: float
    """Seconds since it arrived, by the pipeline's clock; 0 where unknown."""
    damaged: bool
    """Whether the decoder concealed missing parts."""


class Pipeline:
    """A pipeline made from a description in the syntax of gst-launch.

    One thread starts it and pulls pictures; `stop` may be called from any thread, more than once.
    """

    def __init__(self, description: str, configure: Callable[[Any], None] | None = None) -> None:
        """`configure` is called with the pipeline before it starts. Raises `PipelineError`."""
        self._gst = load_gst()
        load_gst("GstApp")
        self._video = load_gst("GstVideo")
        _prefer_hardware()
        self._pipeline = self._parsed(description)
        self._sink = self._pipeline.get_by_name(SINK)
        self._counter = self._pipeline.get_by_name(COUNTER)
        self._bus = self._pipeline.get_bus()
        self._lock = threading.Lock()
        self._stopped = False
        self._caps: Any = None
        self._info: Any = None
        self.size: tuple[int, int] | None = None
        """Width and height of the last picture."""
        self.rate_hz: float | None = None
        """Pictures per second, as declared with the last picture."""
        self._pipeline.connect("deep-element-added", _configure_element)
        if self._sink is None or not hasattr(self._sink, "try_pull_sample"):
            raise PipelineError(f"it has no appsink named {SINK}")
        if self._sink.get_property("caps") is None:
            self._sink.set_property("caps", self._gst.Caps.from_string("video/x-raw,format=RGB"))
        if configure is not None:
            configure(self._pipeline)

    def _parsed(self, description: str) -> Any:
        """Parse a description."""
        try:
            pipeline = self._gst.parse_launch(description)
        except load_gst("GLib").Error as error:
            raise PipelineError(error.message, "", error.domain, error.code) from None
        # A single element comes without a pipeline around it.
        if not isinstance(pipeline, self._gst.Pipeline):
            raise PipelineError("it is a single element")
        return pipeline

    def start(self) -> None:
        """Start to run; `pull` raises later failures. Raises `PipelineError`."""
        with self._lock:
            if self._stopped:
                return
            done = self._pipeline.set_state(self._gst.State.PLAYING)
        if done == self._gst.StateChangeReturn.FAILURE:
            self._raise_bus_error()
            raise PipelineError("it does not start")

    def pull(self, timeout_s: float) -> Picture | None:
        """The next picture; None where none came within `timeout_s`, or once it was stopped.

        Raises `PipelineError`, or `PipelineEnd` once all pictures were pulled.
        """
        until_s = time.monotonic() + timeout_s
        while not self._stopped:
            wait_s = max(0.0, min(_POLL_S, until_s - time.monotonic()))
            sample = self._sink.try_pull_sample(int(wait_s * _NS))
            if sample is not None:
                return self._picture(sample)
            if self._stopped:
                return None
            self._raise_bus_error()
            if self._sink.is_eos():
                raise PipelineEnd
            if time.monotonic() >= until_s:
                return None
        return None

    def _raise_bus_error(self) -> None:
        """Raise the first error on the bus; other messages are discarded."""
        while (message := self._bus.pop()) is not None:
            if message.type == self._gst.MessageType.ERROR:
                error, debug = message.parse_error()
                raise PipelineError(error.message, debug or "", error.domain, error.code)

    def _picture(self, sample: Any) -> Picture:
        """The pixels of a sample, without padding, and its times."""
        caps, buffer = sample.get_caps(), sample.get_buffer()
        if self._caps is None or not caps.is_equal(self._caps):
            self._caps, self._info = caps, self._video.VideoInfo.new_from_caps(caps)
            shape = Fraction(self._info.par_n or 1, self._info.par_d or 1)
            self.size = (shown_width(self._info.width, shape), self._info.height)
            rate = self._info.fps_n / self._info.fps_d if self._info.fps_d else 0.0
            self.rate_hz = rate if 0 < rate < 1000 else None
        meta = self._video.buffer_get_video_meta(buffer) or self._info
        pixels = _without_padding(self._bytes(buffer), self._info, meta.stride[0], meta.offset[0])
        if pixels.shape[1::-1] != self.size:
            pixels = np.asarray(cv2.resize(pixels, self.size), np.uint8)
        known = buffer.pts != self._gst.CLOCK_TIME_NONE
        return Picture(
            pixels,
            buffer.pts / _NS if known else None,
            self._age_s(sample, buffer.pts) if known else 0.0,
            buffer.has_flags(self._gst.BufferFlags.CORRUPTED),
        )

    def _bytes(self, buffer: Any) -> bytes:
        """A copy of a buffer's memory."""
        mapped, memory = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            raise PipelineError("a picture's memory cannot be read")
        try:
            # The bindings have copied it already, except in some releases.
            data = memory.data
            return data if isinstance(data, bytes) else bytes(data)
        finally:
            buffer.unmap(memory)

    def _age_s(self, sample: Any, pts: int) -> float:
        """Time since a live picture arrived, from its stamp and the pipeline's clock."""
        clock = self._pipeline.get_clock()
        running = sample.get_segment().to_running_time(self._gst.Format.TIME, pts)
        if clock is None or running == self._gst.CLOCK_TIME_NONE:
            return 0.0
        age_s = (clock.get_time() - self._pipeline.get_base_time() - running) / _NS
        return age_s if 0 <= age_s <= _OLDEST_S else 0.0

    def buffers_received(self) -> int | None:
        """Number of undecoded buffers that have arrived; None where nothing counts them."""
        if self._counter is None:
            return None
        counted, number = self._counter.get_property("stats").get_uint64("num-buffers")
        return number if counted else None

    def decoders(self) -> tuple[str, ...]:
        """Names of the video decoders in use, such as avdec_h264 or nvh264dec."""
        names: list[str] = []
        elements = self._pipeline.iterate_recurse()
        while True:
            result, element = elements.next()
            if result != self._gst.IteratorResult.OK:
                return tuple(names)
            factory = element.get_factory()
            kind = factory.get_metadata("klass") if factory else ""
            if "Decoder" in kind and ("Video" in kind or "Image" in kind) and "Bin" not in kind:
                names.append(factory.get_name())

    def stop(self) -> None:
        """Stop, and release sockets, devices and threads."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._pipeline.set_state(self._gst.State.NULL)
                self._bus.set_flushing(True)


def _without_padding(data: bytes, info: Any, stride: int, offset: int) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) without the bytes that pad each row."""
    height_px, width_bytes = info.height, 3 * info.width
    if len(data) < offset + stride * (height_px - 1) + width_bytes:
        raise PipelineError(f"a picture of {info.width}x{height_px} comes as {len(data)} bytes")
    flat = np.frombuffer(data, np.uint8, offset=offset)
    rows = np.lib.stride_tricks.as_strided(flat, (height_px, width_bytes), (stride, 1))
    return np.ascontiguousarray(rows).reshape(height_px, info.width, 3)


def _configure_element(_pipeline: Any, _bin: Any, element: Any) -> None:
    """Set `_SAFE_PROPERTIES` of an element that a decodebin adds."""
    for name, value in _SAFE_PROPERTIES.items():
        if element.find_property(name) is not None:
            element.set_property(name, value)


@cache
def _prefer_hardware() -> None:
    """Rank the decoders of a graphics card above those of the CPU.

    GStreamer lists them only where driver and device are there. Its own variable
    GST_PLUGIN_FEATURE_RANK takes precedence.
    """
    gst = load_gst()
    if os.environ.get("GST_PLUGIN_FEATURE_RANK"):
        return
    wanted = gst.ELEMENT_FACTORY_TYPE_DECODER | gst.ELEMENT_FACTORY_TYPE_MEDIA_VIDEO
    for factory in gst.ElementFactory.list_get_elements(wanted, gst.Rank.MARGINAL):
        if "Hardware" in factory.get_metadata("klass"):
            factory.set_rank(max(factory.get_rank(), int(gst.Rank.PRIMARY) + 16))
