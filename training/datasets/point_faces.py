"""Faces with 106 landmarks each, to teach and to judge the landmark network.

Four origins: FER+ photographs with a teacher's landmarks, wild photographs and clips with those
of MediaPipe's mesh, and the rendered 3D face, of which points and pose are known exactly.
Everything is plain numpy.

N faces, P = 106 points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.engines.files import written_whole
from ferstream.stream.faces.detect import FaceMesh, Mesh, Region
from ferstream.stream.faces.points import IRISES, PLACE, POINTS, angles_deg, head_turn
from ferstream.stream.sources import open_source

from .arrays import stored_arrays
from .fer import load_fer_plus
from .judged import load_wild
from .readers.finder import FaceFinder
from .synthetic import (
    ARKIT_NAMES,
    MESH_NUMBERS,
    SyntheticFaces,
    SyntheticHead,
    SyntheticOptions,
    labels_of,
)
from .synthetic.camera import Pose

Floats = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]

ORIGINS = ("fer2013plus", "wild", "clips", "rendered")
CLIPS = {
    "train": ("book.mkv", "eat.mkv", "face_noface.mov", "noface_face.mov", "single_face.mp4"),
    "test": ("smiling_man.mp4", "two_faces.mp4", "three_faces.mp4"),
}
"""Nobody is in clips of both kinds."""
_CLIP_STEP = {"train": 3, "test": 4}
"""Every so many frames one is taken: neighbours teach nothing new."""
_AROUND, _MOST_PX = 2.2, 144
"""Of larger pictures a square about the face is kept, so many longer sides of it wide, reduced to
this side at most."""
_SURE = 0.9
"""Presence from which the mesh of a photograph is believed."""
_RENDERED_PX, _PEOPLE = 128, {"train": (0, 400), "validation": (400, 60), "test": (460, 80)}
_FLIP = np.diag([1.0, -1.0, -1.0])
"""From the 3D face's axes, y up and z to the viewer, to those of `head_turn`."""
_BLINKS = ("eyeBlinkRight", "eyeBlinkLeft")


@dataclass(frozen=True)
class PointFaces:
    """N faces of one split.

    pictures are N grey images (H, W) uint8; points_xy (N, P, 2) float32 pixels of them, in the
    order of POINTS; irises (N,) whether the last two points are known; pose_deg (N, 3) yaw, pitch
    and roll as `angles_deg` has them; opening (N, 2) 0..1 how far the person's right and left eye
    are open, NaN where unknown; origin (N,) numbers of ORIGINS.
    """

    pictures: list[Grey]
    points_xy: Floats
    irises: npt.NDArray[np.bool_]
    pose_deg: Floats
    opening: Floats
    origin: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.points_xy)

    def take(self, rows: npt.NDArray[np.int64]) -> PointFaces:
        """The chosen rows only."""
        return PointFaces(
            [self.pictures[row] for row in rows.tolist()],
            self.points_xy[rows],
            self.irises[rows],
            self.pose_deg[rows],
            self.opening[rows],
            self.origin[rows],
        )

    def of(self, origin: str) -> PointFaces:
        """Those of one origin."""
        return self.take(np.flatnonzero(self.origin == ORIGINS.index(origin)))

    @property
    def fingerprint(self) -> str:
        """Twelve letters that change with any picture or point."""
        digest = hashlib.sha256(self.points_xy.tobytes() + self.pose_deg.tobytes())
        for picture in self.pictures:
            digest.update(picture.tobytes())
        return digest.hexdigest()[:12]

    def save(self, path: Path) -> None:
        """As an .npz without objects."""
        flat = np.concatenate([picture.ravel() for picture in self.pictures])
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as fresh, fresh.open("wb") as file:
            np.savez(
                file,
                pixels=flat,
                shapes=np.array([picture.shape for picture in self.pictures], np.int32),
                points_xy=self.points_xy,
                irises=self.irises,
                pose_deg=self.pose_deg,
                opening=self.opening,
                origin=self.origin,
            )


def load_point_faces(path: Path) -> PointFaces:
    """What `PointFaces.save` wrote. Raises FileNotFoundError, ArraysUnreadable."""
    stored = stored_arrays(path)
    shapes = stored.pop("shapes")
    ends = np.cumsum(shapes.prod(axis=1, dtype=np.int64))
    flat = np.split(stored.pop("pixels"), ends[:-1])
    pictures = [one.reshape(shape) for one, shape in zip(flat, shapes.tolist(), strict=True)]
    return PointFaces(pictures, **stored)


def joined(parts: Sequence[PointFaces]) -> PointFaces:
    """All of them, in order."""
    return PointFaces(
        [picture for part in parts for picture in part.pictures],
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("points_xy", "irises", "pose_deg", "opening", "origin")
        ),
    )


def photographed(split: str, folder: str | Path | None, most: int | None = None) -> PointFaces:
    """FER+ photographs of a split on which the teacher sees a face."""
    data = load_fer_plus(split, folder)
    rows = np.flatnonzero(data.seen)[:most]
    place = {int(number): at for at, number in enumerate(data.landmark_index)}
    marks = data.landmarks_xy[rows]
    points = np.empty((len(rows), len(POINTS), 2), np.float32)
    mesh = [place[number] for number in POINTS[: -len(IRISES)]]
    points[:, : len(mesh)] = marks[:, mesh]
    for at, first in ((-2, 469), (-1, 474)):
        points[:, at] = marks[:, [place[number] for number in range(first, first + 4)]].mean(1)
    blinks = [data.blendshape_names.index(name) for name in _BLINKS]
    return _photographs(
        "fer2013plus",
        list(data.pixels[rows]),
        points,
        irises=True,
        opening=1 - data.blendshapes[rows][:, blinks],
    )


def wild_points(split: str, folder: str | Path | None) -> PointFaces:
    """Wild photographs of a split on whose judged face the mesh is sure."""
    faces = load_wild(split, folder)
    mesh = FaceMesh(workers=1)
    found = []
    for row, picture in enumerate(faces.pictures()):
        x, y, width, height = (float(v) for v in faces.boxes[row])
        across, down = (faces.points[row, 1] - faces.points[row, 0]).tolist()
        square = Region(x + width / 2, y + height / 2, 1.5 * max(width, height), 0.0)
        square = Region(square.x, square.y, square.side_px, float(np.arctan2(down, across)))
        for _ in range(2):
            (seen,) = mesh.run(picture, [square])
            square = Region.around(seen.xy)
        if seen.presence >= _SURE:
            found.append(_cut_out(picture, seen))
    mesh.close()
    return _of_mesh("wild", found)


def clip_points(split: str, folder: str | Path) -> PointFaces:
    """Faces in some frames of real clips."""
    finder, found = FaceFinder(), []
    for name in CLIPS[split]:
        source = open_source(Path(folder) / name)
        try:
            for number, frame in enumerate(source.frames()):
                if number % _CLIP_STEP[split]:
                    continue
                seen = [mesh for mesh in finder.faces(frame.pixels) if mesh.presence >= _SURE]
                found += [_cut_out(frame.pixels, mesh) for mesh in seen]
        finally:
            source.close()
    return _of_mesh("clips", found)


def rendered_points(split: str, count: int, head: SyntheticHead, most_deg: float) -> PointFaces:
    """The 3D face turned to both sides by `most_deg` at most, half of that up and down, leaning."""
    options = SyntheticOptions(
        size_px=_RENDERED_PX,
        taxonomy="fg33",
        colour="grey",
        supersample=1,
        people=_PEOPLE[split],
        strength=(0.0, 1.0),
        seed=list(_PEOPLE).index(split),
    )
    faces, words = SyntheticFaces(head, options), labels_of("fg33")
    mesh = [MESH_NUMBERS.index(number) for number in POINTS[: -len(IRISES)]]
    rng = np.random.default_rng([options.seed, count])
    pictures, points, poses, opening = [], [], [], []
    for number in range(count):
        yaw, pitch = rng.uniform(-most_deg, most_deg), rng.uniform(-most_deg, most_deg) / 2
        turn = Pose(float(yaw), float(pitch), float(rng.normal(0, 8)))
        word = words[int(rng.integers(len(words)))]
        image = faces.image(number, word=word, turn=turn)
        irises = [
            image.mesh_xy[[MESH_NUMBERS.index(n) for n in range(first, first + 4)]].mean(0)
            for first in (469, 474)
        ]
        pictures.append(image.pixels)
        points.append(np.concatenate([image.mesh_xy[mesh], irises]))
        poses.append(angles_deg(_FLIP @ turn.matrix() @ _FLIP))
        opening.append([1 - image.blendshapes[ARKIT_NAMES.index(name)] for name in _BLINKS])
    return PointFaces(
        pictures,
        np.array(points, np.float32),
        np.ones(count, np.bool_),
        np.array(poses, np.float32),
        np.array(opening, np.float32),
        np.full(count, ORIGINS.index("rendered"), np.int8),
    )


def _of_mesh(origin: str, found: list[tuple[Grey, Floats]]) -> PointFaces:
    points = np.stack([xy for _, xy in found])
    opening = np.full((len(found), 2), np.nan, np.float32)
    return _photographs(origin, [grey for grey, _ in found], points, irises=False, opening=opening)


def _photographs(
    origin: str, pictures: list[Grey], points: Floats, *, irises: bool, opening: Floats
) -> PointFaces:
    """Their pose is read off their points, as far as a mean head says it."""
    poses = [angles_deg(head_turn(one)) for one in points]
    return PointFaces(
        pictures,
        points,
        np.full(len(points), irises),
        np.array(poses, np.float32).reshape(-1, 3),
        opening.astype(np.float32),
        np.full(len(points), ORIGINS.index(origin), np.int8),
    )


def _cut_out(rgb: npt.NDArray[np.uint8], mesh: Mesh) -> tuple[Grey, Floats]:
    """The part of a picture about a face, grey, and its points (P, 2) there; the eyes'
    middles stand for the irises, which the mesh of 468 points lacks."""
    xy = mesh.xy[[*POINTS[: -len(IRISES)]]].astype(np.float64)
    low, high = xy.min(0), xy.max(0)
    middle, half = (low + high) / 2, _AROUND / 2 * (high - low).max()
    height, width = rgb.shape[:2]
    left, top = np.maximum(np.floor(middle - half), 0).astype(int)
    right, bottom = np.minimum(np.ceil(middle + half), [width, height]).astype(int)
    part = np.asarray(cv2.cvtColor(rgb[top:bottom, left:right], cv2.COLOR_RGB2GRAY), np.uint8)
    xy -= [left, top]
    scale = _MOST_PX / max(part.shape)
    if scale < 1:
        size = [max(round(side * scale), 1) for side in part.shape[::-1]]
        x_scale, y_scale = size[0] / part.shape[1], size[1] / part.shape[0]
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        xy = (xy + 0.5) * [x_scale, y_scale] - 0.5
    eyes = [xy[[PLACE[n] for n in corners]].mean(0) for corners in ((33, 133), (362, 263))]
    return part, np.concatenate([xy, eyes]).astype(np.float32)


def made(
    folder: str | Path | None, clips: str | Path, head: SyntheticHead
) -> Iterator[tuple[str, PointFaces]]:
    """The three splits by name: train, validation and test."""
    yield (
        "test",
        joined(
            [
                photographed("test", folder, 1500),
                wild_points("test", folder),
                clip_points("test", clips),
                rendered_points("test", 600, head, 60.0),
            ]
        ),
    )
    yield (
        "validation",
        joined(
            [
                photographed("validation", folder, 800),
                wild_points("validation", folder),
                rendered_points("validation", 400, head, 60.0),
            ]
        ),
    )
    yield (
        "train",
        joined(
            [
                photographed("train", folder),
                wild_points("train", folder),
                clip_points("train", clips),
                rendered_points("train", 7000, head, 80.0),
            ]
        ),
    )
