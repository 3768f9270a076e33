"""F2ED's learning tasks on any faces of known people and poses: one pool, cut anew (paper 004,
section 4.1).

N faces, K labels.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong
from .face_splits import Splits, load_splits
from .learning_faces import OPTIONAL, Images, LearningFaces
from .protocols import (
    RARE_EXPRESSIONS,
    Parts,
    leaks,
    standard,
    unbalanced_expressions,
    unbalanced_poses,
    zero_shot_subjects,
)

PROTOCOLS = ("er-ss", "er-ue", "er-up", "er-zid", "none")


@dataclass(frozen=True)
class TaskFaces(Splits):
    """The parts of a task, and the set that the network may be pre-trained on."""

    protocol: str = "none"
    rare_pose: str = ""
    pretraining: Splits | None = None

    @cached_property
    def leaked(self) -> int | None:
        """People of the test part whom training or validation shows too; None: nobody is named."""
        parts = (self.train, self.validation, self.test)
        people = [part.people for part in parts if part.people is not None]
        if len(people) < len(parts):
            return None
        cuts = np.cumsum([0, *map(len, parts)])
        rows = [np.arange(low, high) for low, high in itertools.pairwise(cuts)]
        return len(leaks(np.concatenate(people), Parts(*rows)))

    @property
    def rare(self) -> tuple[int, ...]:
        """The fifth of the labels that training has fewest faces of; in ER-UE the rare ones."""
        counts = np.bincount(self.train.label, minlength=len(self.labels))
        few = max(1, round(RARE_EXPRESSIONS * len(self.labels)))
        return tuple(sorted(np.argsort(counts, kind="stable")[:few].tolist()))

    def about(self) -> dict[str, Any]:
        """As of all splits, with the protocol and with what is learned from first."""
        found = {**super().about(), "protocol": self.protocol}
        if self.pretraining is not None:
            before = self.pretraining.about()
            both = f"{found['fingerprint']}{before['fingerprint']}"
            found["fingerprint"] = hashlib.sha256(both.encode()).hexdigest()[:12]
            found["pretraining"] = f"{before['train']} faces of {before['name']}"
        return found


def load_task(
    name: str,
    folder: str | Path | None,
    protocol: str,
    *,
    rare_pose: str,
    validation_share: float,
    pretrain: str = "",
    limit: int = 0,
    seed: int = 0,
) -> TaskFaces:
    """The faces of ``name`` (see `load_splits`), all splits put together and cut by ``protocol``;
    "none" leaves the set's own splits.

    Raises:
        OptionsWrong: the set does not know whose faces these are, or from where they are seen.
        DataMissing, DataError: see `load_splits`.
    """
    given = load_splits(name, folder, limit=limit, seed=seed)
    before = load_splits(pretrain, folder, limit=limit, seed=seed) if pretrain else None
    splits = [given.train, given.validation, given.test]
    if protocol != "none":
        pool = joined(splits)
        parts = task_parts(pool, protocol, rare_pose, validation_share, seed)
        splits = [pool.take(rows) for rows in (parts.train, parts.validation, parts.test)]
    if not min(map(len, splits)):
        raise OptionsWrong(
            f"{protocol} leaves a part of {name} empty: give more faces or a larger "
            "--validation-share"
        )
    train, validation, test = splits
    return TaskFaces(train, validation, test, protocol, rare_pose, before)


def task_parts(
    pool: LearningFaces, protocol: str, rare_pose: str, validation_share: float, seed: int
) -> Parts:
    """Rows of each part (section 4.1)."""
    if protocol == "er-ss":
        return standard(len(pool), seed=seed)
    if protocol == "er-ue":
        return unbalanced_expressions(pool.label, seed=seed, validation_share=validation_share)
    if protocol == "er-up":
        names, code_N = pose_codes(pool)
        if rare_pose not in names:
            raise OptionsWrong(
                f"no face of {pool.name} has the pose {rare_pose!r}: there are {', '.join(names)}"
            )
        rare = names.index(rare_pose)
        return unbalanced_poses(code_N, rare, seed=seed, validation_share=validation_share)
    return zero_shot_subjects(people_of(pool), seed=seed, validation_share=validation_share)


def people_of(faces: LearningFaces) -> npt.NDArray[np.int64]:
    """Whose faces these are, (N,).

    Raises:
        OptionsWrong: nobody knows.
    """
    if faces.people is None:
        raise OptionsWrong(
            f"{faces.name} does not say whose faces these are: choose --protocol none and "
            "--synthesis no, or other --faces"
        )
    return faces.people


def pose_codes(faces: LearningFaces) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """The names of the poses, words joined by "_", and which each face has, (N,).

    Raises:
        OptionsWrong: nobody knows.
    """
    if faces.poses is None:
        raise OptionsWrong(
            f"{faces.name} does not say from where faces are seen: choose --protocol none and "
            "--synthesis no, or other --faces"
        )
    names, code_N = np.unique(np.char.replace(faces.poses, " ", "_"), return_inverse=True)
    return tuple(names.tolist()), np.asarray(code_N, np.int64).reshape(-1)


def joined(parts: Sequence[LearningFaces]) -> LearningFaces:
    """All faces of several sets with the same labels, in order, under the first one's name; a
    column that one of them lacks is left out."""
    first = parts[0]
    columns: dict[str, Any] = {}
    for name in OPTIONAL:
        found = [getattr(part, name) for part in parts]
        columns[name] = None if any(c is None for c in found) else np.concatenate(found)
    parsings = [part.parsing for part in parts if part.parsing is not None]
    return LearningFaces(
        name=first.name,
        labels=first.labels,
        names=tuple(name for part in parts for name in part.names),
        pixels=_stacked([part.pixels for part in parts]),
        target=np.concatenate([part.target for part in parts]),
        anchors_xy=np.concatenate([part.anchors_xy for part in parts]),
        seen=np.concatenate([part.seen for part in parts]),
        landmarks_xy=np.concatenate([part.landmarks_xy for part in parts]),
        landmark_index=first.landmark_index,
        parsing=_stacked(parsings) if len(parsings) == len(parts) else None,
        unit_names=first.unit_names,
        **columns,
    )


def _stacked(parts: Sequence[Images]) -> Images:
    """One array where all images are of one size, else a list."""
    if len({image.shape for part in parts for image in part}) == 1:
        return np.concatenate([np.asarray(part) for part in parts])
    return [image for part in parts for image in part]
