"""Files, images, webcams and network cameras, decoded by FFmpeg through PyAV.

Files are decoded with frame threads; live sources without any, which is slower but gives each
picture at once (slice threads corrupt zero-latency streams). Decoding, scaling to RGB and turning
upright all happen in the thread that reads `frames`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error

from ferstream.engines.terminal import plain

from ..errors import SourceError, SourceTimeout, SourceUnreadable
from ..frame import Frame
from .base import BaseSource, is_dense, without_password
from .clock import (
    NO_TIMESTAMPS,
    OPTIONS,
    FileClock,
    Skipped,
    duration_s,
    lasts_s,
    skipped_before,
    start_s,
)
from .failures import address_failure, camera_failure, file_failure, lost, reason, stalled
from .live import LiveReader, Pace
from .pixels import Shown, picture_stream
from .specs import is_rtsp
from .tunnel import Reach, anywhere, follow_camera

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet

_OPEN_LIMIT_S = 3.0
_READ_LIMIT_S = 3.0
# The defaults look at five seconds of stream before the first picture. No `nobuffer` here: it
# throws away the packets looked at, and the first key frame with them.
_RTSP_OPTIONS = {
    "rtsp_transport": "tcp",
    "analyzeduration": "300000",
    "probesize": "200000",
    # Within the connection packets should come in order; those of some cameras do not.
    "reorder_queue_size": "32",
}
# Formats that come as files of several seconds each, so that nothing comes for long in between.
_SEGMENTED = ("hls", "dash")
_SEGMENT_LIMIT_S = 20.0
# Wishes to a webcam, best first; a camera that cannot refuses and is asked for less.
_WEBCAM_OPTIONS: tuple[dict[str, str], ...] = (
    {"input_format": "mjpeg", "video_size": "1280x720", "framerate": "30"},
    {"framerate": "30"},
    {},
)
# FFmpeg draws text files as on an old terminal, which nobody means by a video.
_TEXT_FORMATS = frozenset(("tty", "bin", "xbin", "adf", "idf"))
_MAX_DAMAGED_PACKETS = 1000
# A file that ends so much before its declared length is whole.
_TOLERATED_S = 0.1


class PyavSource(BaseSource):
    """One opened video stream; see `open_file`, `open_camera` and `open_address`."""

    def __init__(
        self,
        container: InputContainer,
        name: str,
        live: bool,
        read_limit_s: float = _READ_LIMIT_S,
        track: int | None = None,
        at_end: Callable[[], None] = lambda: None,
        path: Path | None = None,
    ) -> None:
        """`at_end` is called once the container is closed; `path` is where a file is read again."""
        self._container = container
        self._at_end = at_end
        self._path, self._skip_to_s, self._skipped = path, 0.0, Skipped()
        self.name = plain(name)
        self.live = live
        self._read_limit_s = read_limit_s
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._stop = False
        self._reading = False
        self._reader: LiveReader | None = None
        self._notes: list[str] = []
        self._stream = picture_stream(container, name, track)
        # Bare streams have no clock: the average is FFmpeg's invention, the codec says its own.
        self._bare = bool(container.format.flags & NO_TIMESTAMPS)
        own = self._stream.codec_context.framerate if self._bare else self._stream.average_rate
        rate = own or self._stream.guessed_rate or self._stream.average_rate
        # FFmpeg declares 25 images a second for a single one.
        image = container.format.name.endswith("_pipe") or container.format.name == "image2"
        # A file's stream names its orientation before the first frame only in some formats, so
        # the size is that of the picture before turning until a frame has been seen.
        self._shown = Shown.of(self._stream, still=image or container.format.name == "gif")
        # A camera's row of JPEGs says nothing of its rate.
        image = image or (live and container.format.name == "mpjpeg")
        self.rate_hz: float | None = float(rate) if rate and not image else None
        self.duration_s = None if live else duration_s(container, self._stream)
        self._read_to_s = float("-inf")
        self._stream.thread_type = "NONE" if live else "FRAME"

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels; upright once the first frame was read."""
        codec = self._stream.codec_context
        if not codec.width or not codec.height:
            return None
        return self._shown.size(codec.width, codec.height)

    @property
    def notes(self) -> tuple[str, ...]:
        """Damage met while reading."""
        return tuple(self._notes)

    @property
    def drops(self) -> Mapping[str, int]:
        """Pictures of a live source that were left out, per cause."""
        return dict(self._reader.drops) if self._reader else {}

    def frames(self) -> Iterator[Frame]:
        """Decode to the end; damaged parts of a file are skipped and noted.

        A live source gives whole pictures only, with the times of their arrival.
        """
        with self._lock:
            if self._stop:
                return
            self._reading = True
        try:
            yield from self._live_frames() if self.live else self._file_frames()
        finally:
            self._container.close()
            self._at_end()

    def _live_frames(self) -> Iterator[Frame]:
        """Until the camera is lost; raises `SourceLost`, or `SourceTimeout` where it stalls."""
        count, last_s, skipped = 0, float("-inf"), 0
        in_bursts = self._container.format.name in _SEGMENTED
        pace = Pace(time.monotonic, self._closing.wait) if in_bursts else None
        self._reader = reader = LiveReader(
            self._container,
            self._stream,
            self.name,
            self._read_limit_s,
            stamped=not (in_bursts or self._bare),
        )
        try:
            for arrived in reader.pictures():
                if self._stop:
                    return
                pixels = self._shown.pixels(arrived.picture)
                time_s = pace.due_s(arrived.picture.time) if pace else arrived.time_s
                if self._stop:
                    return
                # Several pictures can come out of one packet.
                last_s = max(time_s, last_s + 1e-4)
                left_out = reader.drops.total()
                skipped = skipped if count else left_out
                index = count + left_out - skipped
                yield Frame(pixels, last_s, index, self.name, dense=True)
                count += 1
        except SourceTimeout:
            raise
        except (OSError, ValueError, av.error.FFmpegError) as error:
            if isinstance(error, av.error.ExitError):
                raise stalled(self.name, self._read_limit_s) from None
            # `from None`: the cause's own message can hold the address with its password.
            raise lost(self.name, count, reason(error)) from None
        if not self._stop:
            raise lost(self.name, count, "it ended the stream")

    def _file_frames(self) -> Iterator[Frame]:
        """To the end of the file; raises `SourceUnreadable` where it holds no picture."""
        if self._path is not None and self._skip_to_s:
            self._skipped = skipped_before(
                self._path, self._stream.index, self.rate_hz, self._skip_to_s
            )
        index, end_s = self._skipped.packets, 0.0
        clock = FileClock.of(self._container, self._stream, self.rate_hz)
        for stamp_s in self._skipped.stamps_s:
            clock.at(stamp_s)
        dense = is_dense(self.rate_hz, self.duration_s)
        try:
            for picture in self._pictures():
                pixels = self._shown.pixels(picture)
                time_s = clock.time_s(picture)
                end_s = time_s + lasts_s(picture)
                yield Frame(pixels, time_s, index, self.name, dense=dense)
                index += 1
        except (OSError, ValueError, av.error.FFmpegError) as error:
            if index == 0:
                raise file_failure(self.name, error) from error
            self._notes.append(f"reading stopped after {index} frames: {reason(error)}")
        self._notes += clock.notes
        if self._stop:
            return
        if index == 0:
            raise SourceUnreadable(f"{self.name} holds no picture that can be decoded")
        self._note_what_is_missing(index, end_s)

    def skip_to(self, time_s: float) -> None:
        """Leave out what need not be decoded for what is from that time on."""
        self._skip_to_s = time_s

    def close(self) -> None:
        """End `frames` at its next picture; the reading thread then closes the file itself."""
        self._closing.set()
        with self._lock:
            self._stop = True
            if not self._reading:
                self._container.close()
                self._at_end()

    def _pictures(self) -> Iterator[av.VideoFrame]:
        """A file's pictures; a packet that cannot be decoded is skipped."""
        damaged, left_out = 0, self._skipped.packets
        for packet in self._container.demux():
            if self._stop:
                return
            self._note_end(packet)
            if packet.stream.index != self._stream.index:
                continue
            if left_out:
                left_out -= 1
                continue
            try:
                pictures = packet.decode()
            except av.error.InvalidDataError:
                damaged += 1
                if damaged > _MAX_DAMAGED_PACKETS:
                    raise
                continue
            for picture in pictures:
                if self._stop:
                    return
                assert isinstance(picture, av.VideoFrame)
                yield picture
        if damaged:
            self._notes.append(f"{damaged} damaged packets were skipped")

    def _note_end(self, packet: Packet[Any]) -> None:
        """Remember how far the file was read, sound and all, on the clock of its stamps."""
        if packet.pts is not None and packet.time_base is not None:
            self._read_to_s = max(self._read_to_s, float(packet.pts * packet.time_base))

    def _note_what_is_missing(self, count: int, end_s: float) -> None:
        """Say so where a file ends before it says it does.

        A count alone says nothing: edit lists hide pictures, and others are never shown.
        """
        declared = self._stream.frames
        if self.duration_s is None:
            return
        missing_s = self.duration_s - end_s
        if declared:
            if count < declared and missing_s > _TOLERATED_S:
                self._notes.append(
                    f"{count} of {declared} frames could be read: the file is damaged"
                )
            return
        # The length may be that of sound that goes on for longer.
        begin_s = start_s(self._container, self._stream) or 0.0
        missing_s = min(missing_s, self.duration_s - (self._read_to_s - begin_s))
        if missing_s > 0.1 * self.duration_s + 1:
            self._notes.append(
                f"{end_s:.1f} of {self.duration_s:.1f} s could be read: the file is damaged"
            )


def open_file(path: Path, track: int | None = None) -> PyavSource:
    """A video; `track` is the number of one of its video tracks, None the default one.

    Raises `SourceMissing`, `SourceUnreadable` or `SourceRefused`.
    """
    name = str(path)
    if path.is_dir():
        raise file_failure(name, IsADirectoryError())
    if path.is_file() and path.stat().st_size == 0:
        raise SourceUnreadable(f"{name} is empty: copy or record it again")
    try:
        # FFmpeg takes what stands before a colon for a protocol.
        container = av.open(os.path.abspath(path), options=OPTIONS, metadata_errors="replace")
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise file_failure(name, error) from error
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise file_failure(name, ValueError("it is text"))
    return _source(container, name, live=False, track=track, path=path)


def open_camera(device: str, read_limit_s: float = _READ_LIMIT_S) -> PyavSource:
    """A webcam of Video4Linux, such as /dev/video0.

    Raises `SourceMissing`, `SourceRefused` or `SourceUnreadable`.
    """
    failure: BaseException = FileNotFoundError(device)
    for options in _WEBCAM_OPTIONS if Path(device).exists() else ():
        try:
            container = av.open(
                device, format="v4l2", options=options, timeout=(_OPEN_LIMIT_S, read_limit_s)
            )
            return _source(container, device, True, read_limit_s)
        except (OSError, ValueError, av.error.FFmpegError) as error:
            failure = error
    raise camera_failure(device, failure) from failure


def open_address(
    url: str,
    open_limit_s: float = _OPEN_LIMIT_S,
    read_limit_s: float = _READ_LIMIT_S,
    track: int | None = None,
    reach: Reach = anywhere,
) -> PyavSource:
    """A network camera (rtsp://) or a video on a server (http://, https://).

    A server's video of known length is read like a file, anything else is live. Live HLS comes a
    segment at a time: it is played at its own pace, and stalls after 20 s at the least. Raises
    `SourceRefused`, `SourceTimeout`, `SourceMissing` or `SourceUnreadable`.
    """

    def opened(place: str, at_end: Callable[[], None] = lambda: None) -> PyavSource:
        return _opened(url, place, open_limit_s, read_limit_s, track, at_end)

    if is_rtsp(url):
        return follow_camera(
            url, open_limit_s, lambda tunnel: opened(tunnel.url, tunnel.close), reach
        )
    return opened(url)


def _opened(
    url: str,
    place: str,
    open_limit_s: float,
    read_limit_s: float,
    track: int | None,
    at_end: Callable[[], None],
) -> PyavSource:
    """What is at `place`, which messages call `url`."""
    rtsp, begun_s = is_rtsp(url), time.monotonic()
    try:
        container = av.open(
            place,
            options=_RTSP_OPTIONS if rtsp else {},
            timeout=(open_limit_s, read_limit_s),
            metadata_errors="replace",
        )
    except (OSError, ValueError, av.error.FFmpegError) as error:
        # `from None`: the cause's own message holds the address with its password.
        raise address_failure(url, error, time.monotonic() - begun_s, open_limit_s) from None
    # A camera's stream has neither a duration nor a length in bytes; a bare stream has no duration.
    sized = container.format.name not in _SEGMENTED and container.size > 0
    live = rtsp or not (container.duration or sized)
    if live and container.format.name in _SEGMENTED and read_limit_s < _SEGMENT_LIMIT_S:
        container.close()
        return _opened(url, place, open_limit_s, _SEGMENT_LIMIT_S, track, at_end)
    return _source(container, without_password(url), live, read_limit_s, track, at_end)


def _source(
    container: InputContainer,
    name: str,
    live: bool,
    read_limit_s: float = _READ_LIMIT_S,
    track: int | None = None,
    at_end: Callable[[], None] = lambda: None,
    path: Path | None = None,
) -> PyavSource:
    """The source of an opened container, which is closed where it has no picture."""
    try:
        return PyavSource(
            container, name, live, read_limit_s, track=track, at_end=at_end, path=path
        )
    except SourceError:
        container.close()
        raise
