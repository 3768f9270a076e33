"""Makes a HEIC photograph as phones do: a grid of HEVC tiles in one picture."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def grid(path: Path, pixels: Image, tile_px: int = 64) -> Path:
    """A picture whose sides are multiples of `tile_px`, in tiles of that size, row by row."""
    height, width = pixels.shape[:2]
    columns, rows = width // tile_px, height // tile_px
    tiles, configuration = _tiles(path, pixels, tile_px)
    grid_id = len(tiles) + 1
    shape = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    items = [*[(k + 1, b"hvc1", tile) for k, tile in enumerate(tiles)], (grid_id, b"grid", shape)]
    ids = b"".join(struct.pack(">H", k + 1) for k in range(len(tiles)))
    reference = _box(b"dimg", struct.pack(">HH", grid_id, len(tiles)) + ids)
    properties = _box(
        b"ipco",
        _box(b"hvcC", configuration)
        + _full(b"ispe", struct.pack(">II", tile_px, tile_px))
        + _full(b"ispe", struct.pack(">II", width, height)),
    )
    belongs = b"".join(
        struct.pack(">HB", item, 1) + b"\x83"
        if kind == b"grid"
        else struct.pack(">HB", item, 2) + b"\x81\x82"
        for item, kind, _ in items
    )
    association = _full(b"ipma", struct.pack(">I", len(items)) + belongs)
    described = b"".join(
        _full(b"infe", struct.pack(">HH", item, 0) + kind + b"\x00", version=2)
        for item, kind, _ in items
    )
    handler = struct.pack(">I4s12x", 0, b"pict") + b"\x00"
    kind = _box(b"ftyp", b"heic" + struct.pack(">I", 0) + b"mif1heic")

    def meta(first: int) -> bytes:
        places, at = b"", first
        for item, _, data in items:
            places += struct.pack(">HHHII", item, 0, 1, at, len(data))
            at += len(data)
        located = _full(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + places)
        return _full(
            b"meta",
            _full(b"hdlr", handler)
            + _full(b"pitm", struct.pack(">H", grid_id))
            + _full(b"iinf", struct.pack(">H", len(items)) + described)
            + _full(b"iref", reference)
            + _box(b"iprp", properties + association)
            + located,
        )

    begin = len(kind) + len(meta(0)) + 8
    path.write_bytes(kind + meta(begin) + _box(b"mdat", b"".join(data for *_, data in items)))
    return path


def _tiles(path: Path, pixels: Image, tile_px: int) -> tuple[list[bytes], bytes]:
    """Each tile as a key frame, and the decoder's configuration that they share."""
    film = path.with_suffix(".mp4")
    height, width = pixels.shape[:2]
    with av.open(str(film), "w") as file:
        options = {"x265-params": "keyint=1:log-level=none:crf=4"}
        stream = file.add_stream("libx265", rate=25, options=options)
        stream.width = stream.height = tile_px
        stream.pix_fmt = "yuv420p"
        for y in range(0, height, tile_px):
            for x in range(0, width, tile_px):
                part = np.ascontiguousarray(pixels[y : y + tile_px, x : x + tile_px])
                file.mux(stream.encode(av.VideoFrame.from_ndarray(part, format="rgb24")))
        file.mux(stream.encode(None))
    with av.open(str(film)) as file:
        configuration = bytes(file.streams.video[0].codec_context.extradata or b"")
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    film.unlink()
    return packets, configuration


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _full(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24) + content)
