"""A live stream's packets decoded to pictures of which no part is invented, and none is late."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import av.error

from .failures import stalled
from .h264 import H264Numbers

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

    def __init__(
        self, clock: Callable[[], float], wait: Callable[[float], object], slack_s: float = 0.5
    ) -> None:
        self._clock, self._wait, self._slack_s = clock, wait, slack_s
        self._begin_s: float | None = None

    def due_s(self, stamp_s: float | None) -> float:
        """Wait for the time at which a picture of this stamp is due, and return it.

        After an interruption, or a jump of the stamps, the pace begins anew.
        """
        now_s = self._clock()
        if stamp_s is None:
            return now_s
        ahead_s = (self._begin_s or 0.0) + stamp_s - now_s
        if self._begin_s is None or not -self._slack_s <= ahead_s <= _LONGEST_BURST_S:
            self._begin_s, ahead_s = now_s - stamp_s, 0.0
        if ahead_s > 0:
            self._wait(ahead_s)
        return self._begin_s + stamp_s
