"""Live HLS: annotated video as a playlist and short segments, served by any web server."""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av

from ..errors import SinkError
from ..frame import Frame
from ..result import Result
from .base import (
    SHORT_NOTICE,
    BaseSink,
    SinkInfo,
    SinkOptions,
    check_writable,
    is_segment,
    write_failure,
    write_whole,
)
from .encoder import USUAL_RATE_HZ, Encoder, Muxed
from .overlay import Timeline, draw

if TYPE_CHECKING:
    from av.container import OutputContainer

SEGMENT_S = 2.0
LISTED = 6
"""Segments in the playlist: the last seconds that a viewer can go back."""
_KEPT = 2
"""Segments on disk beside those, for viewers who read an older playlist."""
_PAUSE_S = 2.0
"""A longer pause of the source is cut out, so that no segment lasts as long as an outage."""
_ENCODER_OPTIONS = {"preset": "veryfast", "rc-lookahead": "10", "crf": "23", "bf": "0"}


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment on disk."""

    path: Path
    length_s: float
    after_gap: bool
    """Whether the segment before it could not be written."""


class HlsSink(BaseSink):
    """Writes NAME.m3u8 and NAME-000000.ts and so on beside it; old segments are deleted.

    Files of an earlier run with the same name are deleted first. A segment that finds no room on
    the disk is left out: the playlist marks the gap (EXT-X-DISCONTINUITY), and `write` raises
    `SinkLost`. At the end the playlist is closed and keeps its last segments. Raises `SinkError`
    for a name with another suffix.
    """

    def __init__(self, path: Path, top: int = 5) -> None:
        if path.suffix.lower() != ".m3u8":
            raise SinkError(f"{path} is no name for an HLS playlist: end it with .m3u8")
        if re.search(r"%\d*d", str(path)):
            raise SinkError(f"a number would be put into {path.name} for %d: use another path")
        self._path = path
        self._top = top
        self._timeline = Timeline()
        self._container: OutputContainer | None = None
        self._encoder: Encoder | None = None
        self._step_s = 1 / USUAL_RATE_HZ
        self._last_s: float | None = None
        self._shown_s = 0.0
        self._muxed = Muxed()
        self._begun_s = 0.0  # of the segment in the making
        self._number = 0
        self._gap = False
        self._failure: SinkError | None = None
        self._segments: deque[_Segment] = deque()

    def open(self, info: SinkInfo) -> None:
        """Delete old files; the playlist appears with the first segment."""
        check_writable(self._path)
        self._step_s = 1 / (info.rate_hz or USUAL_RATE_HZ)
        try:
            for file in self._files():
                file.unlink()
        except OSError as error:
            raise write_failure(self._path, error) from error
        # Each segment has to say anew what it holds.
        options = {"flush_packets": "1", "mpegts_flags": "pat_pmt_at_frames"}
        self._container = av.open(self._muxed, "w", format="mpegts", container_options=options)
        purpose = info.about.get("purpose")
        self._container.metadata["service_name"] = SHORT_NOTICE
        self._container.metadata["service_provider"] = f"ferstream: {purpose or info.source}"
        self._encoder = Encoder(
            self._container, info.rate_hz, _ENCODER_OPTIONS, SEGMENT_S, self._cut
        )

    def write(self, frame: Frame, result: Result) -> None:
        """Draw and encode one frame."""
        if self._encoder is None:
            raise ValueError("open the sink before writing to it")
        self._timeline.add(result)
        pixels = draw(frame.pixels, result, self._timeline, top=self._top)
        if self._last_s is not None:
            passed_s = frame.time_s - self._last_s
            self._shown_s += passed_s if 0 < passed_s <= _PAUSE_S else self._step_s
        self._last_s = frame.time_s
        self._encoder.write(pixels, self._shown_s)
        self._raise_failure()

    def close(self) -> None:
        """Write the last segment and close the playlist."""
        container, encoder = self._container, self._encoder
        self._container = self._encoder = None
        if container is None or encoder is None:
            return
        encoder.finish()
        container.close()
        self._cut(self._shown_s + self._step_s)
        if self._failure is None:
            self._list(ended=True)
        self._raise_failure()

    def _raise_failure(self) -> None:
        """Raise what could not be written, once the encoder is done with the frame."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _cut(self, time_s: float) -> None:
        """Write what was muxed so far as a segment, at a key frame or at the end."""
        data = self._muxed.take()
        begun_s, self._begun_s = self._begun_s, time_s
        if not data:
            return
        path = self._path.with_name(f"{self._path.stem}-{self._number:06d}.ts")
        self._number += 1
        try:
            write_whole(path, data)
        except OSError as error:
            self._gap = True
            missing = f"{time_s - begun_s:.1f} s are missing"
            self._failure = write_failure(self._path, error, missing)
            return
        self._segments.append(_Segment(path, time_s - begun_s, self._gap))
        self._gap = False
        self._list()
        while len(self._segments) > LISTED + _KEPT:
            self._segments.popleft().path.unlink(missing_ok=True)

    def _list(self, ended: bool = False) -> None:
        """Rewrite the playlist."""
        listed = list(self._segments)[-LISTED:]
        if not listed:
            return
        first = int(listed[0].path.stem.rpartition("-")[2])
        longest_s = math.ceil(max(segment.length_s for segment in listed))
        lines = ["#EXTM3U", "#EXT-X-VERSION:6", f"#EXT-X-TARGETDURATION:{longest_s}"]
        lines += [f"#EXT-X-MEDIA-SEQUENCE:{first}", "#EXT-X-INDEPENDENT-SEGMENTS"]
        for segment in listed:
            lines += ["#EXT-X-DISCONTINUITY"] * segment.after_gap
            lines += [f"#EXTINF:{segment.length_s:.6f},", segment.path.name]
        lines += ["#EXT-X-ENDLIST"] * ended
        try:
            write_whole(self._path, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            self._failure = write_failure(self._path, error)

    def _files(self) -> list[Path]:
        """The playlist and its segments that exist."""
        own = [file for file in self._path.parent.iterdir() if is_segment(self._path, file)]
        return own + [self._path] * self._path.exists()


def make(options: SinkOptions) -> HlsSink:
    """For `stream.formats`."""
    return HlsSink(options.path, options.shown)
