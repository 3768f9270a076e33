"""A decoded picture as it is to be shown: RGB of usual range, square pixels, upright."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import av.filter
import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SourceUnreadable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


# Transfer functions of high dynamic range: PQ and HLG, by their numbers in H.273.
_HDR = frozenset((16, 18))
_UNSPECIFIED = 2
# What is further from square is a mistake, or meant to use up memory.
_LARGEST_ASPECT = 8
_NO_TRACK = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails


class Shown:
    """Turns decoded pictures into pixels; the first picture says how the others are turned.

    Args:
        aspect: width by height of a stored pixel; the picture's width is scaled by it.
    """

    def __init__(self, aspect: Fraction | None = None) -> None:
        self._aspect = aspect or Fraction(1)
        self.orientation: Orientation | None = None
        """How pictures are turned; None before the first one."""
        self._tones: _ToneMapping | None = None

    @classmethod
    def of(cls, stream: VideoStream, still: bool) -> Shown:
        """For a stream; the resolution of a photograph is about paper, not about its shape."""
        return cls(None if still else stream.sample_aspect_ratio)

    def size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Width and height at which a stored picture of this size is shown."""
        wide_px = shown_width(width_px, self._aspect)
        return (self.orientation or Orientation()).size(wide_px, height_px)

    def pixels(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """(H, W, 3) RGB, C-contiguous."""
        if self.orientation is None:
            self.orientation = Orientation.of(picture)
        if picture.color_trc in _HDR:
            picture = self._usual_range(picture)
        width_px = shown_width(picture.width, self._aspect)
        # One thread: for a video's frame, waking others takes longer than the work.
        pixels = picture.to_ndarray(
            format="rgb24", width=width_px, height=picture.height, threads=1
        )
        # Of some widths PyAV gives rows with padding between them.
        return self.orientation.apply(np.ascontiguousarray(pixels, np.uint8))

    def _usual_range(self, picture: av.VideoFrame) -> av.VideoFrame:
        if self._tones is None or not self._tones.fits(picture):
            self._tones = _ToneMapping(picture)
        return self._tones.mapped(picture)


def shown_width(stored_px: int, aspect: Fraction) -> int:
    """The width at which pixels of this shape, width by height, are shown square."""
    if not Fraction(1, _LARGEST_ASPECT) <= aspect <= _LARGEST_ASPECT:
        return stored_px
    return max(1, round(stored_px * aspect))


class _ToneMapping:
    """From PQ or HLG in BT.2020 to BT.709, by FFmpeg's scaler.

    Its table takes some seconds to make, once per stream.
    """

    def __init__(self, picture: av.VideoFrame) -> None:
        self._kind = _kind(picture)
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=picture.width,
            height=picture.height,
            format=picture.format,
            time_base=picture.time_base or Fraction(1, 90_000),
        )
        arguments = "in_range=auto:out_primaries=bt709:out_transfer=bt709"
        if picture.color_primaries == _UNSPECIFIED:
            arguments += ":in_primaries=bt2020"
        if picture.colorspace == _UNSPECIFIED:
            arguments += ":in_color_matrix=bt2020"
        scale = self._graph.add("scale", arguments)
        rgb = self._graph.add("format", "rgb24")
        sink = self._graph.add("buffersink")
        for first, second in ((source, scale), (scale, rgb), (rgb, sink)):
            first.link_to(second)
        self._graph.configure()

    def fits(self, picture: av.VideoFrame) -> bool:
        """Whether it was made for pictures such as this one."""
        return _kind(picture) == self._kind

    def mapped(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture in RGB of usual range."""
        self._graph.push(picture)
        mapped = self._graph.pull()
        assert isinstance(mapped, av.VideoFrame)
        return mapped


def _kind(picture: av.VideoFrame) -> tuple[object, ...]:
    """What a filter is made for."""
    size = (picture.width, picture.height)
    return (*size, picture.format.name, picture.color_trc, picture.color_primaries)


@dataclass(frozen=True, slots=True)
class Orientation:
    """A quarter-turn orientation: first swap x and y, then mirror."""

    swap: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_matrix(cls, side_data: bytes | None) -> Orientation:
        """From a display matrix: nine native int32, 16.16 fixed point, row vectors.

        The matrix sends the stored pixel (x, y) to (a x + c y, b x + d y); only quarter turns and
        mirrors are honoured, as players do.
        """
        if side_data is None or len(side_data) < 36:
            return cls()
        a, b, _, c, d, *_ = struct.unpack("=9i", side_data[:36])
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @classmethod
    def from_rotation(cls, degrees: int) -> Orientation:
        """From a turn counterclockwise, to the nearest quarter."""
        quarter = round(degrees / 90) % 4
        return cls(quarter in (1, 3), quarter in (2, 3), quarter in (1, 2))

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Orientation:
        """That of a decoded picture."""
        try:
            matrix: Any = picture.side_data.get("DISPLAYMATRIX")
        except ValueError:
            # PyAV 18 lists no side data where FFmpeg adds a kind it does not know; its
            # `rotation` is right there, but takes a mirrored picture for a turned one.
            return cls.from_rotation(picture.rotation)
        return cls.from_matrix(None if matrix is None else bytes(matrix))

    def size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Width and height after turning."""
        return (height_px, width_px) if self.swap else (width_px, height_px)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) as it is to be seen; the same array where nothing turns."""
        if self.swap:
            pixels = np.asarray(cv2.transpose(pixels), np.uint8)
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            pixels = np.asarray(cv2.flip(pixels, code), np.uint8)
        return pixels


def picture_stream(container: InputContainer, name: str, track: int | None) -> VideoStream:
    """The stream of moving pictures that has this number, else the one marked default, else the
    first; a record's cover is none."""
    streams = [s for s in container.streams.video if not s.disposition & _NO_TRACK]
    if track is not None and track >= len(streams):
        count = f"{len(streams)} video track{'' if len(streams) == 1 else 's'}"
        raise SourceUnreadable(f"{name} has {count} and no track {track}: they count from 0")
    if streams:
        default = [s for s in streams if s.disposition & av.stream.Disposition.default]
        return streams[track] if track is not None else (default or streams)[0]
    if container.streams.audio:
        raise SourceUnreadable(f"{name} has sound but no picture: name a video or an image")
    raise SourceUnreadable(f"{name} holds no video: name a video or an image")
