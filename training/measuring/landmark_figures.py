"""What the project's own landmark network is worth beside MediaPipe's mesh, and what it costs the
readings when faces are aligned by it.

NME: mean distance of points as a share of the distance between the outer eye corners. For the
costs the same faces go through the same bundle; only who says where the anchors are differs, and
faces of which the mesh, or the teacher, sees nothing are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.stream.faces.align import ANCHOR_LANDMARKS, anchor_matrix, anchors_of, warp
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

from ..datasets.fer import FerPlus, load_fer_plus
from ..datasets.judged import (
    JudgedFaces,
    Judgements,
    load_fairface,
    load_judged_photographs,
    load_wild,
)
from ..datasets.point_faces import PointFaces
from .evaluate import Scores, score_crops

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


TOP_WORDS = 10
_ANCHORS = [PLACE[number] for number in ANCHOR_LANDMARKS]
_BOX = 1.5
"""Side of the square in which the mesh looks for a face, in longer sides of YuNet's box."""


def alignment_costs(
    bundle: Bundle, landmarks: OwnLandmarks, folder: str | Path | None
) -> dict[str, Any]:
    """For fer2013plus, its judged words, wild and fairface (test splits): n, and top1 of the eight
    and words (share of the judge's first words among ten) by the mesh's points and by ours."""
    data = load_fer_plus("test", folder)
    data = data.subset(data.rated & data.seen)
    crops = photograph_crops(landmarks, data, bundle.manifest.crop.px)
    found: dict[str, Any] = {"fer2013plus": {"n": len(data)}}
    for name, part in crops.items():
        scores = _scores(bundle, part)
        hits = scores.basic8.argmax(1) == data.majority
        found["fer2013plus"][name] = {"top1": float(hits.mean())}
    judged = load_judged_photographs("test", folder)
    rows = np.flatnonzero(judged.photographs.seen & judged.judged.readable)
    crops = photograph_crops(landmarks, judged.photographs.subset(rows), bundle.manifest.crop.px)
    found["words"] = _judged(bundle, crops, judged.judged.take(rows))
    for faces in (load_wild("test", folder), load_fairface(folder)):
        rows, crops = picture_crops(landmarks, faces, bundle.manifest.crop.px)
        found[faces.name] = _judged(bundle, crops, faces.judged.take(rows))
    return found


def photograph_crops(landmarks: OwnLandmarks, data: FerPlus, crop_px: int) -> dict[str, Picture]:
    """Aligned crops (N, 1, crop_px, crop_px) of FER+ photographs by the teacher's points ("mesh")
    and by ours ("own"), looked for in the photograph's whole."""
    parts: dict[str, list[Picture]] = {"mesh": [], "own": []}
    for pixels, anchors in zip(data.pixels, data.anchors_xy, strict=True):
        square: Square = (23.5, 23.5, 48 * REACH / 1.1, 0.0)
        parts["mesh"].append(warp(pixels, anchor_matrix(anchors, crop_px), crop_px))
        parts["own"].append(_own_crop(landmarks, pixels, square, crop_px))
    return {name: np.stack(part)[:, None] for name, part in parts.items()}


def picture_crops(
    landmarks: OwnLandmarks, faces: JudgedFaces, crop_px: int
) -> tuple[npt.NDArray[np.int64], dict[str, Picture]]:
    """Rows of the faces that the mesh sees in the labelled boxes, and crops as
    `photograph_crops`."""
    mesh, rows = FaceMesh(workers=1), []
    parts: dict[str, list[Picture]] = {"mesh": [], "own": []}
    for row, picture in enumerate(faces.pictures()):
        x, y, width, height = (float(v) for v in faces.boxes[row])
        across, down = (faces.points[row, 1] - faces.points[row, 0]).tolist()
        roll, longer = float(np.arctan2(down, across)), max(width, height)
        region = Region(x + width / 2, y + height / 2, _BOX * longer, roll)
        for _ in range(2):
            (seen,) = mesh.run(picture, [region])
            region = Region.around(seen.xy)
        if not seen.shows_face or faces.judged.basic[row] < 0:
            continue
        grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        square = (x + width / 2, y + height / 2, REACH * longer, roll)
        rows.append(row)
        parts["mesh"].append(warp(grey, anchor_matrix(anchors_of(seen.xy), crop_px), crop_px))
        parts["own"].append(_own_crop(landmarks, grey, square, crop_px))
    mesh.close()
    return np.array(rows, np.int64), {name: np.stack(p)[:, None] for name, p in parts.items()}


def _own_crop(landmarks: OwnLandmarks, grey: Picture, square: Square, crop_px: int) -> Picture:
    (rough,) = landmarks.run(grey, [square])
    (fine,) = landmarks.run(grey, [rough.square])
    anchors: Points = fine.points_xy[_ANCHORS]
    return warp(grey, anchor_matrix(anchors, crop_px), crop_px)


def _scores(bundle: Bundle, crops: Picture) -> Scores:
    return score_crops(bundle, crops, backend="auto", precision="auto")


def _judged(bundle: Bundle, crops: dict[str, Picture], judged: Judgements) -> dict[str, Any]:
    """Agreement with a judge, by whose points the crops are cut."""
    found: dict[str, Any] = {"n": len(judged)}
    first = judged.words[:, 0]
    named = first >= 0
    for name, part in crops.items():
        scores = _scores(bundle, part)
        top = np.argsort(-scores.emo135, axis=1)[:, :TOP_WORDS]
        among = (top == first[:, None]).any(1)[named]
        found[name] = {
            "top1": float((scores.basic8.argmax(1) == judged.basic).mean()),
            "words": float(among.mean()),
        }
    return found
