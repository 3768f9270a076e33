"""GStreamer's bindings, loaded where they are installed and explained where they are not.

GStreamer comes from the operating system, not from a wheel: its Python side is the module `gi`,
which Debian and Ubuntu install for their own Python. A virtual environment does not see it there,
so it is loaded from the system's folder by itself; nothing else of that folder becomes importable.
The binary fits the system's own minor version of Python only.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import warnings
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

from ferstream.engines.offline import keep_gstreamer_private

from .errors import GstreamerMissing

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
