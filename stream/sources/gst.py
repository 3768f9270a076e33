"""GStreamer's bindings, loaded where they are installed and explained where they are not.

GStreamer comes from the operating system, not from a wheel: its Python side is the module `gi`,
which Debian and Ubuntu install for their own Python. A virtual environment does not see it there,
so it is loaded from the system's folder by itself; nothing else of that folder becomes importable.
The binary fits the system's own minor version of Python only.

A pipeline that runs ends in an appsink: pictures come out, its errors are of one kind.
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
"""What to install on Debian or Ubuntu to capture with GStreamer."""
SERVER_PACKAGES = "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-rtsp gstreamer1.0-plugins-ugly"
"""What serving RTSP needs beside `PACKAGES`."""

_SYSTEM_FOLDERS = ("/usr/lib/python3/dist-packages",)
_VERSION, _GLIB_VERSION = "1.0", "2.0"
_lock = threading.Lock()
_loaded: dict[str, Any] = {}


def load_gst(namespace: str = "Gst") -> Any:
    """GStreamer, initialised, or a namespace that goes with it, such as GstRtspServer or GLib.

    Safe to call from any thread, and cheap after the first time. Raises `GstreamerMissing`, which
    names what to install.
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
    """Whether GStreamer can be used here."""
    try:
        load_gst()
        load_gst("GstApp")
    except GstreamerMissing:
        return False
    return True


def _initialised() -> Any:
    """The namespace Gst, ready for use."""
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
    """A namespace of the version that this package was written for."""
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
    """The module `gi`: this environment's, else the system's."""
    try:
        return import_module("gi")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "gi":
            return _system_bindings()
        raise GstreamerMissing(f"GStreamer's module gi does not load ({error})") from error


def _system_bindings() -> Any:
    """The system's `gi`, loaded alone; its submodules are then found through its own path."""
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
_LOOK_UP_S = 0.05
# A capture time older than this is a clock that jumped, not a picture that waited.
_OLDEST_S = 2.0
# For elements that have such a property: no picture with invented parts, after a loss nothing until
# a key frame, and no decoder threads, which hold back as many pictures as there are threads.
_CAREFUL: dict[str, Any] = {
    "output-corrupt": False,
    "discard-corrupted-frames": True,
    "wait-for-keyframe": True,
    "max-threads": 1,
}
_NS = 1_000_000_000


class PipelineError(Exception):
    """What went wrong in a pipeline."""

    def __init__(self, message: str, debug: str = "", domain: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.debug, self.domain, self.code = debug, domain, code
        """What GStreamer adds for its developers, and its own numbering of errors."""


class PipelineEnd(Exception):
    """The stream is over."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    stamp_s: float | None
    """Its time in the stream."""
    age_s: float
    """How long ago it arrived, by the pipeline's clock; 0 where unknown."""
    damaged: bool
    """Whether the decoder had to invent parts of it."""


class Pipeline:
    """Built from a description and stopped on every way out.

    One thread starts it and pulls; `stop` may come from any thread, more than once.
    """

    def __init__(self, description: str, configure: Callable[[Any], None] | None = None) -> None:
        """`configure` gets the pipeline before it starts. Raises `PipelineError`."""
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
        """As declared with the last picture."""
        self._pipeline.connect("deep-element-added", _make_careful)
        if self._sink is None or not hasattr(self._sink, "try_pull_sample"):
            raise PipelineError(f"it has no appsink named {SINK}")
        if self._sink.get_property("caps") is None:
            self._sink.set_property("caps", self._gst.Caps.from_string("video/x-raw,format=RGB"))
        if configure is not None:
            configure(self._pipeline)

    def _parsed(self, description: str) -> Any:
        """The pipeline of a description."""
        try:
            pipeline = self._gst.parse_launch(description)
        except load_gst("GLib").Error as error:
            raise PipelineError(error.message, "", error.domain, error.code) from None
        # A single element comes without a pipeline around it.
        if not isinstance(pipeline, self._gst.Pipeline):
            raise PipelineError("it is a single element")
        return pipeline

    def start(self) -> None:
        """Begin to run; what goes wrong later, `pull` raises. Raises `PipelineError`."""
        with self._lock:
            if self._stopped:
                return
            done = self._pipeline.set_state(self._gst.State.PLAYING)
        if done == self._gst.StateChangeReturn.FAILURE:
            self._look_at_bus()
            raise PipelineError("it does not start")

    def pull(self, timeout_s: float) -> Picture | None:
        """The next picture; None if none came in time or the pipeline was stopped.

        Raises `PipelineError`, or `PipelineEnd` once all pictures are taken.
        """
        until_s = time.monotonic() + timeout_s
        while not self._stopped:
            wait_s = max(0.0, min(_LOOK_UP_S, until_s - time.monotonic()))
            sample = self._sink.try_pull_sample(int(wait_s * _NS))
            if sample is not None:
                return self._picture(sample)
            if self._stopped:
                return None
            self._look_at_bus()
            if self._sink.is_eos():
                raise PipelineEnd
            if time.monotonic() >= until_s:
                return None
        return None

    def _look_at_bus(self) -> None:
        """Raise the first error there is; everything else is thrown away, unseen and unstored."""
        while (message := self._bus.pop()) is not None:
            if message.type == self._gst.MessageType.ERROR:
                error, debug = message.parse_error()
                raise PipelineError(error.message, debug or "", error.domain, error.code)

    def _picture(self, sample: Any) -> Picture:
        """A sample's pixels, without the padding of its rows, and its times."""
        caps, buffer = sample.get_caps(), sample.get_buffer()
        if self._caps is None or not caps.is_equal(self._caps):
            self._caps, self._info = caps, self._video.VideoInfo.new_from_caps(caps)
            shape = Fraction(self._info.par_n or 1, self._info.par_d or 1)
            self.size = (shown_width(self._info.width, shape), self._info.height)
            rate = self._info.fps_n / self._info.fps_d if self._info.fps_d else 0.0
            self.rate_hz = rate if 0 < rate < 1000 else None
        meta = self._video.buffer_get_video_meta(buffer) or self._info
        pixels = _upright_rows(self._bytes(buffer), self._info, meta.stride[0], meta.offset[0])
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
        """How many undecoded buffers have arrived; None where nothing counts them."""
        if self._counter is None:
            return None
        counted, number = self._counter.get_property("stats").get_uint64("num-buffers")
        return number if counted else None

    def decoders(self) -> tuple[str, ...]:
        """The kinds of video decoders in use, such as avdec_h264; hardware ones included."""
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
        """Let go of everything: sockets, devices, threads."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._pipeline.set_state(self._gst.State.NULL)
                self._bus.set_flushing(True)


def _upright_rows(data: bytes, info: Any, stride: int, offset: int) -> NDArray[np.uint8]:
    """(H, W, 3) without the bytes that pad its rows."""
    height_px, width_bytes = info.height, 3 * info.width
    if len(data) < offset + stride * (height_px - 1) + width_bytes:
        raise PipelineError(f"a picture of {info.width}x{height_px} comes as {len(data)} bytes")
    flat = np.frombuffer(data, np.uint8, offset=offset)
    rows = np.lib.stride_tricks.as_strided(flat, (height_px, width_bytes), (stride, 1))
    return np.ascontiguousarray(rows).reshape(height_px, info.width, 3)


def _make_careful(_pipeline: Any, _bin: Any, element: Any) -> None:
    """Set up the elements that a decodebin chooses, as it chooses them."""
    for name, value in _CAREFUL.items():
        if element.find_property(name) is not None:
            element.set_property(name, value)


@cache
def _prefer_hardware() -> None:
    """Rank the graphics card's decoders above the processor's, where driver and device are here.

    GStreamer lists them only then. Its own variable GST_PLUGIN_FEATURE_RANK overrules.
    """
    gst = load_gst()
    if os.environ.get("GST_PLUGIN_FEATURE_RANK"):
        return
    wanted = gst.ELEMENT_FACTORY_TYPE_DECODER | gst.ELEMENT_FACTORY_TYPE_MEDIA_VIDEO
    for factory in gst.ElementFactory.list_get_elements(wanted, gst.Rank.MARGINAL):
        if "Hardware" in factory.get_metadata("klass"):
            factory.set_rank(max(factory.get_rank(), int(gst.Rank.PRIMARY) + 16))
