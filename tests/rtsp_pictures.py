"""What a test camera shows: the sample's face, or nobody, each picture numbered in itself.

The number stands as a row of black and white blocks along the top of the picture. Reading it back
tells when the picture was captured, and what it looked like before it was coded and sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ferstream.stream.sources.sample import SampleSource

Image = NDArray[np.uint8]

_NUMBER_BITS, _CHECK_BITS = 16, 8
_BLOCKS = 2 + _NUMBER_BITS + _CHECK_BITS
MODULUS = 1 << _NUMBER_BITS


def block_px(size: tuple[int, int]) -> int:
    """Side of a block of the code in a picture of this width and height."""
    return max(4, min(size[0] // 32, size[1] // 12) // 4 * 4)


def draw_number(pixels: Image, number: int) -> None:
    """Write a number into the top of an (H, W, 3) picture."""
    side = block_px((pixels.shape[1], pixels.shape[0]))
    value = number % MODULUS
    bits = f"10{value:016b}{(value ^ value >> 8) & 0xFF:08b}"
    for place, bit in enumerate(bits):
        pixels[:side, place * side : (place + 1) * side] = 255 if bit == "1" else 0


def read_number(pixels: Image) -> int | None:
    """The number in the top of a picture; None where there is none that can be trusted."""
    side = block_px((pixels.shape[1], pixels.shape[0]))
    row = pixels[side // 4 : side - side // 4, : side * _BLOCKS].astype(np.float32).mean((0, 2))
    quarter = max(1, side // 4)
    levels = row.reshape(_BLOCKS, side)[:, quarter:-quarter].mean(1)
    if np.any((levels > 80) & (levels < 175)):
        return None
    bits = "".join("1" if level > 127 else "0" for level in levels)
    value, check = int(bits[2 : 2 + _NUMBER_BITS], 2), int(bits[2 + _NUMBER_BITS :], 2)
    return value if bits[:2] == "10" and check == (value ^ value >> 8) & 0xFF else None


@dataclass(frozen=True)
class Pictures:
    """A loop of pictures, without their numbers."""

    size: tuple[int, int]
    rate_hz: float = 30.0
    scene: str = "face"
    """`face`: the sample in the middle, moving; `empty`: the same ground with nobody there."""
    count: int = 108
    """Pictures until it begins again; the sample's 3.6 s take 108 at 30 a second."""

    def picture(self, number: int) -> Image:
        """(H, W, 3) RGB as captured, with its number in it."""
        width_px, height_px = self.size
        pixels = np.empty((height_px, width_px, 3), np.uint8)
        pixels[:] = np.linspace(70, 130, width_px).astype(np.uint8)[None, :, None]
        if self.scene == "face":
            sample = _sample()
            at = round((number % self.count) / self.rate_hz * 30) % len(sample)
            scale = min(height_px / 480, width_px / 640)
            tile = cv2.resize(sample[at], (round(640 * scale), round(480 * scale)))
            x, y = (width_px - tile.shape[1]) // 2, (height_px - tile.shape[0]) // 2
            pixels[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        draw_number(pixels, number)
        return pixels

    def prepare(self) -> None:
        """Do what `strangeness` needs once; it takes a moment."""
        self._grids()

    def strangeness(self, pixels: Image) -> float:
        """How far a received picture is from what was captured: 0..255, the worst place's mean.

        255 where it bears no number or has another size. A picture that was only coded differs by
        less than 10, a smeared, half or grey one by far more.
        """
        number = read_number(pixels)
        if number is None or pixels.shape[1::-1] != self.size:
            return 255.0
        return float(np.abs(_coarse(pixels) - self._grids()[number % self.count]).max())

    @cache  # noqa: B019  the few loops of a test run live as long as it does
    def _grids(self) -> list[NDArray[np.float32]]:
        return [_coarse(self.picture(number)) for number in range(self.count)]

    def raw(self, path: Path) -> dict[str, Any]:
        """Write the pictures as I420 planes; what the server is told of them."""
        planes = [self._planes(number) for number in range(self.count)]
        return self._written(path, planes, b"", [], raw=True)

    def coded(self, path: Path, gop: int) -> dict[str, Any]:
        """Write them as H.264, a picture that stands for itself every `gop`; what to tell."""
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height = self.size
        context.pix_fmt, context.framerate = "yuv420p", round(self.rate_hz)
        context.gop_size = gop
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "crf": "20",
            "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:repeat-headers=1:threads=1",
        }
        units: list[bytes] = []
        keys: list[int] = []
        for number in range(self.count):
            frame = av.VideoFrame.from_ndarray(self.picture(number), format="rgb24")
            frame.pts = number
            for packet in context.encode(frame):
                if packet.is_keyframe:
                    keys.append(len(units))
                units.append(bytes(packet))
        units += [bytes(packet) for packet in context.encode(None)]
        return self._written(path, units, _parameter_sets(units[0]), keys, raw=False)

    def _planes(self, number: int) -> bytes:
        frame = av.VideoFrame.from_ndarray(self.picture(number), format="rgb24")
        return np.asarray(frame.reformat(format="yuv420p").to_ndarray()).tobytes()

    def _written(
        self, path: Path, items: list[bytes], header: bytes, keys: list[int], *, raw: bool
    ) -> dict[str, Any]:
        path.write_bytes(b"".join(items))
        ends = np.cumsum([len(item) for item in items]).tolist()
        code = {"block_px": block_px(self.size), "modulus": MODULUS}
        told = {"path": str(path), "size": self.size, "raw": raw, "ends": ends, "keys": keys}
        return {**told, "header": header.hex(), "code": code}


def written(pictures: Pictures, folder: Path, gop: int, *, raw: bool) -> dict[str, Any]:
    """The pictures' file in `folder`, made at first use; what the server is told of it."""
    width_px, height_px = pictures.size
    kind = "raw" if raw else f"gop{gop}"
    name = f"{pictures.scene}-{width_px}x{height_px}-{pictures.rate_hz:g}-{pictures.count}-{kind}"
    told, path = folder / f"{name}.json", folder / f"{name}.bin"
    if not told.exists():
        facts = pictures.raw(path) if raw else pictures.coded(path, gop)
        told.write_text(json.dumps(facts))
    facts = json.loads(told.read_text())
    assert isinstance(facts, dict)
    return facts


def _parameter_sets(unit: bytes) -> bytes:
    """The sequence's and picture's parameter sets at the front of an access unit."""
    kept = b""
    for part in unit.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")[1:]:
        if part[0] & 0x1F in (7, 8):
            kept += b"\x00\x00\x00\x01" + part
    return kept


def _coarse(pixels: Image) -> NDArray[np.float32]:
    """(8, 16, 3) means of the picture's places below the number."""
    grid = cv2.resize(pixels, (16, 9), interpolation=cv2.INTER_AREA)
    return np.asarray(grid[1:], np.float32)


@lru_cache(maxsize=1)
def _sample() -> list[Image]:
    return [frame.pixels for frame in SampleSource().frames()]
