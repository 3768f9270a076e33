"""A recording's outputs, in which nobody has an id that the whole of it shows to be another's.

Who comes back turned away or behind a hand is a stranger at first, and known by the recording's
end. So from the first stranger on who may be somebody known, results wait on disk; at the end all
outputs are told them with the ids that are sure by then. Until then, and in a recording without
such a stranger, they are told at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from ..errors import SinkError
from ..frame import Frame
from ..result import Result
from ..sources.base import Source
from ..spool import Spool
from .base import Sink, SinkInfo


class SettledSink:
    """Hands results on to sinks once their ids are sure.

    Args:
        sinks: not to be used by anybody else.
        reopen: opens the recording again, for the pictures of what waited; None: no sink takes
            pictures, and each gets a black one.
    """

    def __init__(self, sinks: Sequence[Sink], reopen: Callable[[], Source] | None) -> None:
        self._sinks = sinks
        self._reopen = reopen
        self._closing = ExitStack()
        self._spool: Spool | None = None
        self._known: set[int] = set()
        self._joined: Mapping[int, int] = {}

    def open(self, info: SinkInfo) -> None:
        """Open the sinks."""
        for sink in self._sinks:
            self._closing.callback(sink.close)
            sink.open(info)

    def write(self, frame: Frame, result: Result) -> None:
        """Hand a result on, or keep it until the end."""
        self._joined = result.joined or self._joined
        if self._spool is None:
            seen = {found.face.id for found in result.faces}
            sure = seen <= self._known or self._known <= seen
            self._known |= seen
            if sure:
                self._hand_on(frame, result)
                return
            with _told_of_the_disk():
                self._spool = Spool()
            self._closing.callback(self._spool.close)
        with _told_of_the_disk():
            self._spool.put(frame, result)

    def close(self) -> None:
        """Hand on what waited, with the ids that are sure by now, and close the sinks."""
        with self._closing:
            if self._spool is not None:
                self._tell(self._spool)

    def abandon(self) -> None:
        """Close the sinks; nobody wants what waited."""
        self._closing.close()

    def _tell(self, spool: Spool) -> None:
        with ExitStack() as closing:
            pictures: Iterator[Frame] = iter(())
            if self._reopen is not None:
                source = self._reopen()
                closing.callback(source.close)
                pictures = source.frames()
            for waiting in spool:
                result = waiting.result
                faces = [
                    replace(f, face=replace(f.face, id=self._joined.get(f.face.id, f.face.id)))
                    for f in result.faces
                ]
                faces.sort(key=lambda found: found.face.id)
                frame = self._frame(pictures, result, waiting.shape)
                self._hand_on(frame, replace(result, faces=faces))

    def _frame(
        self, pictures: Iterator[Frame], result: Result, shape: tuple[int, int, int]
    ) -> Frame:
        """The picture that a result is of."""
        if self._reopen is None:
            black = np.broadcast_to(np.zeros((), np.uint8), shape)
            return Frame(black, result.time_s, result.frame, result.source)
        for frame in pictures:
            if frame.index == result.frame:
                return frame
        raise SinkError(f"{result.source} has changed while it was scored: score it again")

    def _hand_on(self, frame: Frame, result: Result) -> None:
        for sink in self._sinks:
            sink.write(frame, result)


@contextmanager
def _told_of_the_disk() -> Iterator[None]:
    """Raises SinkError for a disk without room."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SinkError(
            f"cannot keep results in {tempfile.gettempdir()}: {why}; make room there, or name "
            "another folder in TMPDIR"
        ) from error
