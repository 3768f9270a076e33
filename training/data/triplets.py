"""Triplets of faces for an expression embedding: two that look alike and the odd one out.

Paper 000 takes its embedding from a network trained on triplets that people judged (section 3.3).
Where such a set is at hand `read_triplets` reads it; else `draw_triplets` makes triplets from any
distance between faces: raters' votes, a teacher's blendshapes, or both.

N faces, M triplets, K labels, A blendshapes.  A triplet is three rows (a, b, odd).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong

Array = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]
Distance = Callable[[Rows, Rows], Array]
"""Distances (M,) between faces given by their rows (M,) and (M,)."""

ONE_CLASS_MARGIN = 0.1
OTHER_MARGIN = 0.2
"""Margins of Vemulapalli and Agarwala 2019, on which paper 000's embedding is built: smaller where
all three faces show the same emotion."""


@dataclass(frozen=True)
class Triplets:
    """rows (M, 3) int64: two alike and the odd one out; margin (M,) float32 of the loss."""

    rows: Rows
    margin: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


def vote_distance(votes_NK: Array) -> Distance:
    """Hellinger distance of the raters' vote distributions: 0 alike, 1 nothing in common."""
    root = np.sqrt(np.asarray(votes_NK, np.float32))
    return lambda a, b: np.linalg.norm(root[a] - root[b], axis=1) / np.sqrt(np.float32(2))


def blendshape_distance(blendshapes_NA: Array) -> Distance:
    """Root of the mean squared difference of standardised blendshapes, halved: most pairs of faces
    lie in 0..1. Blendshapes that never change say nothing."""
    values = np.asarray(blendshapes_NA, np.float32)
    spread = values.std(axis=0)
    moving = spread > 1e-6
    if not moving.any():
        raise OptionsWrong("no blendshape differs between any two faces: no distance comes of it")
    points = values[:, moving] / spread[moving]
    return lambda a, b: np.sqrt(np.square(points[a] - points[b]).mean(axis=1)) / 2


def blended(first: Distance, second: Distance, share: float = 0.5) -> Distance:
    """``share`` of the second distance and the rest of the first.

    Raises:
        OptionsWrong: the share is outside 0..1.
    """
    if not 0 <= share <= 1:
        raise OptionsWrong(f"a share of {share}: it must be 0 to 1")
    return lambda a, b: (1 - share) * first(a, b) + share * second(a, b)


def draw_triplets(
    distance: Distance,
    label_N: npt.NDArray[np.integer[Any]],
    count: int,
    *,
    seed: Sequence[int],
    gap: float = 0.1,
    tries: int = 50,
) -> Triplets:
    """Triplets whose odd face is farther from both others by more than ``gap``.

    Two thirds of all first pairs share their label, so that all three kinds (one, two and three
    emotions) come up however many labels there are.

    Args:
        distance: between faces.
        label_N: main emotion of each face, for the kinds and their margins.
        count: M.
        seed: the same seed, the same triplets.
        gap: in the distance's unit.
        tries: rounds of drawing before giving up.

    Raises:
        OptionsWrong: fewer than three faces, or so few faces differ by the gap that ``count``
            triplets do not come together.
    """
    faces = len(label_N)
    if faces < 3:
        raise OptionsWrong(f"{faces} faces: a triplet needs three")
    rng = np.random.default_rng(list(seed))
    order = np.argsort(label_N, kind="stable")
    _, first, inverse, size = np.unique(
        label_N[order], return_index=True, return_inverse=True, return_counts=True
    )
    class_N = np.empty(faces, np.int64)
    class_N[order] = inverse
    found: list[Rows] = []
    have = 0
    for _ in range(tries):
        draw = rng.integers(0, faces, (max(count, 64), 3))
        mates = rng.random(len(draw)) < 2 / 3
        own = class_N[draw[:, 0]]
        mate = order[first[own] + rng.integers(0, size[own])]
        draw[:, 1] = np.where(mates, mate, draw[:, 1])
        rows = _odd_last(distance, draw[_distinct(draw)], gap)
        found.append(rows)
        have += len(rows)
        if have >= count:
            rows = np.concatenate(found)[:count]
            return Triplets(rows, margins(rows, label_N))
    raise OptionsWrong(
        f"only {have} of {count} triplets differ by {gap}: ask for fewer or a smaller gap"
    )


def margins(rows_M3: Rows, label_N: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
    """The loss's margin of each triplet by whether its faces share one emotion, (M,)."""
    label = label_N[rows_M3]
    same = (label[:, 0] == label[:, 1]) & (label[:, 1] == label[:, 2])
    return np.where(same, ONE_CLASS_MARGIN, OTHER_MARGIN).astype(np.float32)


def read_triplets(path: Path, names: Sequence[str], margin: float = OTHER_MARGIN) -> Triplets:
    """A triplet set: three image names a line, parted by commas, the odd one last.

    Raises:
        OptionsWrong: a line that is none, a name that is not among ``names``, or no line.
    """
    row_of = {name: row for row, name in enumerate(names)}
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 3:
            raise OptionsWrong(f"{path}, line {number}: {len(parts)} names where three belong")
        strange = [part for part in parts if part not in row_of]
        if strange:
            raise OptionsWrong(f"{path}, line {number}: no image {strange[0]!r} in the set")
        rows.append([row_of[part] for part in parts])
    if not rows:
        raise OptionsWrong(f"{path} holds no triplet: expected lines of a, b, odd one")
    return Triplets(np.array(rows, np.int64), np.full(len(rows), margin, np.float32))


def _distinct(draw_M3: Rows) -> npt.NDArray[np.bool_]:
    a, b, c = draw_M3.T
    return np.asarray((a != b) & (b != c) & (a != c))


def _odd_last(distance: Distance, draw_M3: Rows, gap: float) -> Rows:
    """The triplets with a clear odd one, which is put last."""
    a, b, c = draw_M3.T
    sides = np.stack([distance(b, c), distance(a, c), distance(a, b)], axis=1)
    odd = sides.argmin(axis=1)
    others = np.sort(sides, axis=1)
    clear = others[:, 1] - others[:, 0] > gap
    turned = np.stack([(odd + 1) % 3, (odd + 2) % 3, odd], axis=1)
    return np.asarray(np.take_along_axis(draw_M3, turned, axis=1)[clear], np.int64)
