"""An engine for several threads, and for processes that are forked from this one."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

from ferstream.engines.contract import Array, NetworkSpec, Tensors
from ferstream.engines.engine import Engine

from ..process import hold

_shared: weakref.WeakSet[SharedEngine] = weakref.WeakSet()


class SharedEngine:
    """An engine for any number of threads, which take turns, and for processes that are forked from
    this one: each opens its own when it first runs it.

    Raises what `open_one` raises.
    """

    def __init__(self, open_one: Callable[[], Engine]) -> None:
        self._open = open_one
        self._lock = threading.Lock()
        self._engine: Engine | None = self._opened()
        self.spec: NetworkSpec = self._engine.spec
        _shared.add(self)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name; raises what `Engine.run` raises."""
        with self._lock:
            if self._engine is None:
                self._engine = self._opened()
            return self._engine.run(inputs)

    def close(self) -> None:
        """Free the engine; where it is run again, it is opened again."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def leave(self) -> None:
        """In a forked child: engine and lock are the parent's, and stay as they are."""
        self._engine, self._lock = None, threading.Lock()

    def _opened(self) -> Engine:
        engine = self._open()
        hold(engine)
        return engine


def _leave_all() -> None:
    for one in list(_shared):
        one.leave()


if hasattr(os, "register_at_fork"):
    # After that of `process`, so that the parent's engines are never let go of.
    os.register_at_fork(after_in_child=_leave_all)
