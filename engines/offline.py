"""Libraries that would call home or leave files in the user's folders are told not to.

Importing any of this project's packages imports this module first, so that it does not depend on
the shell, on who imports whom, or on a command line. What is told through the environment reaches
every process that is started too.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from platform import machine
from types import ModuleType

from .files import PrivateFolder, is_private

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # read when ONNX Runtime is loaded; its own call comes too late
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
"""Environment variables that this project decides, whatever they were."""

FOLDERS = {
    "matplotlib": ("MPLCONFIGDIR",),
    "gradio": ("GRADIO_TEMP_DIR",),
    "torch": ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
}
"""Libraries, and the variables that name where they keep files; what the user set stays."""

_folder: PrivateFolder | None = None


def caches() -> Path:
    """A folder for what libraries keep between runs; it is gone when this process ends."""
    global _folder
    if _folder is None:
        _folder = PrivateFolder("cache")
    return _folder.path


def keep_gstreamer_private() -> None:
    """GStreamer's list of its plugins is made in a folder of this process, from the user's."""
    if _is_set("GST_REGISTRY"):
        return
    mine = caches() / "gstreamer.bin"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    known = home / "gstreamer-1.0" / f"registry.{machine()}.bin"
    if known.is_file():
        shutil.copyfile(known, mine)  # else it looks at every plugin anew
    os.environ["GST_REGISTRY"] = str(mine)


def _is_set(variable: str) -> bool:
    """Whether the user chose a place, or a process that started this one and is still there."""
    value = os.environ.get(variable)
    if not value:
        return False
    folder = Path(value).parent
    return not is_private(folder) or folder.is_dir()


class _BeforeImport(MetaPathFinder):
    """Finds nothing; sees the first import of a library, also one by another library."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for variable in FOLDERS.get(fullname, ()):
            if not _is_set(variable):
                os.environ[variable] = str(caches() / variable.lower())
        if fullname == "openvino":
            # It sends an event when it is imported, unless this module of its is not there.
            sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        return None


os.environ.update(SWITCHES)
if not any(isinstance(finder, _BeforeImport) for finder in sys.meta_path):
    sys.meta_path.insert(0, _BeforeImport())
