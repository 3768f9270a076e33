"""A live stream's packets decoded to pictures of which no part is invented, and none is late.

The numbers in the slices of H.264 say whether pictures are missing between two, which its decoder
does not.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import av.error

from .failures import stalled

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream


# Until the first picture of a camera that sends key frames seldom; its packets must come.
_FIRST_PICTURE_S = 15.0
# A stream that is refreshed bit by bit has no key frames. After so long without one, decoders that
# show only what is refreshed all over are taken at their word.
_KEY_FRAME_S = 6.0
_REFRESHING = ("h264", "hevc")
_NEARLY = 0.98
# A reader that is this far behind the camera leaves out what waits, up to the next key frame.
_LATE_S = 1.0
_LONGEST_BURST_S = 60.0
_SLACK_S = 0.5
# A camera's clock is not ours: the offset between them is learned anew so often.
_OFFSET_WINDOW_S = 30.0
# More than pictures that are sent out of order go back.
_TURNED_BACK_S = 0.5


@dataclass(frozen=True, slots=True)
class Arrived:
    """A decoded picture and when the last of its packets came, on the given clock."""

    picture: av.VideoFrame
    time_s: float


class LiveReader:
    """Pictures of an opened live stream, from key frame to damage to key frame."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        name: str,
        stall_s: float,
        clock: Callable[[], float] = time.monotonic,
        stamped: bool = True,
    ) -> None:
        """`stamped`: packets come when their stamps say; not so where many seconds of them come at
        a time, nor where FFmpeg makes the stamps up."""
        self.drops: Counter[str] = Counter()
        """Packets and pictures left out, per cause."""
        self._container, self._stream, self._name = container, stream, name
        self._stall_s = stall_s
        self._clock = clock
        codec = stream.codec_context
        self._numbers = H264Numbers(codec.extradata) if codec.name == "h264" else None
        self._may_lack_keys = codec.name in _REFRESHING
        self._waits_for_key = True
        self._key_fed = False
        self._begun_s = 0.0
        self._lag = _Lag() if stamped else None

    def pictures(self) -> Iterator[Arrived]:
        """Pictures as they come, until the stream ends.

        Raises `SourceTimeout` where packets come and no good picture, and PyAV's errors.
        """
        seen_s = asked_s = self._begun_s = self._clock()
        limit_s = max(_FIRST_PICTURE_S, self._stall_s)
        for packet in self._container.demux(self._stream):
            now_s = self._clock()
            # Where nothing comes, FFmpeg first hands out what it still held, and then waits again.
            if packet.size and now_s - asked_s >= _NEARLY * self._stall_s:
                raise stalled(self._name, now_s - asked_s)
            for picture in self._decoded(packet, now_s):
                seen_s, limit_s = now_s, self._stall_s
                yield Arrived(picture, now_s)
                seen_s = self._clock()
            asked_s = self._clock()
            if now_s - seen_s >= limit_s:
                raise stalled(self._name, now_s - seen_s)

    def _decoded(self, packet: Packet[VideoStream], now_s: float) -> Iterator[av.VideoFrame]:
        """What a packet adds that may be shown."""
        if packet.size == 0:
            yield from self._shown(packet, now_s)  # the end: what the decoder still holds
            return
        if packet.is_corrupt or (self._numbers and self._numbers.is_gap_before(bytes(packet))):
            self._wait_for_key("damaged")
        elif self._is_late(packet, now_s) and not self._waits_for_key:
            self._wait_for_key("late")
        if packet.is_keyframe:
            self._key_fed = True
        if self._waits_for_key and not self._key_fed:
            if not self._lacks_keys(now_s):
                self.drops["no key frame"] += 1
                return
            self._key_fed = True
        yield from self._shown(packet, now_s)

    def _shown(self, packet: Packet[VideoStream], now_s: float) -> Iterator[av.VideoFrame]:
        try:
            pictures = packet.decode()
        except av.error.InvalidDataError:
            self._wait_for_key("damaged")
            return
        for picture in pictures:
            if picture.is_corrupt:
                self._wait_for_key("damaged")
            elif self._waits_for_key and not (picture.key_frame or self._lacks_keys(now_s)):
                self.drops["no key frame"] += 1
            else:
                self._waits_for_key = self._may_lack_keys = False
                yield picture

    def _is_late(self, packet: Packet[VideoStream], now_s: float) -> bool:
        return self._lag is not None and self._lag.of(packet, now_s) > _LATE_S

    def _lacks_keys(self, now_s: float) -> bool:
        """Whether this stream, from its first packet on, seems to have no key frames at all."""
        return self._may_lack_keys and now_s - self._begun_s >= _KEY_FRAME_S

    def _wait_for_key(self, cause: str) -> None:
        """Show nothing until the next key frame."""
        self.drops[cause] += 1
        self._waits_for_key, self._key_fed = True, False
        if self._numbers:
            self._numbers.forget()


class _Lag:
    """How much later than the quickest ones packets are taken, from their stamps and the clock.

    A decoder that cannot keep up leaves ever more of them waiting in the connection.
    """

    def __init__(self) -> None:
        self._least_s = self._next_s = self._until_s = self._stamp_s = float("inf")

    def of(self, packet: Packet[VideoStream], now_s: float) -> float:
        """Seconds; 0 without a stamp, with the last one's, and after the camera's clock was turned
        back."""
        if packet.pts is None or packet.time_base is None:
            return 0.0
        stamp_s = float(packet.pts * packet.time_base)
        if stamp_s == self._stamp_s:
            return 0.0
        offset_s = now_s - stamp_s
        if not stamp_s >= self._stamp_s - _TURNED_BACK_S:
            self._least_s = self._next_s = offset_s
            self._until_s = now_s + _OFFSET_WINDOW_S
        elif now_s >= self._until_s:
            self._least_s, self._next_s = self._next_s, offset_s
            self._until_s = now_s + _OFFSET_WINDOW_S
        self._stamp_s = stamp_s
        self._next_s = min(self._next_s, offset_s)
        self._least_s = min(self._least_s, offset_s)
        return offset_s - self._least_s


class Pace:
    """Holds back pictures that come in bursts until each is due by its own stamp."""

    def __init__(self, clock: Callable[[], float], wait: Callable[[float], object]) -> None:
        self._clock, self._wait = clock, wait
        self._begin_s: float | None = None

    def due_s(self, stamp_s: float | None) -> float:
        """Wait for the time at which a picture of this stamp is due, and return it.

        After an interruption, or a jump of the stamps, the pace begins anew.
        """
        now_s = self._clock()
        if stamp_s is None:
            return now_s
        ahead_s = (self._begin_s or 0.0) + stamp_s - now_s
        if self._begin_s is None or not -_SLACK_S <= ahead_s <= _LONGEST_BURST_S:
            self._begin_s, ahead_s = now_s - stamp_s, 0.0
        if ahead_s > 0:
            self._wait(ahead_s)
        return self._begin_s + stamp_s


_SLICE, _KEY_SLICE, _PARAMETERS = 1, 5, 7
# Profiles whose parameters name a chroma format.
_HIGH = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244))
# More than the fields wanted here can take, escapes included.
_HEAD_BYTES = 160


class H264Numbers:
    """Follows the pictures' numbers through packets of Annex B form, the form of live streams."""

    def __init__(self, parameters: bytes | None = None) -> None:
        """`parameters` are those sent ahead of the stream, if any."""
        self._bits = 0  # of frame_num; 0 while no parameters were seen
        self._colour_planes = self._gaps_allowed = False
        self._last: int | None = None
        self.is_gap_before(parameters or b"")

    def is_gap_before(self, packet: bytes) -> bool:
        """Whether a picture that others refer to is missing right before this packet's."""
        start = packet.find(b"\0\0\1")
        while start >= 0:
            start += 3
            head = packet[start : start + _HEAD_BYTES]
            kind = head[0] & 31 if head else 0
            try:
                if kind == _PARAMETERS:
                    self._read_parameters(_Bits(head))
                elif kind in (_SLICE, _KEY_SLICE):
                    return self._follow(kind, head[0] >> 5 & 3, _Bits(head))
            except IndexError:
                return False  # cut off: the decoder will say so
            start = packet.find(b"\0\0\1", start)
        return False

    def forget(self) -> None:
        """Begin anew with whatever comes next."""
        self._last = None

    def _follow(self, kind: int, reference: int, bits: _Bits) -> bool:
        """Take in a picture's first slice."""
        if not self._bits:
            return False
        for _ in range(3):  # its first block, its type, its picture's parameters
            bits.golomb()
        if self._colour_planes:
            bits.take(2)
        number, last = bits.take(self._bits), self._last
        if reference:
            self._last = number
        if kind == _KEY_SLICE or last is None or self._gaps_allowed:
            return False
        return number not in (last, (last + 1) % (1 << self._bits))

    def _read_parameters(self, bits: _Bits) -> None:
        """A sequence parameter set up to what matters here (7.3.2.1.1)."""
        profile = bits.take(8)
        bits.take(16)
        bits.golomb()
        colour_planes = False
        if profile in _HIGH:
            chroma = bits.golomb()
            colour_planes = chroma == 3 and bits.take(1) == 1
            bits.golomb()
            bits.golomb()
            bits.take(1)
            if bits.take(1):
                for place in range(12 if chroma == 3 else 8):
                    if bits.take(1):
                        bits.skip_scaling_list(16 if place < 6 else 64)
        self._colour_planes, self._bits = colour_planes, bits.golomb() + 4
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.take(1)
            bits.golomb()
            bits.golomb()
            for _ in range(min(bits.golomb(), 255)):
                bits.golomb()
        bits.golomb()
        self._gaps_allowed = bits.take(1) == 1


class _Bits:
    """Reads a unit bit by bit behind its first byte, without the bytes that escape zeros."""

    def __init__(self, unit: bytes) -> None:
        self._data = unit[1:].replace(b"\0\0\3", b"\0\0")
        self._at = 0

    def take(self, count: int) -> int:
        """The next bits as a number; IndexError past the end."""
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def golomb(self) -> int:
        """The next exponential-Golomb code (9.1), as an unsigned number."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def skip_scaling_list(self, size: int) -> None:
        """Pass a list of 16 or 64 differences, which may end early (7.3.2.1.1.1)."""
        last = following = 8
        for _ in range(size):
            if following:
                code = self.golomb()
                following = (last + (-(code // 2) if code % 2 == 0 else (code + 1) // 2)) % 256
            last = following or last
