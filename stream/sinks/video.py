"""Annotated video: H.264 with the original's timing, also where that is uneven, and its sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..result import Result
from .base import BaseSink, Making, SinkInfo, notice_lines
from .encoder import Encoder
from .overlay import Timeline, draw
from .recording import Recording
from .sound import Sound

_ENCODER_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0"}


class VideoSink(BaseSink):
    """Writes frames with what was found drawn on them; MP4 unless the name says otherwise.

    The first frame's size is the video's. A clip's pictures keep its times, those of a live source
    count from its first. Its metadata say what it is and, where one was given,
    what for.

    Args:
        path: the file.
        top: words per face.
        sound_of: the clip whose sound is put beside the pictures; a stranger's is not to be named.
    """

    def __init__(self, path: Path, top: int = 5, sound_of: Path | None = None) -> None:
        self._path, self._sound_of = path, sound_of
        self._top = top
        self._timeline = Timeline()
        self._recording: Recording | None = None
        self._encoder: Encoder | None = None
        self._sound: Sound | None = None
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
        time_s = frame.time_s - self._start_s
        if not self._encoder.begun:
            self._begin(pixels)
        self._encoder.write(pixels, time_s)
        if self._sound is not None:
            self._sound.until(time_s)
        self._recording.save()

    def _begin(self, pixels: NDArray[np.uint8]) -> None:
        """Both streams have to be there before anything is written."""
        assert self._encoder is not None and self._recording is not None
        self._encoder.begin(pixels)
        if self._sound_of is not None:
            self._sound = Sound.of(self._sound_of, self._recording.container)

    def close(self) -> None:
        """Finish the file; without a frame, remove it."""
        recording, encoder, sound = self._recording, self._encoder, self._sound
        self._recording = self._encoder = self._sound = None
        if recording is None or encoder is None:
            return
        try:
            encoder.finish()
            if sound is not None:
                sound.finish()
        finally:
            if sound is not None:
                sound.close()
            recording.close(finished=encoder.begun)
        if not encoder.begun:
            self._path.unlink(missing_ok=True)


def make(making: Making) -> VideoSink:
    """For `stream.formats`."""
    return VideoSink(making.path, making.shown, making.sound_of)
