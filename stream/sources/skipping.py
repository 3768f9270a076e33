"""What of a file need not be decoded where only a later part is wanted.

Decoding may begin at a key frame that nothing before it is shown after, and nothing after it
before. The packets ahead of it are read, as their stamps tell index and time of each picture to
come; a file for which that is not sure is decoded from its beginning. Damage in what is left out
goes unnoticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error

from .clock import FileClock, start_s

if TYPE_CHECKING:
    from av.packet import Packet

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
