"""Sets of faces to learn from, in their three splits: real ones, prepared ones, synthetic ones.

fer2013plus               the photographs with crowd labels in the data folder
fer2013plus:words         those of them of which a judge named emotion words (see .word_sets)
synthetic                 the 3D face, rendered once; parsing, poses and units are known
synthetic:fg33, :f2ed54   the same with other words; "synthetic:f2ed54:poses" in four poses
a folder                  what `ferstream data prepare` made of any data set
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import ANCHOR_LANDMARKS

from ..errors import OptionsWrong
from .fer import BASIC8, SPLITS, load_fer_plus
from .judged import judged_columns
from .learning_faces import NAME as WORD_SETS
from .learning_faces import LearningFaces, faces_of_photographs, judged_word_faces
from .readers.prepared import load_prepared
from .synthetic_splits import SYNTHETIC, synthetic_split

ENDING_AT_PEAK = ("ck+", "oulu-casia")
"""Layouts whose sequences go from neutral to an expression's peak."""
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""How a set without splits is shared out, and what a missing split takes from training."""


@dataclass(frozen=True)
class Splits:
    """The three splits of a data set."""

    train: LearningFaces
    validation: LearningFaces
    test: LearningFaces

    @property
    def labels(self) -> tuple[str, ...]:
        """K names, the same in all splits."""
        return self.train.labels

    def about(self) -> dict[str, Any]:
        """What a run folder keeps of it: name, sizes, a fingerprint of all of it."""
        return about_splits(self.train.name, {name: getattr(self, name) for name in SPLITS})


def about_splits(name: str, parts: dict[str, Any]) -> dict[str, Any]:
    """Name, fingerprint of all parts together, and the size of each."""
    joined = "".join(part.fingerprint for part in parts.values())
    return {
        "name": name,
        "fingerprint": hashlib.sha256(joined.encode()).hexdigest()[:12],
        **{split: len(part) for split, part in parts.items()},
    }


def load_splits(name: str, folder: str | Path | None, *, limit: int = 0, seed: int = 0) -> Splits:
    """All three splits.

    ``limit`` keeps so many training faces and the same share of the validation's; the test split
    stays whole, but for synthetic faces, of which fewer are rendered.

    Raises:
        OptionsWrong: no such set, or one without labels.
        DataMissing, DataError: its files are not there or not as they should be.
    """
    if name.split(":")[0] == "synthetic":
        return Splits(**{split: synthetic_split(name, split, folder, limit) for split in SYNTHETIC})
    if name == "fer2013plus":
        parts = {split: _fer_plus(split, folder) for split in SPLITS}
    elif name == WORD_SETS:
        parts = {split: judged_word_faces(split, folder) for split in SPLITS}
    elif Path(name).is_dir():
        parts = prepared_splits(Path(name), seed)
    else:
        raise OptionsWrong(
            f"no set of faces {name!r}: there are fer2013plus, {WORD_SETS}, synthetic, and folders "
            "that `ferstream data prepare` made"
        )
    share = min(1.0, limit / len(parts["train"])) if limit else 1.0
    if share < 1:
        for split in ("train", "validation"):
            part = parts[split]
            rng = np.random.default_rng([seed, SPLITS[split]])
            rows = np.sort(rng.permutation(len(part))[: max(1, round(share * len(part)))])
            parts[split] = part.take(rows)
    return Splits(**parts)


def _fer_plus(split: str, folder: str | Path | None) -> LearningFaces:
    data = load_fer_plus(split, Path(folder) if folder else None)
    data = data.subset(data.rated)
    judged = judged_columns(data, folder, split)
    return faces_of_photographs(
        data,
        name="fer2013plus",
        labels=BASIC8,
        names=tuple(f"{split}/{row:05d}" for row in range(len(data))),
        target=data.votes,
        **(judged._asdict() if (judged.judge > 0).any() else {}),
    )


def prepared_splits(folder: Path, seed: int, *, labelled: bool = True) -> dict[str, LearningFaces]:
    """Prepared pictures, or of prepared clips the frame at the peak.

    ``labelled`` False also takes faces without an expression, whose targets are zeros.

    Raises:
        OptionsWrong: there is nothing to learn from.
    """
    prepared = load_prepared(folder)
    faces, crops, landmarks = prepared.faces, prepared.crops, prepared.landmarks
    label = faces.label_index
    if labelled and (label < 0).all():
        raise OptionsWrong(f"{folder} has no expression labels to learn from")
    rows = np.flatnonzero(label >= 0) if labelled else np.arange(len(label))
    frames = [item.frames or (0, 1) for item in faces.items]
    shown = np.array(
        [low + shown_frame(prepared.facts.get("layout", ""), high - low) for low, high in frames]
    )
    target = faces.targets
    points = landmarks.astype(np.float32)
    whole = LearningFaces(
        name=str(prepared.facts.get("about", folder.name)),
        labels=faces.labels,
        names=tuple(item.name for item in faces.items),
        pixels=crops[shown],
        target=target,
        anchors_xy=points[shown][:, list(ANCHOR_LANDMARKS)],
        seen=np.ones(len(faces), np.bool_),
        landmarks_xy=points[shown],
        landmark_index=np.arange(points.shape[1], dtype=np.int16),
        people=numbered([item.subject for item in faces.items]),
        poses=_column([item.pose for item in faces.items]),
        units=faces.unit_labels if faces.units else None,
        unit_names=faces.units,
    )
    split = completed(
        np.array([item.split for item in faces.items])[rows],
        np.array([item.subject or item.name for item in faces.items])[rows],
        seed,
    )
    return {name: whole.take(rows[split == name]) for name in SPLITS}


def shown_frame(layout: str, frames: int) -> int:
    """Which frame of a clip stands for it: the last of sequences that end at their peak, else the
    middle one."""
    return frames - 1 if layout in ENDING_AT_PEAK else frames // 2


def _column(values: list[str]) -> npt.NDArray[np.str_] | None:
    """None where the set does not say."""
    return np.array(values) if any(values) else None


def numbered(subjects: list[str]) -> npt.NDArray[np.int64] | None:
    """A number for each subject; faces of nobody known are people of their own."""
    if not any(subjects):
        return None
    named = [subject or f"#{row}" for row, subject in enumerate(subjects)]
    return np.asarray(np.unique(named, return_inverse=True)[1], np.int64).reshape(-1)


def completed(
    split_N: npt.NDArray[np.str_], group_N: npt.NDArray[np.str_], seed: int
) -> npt.NDArray[np.str_]:
    """Splits with all three in use: missing ones are drawn from training, whole people at a time.

    Raises:
        OptionsWrong: there is nothing to train on.
    """
    found = np.where(split_N == "all", "train", split_N).astype("<U10")
    groups = np.unique(group_N[found == "train"])
    if len(groups) < 3:
        raise OptionsWrong("fewer than three training faces: there is nothing to learn from")
    order = np.random.default_rng(seed).permutation(groups)
    start = 0
    for name in ("validation", "test"):
        if not (found == name).any():
            size = max(1, round(SHARES[name] * len(groups)))
            chosen, start = order[start : start + size], start + size
            found[(found == "train") & np.isin(group_N, chosen)] = name
    return found
