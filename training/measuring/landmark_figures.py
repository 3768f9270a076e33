"""What the project's own landmark network is worth beside MediaPipe's mesh.

NME: mean distance of points as a share of the distance between the outer eye corners.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.detect import FaceMesh, Region
from ferstream.stream.faces.own import OwnFace, OwnLandmarks, Square
from ferstream.stream.faces.points import (
    IRISES,
    PLACE,
    POINTS,
    REACH,
    angles_deg,
    head_turn,
    square_around,
)

from ..datasets.point_faces import PointFaces

Floats = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

_MESH = np.array(POINTS[: -len(IRISES)])
_JITTER = (0.05, 0.07, 5.0)
"""Of the square in which a face is first looked for: shift in sides, log of scale, degrees."""
_STILLS, _FRAMES, _NOISE = 100, 8, 4.0
"""Of the measure of trembling: photographs, frames made of each, grey levels of noise."""
_MESH_REACH = 1.5


def read_faces(landmarks: OwnLandmarks, faces: PointFaces, seed: int = 0) -> list[OwnFace]:
    """Each face looked for near its place, and once more where it was found, as run time does."""
    rng = np.random.default_rng(seed)
    found = []
    for picture, points in zip(faces.pictures, faces.points_xy, strict=True):
        (rough,) = landmarks.run(picture, [moved(square_around(points), rng)])
        (fine,) = landmarks.run(picture, [rough.square])
        found.append(fine)
    return found


def point_figures(landmarks: OwnLandmarks, faces: PointFaces) -> dict[str, Any]:
    """Of the faces of one origin: n, nme and its parts by groups of points, nme_p90, seen (share
    taken for a face), and pose_deg (mean absolute error of yaw, pitch, roll) as the network says
    it and as its points do."""
    found = read_faces(landmarks, faces)
    away = np.stack(
        [errors(one.points_xy, xy) for one, xy in zip(found, faces.points_xy, strict=True)]
    )
    groups = {"oval": range(36), "brows": range(36, 56), "eyes": range(56, 72)}
    groups |= {"nose": range(72, 84), "lips": range(84, 104)}
    told = np.array([one.pose_deg for one in found])
    read = np.array([angles_deg(head_turn(one.points_xy)) for one in found])
    return {
        "n": len(faces),
        "nme": float(away.mean()),
        **{f"nme_{name}": float(away[:, list(places)].mean()) for name, places in groups.items()},
        "nme_p90": float(np.percentile(away.mean(1), 90)),
        "seen": float(np.mean([one.presence >= 0.5 for one in found])),
        "pose_deg": turned(told, faces.pose_deg).mean(0).tolist(),
        "pose_of_points_deg": turned(read, faces.pose_deg).mean(0).tolist(),
    }


def opening_figures(landmarks: OwnLandmarks, faces: PointFaces) -> dict[str, float]:
    """Of faces whose eyes' opening is known: its mean absolute error and correlation."""
    known = faces.take(np.flatnonzero(np.isfinite(faces.opening).all(1)))
    told = np.array([one.opening for one in read_faces(landmarks, known)])
    correlation = np.corrcoef(told.ravel(), known.opening.ravel())[0, 1]
    error = float(np.abs(told - known.opening).mean())
    return {"n": len(known), "error": error, "r": float(correlation)}


def tremble(follow: Callable[[Picture, Points], Points], faces: PointFaces, seed: int = 0) -> float:
    """How far points of a still face stray from frame to frame, as NME: the spread over frames
    that differ by noise and light alone, the face followed from one to the next.

    `follow` is given a grey frame and the last frame's points (106, 2), and gives its own.
    """
    rng = np.random.default_rng(seed)
    spreads = []
    rows = rng.permutation(len(faces))[:_STILLS]
    for row in rows.tolist():
        picture, points, seen = faces.pictures[row], faces.points_xy[row], []
        for _ in range(_FRAMES + 2):
            lit = picture * rng.uniform(0.96, 1.04) + rng.normal(0, _NOISE, picture.shape)
            points = follow(np.clip(lit, 0, 255).astype(np.uint8), points)
            seen.append(points[: len(_MESH)])
        spread = np.stack(seen[2:]).std(0)  # the first two settle
        spreads.append(float(np.hypot(*spread.T).mean() / eyes_apart(faces.points_xy[row])))
    return float(np.mean(spreads))


def followed_by(landmarks: OwnLandmarks) -> Callable[[Picture, Points], Points]:
    """For `tremble`: the own network."""

    def follow(picture: Picture, points: Points) -> Points:
        return landmarks.run(picture, [square_around(points)])[0].points_xy

    return follow


def followed_by_mesh(mesh: FaceMesh) -> Callable[[Picture, Points], Points]:
    """For `tremble`: MediaPipe's mesh."""

    def follow(picture: Picture, points: Points) -> Points:
        rgb = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
        (seen,) = mesh.run(rgb, [_region(square_around(points))])
        return np.concatenate([seen.xy[_MESH], np.zeros((len(IRISES), 2), np.float32)])

    return follow


def mesh_figures(mesh: FaceMesh, faces: PointFaces, seed: int = 0) -> float:
    """How far MediaPipe's mesh is from what it said before of the same faces, looked for near
    their places as `read_faces` does: NME below which no pupil of its can be told from it."""
    rng, follow = np.random.default_rng(seed), followed_by_mesh(mesh)
    away = []
    for picture, points in zip(faces.pictures, faces.points_xy, strict=True):
        rgb = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
        (rough,) = mesh.run(rgb, [_region(moved(square_around(points), rng))])
        again = np.concatenate([rough.xy[_MESH], np.zeros((2, 2), np.float32)])
        away.append(errors(follow(picture, again), points).mean())
    return float(np.mean(away))


def moved(square: Square, rng: np.random.Generator) -> Square:
    """A square as a detector, or the frame before, would give it."""
    x, y, side, roll = square
    shift, scale, turn = (spread * rng.standard_normal(2) for spread in _JITTER)
    return (
        x + float(shift[0]) * side,
        y + float(shift[1]) * side,
        side * float(np.exp(scale[0])),
        roll + float(np.radians(turn[0])),
    )


def errors(points_xy: Points, wanted_xy: Points) -> Floats:
    """(104,) distances of the mesh's points in distances between the outer eye corners."""
    mesh = slice(len(_MESH))
    away = np.linalg.norm(points_xy[mesh] - wanted_xy[mesh], axis=1)
    return np.asarray(away / eyes_apart(wanted_xy), np.float64)


def eyes_apart(points_xy: Points) -> float:
    """Distance between the outer eye corners, pixels."""
    return max(float(np.linalg.norm(points_xy[PLACE[263]] - points_xy[PLACE[33]])), 1e-6)


def turned(told: Floats, true: npt.NDArray[np.float32]) -> Floats:
    """Absolute differences of angles in degrees."""
    return np.asarray(np.abs((told - true + 180) % 360 - 180), np.float64)


def _region(square: Square) -> Region:
    x, y, side, roll = square
    return Region(x, y, side * _MESH_REACH / REACH, roll)
