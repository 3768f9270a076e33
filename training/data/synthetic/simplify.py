"""A coarser mesh whose vertices are vertices of the fine one, so that its shapes stay linear.

N vertices, T triangles.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


def simplify(points: Floats, triangles: Ints, reach: Floats) -> tuple[Ints, Ints]:
    """Merge neighbours along edges.

    Args:
        points: (N, 3).
        triangles: (T, 3); vertices that no triangle uses are left out.
        reach: (N,) how far a vertex may gather others, same unit as the points; 0 keeps it
            for itself. The most detailed places (smallest reach) choose first.

    Returns:
        (M,) the vertices kept, ascending, and the triangles (S, 3) in numbers 0..M-1.
    """
    start, neighbour = _neighbours(len(points), triangles)
    owner = np.full(len(points), -1, np.int64)
    used = np.zeros(len(points), bool)
    used[triangles] = True
    where, how_far = points.tolist(), reach.tolist()
    for seed in np.argsort(reach, kind="stable").tolist():
        if not used[seed] or owner[seed] >= 0:
            continue
        owner[seed] = seed
        radius = how_far[seed]
        front = [seed] if radius > 0 else []
        here = where[seed]
        while front:
            vertex = front.pop()
            for other in neighbour[start[vertex] : start[vertex + 1]].tolist():
                if owner[other] >= 0 or how_far[other] <= 0:
                    continue
                there = where[other]
                gap = sum((a - b) ** 2 for a, b in zip(here, there, strict=True))
                if gap < radius * radius:
                    owner[other] = seed
                    front.append(other)
    merged = owner[triangles]
    distinct = (
        (merged[:, 0] != merged[:, 1])
        & (merged[:, 1] != merged[:, 2])
        & (merged[:, 0] != merged[:, 2])
    )
    merged = merged[distinct]
    kept, compact = np.unique(merged, return_inverse=True)
    return kept.astype(np.int32), compact.reshape(-1, 3).astype(np.int32)


def _neighbours(count: int, triangles: Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Edges as lists: those of vertex v are neighbour[start[v] : start[v + 1]]."""
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    both = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
    start = np.searchsorted(both[:, 0], np.arange(count + 1))
    return start, np.ascontiguousarray(both[:, 1])
