"""When a fast engine fails and nobody asked for it by name: one warning, and the sure one."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .contract import Array, NetworkSpec, Tensors
from .engine import Engine
from .errors import EngineFailed

_LOG = logging.getLogger(__name__)
_told: set[str] = set()


def warn_once(text: str) -> None:
    """Logs a warning, each text once in a process: three networks fail for one reason."""
    if text not in _told:
        _told.add(text)
        _LOG.warning("%s", text)


class FallbackEngine:
    """Runs `first` until it fails, then what `open_second` opens, for good.

    `backend` and `precision` are those of the engine that runs at the moment.
    """

    def __init__(self, first: Engine, open_second: Callable[[], Engine]) -> None:
        self._engine, self._open_second = first, open_second
        self._failed = False

    @property
    def spec(self) -> NetworkSpec:
        """The tensors it takes and gives."""
        return self._engine.spec

    @property
    def backend(self) -> str:
        """Who runs it now."""
        return self._engine.backend

    @property
    def precision(self) -> str:
        """In which precision it runs now."""
        return self._engine.precision

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name; EngineFailed only where the second one fails too."""
        try:
            return self._engine.run(inputs)
        except EngineFailed as error:
            self._switch(error)
        return self._engine.run(inputs)

    def start(self, inputs: Tensors) -> Callable[[], dict[str, Array]]:
        """Starts a batch where the engine can, and gives what waits for its result."""
        begin = getattr(self._engine, "start", None)
        if begin is None:
            return lambda: self.run(inputs)
        try:
            finish: Callable[[], dict[str, Array]] = begin(inputs)
        except EngineFailed as error:
            self._switch(error)
            return lambda: self.run(inputs)

        def result() -> dict[str, Array]:
            try:
                return finish()
            except EngineFailed as error:
                self._switch(error)
            return self._engine.run(inputs)

        return result

    def close(self) -> None:
        """Frees what it holds."""
        self._engine.close()

    def _switch(self, error: EngineFailed) -> None:
        if self._failed:
            raise error
        self._failed = True
        lost, self._engine = self._engine, self._open_second()
        warn_once(f"{lost.backend} failed ({error}); {self._engine.backend} goes on")
        lost.close()
