"""Whether pictures are missing between two of an H.264 stream, which its decoder does not say.

A decoder that never got a picture paints the following ones upon what it has: faces smear. The
pictures bear numbers (frame_num, ITU-T H.264 7.4.3), which tell; other codecs' decoders flag it
themselves.
"""

from __future__ import annotations

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
