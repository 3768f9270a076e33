"""MediaPipe, without what only its drawing and its recording of sound want, and without the
start-up chatter of its native library on standard error."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

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


_CHATTER = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog"
    rb"|INFO: Created TensorFlow Lite"
    rb"|[IW]\d{4} \d\d:\d\d:.*\.cc:\d+\])"
)
_STDERR = 2
_quiet_one_at_a_time = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is written to standard error meanwhile; then let all but chatter through.

    MediaPipe and TensorFlow Lite log their start from C++, past Python's `sys.stderr`, and no
    setting silences them. Lines of theirs below the level of an error are dropped; every other
    line, of whichever thread, appears when the block ends, also when it ends in an exception.
    Deprecation warnings raised inside the block are ignored.
    """
    with _quiet_one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            kept = os.dup(_STDERR)
        except OSError:  # no standard error at all: nothing to hold back
            yield
            return
        with tempfile.TemporaryFile() as held:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(held.fileno(), _STDERR)
            try:
                yield
            finally:
                if sys.stderr is not None:
                    sys.stderr.flush()
                os.dup2(kept, _STDERR)
                held.seek(0)
                for line in held:
                    if not _CHATTER.match(line):
                        os.write(kept, line)
                os.close(kept)
