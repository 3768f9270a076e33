"""One clock for a file's pictures: where its container begins, and onward over every break.

The time of a picture is what FFmpeg calls its best-effort stamp, less the container's start.
Recordings that were joined, and HLS playlists with discontinuities, bring clocks that turn back or
leap; those go on where the one before them was.

Where only a later part of a file is wanted, decoding may begin at a key frame that nothing before
it is shown after, and nothing after it before. The packets ahead of it are read, as their stamps
tell index and time of each picture to come; a file for which that is not sure is decoded from its
beginning. Damage in what is left out goes unnoticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


NO_TIMESTAMPS, TS_DISCONT = 0x0080, 0x0200
"""Flags of FFmpeg's formats, AVFMT_*: bare streams, and those whose clocks may change."""

_USUAL_STEP_S = 1 / 30
# A single stamp that is wrong is no new clock; one that is wrong by so much is.
_TURNED_BACK_S = 0.5
_MOST_LATE = 2
# Where FFmpeg itself takes a leap for a new clock, in formats whose clocks may change.
_LEAP_S = 10.0
# The parts of a playlist follow each other; only its pictures may be so far apart.
_PLAYLIST_LEAP_S = 1.0
_PLAYLIST_LEAP_STEPS = 10
# `start_time` of a container has no finer unit.
_MICROSECOND_S = 1.0e-6
_MOST_NOTES = 4


class FileClock:
    """Times of a file's pictures, seconds from its start; they strictly increase.

    Args:
        start_s: the container's start on the clock of its stamps; the first picture's own stamp
            where that is earlier or this is None.
        step_s: the time between pictures as declared.
        leap_s: a leap of the stamps by more than this is a new clock; None: there is none.
        before_start: a first stamp before the start is meant so, as sound's is.
        shown: whether pictures have stamps of when they are shown; else those of their packets
            count.
    """

    def __init__(
        self,
        start_s: float | None,
        step_s: float,
        leap_s: float | None = None,
        before_start: bool = False,
        shown: bool = True,
    ) -> None:
        self._start_s, self._step_s, self._leap_s = start_s, step_s, leap_s
        self._before_start = before_start
        self._begun = False
        self._late, self._late_stamp_s = 0, 0.0
        self._stamped_s, self._unstamped = 0.0, 0
        self.last_s = 0.0
        """The time of the last picture."""
        self._shown, self._stamps = shown, _BestEffort()
        self.notes: list[str] = []
        """Where the clock was not to be followed."""

    @classmethod
    def of(
        cls,
        container: InputContainer,
        stream: Stream,
        rate_hz: float | None,
        before_start: bool = False,
    ) -> FileClock:
        """The clock of an opened container, of which `stream` holds the pictures."""
        flags = container.format.flags
        step_s = 1 / rate_hz if rate_hz else _USUAL_STEP_S
        leap_s: float | None = None
        if container.format.name == "hls":
            leap_s = max(_PLAYLIST_LEAP_S, _PLAYLIST_LEAP_STEPS * step_s)
        elif flags & TS_DISCONT:
            leap_s = _LEAP_S
        # What FFmpeg 7 and later give for H.264 in AVI is the packets' order, counted from 1.
        shown = container.format.name != "avi"
        return cls(start_s(container, stream), step_s, leap_s, before_start, shown)

    def time_s(self, picture: av.VideoFrame) -> float:
        """The next picture's time."""
        stamp = picture.dts
        if self._shown:
            stamp = self._stamps.of(picture.pts, picture.dts)
        base = picture.time_base
        return self.at(None if stamp is None or base is None else float(stamp * base))

    def at(self, stamp_s: float | None) -> float:
        """The time of a picture with this stamp, seconds; None: one step after the last."""
        if not self._begun:
            self._begun = True
            stamp_s = self._start_s or 0.0 if stamp_s is None else stamp_s
            if self._start_s is None or (stamp_s < self._start_s and not self._before_start):
                self._start_s = stamp_s
            self.last_s = self._stamped_s = stamp_s - self._start_s
            return self.last_s
        if stamp_s is None:
            # Counted from the last stamp, as sums of steps would drift.
            self._unstamped += 1
            self.last_s = self._stamped_s + self._unstamped * self._step_s
            return self.last_s
        assert self._start_s is not None
        time_s = stamp_s - self._start_s
        if self._is_new_clock(stamp_s, time_s):
            self._start_over(stamp_s, time_s)
        elif time_s <= self.last_s:
            self._late, self._late_stamp_s = self._late + 1, stamp_s
            self.last_s += self._step_s / 100
        else:
            self._late, self.last_s = 0, time_s
        self._stamped_s, self._unstamped = self.last_s, 0
        return self.last_s

    def _is_new_clock(self, stamp_s: float, time_s: float) -> bool:
        """Whether this stamp says that another clock is followed from here on.

        Some that repeat or are a little late are faults of their own; a clock that runs on behind
        is another one.
        """
        ahead_s = time_s - self.last_s
        if self._leap_s is not None and ahead_s > self._leap_s:
            return True
        runs_behind = self._late >= _MOST_LATE and ahead_s <= 0 and stamp_s > self._late_stamp_s
        return ahead_s < -_TURNED_BACK_S or runs_behind

    def _start_over(self, stamp_s: float, time_s: float) -> None:
        """Go on as if this and the late ones before it had come a step apart."""
        verb = "turns back" if time_s < self.last_s else "leaps"
        note = f"the clock {verb} at {self.last_s:.2f} s: times go on from there"
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(note)
        squeezed_s = self._late * self._step_s / 100
        self.last_s += (self._late + 1) * self._step_s - squeezed_s
        self._start_s = stamp_s - self.last_s
        self._late = 0


class _BestEffort:
    """FFmpeg's choice between a picture's own stamp and that of its packet.

    The one that went wrong less often so far, as `guess_correct_pts` of libavcodec has it; PyAV
    does not hand on the result.
    """

    def __init__(self) -> None:
        self._faulty_pts = self._faulty_dts = 0
        self._last_pts = self._last_dts = -(2**63)

    def of(self, pts: int | None, dts: int | None) -> int | None:
        """The stamp to go by; None where there is neither."""
        if dts is not None:
            self._faulty_dts += dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        if pts is not None and (dts is None or self._faulty_pts <= self._faulty_dts):
            return pts
        return dts


def start_s(container: InputContainer, stream: Stream) -> float | None:
    """Where a container's clock begins, seconds; None where it does not say.

    Sound may begin before 0, with samples that no player plays; the pictures' own start counts
    there.
    """
    own = None if stream.start_time is None else stream.start_time * _base(stream)
    if container.start_time is None:
        return None if own is None else float(own)
    whole_s = container.start_time / 1e6
    if whole_s < 0:
        whole_s = 0.0 if own is None else min(0.0, float(own))
    # The stream's own unit is exact.
    if own is not None and abs(float(own) - whole_s) <= _MICROSECOND_S:
        return float(own)
    return whole_s


def duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Where the pictures end, else the whole file, seconds from the container's start."""
    if stream.duration and stream.time_base:
        end_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        return end_s - (start_s(container, stream) or 0.0)
    if not container.duration:
        return None
    # Matroska tells where the last picture ends on the clock of its stamps, the others how long
    # it all lasts.
    begin_s = start_s(container, stream) if "matroska" in container.format.name else None
    return container.duration / 1e6 - (begin_s or 0.0)


def lasts_s(picture: VideoFrame) -> float:
    """For how long a picture is shown, where the file says so."""
    base = picture.time_base
    return float(picture.duration * base) if picture.duration and base else 0.0


def _base(stream: Stream) -> Fraction:
    return stream.time_base or Fraction(1)


OPTIONS = {"pattern_type": "none"}
"""FFmpeg takes %03d in a name for a row of files."""
_FORMATS = ("mp4", "matroska", "avi")
# Number of a unit's kind in its first byte, and those that begin anew (H.264 7.4.1, H.265 7.4.2.2).
_FRESH = {"h264": (0, 31, (5,)), "hevc": (1, 63, (19, 20))}
# Where the parameters that are sent ahead say how long a unit's length is.
_LENGTH_AT = {"h264": 4, "hevc": 21}


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is left out of a stream."""

    packets: int = 0
    """The first so many of its packets."""
    stamps_s: list[float] = field(default_factory=list)
    """Stamps of their pictures, as many, in the order in which they would be shown."""


def skipped_before(path: Path, stream: int, rate_hz: float | None, time_s: float) -> Skipped:
    """What can be left out where nothing before `time_s` is wanted."""
    try:
        with av.open(os.path.abspath(path), options=OPTIONS, metadata_errors="replace") as file:
            return _skipped(file, stream, rate_hz, time_s)
    except (OSError, ValueError, av.error.FFmpegError):
        return Skipped()


def _skipped(
    file: av.container.InputContainer, number: int, rate_hz: float | None, time_s: float
) -> Skipped:
    stream = file.streams[number]
    codec, base = stream.codec_context.name, stream.time_base
    known = codec in _FRESH or codec == "mjpeg"
    if base is None or not known or not any(name in file.format.name for name in _FORMATS):
        return Skipped()
    if file.format.name == "avi" and codec != "mjpeg":
        return Skipped()  # its stamps are those of packets, in another order than the pictures
    parameters = bytes(stream.codec_context.extradata or b"")
    begin_s = start_s(file, stream) or 0.0
    seen: list[tuple[int, int, bool]] = []
    dts = -(2**62)
    for packet in file.demux(stream):
        if not packet.size:
            break  # the end
        # Matroska has none for its first packets.
        dts = dts if packet.dts is None else packet.dts
        stamp = packet.dts if packet.pts is None and codec == "mjpeg" else packet.pts
        if stamp is None or stamp < dts or packet.is_discard or packet.is_corrupt:
            return Skipped()
        fresh = packet.is_keyframe and (codec == "mjpeg" or _is_fresh(packet, codec, parameters))
        seen.append((stamp, dts, fresh))
        if float(dts * base) - begin_s > time_s:
            break
    stamps = sorted(stamp for stamp, _, _ in seen)
    clock = FileClock.of(file, stream, rate_hz)
    times = {stamp: clock.at(float(stamp * base)) for stamp in stamps}
    if len(times) < len(stamps) or clock.notes or not seen:
        return Skipped()
    best, highest = 0, stamps[0] - 1
    for at, (stamp, _, fresh) in enumerate(seen):
        # Of the packets not read yet none is shown before its own stamp.
        alone = stamp > highest and stamp == stamps[at] and stamp <= seen[-1][1]
        if fresh and alone and times[stamp] <= time_s:
            best = at
        highest = max(highest, stamp)
    return Skipped(best, [float(stamp * base) for stamp in stamps[:best]])


def _is_fresh(packet: Packet[Any], codec: str, parameters: bytes) -> bool:
    """Whether a key frame refers to nothing before it, as not all of them do."""
    shift, mask, kinds = _FRESH[codec]
    data = bytes(packet)
    return any(data[at] >> shift & mask in kinds for at in _units(data, codec, parameters))


def _units(data: bytes, codec: str, parameters: bytes) -> Iterator[int]:
    """Where the units of a packet begin, each after its length."""
    if len(parameters) <= _LENGTH_AT[codec] or parameters[0] != 1:
        return
    size, at = (parameters[_LENGTH_AT[codec]] & 3) + 1, 0
    while at + size < len(data):
        yield at + size
        at += size + int.from_bytes(data[at : at + size], "big")
