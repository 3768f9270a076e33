"""The project's own front end beside MediaPipe's, both following faces in the same frames.

    python -m tests.bench_front FILE... [--bundle BUNDLE] [--frames N]

For each file: process time of a tracker's step, the first ones left out, faces and ids told, and
how far the 104 common points of a face are apart, in distances between the outer eye corners.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from ferstream.engines.bundle import load_bundle
from ferstream.stream.faces.front import Detector, Landmarker, open_front_end
from ferstream.stream.faces.options import FaceOptions
from ferstream.stream.faces.points import IRISES, POINTS
from ferstream.stream.faces.sight import Face
from ferstream.stream.faces.track import FaceTracker
from ferstream.stream.frame import Frame
from ferstream.stream.sources import open_source

WARM_UP = 5
_COMMON = list(POINTS[: -len(IRISES)])


@dataclass
class Told:
    """What one front end made of a file."""

    spent_s: float = 0.0
    steps: int = 0
    faces: list[list[Face]] = field(default_factory=list)

    def line(self) -> str:
        ids = {face.id for faces in self.faces for face in faces}
        return (
            f"{1e3 * self.spent_s / max(self.steps, 1):.2f} ms a frame, "
            f"{sum(map(len, self.faces))} faces, {len(ids)} ids"
        )


def followed(
    frames: list[Frame], fronts: dict[str, tuple[Detector, Landmarker]]
) -> dict[str, Told]:
    """All front ends on the same frames, in turns, so that what else runs hits all alike."""
    trackers = {name: FaceTracker(FaceOptions(rotate=0), *both) for name, both in fronts.items()}
    told = {name: Told() for name in fronts}
    for number, frame in enumerate(frames):
        for name, tracker in trackers.items():
            start_s = time.process_time()
            faces = tracker.update(frame)
            if number >= WARM_UP:
                told[name].spent_s += time.process_time() - start_s
                told[name].steps += 1
            told[name].faces.append(faces)
    return told


def apart(mine: list[list[Face]], others: list[list[Face]]) -> list[float]:
    """Of each of the others' faces that has one of mine at its place, how far the points are."""
    found = []
    for ours, theirs in zip(mine, others, strict=True):
        for face in theirs:
            x, y, width, height = face.box
            here = [
                one
                for one in ours
                if abs(one.box[0] + one.box[2] / 2 - x - width / 2) < width / 2
                and abs(one.box[1] + one.box[3] / 2 - y - height / 2) < height / 2
            ]
            if here:
                wanted = face.landmarks_xy
                eyes = float(np.linalg.norm(wanted[263] - wanted[33]))
                away = np.linalg.norm(here[0].landmarks_xy[_COMMON] - wanted[_COMMON], axis=1)
                found.append(float(away.mean()) / max(eyes, 1e-6))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Own front end beside MediaPipe's.")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--bundle", default="default")
    parser.add_argument("--frames", type=int, default=60)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = load_bundle(asked.bundle)
    fronts = {name: open_front_end(name, bundle, threads=1) for name in ("mediapipe", "own")}
    for name in asked.files:
        source = open_source(name)
        try:
            frames = list(islice(source.frames(), asked.frames))
        finally:
            source.close()
        told = followed(frames, fronts)
        away = apart(told["own"].faces, told["mediapipe"].faces)
        height, width = frames[0].pixels.shape[:2]
        print(f"{Path(name).name}, {width}x{height}, {len(frames)} frames")
        for front, one in told.items():
            print(f"  {front}: {one.line()}")
        ratio = told["mediapipe"].spent_s / max(told["own"].spent_s, 1e-9)
        points = f"{100 * float(np.mean(away)):.2f} %" if away else "none in common"
        print(f"  {ratio:.2f} times as fast; {len(away)} common faces, points apart {points}")


if __name__ == "__main__":
    main()
