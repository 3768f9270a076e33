"""Files that mean harm, made on the spot."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import av
import numpy as np

from tests import media


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing."""
    return png(width, height, zlib.compress(b"\x00" * 64))


def png_bomb(side: int) -> bytes:
    """A valid PNG of one colour, some thousand times smaller than its pixels."""
    packer = zlib.compressobj(9)
    row = b"\x00" + b"\x00" * (3 * side)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png(side, side, body)


def png(width: int, height: int, body: bytes) -> bytes:
    """A PNG of these compressed rows, 8-bit RGB."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def jpeg_of_many_scans(scans: int) -> bytes:
    """A JPEG head that is followed by far more scans than a picture has."""
    head = b"\xff\xd8\xff\xc2\x00\x11\x08\x00\x40\x00\x40\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    return head + b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00\x00" * scans + b"\xff\xd9"


def endless_gif(path: Path, frames: int) -> Path:
    """An animation of many frames that says to begin anew for ever."""
    with av.open(str(path), "w", options={"loop": "0"}) as file:
        stream = file.add_stream("gif", rate=50)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb8"
        for index in range(frames):
            pixels = np.full((16, 16, 3), index % 200, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def playlists(folder: Path, secret: Path) -> list[Path]:
    """Lists that tell a decoder to read another file, and texts that are drawn as pictures."""
    named = {
        "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nfile://{0}\n#EXT-X-ENDLIST\n",
        "hls.mp4": "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1.0,\n{0}\n#EXT-X-ENDLIST\n",
        "concat.mp4": "ffconcat version 1.0\nfile '{0}'\n",
        "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        'type="static"><Period><AdaptationSet mimeType="video/mp4"><Representation id="0">'
        "<BaseURL>file://{0}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "svg.png": '<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{0}"/></svg>',
        "sub.mp4": "DEFAULT={0}\n[Script Info]\n",
        "text.mp4": "just some text, of which nobody wants a video\n" * 50,
    }
    paths = []
    for name, text in named.items():
        path = folder / name
        path.write_text(text.format(secret))
        paths.append(path)
    return paths


def mov_that_points_elsewhere(path: Path, target: Path) -> Path:
    """A MOV whose track says that its samples lie in another file."""
    media.video(path, 3)
    data = bytearray(path.read_bytes())
    at = data.find(b"url \x00\x00\x00\x01")
    assert at > 0, "the data reference of a self-contained track"
    # Its box has no room for a path: an alias box of the same size, no longer self-contained.
    data[at : at + 8] = b"alis\x00\x00\x00\x00"
    path.write_bytes(bytes(data) + str(target).encode())
    return path


def _chunk(name: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)
