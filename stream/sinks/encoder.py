"""Encodes pictures as H.264 into a container, at their own times, even or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error
import cv2
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from ..errors import SinkError

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# MPEG's own clock: exact for every common frame rate.
_TICKS_PER_S = 90_000
# H.264 decoders in common use end here.
_LARGEST_PX = 4096
USUAL_RATE_HZ = 30.0
# Said in the file and meant by its numbers (H.273); players guess where nothing is said.
_BT709, _TV = 1, 1


class Encoder:
    """Encodes pictures into a container that is open for writing.

    The first picture's size is the video's: padded to even sides, scaled down where a side
    exceeds 4096 px; a later one of another size is scaled to it.

    Args:
        container: where the packets go; it stays the caller's to close.
        rate_hz: the usual number of pictures per second.
        options: of libx264.
        key_every_s: time between key frames; None: the encoder decides.
        at_key: called with a key frame's time before it is muxed.
    """

    def __init__(
        self,
        container: OutputContainer,
        rate_hz: float | None,
        options: Mapping[str, str],
        key_every_s: float | None = None,
        at_key: Callable[[float], None] | None = None,
    ) -> None:
        self._container = container
        self._rate = Fraction(rate_hz or USUAL_RATE_HZ).limit_denominator(1001)
        self._options = dict(options)
        self._key_every_s = key_every_s
        self._at_key = at_key
        self._key_s = 0.0
        self._last_tick = -1
        self._stream: VideoStream | None = None

    @property
    def begun(self) -> bool:
        """Whether a picture was encoded."""
        return self._stream is not None

    def write(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        """Encode (H, W, 3) RGB to be shown at this time, seconds from 0.

        Raises OSError where the packets cannot be written, SinkError without an encoder.
        """
        stream = self._stream or self.begin(pixels)
        picture = av.VideoFrame.from_ndarray(self._fitted(stream, pixels), format="rgb24")
        picture = picture.reformat(
            format="yuv420p", dst_colorspace=_BT709, dst_color_range=_TV, threads=1
        )
        tick = round(time_s * _TICKS_PER_S)
        self._last_tick = picture.pts = max(tick, self._last_tick + 1)
        picture.time_base = Fraction(1, _TICKS_PER_S)
        if self._key_every_s is not None and time_s >= self._key_s:
            picture.pict_type = PictureType.I
            self._key_s = time_s + self._key_every_s
        self._mux(stream.encode(picture))

    def finish(self) -> None:
        """Encode what the encoder still holds. Raises OSError."""
        if self._stream is not None:
            self._mux(self._stream.encode(None))

    def _mux(self, packets: Sequence[Packet[VideoStream]]) -> None:
        for packet in packets:
            if self._at_key is not None and packet.is_keyframe and packet.pts is not None:
                self._at_key(float(packet.pts * packet.time_base))
            self._container.mux(packet)

    def begin(self, pixels: NDArray[np.uint8]) -> VideoStream:
        """Add the stream for pictures of this size; `write` does so where it was not done."""
        height_px, width_px = pixels.shape[:2]
        scale = min(1.0, _LARGEST_PX / max(height_px, width_px))
        try:
            stream = self._container.add_stream("libx264", rate=self._rate, options=self._options)
        except av.error.FFmpegError as error:
            raise SinkError("cannot encode video: this PyAV has no H.264") from error
        stream.width = even(width_px * scale)
        stream.height = even(height_px * scale)
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.time_base = Fraction(1, _TICKS_PER_S)
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = _TV
        self._stream = stream
        return stream

    def _fitted(self, stream: VideoStream, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels of the video's size."""
        return fitted(pixels, (stream.width, stream.height))


class Muxed:
    """What a muxer has written, in memory until it is taken: the file-like target of a container.

    It has no `seek`, so that the muxer writes from the first byte to the last.
    """

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        """Append what was muxed."""
        self._data += data
        return len(data)

    def take(self) -> bytearray:
        """All that was written since the last call."""
        data, self._data = self._data, bytearray()
        return data


def fitted(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels of this width and height: one more at the edge is repeated, else they are scaled."""
    height_px, width_px = pixels.shape[:2]
    right_px, below_px = size[0] - width_px, size[1] - height_px
    if right_px in (0, 1) and below_px in (0, 1):
        if right_px or below_px:
            pixels = np.pad(pixels, ((0, below_px), (0, right_px), (0, 0)), mode="edge")
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def even(length_px: float) -> int:
    """The next even number: H.264 stores colour for pairs of pixels."""
    return 2 * max(1, -int(-length_px // 2))
