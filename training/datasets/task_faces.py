"""F2ED's four learning tasks (paper 004, section 4.1) on any faces of known people and poses:
what is known of every image (subject, pose, expression) to rows, and one pool cut anew by them.

| task | rare | to test | leak that the paper accepts |
|---|---|---|---|
| ER-SS | nothing | 25000 of 219719, and 19719 to validate | subjects are in all parts |
| ER-UE | a fifth of the expressions | 90 % of these | subjects are in both parts |
| ER-UP | one pose, half left | 90 % of it | subjects are in both parts |
| ER-ZID | 21 of 119 subjects | all of these | none: that is its point |

Decisions: ER-UE's 178,989 training and "140,730" test images are more than the set has; 40,730 is
meant. ER-ZID's "21 and 98 persons as train and test set" goes against its own image counts and the
words after it; 98 train. Only ER-SS has a validation set in the paper; elsewhere
``validation_share`` takes one out of the training part (of its subjects in ER-ZID), 0 as in the
paper. Which classes and subjects are rare is drawn by the seed unless named. Key frames of one
video lie in several parts of ER-SS, as with the paper's shuffle.

N images, K labels.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong
from .face_splits import Splits, load_splits
from .learning_faces import OPTIONAL, Images, LearningFaces

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


Rows = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer[Any]]

STANDARD = (175_000, 19_719, 25_000)
"""ER-SS: images to train, validate and test, of 219,719; other sets are cut in this proportion."""
RARE_TESTED = 0.9
RARE_EXPRESSIONS = 0.2
SUBJECTS_TESTED = 21 / 119


@dataclass(frozen=True)
class Parts:
    """Rows of each part, sorted; no row is in two, and all rows are in one."""

    train: Rows
    validation: Rows
    test: Rows


def standard(count: int, *, seed: int, proportions: tuple[float, float, float] = STANDARD) -> Parts:
    """ER-SS: all images shuffled and cut.

    Raises:
        OptionsWrong: proportions that are none, or a part that stays empty.
    """
    total = sum(proportions)
    if min(proportions) < 0 or not total > 0:
        raise OptionsWrong(f"proportions {proportions}: three numbers from 0 on are needed")
    shuffled = np.random.default_rng(seed).permutation(count)
    validation = int(count * proportions[1] / total)
    test = int(count * proportions[2] / total)
    cuts = np.split(shuffled, [count - validation - test, count - test])
    for name, part, wanted in zip(("train", "validate", "test"), cuts, proportions, strict=True):
        if wanted and not len(part):
            raise OptionsWrong(f"{count} images leave none to {name}: give more")
    return Parts(*(np.sort(part) for part in cuts))


def unbalanced_expressions(
    expression_N: Codes,
    *,
    seed: int,
    rare: Collection[int] | None = None,
    validation_share: float = 0.0,
) -> Parts:
    """ER-UE: of a fifth of the expressions (11 of 54) 90 % of the images are tested, 10 % trained
    on; all images of the others are trained on.

    Args:
        expression_N: class of each image.
        seed: of the rare classes and of their images.
        rare: the rare classes, instead of drawn ones.
        validation_share: of the training images of every class.

    Raises:
        OptionsWrong: fewer than two classes, a rare class without two images, or all rare.
    """
    classes = np.unique(expression_N)
    rng = np.random.default_rng(seed)
    if rare is None:
        wanted = max(1, round(RARE_EXPRESSIONS * len(classes)))
        chosen = np.sort(rng.choice(classes, wanted, replace=False))
    else:
        chosen = np.array(sorted(set(rare)), np.int64)
    _known(chosen, classes, "expression")
    test = [_most(rng, expression_N, value, "expression") for value in chosen.tolist()]
    return _held_out(np.concatenate(test), expression_N, rng, validation_share)


def unbalanced_poses(
    pose_N: Codes, rare: int, *, seed: int, validation_share: float = 0.0
) -> Parts:
    """ER-UP: 90 % of one pose's images (half left in the paper) are tested, 10 % of it and all
    other poses trained on.

    Raises:
        OptionsWrong: no other pose, or fewer than two images of the rare one.
    """
    _known(np.array([rare]), np.unique(pose_N), "pose")
    rng = np.random.default_rng(seed)
    return _held_out(_most(rng, pose_N, rare, "pose"), pose_N, rng, validation_share)


def zero_shot_subjects(
    subject_N: Codes,
    *,
    seed: int,
    tested: Collection[int] | None = None,
    validation_share: float = 0.0,
) -> Parts:
    """ER-ZID: subjects that are tested are never seen in training (21 of 119 in the paper).

    Args:
        subject_N: whose face each image shows.
        seed: of the subjects.
        tested: the subjects to test, instead of drawn ones.
        validation_share: of the training subjects; they are in no other part either.

    Raises:
        OptionsWrong: too few subjects for every part.
    """
    subjects = np.unique(subject_N)
    rng = np.random.default_rng(seed)
    if tested is None:
        wanted = max(1, round(SUBJECTS_TESTED * len(subjects)))
        chosen = rng.permutation(subjects)[:wanted]
    else:
        chosen = np.array(sorted(set(tested)), np.int64)
    _known(chosen, subjects, "subject")
    others = rng.permutation(np.setdiff1d(subjects, chosen))
    kept = _share_of(len(others), validation_share)
    if kept >= len(others):
        raise OptionsWrong(f"{len(subjects)} subjects are too few to train, validate and test")
    validating = np.isin(subject_N, others[:kept])
    testing = np.isin(subject_N, chosen)
    return Parts(*(np.flatnonzero(part) for part in (~(validating | testing), validating, testing)))


def leaks(subject_N: Codes, parts: Parts) -> list[int]:
    """Subjects that stand in the test part and in another one, sorted; none in ER-ZID."""
    before = np.union1d(subject_N[parts.train], subject_N[parts.validation])
    return [int(subject) for subject in np.intersect1d(before, subject_N[parts.test])]


def _most(rng: np.random.Generator, code_N: Codes, value: int, what: str) -> Rows:
    """90 % of the images of one code, rounded down, at least one left and one taken."""
    rows = np.flatnonzero(code_N == value)
    if len(rows) < 2:
        raise OptionsWrong(f"{what} {value} has {len(rows)} image: the rare ones need two at least")
    taken = min(max(1, int(RARE_TESTED * len(rows))), len(rows) - 1)
    return np.asarray(rng.permutation(rows)[:taken], np.int64)


def _held_out(test: Rows, code_N: Codes, rng: np.random.Generator, share: float) -> Parts:
    """The tested rows, a share of every code's others to validate, and the rest to train on."""
    others = np.setdiff1d(np.arange(len(code_N)), test)
    validation: list[Rows] = []
    for value in np.unique(code_N[others]).tolist():
        rows = others[code_N[others] == value]
        validation.append(rng.permutation(rows)[: min(_share_of(len(rows), share), len(rows) - 1)])
    kept = np.sort(np.concatenate(validation))
    return Parts(np.setdiff1d(others, kept), kept, np.sort(test))


def _share_of(count: int, share: float) -> int:
    if not 0 <= share < 1:
        raise OptionsWrong(f"a validation share of {share}: it must be from 0 to below 1")
    return max(1, round(share * count)) if share else 0


def _known(chosen: Codes, there: Codes, what: str) -> None:
    strange = np.setdiff1d(chosen, there)
    if len(strange) or not len(chosen):
        named = f"no image of {what} {strange[0]}" if len(strange) else f"no {what} chosen"
        raise OptionsWrong(f"{named}: there are {_listed(there.tolist())}")
    if len(chosen) >= len(there):
        raise OptionsWrong(f"every {what} ({_listed(there.tolist())}) is rare: leave one at least")


def _listed(values: Sequence[int]) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return f"{shown}, ..." if len(values) > 8 else shown or "none"
