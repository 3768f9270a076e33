"""Keeps a native library's start-up chatter off standard error, and nothing else."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_CHATTER = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog"
    rb"|INFO: Created TensorFlow Lite"
    rb"|[IW]\d{4} \d\d:\d\d:.*\.cc:\d+\])"
)
_STDERR = 2
_one_at_a_time = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is written to standard error meanwhile; then let all but chatter through.

    MediaPipe and TensorFlow Lite log their start from C++, past Python's `sys.stderr`, and no
    setting silences them. Lines of theirs below the level of an error are dropped; every other
    line, of whichever thread, appears when the block ends, also when it ends in an exception.
    Deprecation warnings raised inside the block are ignored.
    """
    with _one_at_a_time, warnings.catch_warnings():
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
