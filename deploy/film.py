"""Writes the built-in sample as an H.264 film, for a camera to play: `film.py PATH.mp4`."""

from __future__ import annotations

import sys
from pathlib import Path

import av

from ferstream import open_source


def main(path: str) -> None:
    """A key frame each second, so that who connects sees a picture soon."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as film, open_source("sample") as source:
        stream = film.add_stream("libx264", rate=30, options={"g": "30", "bf": "0"})
        stream.width, stream.height = source.size
        stream.pix_fmt = "yuv420p"
        for frame in source.frames():
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")))
        film.mux(stream.encode(None))


if __name__ == "__main__":
    main(sys.argv[1])
