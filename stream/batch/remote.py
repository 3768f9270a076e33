"""A batch whose outputs, ledger and parts lie at an address: an object store or a file server.

Everything is written in a folder of this machine first, as any batch; after each clip what is new
goes to the address as whole objects. Then one more object is added to the folder `NAME.batch`
there: what came, what went and what the ledger says more. What these commits add up to is what
counts, so that a run that is killed at any moment leaves a batch that another run, on any machine,
can go on with. What is replaced keeps its old content until a commit names the new one. Needs
fsspec (the extra `remote`) and the package of the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SinkError, StreamError
from ..formats import SOURCE
from ..sources.base import without_password
from .runner import Watcher
from .store import NEW, Store, address_of, is_remote

if TYPE_CHECKING:
    from ..outputs import Outputs
    from .plan import Running
    from .task import Task

_PART, _LEDGER = ".part", ".ledger"
_BEAT_S = 10.0
"""So often a run shows that it is alive."""
_SILENT_S = 25.0
"""A run that shows nothing for so long is dead."""


class RemoteFolder:
    """The folder of a batch's outputs at an address, and its copy on this machine while the block
    lasts.

    Args:
        targets: the batch's places there, all below one folder; `{source}` may be in their names.
        resume: whether what is there is gone on with; else it is only looked at.
        overwrite: whether what is there may be replaced.

    Raises `SinkError`, here and in all that it does, for what the store refuses, in one line and
    without passwords.
    """

    def __init__(self, targets: Sequence[str], *, resume: bool, overwrite: bool) -> None:
        whole = [address_of(target) for target in targets]
        self._address = whole[0].partition(SOURCE)[0].rpartition("/")[0]
        self._resume, self._overwrite = resume, overwrite
        apart = [one for one in whole if not one.startswith(self._address + "/")]
        if apart:
            raise SinkError(
                f"{without_password(apart[0])} is not in {self.name}: all outputs of a batch go to "
                "one folder"
            )
        self._inside = [one.removeprefix(self._address + "/") for one in whole]
        first = self._inside[0]
        label = "ferstream" if SOURCE in first else first.replace("/", "_")
        self._log, self._lock = f"{label}.batch", f"{label}.batch.lock"
        self._token = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._sent: dict[str, tuple[int, int]] = {}
        self._known: set[str] = set()
        self._parts_seen: set[str] = set()
        self._number = 0
        self._committed: dict[str, str] = {}
        self._told_of: dict[str, str] = {}
        self._over = threading.Event()
        self._turn = threading.Lock()

    @property
    def name(self) -> str:
        """The address in messages, without passwords."""
        return without_password(self._address)

    def local(self, target: str) -> str:
        """Where on this machine a place of the batch is written."""
        return str(self.folder / address_of(target).removeprefix(self._address + "/"))

    def __enter__(self) -> RemoteFolder:
        self._store, self._beating = Store(self._address), Store(self._address)
        with self._store.told("cannot be written"):
            self._store.make_folder()
        self.folder = Path(tempfile.mkdtemp(prefix="ferstream-batch-")).resolve()
        try:
            self._take_lock()
            self._pull()
        except BaseException:
            self._let_go()
            raise
        self._beat = threading.Thread(target=self._show_life, daemon=True, name="remote batch")
        self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._beat.join()
        self._let_go()

    def _let_go(self) -> None:
        """Remove the lock, if it is this run's, and the copy."""
        with contextlib.suppress(Exception):
            if self._store.read(self._lock).get("run") == self._token:
                self._store.remove(self._lock)
        shutil.rmtree(self.folder, ignore_errors=True)

    def push(self, ended: bool = False) -> None:
        """Bring the address to what is here; `ended` once nothing more comes. One thread at a time
        does."""
        with (
            self._turn,
            self._store.told("was lost; what is there stays whole, --resume goes on with it"),
        ):
            # Ledgers are read first: what they tell of is here by then.
            paths = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
            ledgers = {
                self._name(path): path.read_text() for path in paths if path.suffix == _LEDGER
            }
            held: dict[str, str] = {}
            for path in paths:
                name = self._name(path)
                if path.suffix == _PART or (name in ledgers and not ended) or not path.is_file():
                    continue
                stamp = (path.stat().st_size, path.stat().st_mtime_ns)
                held[name] = name
                if self._sent.get(name) != stamp:
                    held[name] = name + NEW if name in self._known else name
                    self._store.put(path, held[name])
                    self._sent[name] = stamp
            # What an earlier run made stays until this one has something in its place.
            gone = (self._known if ended else set(self._committed)) - set(held)
            self._commit(held, ledgers, whole=ended)
            moved = [name for name in held if held[name] != name]
            for name in moved:
                self._store.move(name)
            if moved:
                self._commit({name: name for name in held}, ledgers, whole=ended)
            for name in gone:
                self._store.remove(name)
                self._sent.pop(name, None)
            self._known = (self._known - gone) | set(held)
            if ended:
                self._tidy()

    def _commit(self, files: Mapping[str, str], ledgers: Mapping[str, str], whole: bool) -> None:
        """Add what changed since the last commit; all of it with the first of a run, or `whole`,
        which takes the place of those before it."""
        whole = whole or not self._committed
        before = {} if whole else self._committed
        commit = {
            "whole": whole,
            "files": {name: at for name, at in files.items() if before.get(name) != at},
            "gone": [name for name in before if name not in files],
            "ledgers": {
                name: text if whole else text[len(self._told_of.get(name, "")) :]
                for name, text in ledgers.items()
            },
        }
        self._number += 1
        content = json.dumps(commit, separators=(",", ":")).encode()
        self._store.make_folder(self._log)
        self._store.add(f"{self._log}/{self._number:08}", content)
        self._committed, self._told_of = dict(files), dict(ledgers)
        if whole:
            for number in self._commits():
                if number < self._number:
                    self._store.remove(f"{self._log}/{number:08}")

    def _commits(self) -> list[int]:
        """Numbers of the commits at the address, in order."""
        return sorted(int(name) for name in self._store.names(self._log) if name.isdecimal())

    def _tidy(self) -> None:
        """Delete folders of parts that are empty here, with what a killed run left there."""
        for path in list(self._parts_seen):
            if not any(name.startswith(path + "/") for name in self._known):
                self._store.remove(path)

    def _name(self, path: Path) -> str:
        """A file's name at the address."""
        name = path.relative_to(self.folder).as_posix()
        if ".parts/" in name:
            self._parts_seen.add(name.rpartition("/")[0])
        return name

    def renamed(self, text: str) -> str:
        """A text with the address in place of its copy here."""
        return text.replace(str(self.folder), self.name)

    def _pull(self) -> None:
        """What counts of the batch at the address: all of it to go on with, else what says that it
        is there."""
        with self._store.told("cannot be read"):
            numbers = self._commits()
        files: dict[str, str] = {}
        ledgers: dict[str, str] = {}
        for number in numbers:
            commit = self._store.read(f"{self._log}/{number:08}", cut_off=number == numbers[-1])
            if commit.get("whole"):
                files, ledgers = {}, {}
            files |= commit.get("files", {})
            for name in commit.get("gone", ()):
                files.pop(name, None)
            for name, text in commit.get("ledgers", {}).items():
                ledgers[name] = ledgers.get(name, "") + text
        self._number = numbers[-1] if numbers else 0
        self._known = set(files)
        if not files and not ledgers:
            self._look_for_others()
        if self._overwrite and not self._resume:
            return
        for name in {**files, **ledgers}:
            path = (self.folder / name).resolve()
            if not path.is_relative_to(self.folder):
                raise SinkError(f"{self.name}/{self._log} is no record of a batch: delete it")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._name(path)
            if name in ledgers:
                path.write_text(ledgers[name])
            elif self._resume:
                with self._store.told("cannot be read"):
                    self._store.get(files[name], path)
                if files[name] == name:
                    self._sent[name] = (path.stat().st_size, path.stat().st_mtime_ns)
            else:
                path.touch()

    def _look_for_others(self) -> None:
        """Files under these names that are no batch's are not replaced unasked."""
        for name in self._inside:
            if SOURCE in name or self._overwrite:
                continue
            with self._store.told("cannot be read"):
                there = self._store.has(name)
            if there:
                raise SinkError(f"{self.name}/{name} exists: name another file, or say --overwrite")

    def _take_lock(self) -> None:
        """Keep other runs away, as far as a store without locks can: two that begin in the same
        second may both see none."""
        told = self._store.read(self._lock)
        if told:
            end_s = time.monotonic() + _SILENT_S
            while time.monotonic() < end_s:
                time.sleep(1)
                now = self._store.read(self._lock) or self._store.read(
                    self._lock
                )  # it may just be moved
                if not now:
                    break
                if now != told:
                    raise SinkError(
                        f"{self.name}/{self._inside[0]} is being written by another run, on "
                        f"{str(now.get('run')).partition(' ')[0]}: wait for it, or write elsewhere"
                    )
        self._show(self._store, 0)
        if self._store.read(self._lock).get("run") != self._token:
            raise SinkError(f"{self.name}/{self._inside[0]}: another run began in this moment")

    def _show_life(self) -> None:
        beat = 0
        while not self._over.wait(_BEAT_S):
            beat += 1
            with contextlib.suppress(SinkError):  # the next clip tells of a store that is gone
                self._show(self._beating, beat)

    def _show(self, store: Store, beat: int) -> None:
        with store.told("cannot be written"):
            store.write(self._lock, json.dumps({"run": self._token, "beat": beat}).encode())


@contextlib.contextmanager
def copied_here(
    outputs: Outputs, running: Running
) -> Iterator[tuple[Outputs, RemoteFolder | None]]:
    """The outputs of a batch with a copy on this machine in place of an address, and the folder at
    the address; as they are, and None, where no output is at one.

    Raises `SinkError`; those of the block too are of the address.
    """
    paths = {name: getattr(outputs, name) for name in ("jsonl", "csv", "video", "summary")}
    there = [str(one) for one in (*outputs.to, *paths.values()) if one and is_remote(str(one))]
    if not there:
        yield outputs, None
        return
    if running.shard is not None:
        raise SinkError(
            "--shard is for a folder that all machines share, not for "
            f"{without_password(there[0])}: give each part of the clips an address of its own"
        )
    remote = RemoteFolder(there, resume=running.resume, overwrite=outputs.overwrite)

    def here(target: str) -> str:
        return remote.local(target) if is_remote(target) else target

    with remote:
        for target in there:
            Path(remote.local(target).partition(SOURCE)[0]).parent.mkdir(
                parents=True, exist_ok=True
            )
        moved: dict[str, Any] = {
            name: path and Path(here(str(path))) for name, path in paths.items()
        }
        try:
            yield replace(outputs, to=tuple(map(here, outputs.to)), **moved), remote
        except SinkError as error:
            raise SinkError(remote.renamed(str(error))) from error


class Pushing(Watcher):
    """Passes on what is told of a batch, and pushes after each clip."""

    def __init__(self, watcher: Watcher, folder: RemoteFolder) -> None:
        self._watcher, self._folder = watcher, folder

    def begun(self, task: Task) -> None:
        self._watcher.begun(task)

    def progress(self, task: Task, frames: int, time_s: float) -> None:
        self._watcher.progress(task, frames, time_s)

    def ended(self, task: Task, told: Mapping[str, Any] | None, error: StreamError | None) -> None:
        self._folder.push()
        self._watcher.ended(task, told, error)


def _is_ledger(path: Path) -> bool:
    return path.suffix == ".ledger"
