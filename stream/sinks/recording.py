"""Video files that can be played however the run ends.

While it is being written, a file grows by whole pieces of about a second (fragments of MP4 and
MOV, clusters of Matroska), none of which needs what comes after it. At the end it is written anew
as players like it best: its index at the front, all its lengths known.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error

from .base import draft, suffix_of, write_failure
from .whole import WholePieces

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

PIECE_S = 1.0
"""What a kill may cost, beside what the encoder looks ahead."""

_FORMATS = {".mkv": "matroska", ".mov": "mov"}
_GROWING = {
    "mp4": {
        # The head waits for the first piece, as it says where each track begins.
        "movflags": "frag_keyframe+empty_moov+delay_moov+default_base_moof",
        "frag_duration": f"{PIECE_S * 1e6:.0f}",
    },
    "matroska": {"cluster_time_limit": f"{PIECE_S * 1e3:.0f}"},
}
_GROWING["mov"] = _GROWING["mp4"]
_FINISHED = {"mp4": {"movflags": "faststart"}, "mov": {"movflags": "faststart"}}


class Recording:
    """One video file being written; MP4 unless its name says otherwise.

    Raises `SinkError` where the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kind = _FORMATS.get(suffix_of(path), "mp4")
        self._pending = _Pending()
        self._file = WholePieces(path)
        self._head: bytearray | None = None  # not on disk yet; empty once it is
        options = {**_GROWING[self._kind], "flush_packets": "1"}
        self.container: OutputContainer = av.open(
            self._pending, "w", format=self._kind, container_options=options
        )
        """What packets are muxed into; `save` is called after each of them."""

    def save(self) -> None:
        """Put what the muxer finished on disk.

        Raises `SinkLost` where there is no room: these pieces are missing, the next ones fit all
        the same.
        """
        piece, self._pending.data = self._pending.data, bytearray()
        if self._head is None and piece:
            self._head, piece = piece, bytearray()
        if self._head:
            self._file.append(self._head)  # without it nothing that follows can be read
            self._head = bytearray()
        if piece:
            self._file.append(piece)

    def close(self, finished: bool = True) -> None:
        """Write what is left; where that is all, write the file anew as a finished one.

        Without room for two of them it stays as it was while it grew, which plays as well.
        """
        try:
            self.container.close()
            self.save()
        except OSError as error:
            raise write_failure(self._path, error) from error
        finally:
            self._file.close()
        if finished and self._path.is_file():
            self._finish()

    def _finish(self) -> None:
        beside = draft(self._path)
        try:
            with (
                av.open(os.path.abspath(self._path)) as grown,
                av.open(
                    os.path.abspath(beside),
                    "w",
                    format=self._kind,
                    container_options=_FINISHED.get(self._kind, {}),
                ) as whole,
            ):
                _copy(grown, whole)
            beside.replace(self._path)
        except (OSError, ValueError, av.error.FFmpegError):
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def _copy(grown: InputContainer, whole: OutputContainer) -> None:
    """All packets, as they are."""
    whole.metadata.update(grown.metadata)
    streams = {stream.index: whole.add_stream_from_template(stream) for stream in grown.streams}
    for packet in grown.demux():
        if packet.dts is not None:
            packet.stream = streams[packet.stream.index]
            whole.mux(packet)


class _Pending:
    """What the muxer has written and the disk has not; the muxer cannot go back in it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        """Take it."""
        self.data += data
        return len(data)
