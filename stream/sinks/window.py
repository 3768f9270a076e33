"""A window with the live picture; the only place that asks OpenCV for one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import cv2

from ..errors import SinkError
from ..frame import Frame
from ..result import Result
from .base import BaseSink, SinkInfo
from .overlay import Timeline, draw

_LARGEST_PX = (1600, 900)
_QUIT_KEYS = (ord("q"), 27)
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
        """Take the window away."""
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
