"""Measures how often one person gets two ids and two people share one (BENCHMARKS.md).

    python -m tests.bench_ids DATA CLIPS

Looks alone: pairs of different people. Then the tracker: people of the clips at slow and uneven
rates and after absences; photographs of two people one after the other at one place, cut and on one
ground; and one photograph changed in size, light and sharpness.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferstream.stream.faces.detect import FaceDetector
from ferstream.stream.faces.looks import Looks
from ferstream.stream.faces.mesh import FaceMesh
from ferstream.stream.faces.options import FaceOptions
from ferstream.stream.faces.sight import Face
from ferstream.stream.faces.track import FaceTracker
from ferstream.stream.frame import Frame

from .stream.footage import PATCH_PX, canvas, faces_cut_out, frames_of, paste

Picture = NDArray[np.uint8]
CLIPS = ("single_face.mp4", "smiling_man.mp4", "book.mkv", "eat.mkv", "two_faces.mp4")
THRESHOLDS = (0.3, 0.42, 0.48, 0.56)


class Bench:
    """The networks, shared by all trackers."""

    def __init__(self) -> None:
        self.networks = FaceDetector(), FaceMesh(workers=1)
        self.random = np.random.default_rng(0)

    def ids(self, frames: Sequence[Frame]) -> list[list[int]]:
        """The ids of each frame, by a tracker of its own."""
        tracker = FaceTracker(FaceOptions(rotate=0), *self.networks)
        return [[face.id for face in tracker.update(frame)] for frame in frames]

    def people(self, frames: Sequence[Frame]) -> str:
        """How many ids there are live, in a recording's rows as they come, and at its end."""
        tracker = FaceTracker(FaceOptions(rotate=0), *self.networks)
        told: set[int] = set()
        joined: dict[int, int] = {}
        for frame in frames:
            told |= {face.id for face in tracker.update(replace(frame, ahead=True))}
            joined |= tracker.joined
        passing = told - set(joined)
        settled = passing - set(tracker.settled())
        return f"{len(told)} ids live, {len(passing)} as it is read, {len(settled)} at the end"

    def face(self, picture: Picture) -> Face | None:
        """The largest face."""
        tracker = FaceTracker(FaceOptions(rotate=0, max_faces=1), *self.networks)
        return next(iter(tracker.update(Frame(picture, 0.0, 0, "one"))), None)


def photographs(folder: Path, count: int) -> list[Picture]:
    """Of a set, in its order."""
    names = np.load(folder / "labels.npz")["name"][:count]
    with zipfile.ZipFile(folder / "images.zip") as archive:
        return [
            np.ascontiguousarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
            for name in names
        ]


def pairs(bench: Bench, pictures: list[Picture]) -> None:
    """How alike different people look."""
    seen = [(p, face) for p in pictures if (face := bench.face(p)) is not None]
    views = [Looks.of(picture, face.box, face.crop) for picture, face in seen]
    likeness = np.array([one.likeness(other) for one, other in combinations(views, 2)])
    told = ", ".join(f"{np.sum(likeness >= t)} at {t}" for t in THRESHOLDS)
    print(f"{len(views)} people, {len(likeness)} pairs taken for one person: {told}")


def grey_pairs(folder: Path, count: int) -> None:
    """How alike grey faces of FER+'s validation split look, which are aligned as they come."""
    labels = np.load(folder / "labels.npz")
    pixels = np.concatenate([np.load(folder / f"pixels_{part}.npz")["pixels"] for part in "ab"])
    rows = np.flatnonzero((labels["split"] == 1) & labels["keep"])[:count]
    views = []
    for picture in pixels[rows]:
        crop = np.asarray(cv2.resize(picture, (64, 64)), np.uint8)
        grey = np.repeat(crop[:, :, None], 3, axis=2)
        views.append(Looks.of(grey, (0.0, 0.0, 64.0, 64.0), crop))
    pattern_ND = np.stack([view.pattern for view in views]).astype(np.float32)
    likeness = (pattern_ND @ pattern_ND.T)[np.triu_indices(len(views), 1)]
    told = ", ".join(f"{np.mean(likeness >= t):.3%} at {t}" for t in THRESHOLDS)
    print(f"{len(views)} grey faces, {len(likeness)} pairs taken for one person: {told}")


def slow(bench: Bench, clips: Path) -> None:
    """Forty pictures of each clip, in any order, with uneven steps."""
    for name in CLIPS:
        pictures = [frame.pixels for frame in frames_of(clips / name)]
        people = len(bench.ids([Frame(pictures[0], 0.0, 0, name)])[0])
        for step_s in (0.5, 1.0, 2.0, 10.0):
            steps_s = step_s * bench.random.uniform(0.85, 1.3, 40)
            shown = bench.random.integers(0, len(pictures), 40)
            times_s = np.cumsum(steps_s)
            frames = [
                Frame(pictures[at], float(time_s), n, name)
                for n, (at, time_s) in enumerate(zip(shown, times_s, strict=True))
            ]
            print(f"{name}, a picture each {step_s} s: {people} people, {bench.people(frames)}")


def absences(bench: Bench, clips: Path) -> None:
    """Two seconds there, three away, six times over, at ten pictures a second."""
    for name in CLIPS:
        pictures = [frame.pixels for frame in frames_of(clips / name)]
        people = len(bench.ids([Frame(pictures[0], 0.0, 0, name)])[0])
        gone = np.full_like(pictures[0], 110)
        shown = []
        for _ in range(6):
            begin = int(bench.random.integers(0, len(pictures) - 20))
            shown += pictures[begin : begin + 20] + [gone] * 30
        frames = [Frame(picture, n / 10, n, name) for n, picture in enumerate(shown)]
        print(f"{name}, six times three seconds away: {people} people, {bench.people(frames)}")


def covered(picture: Picture, box: tuple[float, float, float, float]) -> Picture:
    """Something before the mouth of the face in this box."""
    x, y, width, height = (round(value) for value in box)
    hidden = picture.copy()
    hidden[
        y + height * 55 // 100 : y + height * 115 // 100, x - width // 8 : x + width * 9 // 8
    ] = (40, 60, 90)
    return hidden


def comes_back_covered(bench: Bench, clips: Path) -> None:
    """There, three seconds away, back elsewhere with something before the mouth for two seconds."""
    for name in CLIPS[:4]:  # of one person
        pictures = [frame.pixels for frame in frames_of(clips / name)]
        face = bench.face(pictures[0])
        assert face is not None
        away = [np.full_like(pictures[0], 110)] * 30
        back = [covered(p, face.box) for p in pictures[10:30]] + pictures[20:35]
        moved = [np.roll(p, round(face.box[2] / 2), axis=1) for p in back]
        shown = [*pictures[:15], *away, *map(np.ascontiguousarray, moved)]
        frames = [Frame(picture, n / 10, n, name, dense=True) for n, picture in enumerate(shown)]
        print(f"{name}, back covered: 1 person, {bench.people(frames)}")


def on_ground(bench: Bench, picture: Picture, face: Face) -> Picture:
    """The face, cut out, on a plain ground that is everybody's."""
    ground = canvas(480, 360)
    paste(ground, faces_cut_out([picture], face.box)[0], (480 - PATCH_PX) / 2, 100)
    return ground


def swaps(bench: Bench, pictures: list[Picture], count: int) -> None:
    """Two people at one place, a second apart."""
    seen = [(p, face) for p in pictures if (face := bench.face(p)) is not None]
    for what in ("as photographed", "on one ground", "on one ground within half a second"):
        shared = both = 0
        for _ in range(count):
            chosen = [seen[at] for at in bench.random.choice(len(seen), 2, replace=False)]
            if what != "as photographed":
                chosen = [(on_ground(bench, *one), one[1]) for one in chosen]
            step_s = 0.5 if what.endswith("second") else 1.0
            first, second = bench.ids(
                [
                    Frame(cv2.resize(p, (448, 448)), n * step_s, n, "x")
                    for n, (p, _) in enumerate(chosen)
                ]
            )
            both += bool(first and second)
            shared += bool(set(first) & set(second))
        print(f"two people one after the other, {what}: {shared} of {both} pairs share an id")


def changed(picture: Picture, how: str) -> Picture:
    """The same photograph, otherwise."""
    height, width = picture.shape[:2]
    if how == "half the size":
        return np.asarray(cv2.resize(picture, (width // 2, height // 2)), np.uint8)
    if how == "darker":
        return np.asarray(cv2.LUT(picture, (255 * (np.arange(256) / 255) ** 1.6).astype(np.uint8)))
    if how == "blurred":
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.5), np.uint8)
    if how == "elsewhere, turned by 12 degrees":
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 12, 0.8)
        matrix[:, 2] += 25
        return np.asarray(cv2.warpAffine(picture, matrix, (width, height), borderMode=1), np.uint8)
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 15])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


def changes(bench: Bench, pictures: list[Picture], count: int) -> None:
    """One photograph and, four seconds later, the same changed."""
    seen = [p for p in pictures if bench.face(p) is not None][:count]
    for how in ("half the size", "darker", "blurred", "elsewhere, turned by 12 degrees", "JPEG"):
        kept = both = 0
        for picture in seen:
            one, other = (
                Frame(p, 4.0 * n, n, "x") for n, p in enumerate((picture, changed(picture, how)))
            )
            first, second = bench.ids([one, other])
            both += bool(first and second)
            kept += bool(set(first) & set(second))
        print(f"one person, four seconds later, {how}: {kept} of {both} keep the id")


def main(data: Path, clips: Path) -> None:
    """All of it."""
    bench = Bench()
    fairface = photographs(data / "fairface", 270)
    pairs(bench, fairface)
    grey_pairs(data / "fer2013plus", 2000)
    slow(bench, clips)
    absences(bench, clips)
    comes_back_covered(bench, clips)
    swaps(bench, fairface, 150)
    changes(bench, fairface, 60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
