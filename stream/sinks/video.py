"""Annotated video: H.264 with the original's timing, also where that is uneven, and its sound.

A file can be played however the run ends: it grows by whole fragments, and is rewritten in its
usual layout at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..result import Result
from ..sources.clock import FileClock
from .base import (
    BaseSink,
    SinkInfo,
    SinkOptions,
    WholePieces,
    draft,
    notice_lines,
    suffix_of,
    write_failure,
)
from .encoder import Encoder, Muxed
from .overlay import Timeline, draw

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet


PIECE_S = 1.0
"""Length of a fragment: what a kill may cost, beside the encoder's lookahead."""

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
        self._muxed = Muxed()
        self._file = WholePieces(path)
        self._head: bytearray | None = None  # not on disk yet; empty once it is
        options = {**_GROWING[self._kind], "flush_packets": "1"}
        self.container: OutputContainer = av.open(
            self._muxed, "w", format=self._kind, container_options=options
        )
        """What packets are muxed into; `save` is called after each of them."""

    def save(self) -> None:
        """Write what the muxer has finished to disk.

        Raises `SinkLost` where there is no room: these fragments are missing, later ones still fit.
        """
        piece = self._muxed.take()
        if self._head is None and piece:
            self._head, piece = piece, bytearray()
        if self._head:
            self._file.append(self._head)  # without it nothing that follows can be read
            self._head = bytearray()
        if piece:
            self._file.append(piece)

    def close(self, finished: bool = True) -> None:
        """Write the last fragment; where `finished`, rewrite the file in its usual layout.

        Without room for both layouts it keeps the growing one, which plays as well.
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
        draft_path = draft(self._path)
        try:
            with (
                av.open(os.path.abspath(self._path)) as grown,
                av.open(
                    os.path.abspath(draft_path),
                    "w",
                    format=self._kind,
                    container_options=_FINISHED.get(self._kind, {}),
                ) as whole,
            ):
                _copy(grown, whole)
            draft_path.replace(self._path)
        except (OSError, ValueError, av.error.FFmpegError):
            with suppress(OSError):
                draft_path.unlink(missing_ok=True)


def _copy(grown: InputContainer, whole: OutputContainer) -> None:
    """All packets, as they are."""
    whole.metadata.update(grown.metadata)
    streams = {stream.index: whole.add_stream_from_template(stream) for stream in grown.streams}
    for packet in grown.demux():
        if packet.dts is not None:
            packet.stream = streams[packet.stream.index]
            whole.mux(packet)


# What players of MP4 and QuickTime play; Matroska holds anything.
_COPIED = frozenset(("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"))
_CODEC, _BIT_RATE = "aac", 160_000
# Sound that only primes the decoder begins so long before the start, where a container can say so;
# what is before that is hidden by an edit list.
_PRIMING_S = -0.1
# Packets a second where the codec does not say.
_USUAL_RATE_HZ = 50.0


class Sound:
    """Adds a clip's sound to a container, in step with the pictures.

    Packets are copied where players of the container support their codec, else encoded as AAC.
    Where the sound cannot be read any further, the video goes on without it.
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
        """Write the sound up to this time."""
        while self._next is not None and self._time_s(self._next) <= time_s:
            self._target.mux(self._next)
            self._next = next(self._packets, None)

    def finish(self) -> None:
        """Write the rest."""
        self.until(float("inf"))

    def close(self) -> None:
        """Close the clip."""
        self._source.close()

    @staticmethod
    def _time_s(packet: Packet[Any]) -> float:
        return float((packet.pts or 0) * packet.time_base)

    def _clock(self) -> FileClock:
        """The pictures' clock, with the usual length of a packet as its step."""
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
        """A packet of AAC without its ADTS header, which broadcasts have and files do not.

        FFmpeg does not convert it in a file that grows by fragments.
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
                decoded = packet.decode()
            except av.error.FFmpegError:
                continue
            for samples in decoded:
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
    """The AudioSpecificConfig (ISO/IEC 14496-3) of an ADTS header: profile, rate, channels."""
    profile, rate = (adts[2] >> 6) + 1, adts[2] >> 2 & 15
    channels = (adts[2] & 1) << 2 | adts[3] >> 6
    return (profile << 11 | rate << 7 | channels << 3).to_bytes(2, "big")


def _is_copied(codec: str, container: str) -> bool:
    """Whether players of a container support a codec."""
    if container == "matroska":
        return True
    return codec in _COPIED or (container == "mov" and codec.startswith("pcm_"))


_ENCODER_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0"}


class VideoSink(BaseSink):
    """Writes frames with what was found drawn on them; MP4 unless the name says otherwise.

    The first frame's size is the video's. Frames keep a clip's times; those of a live source count
    from its first. The metadata hold the notice and, where one was given, the purpose.

    Args:
        path: the file.
        top: words per face.
        sound_of: the clip whose sound is added; never an untrusted file.
    """

    def __init__(self, path: Path, top: int = 5, sound_of: Path | None = None) -> None:
        self._path, self._sound_of = path, sound_of
        self._top = top
        self._timeline = Timeline()
        self._recording: Recording | None = None
        self._encoder: Encoder | None = None
        self._sound: Sound | None = None
        self._start_s: float | None = 0.0

    def open(self, info: SinkInfo) -> None:
        """Make the file; its picture size is known with the first frame."""
        self._start_s = None if info.live else 0.0
        self._recording = Recording(self._path)
        metadata = self._recording.container.metadata
        metadata["title"] = f"Expressions in {info.source}"
        metadata["comment"] = "\n".join(notice_lines(info))
        self._encoder = Encoder(self._recording.container, info.rate_hz, _ENCODER_OPTIONS)

    def write(self, frame: Frame, result: Result) -> None:
        """Draw and encode one frame at its time."""
        if self._encoder is None or self._recording is None:
            raise ValueError("open the sink before writing to it")
        self._timeline.add(result)
        pixels = draw(frame.pixels, result, self._timeline, top=self._top)
        if self._start_s is None:
            self._start_s = frame.time_s
        time_s = frame.time_s - self._start_s
        if not self._encoder.begun:
            self._begin(pixels)
        self._encoder.write(pixels, time_s)
        if self._sound is not None:
            self._sound.until(time_s)
        self._recording.save()

    def _begin(self, pixels: NDArray[np.uint8]) -> None:
        """Add both streams, which must exist before anything is written."""
        assert self._encoder is not None and self._recording is not None
        self._encoder.begin(pixels)
        if self._sound_of is not None:
            self._sound = Sound.of(self._sound_of, self._recording.container)

    def close(self) -> None:
        """Finish the file; without a frame, remove it."""
        recording, encoder, sound = self._recording, self._encoder, self._sound
        self._recording = self._encoder = self._sound = None
        if recording is None or encoder is None:
            return
        try:
            encoder.finish()
            if sound is not None:
                sound.finish()
        finally:
            if sound is not None:
                sound.close()
            recording.close(finished=encoder.begun)
        if not encoder.begun:
            self._path.unlink(missing_ok=True)


def make(options: SinkOptions) -> VideoSink:
    """For `stream.formats`."""
    return VideoSink(options.path, options.shown, options.sound_of)
