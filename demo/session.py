"""Visits: what belongs to one open page, and its end.

A visit is known by an unguessable token and owns a folder. It ends when its page is closed, when
the page has not been heard of for a while (a crashed browser, a lost network) or when it has
lasted long enough; then everything that was kept of it is deleted.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ferstream.engines.files import PrivateFolder

from .errors import Busy, SessionGone

_LOOK_EVERY_S = 5.0


@dataclass(eq=False)
class Session:
    """One open page."""

    token: str
    folder: Path
    begun_s: float
    heard_s: float
    """When its page last asked for something."""
    address: str = ""
    """Where its page is."""
    on_end: list[Callable[[], None]] = field(default_factory=list)
    """Called once, before the folder is deleted."""


class Sessions:
    """All visits; may be used from any thread.

    Args:
        keep_s: how long a visit may last altogether.
        silent_s: how long after the last sign of its page a visit ends.
        most: visits at once; half of them at most from one address.
    """

    def __init__(
        self,
        keep_s: float = 3600.0,
        silent_s: float = 150.0,
        most: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_s = keep_s
        self._silent_s = silent_s
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._root: PrivateFolder | None = None
        self._closing = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_often, name="end visits", daemon=True)

    def start(self) -> None:
        """Make the folder of all visits, and begin to look for those that are over."""
        self._root = PrivateFolder("page")
        self._sweeper.start()

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, address: str = "") -> Session:
        """A new visit; raises `Busy` where there are as many as may be."""
        self.sweep()
        now_s, token = self._clock(), secrets.token_urlsafe(24)
        with self._lock:
            if self._root is None or self._closing.is_set():
                raise Busy("the page is closing; try again later")
            if len(self._sessions) >= self._most:
                raise Busy(f"{self._most} visitors are here already; try again in a minute")
            here = sum(session.address == address for session in self._sessions.values())
            if address and here >= max(self._most // 2, 1):
                raise Busy(f"{here} visitors are here from your address; close a page of theirs")
            folder = self._root.path / token
            folder.mkdir(mode=0o700)
            session = self._sessions[token] = Session(token, folder, now_s, now_s, address)
        return session

    def get(self, token: str) -> Session:
        """The session of this token; its idle time starts anew. Raises `SessionGone`."""
        with self._lock:
            session = self._sessions.get(token)
            if session is None:
                raise SessionGone("this visit has ended and its clips are deleted; reload the page")
            session.heard_s = self._clock()
            return session

    def end(self, token: str) -> None:
        """End a session and delete its files; repeated calls do nothing."""
        with self._lock:
            session = self._sessions.pop(token, None)
        if session is not None:
            _finish(session)

    def sweep(self) -> None:
        """End the visits that are over."""
        now_s = self._clock()
        with self._lock:
            over = [
                session.token
                for session in self._sessions.values()
                if now_s - session.heard_s > self._silent_s
                or now_s - session.begun_s > self._keep_s
            ]
        for token in over:
            self.end(token)

    def close(self) -> None:
        """End all visits and remove their folder."""
        self._closing.set()
        for token in list(self._sessions):
            self.end(token)
        if self._root is not None:
            self._root.close()

    def _sweep_often(self) -> None:
        while not self._closing.wait(_LOOK_EVERY_S):
            self.sweep()


def _finish(session: Session) -> None:
    for end in session.on_end:
        end()
    shutil.rmtree(session.folder, ignore_errors=True)
