"""Lines of text on a terminal, about one a second and face, for watching without a window."""

from __future__ import annotations

import sys
from typing import TextIO

from ferstream.engines.terminal import plain

from ..emotions import NEUTRAL
from ..frame import Frame
from ..result import Result
from .base import BaseSink, SinkInfo


class LinesSink(BaseSink):
    """Prints what each face expresses once in `every_s` seconds of the source's time."""

    def __init__(self, top: int = 3, every_s: float = 1.0, file: TextIO | None = None) -> None:
        self._top = top
        self._every_s = every_s
        self._file = file
        self._source = ""
        self._start_s: float | None = None
        self._next_s = 0.0

    def open(self, info: SinkInfo) -> None:
        """Remember what is to be watched; it is named when it is there."""
        self._source = info.source

    def write(self, frame: Frame, result: Result) -> None:
        """Print the faces, if it is time again."""
        if self._start_s is None:
            self._start_s = self._next_s = result.time_s
            begun = plain(f"watching {self._source}; Ctrl-C ends")
            print(begun, file=self._file or sys.stdout, flush=True)
        if result.time_s < self._next_s:
            return
        self._next_s = result.time_s + self._every_s
        clock = f"{result.time_s - self._start_s:7.1f} s"
        lines = [f"{clock}  no face"] if not result.faces else []
        for found in result.faces:
            emotions = found.emotions
            words = [f"{word} {100 * p:.0f} %" for word, p in emotions.top(self._top)]
            if emotions.label == NEUTRAL:
                words = [f"neutral {100 * emotions.neutral:.0f} %"]
            if emotions.uncertain:
                words.append("uncertain")
            lines.append(f"{clock}  face {found.face.id}: {', '.join(words)}")
        print("\n".join(lines), file=self._file or sys.stdout, flush=True)
