"""A set of motion stacks on disk, made once from one split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ferstream.engines.whole import written_whole

from .fer import FerPlus
from .motion import KINDS, FaceShape, MotionMaker, motion_target


@dataclass(frozen=True)
class MotionSet:
    """motion (N, 2F, 32, 32) float16; target (N, 8) float32; kind (N,) numbers of KINDS;
    photograph (N,) row in the split that each was made from; level (N,) float32, how far the
    expression is on at the end, 0..1."""

    motion: npt.NDArray[np.float16]
    target: npt.NDArray[np.float32]
    kind: npt.NDArray[np.int64]
    photograph: npt.NDArray[np.int64]
    level: npt.NDArray[np.float32]


def make_motion_set(
    data: FerPlus,
    shape: FaceShape,
    photographs: Iterable[int],
    *,
    seed: int,
    kind: str | None = None,
) -> MotionSet:
    """One stack for each of ``photographs`` (rows of ``data``); of one kind, or a mixture."""
    maker = MotionMaker(data, shape, seed)
    motion, target, kinds, rows, levels = [], [], [], [], []
    for row in photographs:
        chosen = kind or maker.any_kind()
        stack, level = maker.stack(int(row), chosen)
        motion.append(stack.astype(np.float16))
        target.append(motion_target(data.votes[row], level))
        kinds.append(KINDS.index(chosen))
        rows.append(int(row))
        levels.append(level)
    return MotionSet(
        np.stack(motion),
        np.stack(target),
        np.array(kinds),
        np.array(rows),
        np.array(levels, np.float32),
    )


def save_motion_set(path: Path, made: MotionSet) -> None:
    """Write it; the file appears only when whole."""
    with written_whole(path) as fresh, fresh.open("wb") as file:
        np.savez(file, **made.__dict__)


def load_motion_set(path: Path) -> MotionSet:
    """Read what `save_motion_set` wrote.

    Raises:
        FileNotFoundError: it was not made yet.
    """
    with np.load(path) as stored:
        return MotionSet(**{name: stored[name] for name in stored.files})
