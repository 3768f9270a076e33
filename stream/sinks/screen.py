"""What `ferstream live` shows on the screen: a window with annotated frames, lines of text."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TextIO

import cv2

from ferstream.engines.terminal import plain

from ..emotions import NEUTRAL
from ..errors import SinkError
from ..frame import Frame
from ..result import Result
from .base import BaseSink, SinkInfo
from .overlay import Timeline, draw

_LARGEST_PX = (1600, 900)
_QUIT_KEYS = (ord("q"), 27)
_LINES_EVERY_S = 1.0
# OpenCV's window code ends the whole process where it finds no display: ask from another one.
_PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"


class WindowSink(BaseSink):
    """Shows annotated frames; q, Esc or closing the window calls `on_quit`."""

    def __init__(self, on_quit: Callable[[], None], top: int = 5) -> None:
        self._on_quit = on_quit
        self._top = top
        self._timeline = Timeline()
        self._title = ""
        self._shown = False

    def open(self, info: SinkInfo) -> None:
        """Check that there is a display."""
        check_display()
        self._title = f"ferstream: {info.source}"

    def write(self, frame: Frame, result: Result) -> None:
        """Show one frame."""
        self._timeline.add(result)
        pixels = cv2.cvtColor(
            draw(frame.pixels, result, self._timeline, top=self._top), cv2.COLOR_RGB2BGR
        )
        if not self._shown:
            # Without OpenCV's toolbar, which takes room from the picture.
            how = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            cv2.namedWindow(self._title, how)
            shrink = min(1.0, _LARGEST_PX[0] / frame.width_px, _LARGEST_PX[1] / frame.height_px)
            width_px, height_px = frame.width_px * shrink, frame.height_px * shrink
            cv2.resizeWindow(self._title, max(160, int(width_px)), max(120, int(height_px)))
            self._shown = True
        elif cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            self._on_quit()
            return
        cv2.imshow(self._title, pixels)
        if cv2.waitKey(1) & 0xFF in _QUIT_KEYS:
            self._on_quit()

    def close(self) -> None:
        """Close the window."""
        if self._shown and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1:
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)


def check_display() -> None:
    """Raise `SinkError` where no window can be shown."""
    advice = "use --no-show, with --jsonl, --csv or --video"
    if sys.platform.startswith("linux"):
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SinkError(f"no display to show a window on: {advice}")
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False)
        if probe.returncode != 0:
            raise SinkError(
                f"the display {os.environ.get('DISPLAY', '')} cannot be opened: {advice}"
            )


class LinesSink(BaseSink):
    """Prints what each face expresses once a second of the source's time."""

    def __init__(self, top: int = 3, file: TextIO | None = None) -> None:
        self._top = top
        self._file = file
        self._source = ""
        self._start_s: float | None = None
        self._next_s = 0.0

    def open(self, info: SinkInfo) -> None:
        """Keep the source's name, which is printed with its first frame."""
        self._source = info.source

    def write(self, frame: Frame, result: Result) -> None:
        """Print the faces, once a second."""
        if self._start_s is None:
            self._start_s = self._next_s = result.time_s
            begun = plain(f"watching {self._source}; Ctrl-C ends")
            print(begun, file=self._file or sys.stdout, flush=True)
        if result.time_s < self._next_s:
            return
        self._next_s = result.time_s + _LINES_EVERY_S
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
