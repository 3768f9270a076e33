"""MediaPipe, without what only its drawing and its recording of sound want."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from types import ModuleType
from typing import Any

from .quiet import quiet

_one_at_a_time = threading.Lock()


def load_mediapipe() -> Any:
    """The module `mediapipe`; two thirds of its loading time are spared.

    Its drawing loads Matplotlib, which looks through all fonts and keeps a list of them in the
    user's folders; its recorder looks for a sound library with the help of a compiler. Neither is
    used here. Who draws with MediaPipe in the same process finds Matplotlib loaded then.
    """
    with _one_at_a_time:
        if "mediapipe" not in sys.modules:
            put = {name: module for name, module in _stand_ins().items() if name not in sys.modules}
            sys.modules.update(put)
            try:
                with quiet():
                    import_module("mediapipe")
            finally:
                for name in put:
                    del sys.modules[name]
    return sys.modules["mediapipe"]


def _stand_ins() -> dict[str, Any]:
    matplotlib, pyplot = ModuleType("matplotlib"), ModuleType("matplotlib.pyplot")
    pyplot.__getattr__ = lambda name: getattr(  # type: ignore[method-assign]
        import_module("matplotlib.pyplot"), name
    )
    matplotlib.pyplot = pyplot  # type: ignore[attr-defined]
    # None: as if it were not installed.
    return {"matplotlib": matplotlib, "matplotlib.pyplot": pyplot, "sounddevice": None}
