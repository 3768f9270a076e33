"""Figures of F2ED's learning tasks beside the usual ones: rare expressions and poses, people whom
training knows, and what FaPE-GAN makes of held-out faces (paper 004, section 5.3 and Fig. 6).

K labels, M pairs, S side of the crop.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from torch import nn

from ...datasets.learning_faces import LearningFaces
from ...datasets.task_faces import TaskFaces, pose_codes
from .pose_images import Wanted, crop_contours, held_out_pairs, landmark_picture, synthesised

SAMPLES = "samples.png"
JUDGED, SHOWN = 500, 8
"""Held-out pairs at most whose made faces are measured, and shown."""
SPLITS = ("validation", "test")
Figures = dict[str, Any]
Logits = dict[str, npt.NDArray[Any]]


def add_task_figures(metrics: Figures, logits: Logits, data: TaskFaces, made: int | None) -> None:
    """Puts recall of the rare expressions and of the rare pose into both splits' figures, and
    tables of the task, of the rare expressions and of the poses beside them.

    Args:
        metrics, logits: as `training.learning.system.measured` gives them.
        data: the parts of the task.
        made: faces that FaPE-GAN added; None: it had no part.
    """
    tables = metrics.setdefault("tables", {})
    tables["The task (paper 004, section 4.1)"] = task_table(data, made)
    rare = [data.labels[at] for at in data.rare]
    found = [[metrics[split]["recall"].get(label) for label in rare] for split in SPLITS]
    tables["The rarest fifth of the expressions"] = rare_table(data, found[1])
    means = [[share for share in shares if share is not None] for shares in found]
    if all(means):
        for split, shares in zip(SPLITS, means, strict=True):
            metrics[split]["rare_recall"] = float(np.mean(shares))
    if data.train.poses is not None:
        by_pose = [hits_by_pose(logits, split, getattr(data, split)) for split in SPLITS]
        tables["Pose by pose"] = pose_table(data, by_pose[1])
        if all(data.rare_pose in hits for hits in by_pose):
            for split, hits in zip(SPLITS, by_pose, strict=True):
                metrics[split]["rare_pose_top1"] = hits[data.rare_pose][1]


def task_table(data: TaskFaces, made: int | None) -> Figures:
    """How many faces and people each part has, and who is in two of them."""
    parts = (data.train, data.validation, data.test)
    rows = [["real faces", *(f"{len(part):,}" for part in parts)]]
    if made is not None:
        rows.append(["faces that FaPE-GAN made", f"{made:,}", "0", "0"])
    if data.leaked is not None:
        shown = [part.people for part in parts]
        counts = [str(len(np.unique(people))) for people in shown if people is not None]
        rows.append(["people", *counts])
        rows.append(["of them known from training or validation", "", "", str(data.leaked)])
    return {"head": [data.protocol, "training", "validation", "test"], "rows": rows}


def rare_table(data: TaskFaces, recall: list[float | None]) -> Figures:
    """The labels that training has fewest faces of, and how many of them are found."""
    counts = np.bincount(data.train.label, minlength=len(data.labels))
    rows = [
        [data.labels[at], f"{counts[at]:,}", "no face" if share is None else _share(share)]
        for at, share in zip(data.rare, recall, strict=True)
    ]
    return {"head": ["expression", "real training faces", "test recall"], "rows": rows}


def hits_by_pose(logits: Logits, split: str, faces: LearningFaces) -> dict[str, tuple[int, float]]:
    """Faces of each pose, and the share of them whose expression is said."""
    hit_N = logits[f"{split}_logits"].argmax(axis=1) == faces.label
    names, code_N = pose_codes(faces)
    of = [code_N == code for code in range(len(names))]
    return {n: (int(at.sum()), float(hit_N[at].mean())) for n, at in zip(names, of, strict=True)}


def pose_table(data: TaskFaces, hits: dict[str, tuple[int, float]]) -> Figures:
    """How well expressions are told from each side."""
    names, code_N = pose_codes(data.train)
    known = dict(zip(names, np.bincount(code_N).tolist(), strict=True))
    rows = [
        [name, f"{known.get(name, 0):,}", f"{count:,}", _share(top1)]
        for name, (count, top1) in hits.items()
    ]
    return {"head": ["pose", "real training faces", "test faces", "top-1"], "rows": rows}


def add_made_figures(
    metrics: Figures, generator: nn.Module, data: TaskFaces, crop_px: int, folder: Path, seed: int
) -> None:
    """Puts FaPE-GAN's distance to real answers, L1 as a share of all grey levels, into both splits'
    figures, the distance of leaving faces as they are beside it, and a sheet of samples into
    ``folder``."""
    found: dict[str, tuple[float, float]] = {}
    for split in SPLITS:
        held = held_out_pairs(data.train, getattr(data, split), JUDGED, seed)
        if held is None:
            continue
        faces, pairs = held
        made = turned(generator, faces, pairs, crop_px)
        answer, source = faces.take(pairs.target), faces.take(pairs.source)
        wanted, before = answer.crops(crop_px)[:, 0], source.crops(crop_px)[:, 0]
        found[split] = (distance(made, wanted), distance(before, wanted))
        if split == "test" or "pictures" not in metrics:
            draw_samples(folder / SAMPLES, faces, pairs, made, crop_px)
            metrics.setdefault("pictures", {})[SAMPLES] = (
                f"FaPE-GAN on held-out faces ({split}): the face, the pose wanted, what it made, "
                "and the real face in that pose."
            )
    rows = [[split, _share(made), _share(still)] for split, (made, still) in found.items()]
    head = ["held-out pairs", "made face to real one (L1)", "face left as it is (L1)"]
    metrics.setdefault("tables", {})["FaPE-GAN"] = {"head": head, "rows": rows}
    if len(found) == len(SPLITS):
        for split, (made_l1, _) in found.items():
            metrics[split]["made_l1"] = made_l1


def turned(
    generator: nn.Module, faces: LearningFaces, pairs: Wanted, crop_px: int
) -> npt.NDArray[np.uint8]:
    """The faces of pairs in the poses wanted, (M, S, S)."""
    points = crop_contours(faces, crop_px)
    made = synthesised(generator, pairs, lambda rows: faces.take(rows).crops(crop_px), points)
    return made[:, 0]


def distance(made: npt.NDArray[np.uint8], wanted: npt.NDArray[np.uint8]) -> float:
    """Mean distance of two sets of pictures as a share of all grey levels."""
    return float(np.abs(made.astype(np.float32) - wanted.astype(np.float32)).mean() / 255)


def draw_samples(
    path: Path,
    faces: LearningFaces,
    pairs: Wanted,
    made: npt.NDArray[np.uint8],
    crop_px: int,
    zoom: int = 2,
) -> None:
    """A sheet with a row for each pair: face, pose, made, real."""
    points = crop_contours(faces, crop_px)
    rows = []
    for at in range(min(SHOWN, len(made))):
        source, target = int(pairs.source[at]), int(pairs.target[at])
        pictures = (
            faces.crop(source, crop_px),
            landmark_picture(points[target], crop_px),
            made[at],
            faces.crop(target, crop_px),
        )
        rows.append(np.hstack([np.pad(picture, 2, constant_values=255) for picture in pictures]))
    half = -(-len(rows) // 2)
    blank = np.full_like(rows[0], 255)
    columns = [rows[:half], rows[half:] + [blank] * (2 * half - len(rows))]
    sheet = np.hstack([np.pad(np.vstack(c), 4, constant_values=255) for c in columns])
    size = (sheet.shape[1] * zoom, sheet.shape[0] * zoom)
    cv2.imwrite(str(path), cv2.resize(sheet, size, interpolation=cv2.INTER_NEAREST))


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
