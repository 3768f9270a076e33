"""What of a batch is done: a file of JSON lines beside its outputs.

The first line holds the options and the bundle that the results depend on, each further one a clip
with its size, its time and what came of it. A line is on disk before the next clip counts as done;
one that a power cut left half is written anew. One run at a time writes it, on whatever machine.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SinkError
from ..sinks.base import write_failure

VERSION = 1
DONE, FAILED = "done", "failed"

Entry = Mapping[str, Any]


class Ledger:
    """The ledger of one batch.

    Args:
        path: where it is.
        options: what the results depend on; plain types.
        resume: whether one that is there is gone on with, else it is begun anew.

    Raises `SinkError` for one that cannot be read or written, that another run writes, or that was
    begun with other options: it says which.
    """

    def __init__(self, path: Path, options: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        """Where it is."""
        self._entries: dict[str, Entry] = {}
        self.ended = False
        """Whether nothing of it was left to do."""
        self.resumed = resume and path.is_file()
        try:
            mode = "r+b" if self.resumed else "ab"
            self._file = open(path, mode, buffering=0)  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise write_failure(path, error) from error
        try:
            self._lock()
            kept = self._read(options) if self.resumed else 0
            self._file.truncate(kept)
            self._file.seek(kept)
            if not kept:
                self._append([{"ledger": VERSION, "options": dict(options)}])
        except SinkError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise write_failure(path, error) from error

    def done(self, source: str) -> Entry | None:
        """What came of a clip that was scored to its end and has not changed since."""
        entry = self._entries.get(source)
        if entry is None or entry["state"] != DONE or entry["identity"] != identity(source):
            return None
        return entry

    def note(self, source: str, state: str, document: Mapping[str, Any]) -> None:
        """Write down what came of a clip. Raises `SinkError`."""
        entry = {"source": source, "identity": identity(source), "state": state, "clip": document}
        self._append([entry])
        self._entries[source] = entry

    def take_over(self, other: Ledger) -> None:
        """Write down what another has of clips that are not done here. Raises `SinkError`."""
        done = {source for source, entry in self._entries.items() if entry["state"] == DONE}
        news = {source: e for source, e in other._entries.items() if source not in done}
        self._append(list(news.values()))
        self._entries.update(news)

    def mark(self, token: str) -> None:
        """Write down a word by which others know that they see this file. Raises `SinkError`."""
        self._append([{"mark": token}])

    def end(self) -> None:
        """Write down that nothing of the batch is left to do. Raises `SinkError`."""
        self._append([{"ended": True}])
        self.ended = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        """Keep other runs away, on other machines too where their file system can; the system lets
        go of it however this process ends."""
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SinkError(
                f"{self.path} is being written by another run: wait for it, or write elsewhere"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise

    def _append(self, entries: Sequence[Entry]) -> None:
        lines = [
            json.dumps(entry, ensure_ascii=True, separators=(",", ":"), allow_nan=False) + "\n"
            for entry in entries
        ]
        try:
            begin = self._file.tell()
            try:
                data = memoryview("".join(lines).encode())
                while data:
                    data = data[self._file.write(data) :]
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(begin)
                self._file.seek(begin)
                raise
        except OSError as error:
            raise write_failure(self.path, error, "the batch stops here") from error

    def _read(self, options: Mapping[str, Any]) -> int:
        """Take over what is there; how many bytes of it are whole lines."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise SinkError(
                f"cannot read {self.path}: {(error.strerror or str(error)).lower()}"
            ) from error
        whole = data[: data.rfind(b"\n") + 1]
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
            if not lines:
                return 0
            if lines[0]["ledger"] != VERSION:
                raise ValueError(f"its version is {lines[0]['ledger']}")
            told = lines[0]["options"]
            entries = {line["source"]: line for line in lines[1:] if "source" in line}
            self.ended = "ended" in lines[-1]
            for entry in entries.values():
                entry["state"], entry["identity"], entry["clip"]["source"]
        except (ValueError, KeyError, TypeError) as error:
            raise SinkError(
                f"{self.path} is no ledger of a batch ({error}): delete it, or write elsewhere"
            ) from None
        check_options(self.path, told, options)
        self._entries = entries
        return len(whole)


def check_options(path: Path, told: Any, wanted: Mapping[str, Any]) -> None:
    """Raise `SinkError`, which says what differs, where a batch was begun with other options."""
    wanted = json.loads(json.dumps(dict(wanted)))
    other = [name for name in {**told, **wanted} if told.get(name) != wanted.get(name)]
    if other:
        words = ", ".join(
            f"{name} {told.get(name)!r}, not {wanted.get(name)!r}" for name in sorted(other)
        )
        raise SinkError(
            f"{path} is of a batch with other options ({words}): use those, or write elsewhere"
        )


def is_open(path: Path) -> bool:
    """Whether a ledger is there whose batch was not ended."""
    try:
        last = path.read_bytes().rstrip(b"\n").rpartition(b"\n")[2]
        return "ended" not in json.loads(last)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError):
        return True


def identity(source: str) -> list[int] | None:
    """Size and time of a file; None for what is none."""
    try:
        found = os.stat(source)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]
