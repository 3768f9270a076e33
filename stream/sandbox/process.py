"""A process that decodes strangers' files: its start, its pipes and its end."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ..errors import SourceRefused, SourceTooLarge, SourceUnreadable
from .budget import Budget

START_S = 30.0
"""For starting Python and its libraries, on a machine that has other things to do."""

_ROOT = Path(str(sys.modules["ferstream"].__file__)).resolve().parents[1]
"""Where Python finds the package."""
_START = (
    "import os, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from ferstream.stream.sandbox.child import main; main(os.fdopen(int(sys.argv[1])).read())"
)
_LONGEST_LINE = 300

UNCONFINED = "FERSTREAM_WITHOUT_SANDBOX"
"""The environment variable that lets strangers' files be decoded where nothing confines it."""
UNSAFE = (
    "this machine has neither seccomp nor Landlock: files of strangers are refused unless "
    "--without-sandbox is given"
)
BUDGET = Budget()
"""Of all decoders of this process."""

_log = logging.getLogger(__name__)
_told = threading.Event()


class DecoderProcess:
    """The process: its pipes, and its end. Raises `SourceRefused` where none can be started."""

    def __init__(self, config: dict[str, Any], stdin: int) -> None:
        memory_bytes = BUDGET.take(self, config["memory_bytes"])
        if not memory_bytes:
            raise SourceRefused("there is no memory for another decoder now: try again in a moment")
        config = {**config, "memory_bytes": memory_bytes}
        # Isolated: neither variables of the environment nor the current folder matter to it.
        # What it is told goes by a pipe: the list of processes is everybody's to read.
        told, tell = os.pipe()
        command = [sys.executable, "-I", "-c", _START, str(_ROOT), str(told), config["kind"]]
        try:
            with open(tell, "w") as pipe:
                pipe.write(json.dumps(config))
            self._process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                start_new_session=True,
                pass_fds=(told,),
                bufsize=0,
            )
        except OSError as error:
            BUDGET.give_back(self)
            _log.error("no decoder can be started: %s", error)
            raise SourceRefused("nothing can be decoded now: try again in a moment") from None
        finally:
            os.close(told)
        self._lock = threading.Lock()
        assert self._process.stdout is not None
        self.output = self._process.stdout.fileno()
        self.input = -1
        if self._process.stdin is not None:
            self.input = self._process.stdin.fileno()
            os.set_blocking(self.input, False)
        self.pid = self._process.pid

    def kill(self) -> None:
        """End it at once, and let go of its pipes; may be called twice, from any thread."""
        with self._lock:
            if self._process.returncode is None:
                self._process.kill()
                self._process.wait()
            BUDGET.give_back(self)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()


def printable(text: str, most: int = _LONGEST_LINE) -> str:
    """One line of a stranger's text without control characters, shortened."""
    kept = "".join(c if c.isprintable() else " " for c in text[: 4 * most])
    line = " ".join(kept.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def failure(content: dict[str, Any]) -> SourceUnreadable:
    """The decoder's error as this side's."""
    message = printable(str(content.get("message") or "cannot be decoded"))
    kind = SourceTooLarge if content.get("kind") == "too_large" else SourceUnreadable
    return kind(message)


def require_confined(confined: bool) -> None:
    """Raise `SourceRefused` where decoders are held by bounds on memory and time alone.

    FERSTREAM_WITHOUT_SANDBOX=1 allows that; it is then said once.
    """
    if confined:
        return
    if os.environ.get(UNCONFINED) != "1":
        raise SourceRefused(UNSAFE)
    if not _told.is_set():
        _told.set()
        _log.warning(
            "this machine has neither seccomp nor Landlock for decoders: files of strangers are "
            "decoded with bounds on memory and time only"
        )
