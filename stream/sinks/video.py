"""Annotated video: H.264, with the original's timing, also where that is uneven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import av

from ..frame import Frame
from ..result import Result
from .base import SinkInfo, suffix_of, write_failure
from .encoder import Encoder
from .notice import notice_lines
from .overlay import Timeline, draw

if TYPE_CHECKING:
    from av.container import OutputContainer

_ENCODER_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0"}


class VideoSink:
    """Writes frames with what was found drawn on them; MP4 unless the name says otherwise.

    The first frame's size is the video's. A clip's pictures keep its times, those of a live source
    count from its first. Its metadata say what it is and, where one was given,
    what for.
    """

    def __init__(self, path: Path, top: int = 5) -> None:
        self._path = path
        self._top = top
        self._timeline = Timeline()
        self._container: OutputContainer | None = None
        self._encoder: Encoder | None = None
        self._start_s: float | None = 0.0

    def open(self, info: SinkInfo) -> None:
        """Make the file; its picture size is known with the first frame."""
        self._start_s = None if info.live else 0.0
        suffix = suffix_of(self._path)
        kind = {".mkv": "matroska", ".mov": "mov"}.get(suffix, "mp4")
        try:
            # PyAV opens the file with the first packet; Python says now whether it can be.
            self._path.open("wb").close()
            self._container = av.open(str(self._path), "w", format=kind)
        except OSError as error:
            raise write_failure(self._path, error) from error
        self._container.metadata["title"] = f"Expressions in {info.source}"
        self._container.metadata["comment"] = "\n".join(notice_lines(info))
        self._encoder = Encoder(self._container, info.rate_hz, _ENCODER_OPTIONS)

    def write(self, frame: Frame, result: Result) -> None:
        """Draw and encode one frame at its time."""
        if self._encoder is None:
            raise ValueError("open the sink before writing to it")
        self._timeline.add(result)
        pixels = draw(frame.pixels, result, self._timeline, top=self._top)
        if self._start_s is None:
            self._start_s = frame.time_s
        try:
            self._encoder.write(pixels, frame.time_s - self._start_s)
        except OSError as error:
            raise write_failure(self._path, error) from error

    def close(self) -> None:
        """Flush the encoder and write the file's index; without a frame, remove the file."""
        container, encoder = self._container, self._encoder
        self._container = self._encoder = None
        if container is None or encoder is None:
            return
        try:
            encoder.finish()
            container.close()
        except OSError as error:
            raise write_failure(self._path, error) from error
        if not encoder.begun:
            self._path.unlink(missing_ok=True)
