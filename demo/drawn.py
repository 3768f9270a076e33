"""A visitor's clip with what was found drawn in: a video, or of a single picture a picture."""

from __future__ import annotations

from pathlib import Path

import cv2

from ferstream.stream.errors import SinkError
from ferstream.stream.frame import Frame
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.overlay import draw
from ferstream.stream.sinks.video import VideoSink


class DrawnSink:
    """Writes `video` (MP4) where there are two frames or more, else `picture` (PNG).

    Args:
        top: words per face.
    """

    def __init__(self, video: Path, picture: Path, top: int) -> None:
        self._video, self._picture, self._top = video, picture, top
        self._info = SinkInfo("")
        self._first: tuple[Frame, Result] | None = None
        self._sink: VideoSink | None = None

    def open(self, info: SinkInfo) -> None:
        """Which of the two it is to be shows with the second frame."""
        self._info = info

    def write(self, frame: Frame, result: Result) -> None:
        """Draw one frame, or keep it for as long as it is the only one."""
        if self._sink is not None:
            self._sink.write(frame, result)
        elif self._first is None:
            self._first = (frame, result)
        else:
            self._sink = VideoSink(self._video, self._top)
            self._sink.open(self._info)
            self._sink.write(*self._first)
            self._first = None
            self._sink.write(frame, result)

    def close(self) -> None:
        """Finish the video, or write the picture."""
        if self._sink is not None:
            self._sink.close()
        elif self._first is not None:
            frame, result = self._first
            drawn = draw(frame.pixels, result, top=self._top)
            if not cv2.imwrite(str(self._picture), drawn[..., ::-1]):
                raise SinkError(f"cannot write {self._picture.name}: is the disk full?")
