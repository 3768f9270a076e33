"""Annotated video: H.264, with the original's timing, also where that is uneven."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError
from ..frame import Frame
from ..result import Result
from .base import SinkInfo, write_failure
from .overlay import Timeline, draw

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

# MPEG's own clock: exact for every common frame rate.
_TICKS_PER_S = 90_000
# H.264 decoders in common use end here.
_LARGEST_PX = 4096
_ENCODER_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0"}


class VideoSink:
    """Writes frames with what was found drawn on them; MP4 unless the name says otherwise.

    The first frame's size is the video's: padded to even sides, scaled down where a side exceeds
    4096 px; a later frame of another size is scaled to it.
    """

    def __init__(self, path: Path, top: int = 5) -> None:
        self._path = path
        self._top = top
        self._timeline = Timeline()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._rate_hz = 30.0
        self._start_s = 0.0
        self._last_tick = -1

    def open(self, info: SinkInfo) -> None:
        """Make the file; its picture size is known with the first frame."""
        suffix = self._path.suffix.lower()
        kind = {".mkv": "matroska", ".mov": "mov"}.get(suffix, "mp4")
        self._rate_hz = info.rate_hz or 30.0
        try:
            # PyAV opens the file with the first packet; Python says now whether it can be.
            self._path.open("wb").close()
            self._container = av.open(str(self._path), "w", format=kind)
        except OSError as error:
            raise write_failure(self._path, error) from error

    def write(self, frame: Frame, result: Result) -> None:
        """Draw and encode one frame at its time."""
        if self._container is None:
            raise ValueError("open the sink before writing to it")
        self._timeline.add(result)
        pixels = draw(frame.pixels, result, self._timeline, top=self._top)
        if self._stream is None:
            self._stream = self._begin(self._container, pixels)
            self._start_s = frame.time_s
        picture = av.VideoFrame.from_ndarray(self._fitted(pixels), format="rgb24")
        tick = round((frame.time_s - self._start_s) * _TICKS_PER_S)
        self._last_tick = picture.pts = max(tick, self._last_tick + 1)
        picture.time_base = Fraction(1, _TICKS_PER_S)
        try:
            self._container.mux(self._stream.encode(picture))
        except OSError as error:
            raise write_failure(self._path, error) from error

    def close(self) -> None:
        """Flush the encoder and write the file's index; without a frame, remove the file."""
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if self._stream is not None:
                container.mux(self._stream.encode(None))
            container.close()
        except OSError as error:
            raise write_failure(self._path, error) from error
        if self._stream is None:
            self._path.unlink(missing_ok=True)

    def _begin(self, container: OutputContainer, pixels: NDArray[np.uint8]) -> VideoStream:
        """The encoder, once the size is known."""
        height_px, width_px = pixels.shape[:2]
        scale = min(1.0, _LARGEST_PX / max(height_px, width_px))
        rate = Fraction(self._rate_hz).limit_denominator(1001)
        try:
            stream = container.add_stream("libx264", rate=rate, options=_ENCODER_OPTIONS)
        except av.error.FFmpegError as error:
            raise SinkError(f"cannot encode {self._path}: this PyAV has no H.264") from error
        stream.width = _even(width_px * scale)
        stream.height = _even(height_px * scale)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        return stream

    def _fitted(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels of the video's size."""
        assert self._stream is not None
        height_px, width_px = pixels.shape[:2]
        right_px, below_px = self._stream.width - width_px, self._stream.height - height_px
        if right_px in (0, 1) and below_px in (0, 1):
            if right_px or below_px:
                pixels = np.pad(pixels, ((0, below_px), (0, right_px), (0, 0)), mode="edge")
            return pixels
        size = (self._stream.width, self._stream.height)
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _even(length_px: float) -> int:
    """The next even number: H.264 stores colour for pairs of pixels."""
    return 2 * max(1, -int(-length_px // 2))
