"""What it costs the readings when faces are aligned by the project's own landmarks.

The same faces, the same bundle; only who says where the anchors are differs. Faces of which the
mesh, or the teacher, sees nothing are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.stream.faces.align import ANCHOR_LANDMARKS, anchor_matrix, anchors_of, warp
from ferstream.stream.faces.detect import FaceMesh, Region
from ferstream.stream.faces.own import OwnLandmarks, Square
from ferstream.stream.faces.points import PLACE, REACH

from ..datasets.fer import FerPlus, load_fer_plus
from ..datasets.judged import (
    JudgedFaces,
    Judgements,
    load_fairface,
    load_judged_photographs,
    load_wild,
)
from .evaluate import Scores, score_crops

Picture = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]

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
