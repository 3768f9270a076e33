"""Makes the clips that BENCHMARKS.md measures on, from the built-in sample: anybody can.

    python -m tests.bench_clips FOLDER

one-720p.mp4    1280x720, 30 frames/s, 10 s, one face
five-720p.mp4   the same with five faces, each at a moment of its own
ten-minutes.mp4 one-720p sixty times over: the same packets, longer
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ferstream.stream.sources import open_source

Image = NDArray[np.uint8]

WIDTH_PX, HEIGHT_PX, RATE_HZ, DURATION_S = 1280, 720, 30, 10


def one_face(sample: list[Image]) -> Iterator[Image]:
    """The sample, enlarged to the frame's height, in the middle of a grey frame."""
    for index in range(RATE_HZ * DURATION_S):
        frame = np.full((HEIGHT_PX, WIDTH_PX, 3), 96, np.uint8)
        enlarged = cv2.resize(sample[index % len(sample)], (960, 720))
        frame[:, 160:1120] = enlarged
        yield frame


def five_faces(sample: list[Image]) -> Iterator[Image]:
    """Five smaller copies of the sample's middle, out of step."""
    for index in range(RATE_HZ * DURATION_S):
        frame = np.full((HEIGHT_PX, WIDTH_PX, 3), 96, np.uint8)
        for person in range(5):
            moment = sample[(index + 21 * person) % len(sample)]
            tile = cv2.resize(moment[:, 120:560], (420, 458))[:356]
            x, y = 430 * (person % 3), 360 * (person // 3)
            frame[y : y + 356, x : x + 420] = tile
        yield frame


def write(path: Path, frames: Iterator[Image]) -> None:
    """H.264 at RATE_HZ."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        stream.options = {"preset": "fast", "crf": "20"}
        for pixels in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())


def repeat(source: Path, path: Path, times: int) -> None:
    """The same packets ``times`` over, without decoding."""
    with av.open(str(path), "w") as out:
        target = None
        for turn in range(times):
            with av.open(str(source)) as file:
                stream = file.streams.video[0]
                target = target or out.add_stream_from_template(stream)
                shift = round(turn * DURATION_S / Fraction(stream.time_base or 1))
                for packet in file.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.dts += shift
                    packet.pts += shift
                    packet.stream = target
                    out.mux(packet)


def main(folder: Path) -> None:
    """Write all three."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = [frame.pixels for frame in open_source("sample").frames()]
    write(folder / "one-720p.mp4", one_face(sample))
    write(folder / "five-720p.mp4", five_faces(sample))
    repeat(folder / "one-720p.mp4", folder / "ten-minutes.mp4", 60)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
