"""Annotated video: H.264, with the original's timing, also where that is uneven."""

from __future__ import annotations

from pathlib import Path

from ..frame import Frame
from ..result import Result
from .base import SinkInfo
from .encoder import Encoder
from .notice import notice_lines
from .overlay import Timeline, draw
from .recording import Recording

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
        self._recording: Recording | None = None
        self._encoder: Encoder | None = None
        self._start_s: float | None = 0.0

    def open(self, info: SinkInfo) -> None:
        """Make the file; its picture size is known with the first frame."""
        self._start_s = None if info.live else 0.0
        self._recording = Recording(self._path)
        metadata = self._recording.container.metadata
        metadata["title"] = f"Expressions in {info.source}"
        metadata["comment"] = "\n".join(notice_lines(info))
        self._encoder = Encoder(self._recording.container, info.rate_hz, _ENCODER_OPTIONS)

    def write(self, frame: Frame, result: Result) -> None:
        """Draw and encode one frame at its time."""
        if self._encoder is None or self._recording is None:
            raise ValueError("open the sink before writing to it")
        self._timeline.add(result)
        pixels = draw(frame.pixels, result, self._timeline, top=self._top)
        if self._start_s is None:
            self._start_s = frame.time_s
        self._encoder.write(pixels, frame.time_s - self._start_s)
        self._recording.save()

    def close(self) -> None:
        """Finish the file; without a frame, remove it."""
        recording, encoder = self._recording, self._encoder
        self._recording = self._encoder = None
        if recording is None or encoder is None:
            return
        try:
            encoder.finish()
        finally:
            recording.close(finished=encoder.begun)
        if not encoder.begun:
            self._path.unlink(missing_ok=True)
