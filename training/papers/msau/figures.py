"""Figures of the image system (paper 003, V).

Clips of fine labels measured on the six basic classes (paper 003, V-D).

A guess counts for the basic class above its leaf, whichever leaf it is. Two exceptions are the
paper's: "disgust" is a leaf under anger in its tree and a class of its own among the six, so that
leaf alone counts as disgust and its siblings as anger; and a guess of a kind of love is wrong for
all six. Clips whose own label is a kind of love have no place among the six and are left out.

N clips, K labels.

What MSAU-Net's runs tell beside a classifier's figures (paper 003): how well the basic class is
met (V-D), how well action units are detected, and where the second scale looks (Figure 6).

N faces, K leaves, P basic classes, U action units, R regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ...datasets.face_splits import Splits
from ...datasets.label_lists import basic_parents
from ...datasets.learning_faces import LearningFaces
from ...errors import OptionsWrong
from ...learning.run_folder import RunFolder
from ...learning.system import Found, measured
from ...learning.unit_labels import strengths, unit_labels
from ...networks.backbones import three_channels
from ...networks.msau import Msau

SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
NONE_OF_SIX = len(SIX)


def six_of(labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """(K,) the place in SIX of each label; NONE_OF_SIX for love, neutral and what has no class."""
    names, parents = basic_parents(labels)
    above = [
        label if label == "disgust" else names[at]
        for label, at in zip(labels, parents, strict=True)
    ]
    return np.array([SIX.index(name) if name in SIX else NONE_OF_SIX for name in above], np.int64)


def six_class_figures(
    guess_N: npt.NDArray[np.int64], label_N: npt.NDArray[np.int64], labels: Sequence[str]
) -> dict[str, Any]:
    """top1, recall by class, its mean over the classes that occur, and how many clips count."""
    six = six_of(labels)
    guess, label = six[guess_N], six[label_N]
    counted = label < NONE_OF_SIX
    recall = {
        name: float((guess[label == at] == at).mean())
        for at, name in enumerate(SIX)
        if (label == at).any()
    }
    return {
        "n": int(counted.sum()),
        "top1": float((guess[counted] == label[counted]).mean()) if counted.any() else 0.0,
        "macro_recall": float(np.mean(list(recall.values()))) if recall else 0.0,
        "recall": recall,
    }


SHEET = "zoom.png"
SHOWN, COLUMNS, SIDE_PX = 24, 8, 170
COLOURS = ((60, 60, 230), (60, 180, 60), (40, 200, 230), (220, 140, 40), (200, 70, 180))
"""Red, green and yellow as in Figure 6, then blue and violet; OpenCV's order."""
THIRDS = ("upper third", "middle", "lower third")
Array = npt.NDArray[np.float32]


def msau_figures(network: Any, options: Any, data: Splits, run: RunFolder) -> Found:
    """A classifier's figures with ``basic_top1``, tables of units and of looks, a sheet."""
    metrics, predictions = measured(network, data, options.crop_px)
    _, parent_K = basic_parents(data.labels)
    for split in ("validation", "test"):
        guess, label = (predictions[f"{split}_{n}"].argmax(1) for n in ("logits", "target"))
        metrics[split]["basic_top1"] = float((parent_K[guess] == parent_K[label]).mean())
    tables = {}
    looks = first_looks(network, data.test)
    if seen := unit_scores(looks.units, data, options):
        tables["Action units (test faces)"] = _unit_table(seen)
        known = [f1 for _, f1, _, on, off in seen if on and off]
        metrics["test"]["unit_f1"] = float(np.mean(known)) if known else 0.0
    if (windows := looks.windows) is not None:
        room_px = options.crop_px - network.coarse.field.size_px
        tables["Where the second scale looks first (test faces)"] = _place_table(
            windows[:, 0, 1], data.test, room_px
        )
        guess = predictions["test_logits"].argmax(1)
        draw_windows(run, network, data.test, windows, guess)
        metrics["pictures"] = {
            SHEET: "Where it looks closely on test faces: red first, then green, yellow, blue and "
            "violet. Below each face what it says, and in brackets the raters' choice where that "
            "is another."
        }
    return {**metrics, "tables": tables}, predictions


UnitScore = tuple[str, float, float, int, int]
"""Name, F1, balanced accuracy, and how many faces are labelled on and off."""


class Looks(NamedTuple):
    """What the first scale finds: units (N, U) logits and windows (N, R, 2), the upper left pixels
    of the regions that are looked at closely; None without."""

    units: Array | None
    windows: Array | None


@torch.no_grad()
def first_looks(network: Msau, faces: LearningFaces, batch: int = 128) -> Looks:
    """The first scale alone, on the crops of run time."""
    units, windows = [], []
    for start in range(0, len(faces), batch):
        rows = range(start, min(start + batch, len(faces)))
        crops = np.stack([faces.crop(row, network.crop_px) for row in rows])[:, None]
        whole = network.coarse(three_channels(torch.from_numpy(crops))[:, :1])
        if whole.units is not None:
            units.append(whole.units.numpy())
        if len(network.fine):
            windows.append(network.windows(whole.maps).numpy())
    return Looks(
        np.concatenate(units) if units else None, np.concatenate(windows) if windows else None
    )


def unit_scores(found_NU: Array | None, data: Splits, options: Any) -> list[UnitScore]:
    """How the first scale detects the units that test faces know; [] where they know none."""
    names = options.unit_names
    if found_NU is None:
        return []
    try:
        labels = unit_labels(data.test, names, strengths(data.train, names))
    except OptionsWrong:
        return []
    scores = []
    for column, name in enumerate(names):
        on, off, said = labels[:, column] > 0, labels[:, column] < 0, found_NU[:, column] > 0
        hit, wrong = int((on & said).sum()), int((off & said).sum())
        f1 = 2 * hit / max(int(on.sum()) + hit + wrong, 1)
        right = (hit / max(on.sum(), 1) + (off & ~said).sum() / max(off.sum(), 1)) / 2
        scores.append((name, f1, float(right), int(on.sum()), int(off.sum())))
    return scores


def draw_windows(
    run: RunFolder,
    network: Msau,
    faces: LearningFaces,
    windows_NR2: Array,
    guess_N: npt.NDArray[np.int64],
) -> None:
    """A sheet of faces, an even number of each label, with their regions; into the run's folder."""
    rows = _varied(faces.label, SHOWN)
    scale, side = SIDE_PX / network.crop_px, network.coarse.field.size_px
    tiles = []
    for row in rows:
        tile = cv2.resize(faces.crop(row, network.crop_px), (SIDE_PX, SIDE_PX))
        tile = cv2.cvtColor(tile, cv2.COLOR_GRAY2BGR)
        for at in reversed(range(windows_NR2.shape[1])):
            x, y = windows_NR2[row, at] * scale
            first = (int(x) + at, int(y) + at)
            last = (int(x + side * scale) - 1 - at, int(y + side * scale) - 1 - at)
            cv2.rectangle(tile, first, last, COLOURS[at], 2)
        tile = np.vstack([tile, _caption(faces, row, int(guess_N[row]))])
        tiles.append(cv2.copyMakeBorder(tile, 0, 4, 0, 6, cv2.BORDER_CONSTANT, value=(255,) * 3))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    lines = [np.hstack(tiles[at : at + COLUMNS]) for at in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(run.path / SHEET), np.vstack(lines))


def _caption(faces: LearningFaces, row: int, guess: int) -> npt.NDArray[np.uint8]:
    band = np.full((22, SIDE_PX, 3), 255, np.uint8)
    label = int(faces.label[row])
    text = faces.labels[guess] + (f" ({faces.labels[label]})" if label != guess else "")
    cv2.putText(band, text, (3, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    return band


def _varied(label_N: npt.NDArray[np.int64], most: int) -> list[int]:
    """The first faces of every label in turn, at most so many, by label."""
    place = np.zeros(len(label_N), np.int64)
    for label in np.unique(label_N):
        rows = np.flatnonzero(label_N == label)
        place[rows] = np.arange(len(rows))
    chosen = np.lexsort((label_N, place))[:most]
    return [int(row) for row in sorted(chosen, key=lambda row: (label_N[row], row))]


def _unit_table(scores: list[UnitScore]) -> dict[str, Any]:
    head = ["unit", "F1", "balanced accuracy", "faces on", "faces off"]
    rows = [
        [name, f"{100 * f1:.1f} %", f"{100 * right:.1f} %", f"{on:,}", f"{off:,}"]
        if on and off
        else [name, "not known", "not known", f"{on:,}", f"{off:,}"]
        for name, f1, right, on, off in scores
    ]
    return {"head": head, "rows": rows}


def _place_table(corner_y_N: Array, faces: LearningFaces, room_px: int) -> dict[str, Any]:
    """Of each label, how often the first region lies in which third of where it can lie (V-E: the
    mouth comes first where the expression is optimistic, eyes and brows where it is passive)."""
    third_N = np.clip((corner_y_N / max(room_px, 1) * 3).astype(int), 0, 2)
    rows = []
    for at, label in enumerate(faces.labels):
        there = faces.label == at
        if there.any():
            shares = [float((third_N[there] == third).mean()) for third in range(3)]
            rows.append([label, *(f"{100 * share:.0f} %" for share in shares)])
    return {"head": ["label", *THIRDS], "rows": rows}
