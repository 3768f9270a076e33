"""A software rasteriser in numpy: which triangle each pixel sees, and where in it.

T triangles, N vertices, H, W image height and width, C covered pixels. Pixel (row, column) has
its centre at (x, y) = (column, row), as in OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


_SEAM = 1e-4
"""A pixel exactly on an edge belongs to both triangles, so that rounding leaves no gap."""


@dataclass(frozen=True)
class Cover:
    """What is seen of a mesh: C pixels that show a triangle.

    pixel (C,) the flat numbers row * W + column, ascending; triangle (C,) which one is nearest;
    share (C, 3) float32 the barycentric weights of its corners, linear on the screen.
    """

    pixel: npt.NDArray[np.int64]
    triangle: npt.NDArray[np.int64]
    share: Floats
    size: tuple[int, int]

    def blend(self, values: Floats, triangles: Ints) -> Floats:
        """Vertex values (N, K) at the covered pixels (C, K)."""
        corners = triangles[self.triangle]
        result = values[corners[:, 0]] * self.share[:, :1]
        result += values[corners[:, 1]] * self.share[:, 1:2]
        result += values[corners[:, 2]] * self.share[:, 2:]
        return np.asarray(result, dtype=np.float32)


def rasterize(
    points_xy: Floats,
    depth: Floats,
    triangles: Ints,
    size: tuple[int, int],
    two_sided: npt.NDArray[np.bool_] | None = None,
) -> Cover:
    """The nearest triangle at each pixel's centre.

    Args:
        points_xy: vertices on the screen (N, 2), pixels.
        depth: their distance (N,) from the camera; smaller hides larger.
        triangles: corners (T, 3); seen from outside they turn anticlockwise in space, so
            clockwise on the screen, whose y points down, is the back and left out.
        size: (H, W).
        two_sided: (T,) True where a triangle's back is seen too.
    """
    height, width = size
    a, b, c = (points_xy[triangles[:, corner]] for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    low = np.ceil(np.minimum(np.minimum(a, b), c)).astype(np.int32)
    high = np.floor(np.maximum(np.maximum(a, b), c)).astype(np.int32)
    np.maximum(low, 0, out=low)
    np.minimum(high, np.array([width - 1, height - 1], np.int32), out=high)
    span = high - low + 1
    front = area < -1e-9 if two_sided is None else (area < -1e-9) | (two_sided & (area > 1e-9))
    seen = np.flatnonzero(front & (span[:, 0] > 0) & (span[:, 1] > 0))
    low, span, area = low[seen], span[seen], area[seen]
    count = span[:, 0] * span[:, 1]
    row = np.repeat(np.arange(len(seen)), count)
    step = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    column_span = span[row, 0]
    down = step // column_span
    x = low[row, 0] + (step - down * column_span)
    y = low[row, 1] + down
    a, b, c = a[seen], b[seen], c[seen]
    # Edge functions are linear in x and y: one product and two sums each.
    inverse = (1.0 / area).astype(np.float32)
    first = _edge(b, c, inverse, row, x, y)
    second = _edge(c, a, inverse, row, x, y)
    inside = np.flatnonzero((first >= -_SEAM) & (second >= -_SEAM) & (first + second <= 1 + _SEAM))
    row, first, second = row[inside], first[inside], second[inside]
    third = 1 - first - second
    flat = y[inside] * width + x[inside]
    near = depth[triangles[seen]][row]
    distance = near[:, 0] * first + near[:, 1] * second + near[:, 2] * third
    # Nearest first; the first of each pixel stays.
    order = np.lexsort((distance, flat))
    flat = flat[order]
    first_of = np.flatnonzero(np.diff(flat, prepend=-1))
    kept = order[first_of]
    share = np.stack([first[kept], second[kept], third[kept]], 1).astype(np.float32)
    return Cover(flat[first_of], seen[row[kept]], share, size)


def _edge(
    start: Floats,
    end: Floats,
    inverse: Floats,
    row: npt.NDArray[np.int64],
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
) -> Floats:
    """The barycentric weight opposite the edge from `start` to `end`, at pixels (x, y)."""
    along_x = (start[:, 1] - end[:, 1]) * inverse
    along_y = (end[:, 0] - start[:, 0]) * inverse
    constant = -(along_x * start[:, 0] + along_y * start[:, 1])
    return np.asarray(along_x[row] * x + along_y[row] * y + constant[row], dtype=np.float32)
