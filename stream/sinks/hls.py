"""Live HLS: annotated video as a playlist and short segments, served by any web server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error

from ..errors import SinkError
from ..frame import Frame
from ..result import Result
from .base import SinkInfo, check_writable, is_segment, write_failure
from .encoder import USUAL_RATE_HZ, Encoder
from .notice import SHORT_NOTICE
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


class HlsSink:
    """Writes NAME.m3u8 and NAME-000000.ts and so on beside it; old segments are deleted.

    What an earlier run of the same name left is deleted first. At the end the playlist is closed
    and keeps its last segments. Raises `SinkError` for another ending of the name.
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

    def open(self, info: SinkInfo) -> None:
        """Clear the place; the playlist appears with the first segment."""
        check_writable(self._path)
        self._step_s = 1 / (info.rate_hz or USUAL_RATE_HZ)
        options = {
            "hls_time": f"{SEGMENT_S:g}",
            "hls_list_size": str(LISTED),
            "hls_delete_threshold": str(_KEPT),
            "hls_flags": "delete_segments+independent_segments+temp_file",
            "hls_segment_filename": f"{self._path.with_suffix('')}-%06d.ts",
        }
        try:
            for file in self._files():
                file.unlink()
            self._container = av.open(str(self._path), "w", format="hls", options=options)
        except OSError as error:
            raise write_failure(self._path, error) from error
        purpose = info.about.get("purpose")
        self._container.metadata["service_name"] = SHORT_NOTICE
        self._container.metadata["service_provider"] = f"ferstream: {purpose or info.source}"
        self._encoder = Encoder(self._container, info.rate_hz, _ENCODER_OPTIONS, SEGMENT_S)

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
        try:
            self._encoder.write(pixels, self._shown_s)
        except OSError as error:
            raise write_failure(self._path, error) from error

    def close(self) -> None:
        """Write the last segment and close the playlist."""
        container, encoder = self._container, self._encoder
        self._container = self._encoder = None
        if container is None or encoder is None:
            return
        try:
            encoder.finish()
            container.close()
        except OSError as error:
            raise write_failure(self._path, error) from error

    def _files(self) -> list[Path]:
        """The playlist and its segments, as far as they are there."""
        own = [file for file in self._path.parent.iterdir() if is_segment(self._path, file)]
        return own + [self._path] * self._path.exists()
