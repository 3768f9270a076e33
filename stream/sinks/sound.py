"""The sound of a clip beside its annotated pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error

from ..sources.clock import FileClock

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

# What players of MP4 and QuickTime play; Matroska holds anything.
_COPIED = frozenset(("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"))
_CODEC, _BIT_RATE = "aac", 160_000
# Sound that only primes the decoder begins so long before the start, where a container can say so;
# what is before that is hidden by an edit list.
_PRIMING_S = -0.1
# Packets a second where the codec does not say.
_USUAL_RATE_HZ = 50.0


class Sound:
    """Puts a clip's sound into a container, in step with the pictures.

    Copied where players of the container know it, else encoded as AAC. Sound that cannot be read
    ends, and the pictures go on.
    """

    def __init__(
        self, source: InputContainer, stream: AudioStream, target: OutputContainer
    ) -> None:
        self._source, self._stream, self._target = source, stream, target
        self._from_s = 0.0 if target.format.name == "matroska" else _PRIMING_S
        self._codec = stream.codec_context.codec.canonical_name
        copied = _is_copied(self._codec, target.format.name)
        if copied:
            self._out: Any = target.add_stream_from_template(stream)
        else:
            rate = stream.codec_context.sample_rate
            self._out = target.add_stream(_CODEC, rate=rate, layout=stream.codec_context.layout)
            self._out.bit_rate = _BIT_RATE
        self._packets = self._copied() if copied else self._encoded()
        self._next = next(self._packets, None)

    @classmethod
    def of(cls, clip: Path, target: OutputContainer) -> Sound | None:
        """The sound of a clip; None where it has none that can be read.

        To be called before anything is written to the target.
        """
        try:
            source = av.open(os.path.abspath(clip), metadata_errors="replace")
        except (OSError, ValueError, av.error.FFmpegError):
            return None
        streams = [s for s in source.streams.audio if s.codec_context is not None]
        default = [s for s in streams if s.disposition & av.stream.Disposition.default]
        try:
            return cls(source, (default or streams)[0], target)
        except (IndexError, ValueError, av.error.FFmpegError):
            source.close()
            return None

    def until(self, time_s: float) -> None:
        """Write what is heard up to this time."""
        while self._next is not None and self._time_s(self._next) <= time_s:
            self._target.mux(self._next)
            self._next = next(self._packets, None)

    def finish(self) -> None:
        """Write the rest."""
        self.until(float("inf"))

    def close(self) -> None:
        """Let go of the clip."""
        self._source.close()

    @staticmethod
    def _time_s(packet: Packet[Any]) -> float:
        return float((packet.pts or 0) * packet.time_base)

    def _clock(self) -> FileClock:
        """That of the pictures, going on by what a packet usually holds."""
        codec = self._stream.codec_context
        rate_hz = codec.sample_rate / codec.frame_size if codec.frame_size else _USUAL_RATE_HZ
        pictures = self._source.streams.video
        stream = pictures[0] if pictures else self._stream
        return FileClock.of(self._source, stream, rate_hz, before_start=True)

    def _copied(self) -> Iterator[Packet[Any]]:
        clock = self._clock()
        for packet in self._read():
            stamp = packet.pts if packet.pts is not None else packet.dts
            base = packet.time_base
            time_s = clock.at(None if stamp is None else float(stamp * base))
            if time_s < self._from_s:
                continue
            packet = self._bare(packet)
            packet.pts = packet.dts = round(time_s / base)
            packet.stream = self._out
            yield packet

    def _bare(self, packet: Packet[AudioStream]) -> Packet[Any]:
        """AAC as files hold it: its description once, not before each packet as in broadcasts.

        FFmpeg itself does not see to it in a file that grows by pieces.
        """
        data = bytes(packet)
        if data[:1] != b"\xff" or data[1] & 0xF6 != 0xF0 or self._codec != "aac":
            return packet
        if self._out.codec_context.extradata is None:
            self._out.codec_context.extradata = _aac_configuration(data)
        bare: Packet[Any] = av.Packet(data[7:] if data[1] & 1 else data[9:])
        bare.duration, bare.time_base = packet.duration, packet.time_base
        return bare

    def _encoded(self) -> Iterator[Packet[Any]]:
        clock, rate = self._clock(), self._out.codec_context.sample_rate
        for packet in self._read():
            try:
                heard = packet.decode()
            except av.error.FFmpegError:
                continue
            for samples in heard:
                stamp_s = None if samples.pts is None else samples.time
                samples.pts = round(clock.at(stamp_s) * rate)
                samples.time_base = Fraction(1, rate)
                yield from self._out.encode(samples)
        yield from self._out.encode(None)

    def _read(self) -> Iterator[Packet[AudioStream]]:
        """The clip's packets of sound, as far as they can be read."""
        try:
            for packet in self._source.demux(self._stream):
                if packet.size:
                    yield packet
        except (OSError, ValueError, av.error.FFmpegError):
            return


def _aac_configuration(adts: bytes) -> bytes:
    """What an ADTS header says of profile, rate and channels, as ISO/IEC 14496-3 wants it."""
    profile, rate = (adts[2] >> 6) + 1, adts[2] >> 2 & 15
    channels = (adts[2] & 1) << 2 | adts[3] >> 6
    return (profile << 11 | rate << 7 | channels << 3).to_bytes(2, "big")


def _is_copied(codec: str, container: str) -> bool:
    """Whether players of a container are used to a codec."""
    if container == "matroska":
        return True
    return codec in _COPIED or (container == "mov" and codec.startswith("pcm_"))
