"""Landmarks to an upright crop: one similarity transform, shared by training and run time.

Sizes: H, W image height and width in pixels; ``crop_px`` the side of the square crop.
"""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

ANCHOR_LANDMARKS = (33, 133, 362, 263, 168, 2)
"""MediaPipe mesh points that expressions hardly move: eye corners, nose bridge, nose base."""

_ANCHORS = np.array(ANCHOR_LANDMARKS)

ANCHOR_TEMPLATE = np.array(
    [[0.242, 0.389], [0.399, 0.406], [0.601, 0.406], [0.758, 0.389], [0.5, 0.382], [0.5, 0.655]],
    dtype=np.float64,
)
"""Where the anchors lie in the crop, in crop sides: their medians over FER2013, made symmetric,
so that an aligned photograph of that set hardly differs from the photograph itself."""

FACE_WIDTH_IN_CROP = 0.79
"""Width of the face oval (landmarks 234 to 454) in crop sides under the template."""


def anchors_of(landmarks_xy: Points) -> Points:
    """Pick the six anchors (6, 2) from mesh landmarks (468 or 478, 2) in pixels."""
    return np.ascontiguousarray(landmarks_xy[_ANCHORS, :2], dtype=np.float32)


def anchor_matrix(anchors_xy: Points, crop_px: int) -> Matrix:
    """The similarity (2, 3), image pixels to crop pixels, that fits the anchors best.

    Least squares over scale, rotation and shift, in closed form: with z and t the centred
    anchors and template as complex numbers, the factor is ``<z, t> / <z, z>``.
    A pixel's centre has a whole-number coordinate, as in OpenCV.

    Raises:
        ValueError: all anchors fall on one point.
    """
    # So few numbers are reckoned several times as fast without arrays.
    template, (middle_x, middle_y) = _template(crop_px)
    anchors = anchors_xy.tolist()
    mean_x = sum(x for x, _ in anchors) / len(anchors)
    mean_y = sum(y for _, y in anchors) / len(anchors)
    a = b = power = 0.0
    for (x, y), (to_x, to_y) in zip(anchors, template, strict=True):
        x, y = x - mean_x, y - mean_y
        power += x * x + y * y
        a += x * to_x + y * to_y
        b += x * to_y - y * to_x
    if power < 1e-9:
        raise ValueError("the landmarks coincide: there is no face to align")
    a, b = a / power, b / power
    shift_x = middle_x - (a * mean_x - b * mean_y)
    shift_y = middle_y - (b * mean_x + a * mean_y)
    return np.array([[a, -b, shift_x], [b, a, shift_y]], dtype=np.float64)


@cache
def _template(crop_px: int) -> tuple[list[list[float]], tuple[float, float]]:
    """The template's points about their middle, and that, in pixels of the crop."""
    target = ANCHOR_TEMPLATE * crop_px - 0.5
    middle = target.mean(0)
    return (target - middle).tolist(), (float(middle[0]), float(middle[1]))


def crop_matrix(landmarks_xy: Points, crop_px: int) -> Matrix:
    """`anchor_matrix` for mesh landmarks (468 or 478, 2) in image pixels."""
    return anchor_matrix(anchors_of(landmarks_xy), crop_px)


def warp(image: Image, matrix: Matrix, crop_px: int) -> Image:
    """Sample the square crop (crop_px, crop_px) of a grey image (H, W) under ``matrix``.

    A face much larger than the crop is first reduced by area averaging: plain bilinear
    sampling would skip pixels and alias. Beyond the image its edge is repeated.
    """
    shrink = _shrink(matrix)
    if shrink >= 2:
        part = part_of(image, reach(matrix, 0, crop_px), shrink, 2 * shrink)
        image, matrix = averaged(image, matrix, part, shrink)
    warped = cv2.warpAffine(
        image,
        matrix,
        (crop_px, crop_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, dtype=np.uint8)


def _shrink(matrix: Matrix) -> int:
    """How many times smaller a face may be made before it is sampled."""
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    return max(int(0.75 / scale), 1) if scale > 0 else 1


def reach(matrix: Matrix, first: float, last: float) -> tuple[float, float, float, float]:
    """Least x and y and greatest x and y, in image pixels, of the square from ``first`` to
    ``last`` of the crop, both ways, under ``matrix`` (2, 3)."""
    (a, b, shift_x), (c, d, shift_y) = matrix.tolist()
    size = a * d - b * c
    corners = [(u - shift_x, v - shift_y) for u in (first, last) for v in (first, last)]
    xs = [(d * u - b * v) / size for u, v in corners]
    ys = [(a * v - c * u) / size for u, v in corners]
    return min(xs), min(ys), max(xs), max(ys)


def part_of(
    image: Image, bounds: tuple[float, float, float, float], before: int, after: int
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the image's part within these bounds, with a rim of so many
    pixels to the left and above, and to the right and below; one pixel at least."""
    height, width = image.shape[:2]
    left = min(max(math.floor(bounds[0]) - before, 0), width - 1)
    top = min(max(math.floor(bounds[1]) - before, 0), height - 1)
    right = min(max(math.ceil(bounds[2]) + after, left + 1), width)
    bottom = min(max(math.ceil(bounds[3]) + after, top + 1), height)
    return left, top, right, bottom


def averaged(
    image: Image, matrix: Matrix, part: tuple[int, int, int, int], shrink: int
) -> tuple[Image, Matrix]:
    """A part of the image, ``shrink`` times smaller, and the matrix that goes with it."""
    left, top, right, bottom = part
    # Whole blocks only: their averaging is four times as fast as that of broken ones.
    columns, rows = max((right - left) // shrink, 1), max((bottom - top) // shrink, 1)
    right, bottom = min(right, left + columns * shrink), min(bottom, top + rows * shrink)
    shown = image[top:bottom, left:right]
    small = cv2.resize(shown, (columns, rows), interpolation=cv2.INTER_AREA)
    scale_x, scale_y = (right - left) / columns, (bottom - top) / rows
    x, y = scale_x / 2 - 0.5 + left, scale_y / 2 - 0.5 + top
    (a, b, shift_x), (c, d, shift_y) = matrix.tolist()
    composed = [
        [a * scale_x, b * scale_y, a * x + b * y + shift_x],
        [c * scale_x, d * scale_y, c * x + d * y + shift_y],
    ]
    return np.asarray(small, dtype=np.uint8), np.array(composed)


def crop(image: Image, landmarks_xy: Points, crop_px: int) -> Image:
    """The upright grey crop (crop_px, crop_px) of a face.

    Args:
        image: grey (H, W) or RGB (H, W, 3), 0..255.
        landmarks_xy: mesh landmarks (468 or 478, 2) in image pixels.
        crop_px: side of the crop.

    Raises:
        ValueError: the landmarks coincide.
    """
    matrix = crop_matrix(landmarks_xy, crop_px)
    if image.ndim == 3:
        image, matrix = _grey_part(image, matrix, crop_px)
    return warp(image, matrix, crop_px)


def _grey_part(image: Image, matrix: Matrix, crop_px: int) -> tuple[Image, Matrix]:
    """Only the crop's surroundings turned grey: a face is a small part of a large frame."""
    rim = 2 * _shrink(matrix) + 2
    left, top, right, bottom = part_of(image, reach(matrix, 0, crop_px), rim, rim)
    grey = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    moved = matrix.copy()
    moved[:, 2] += matrix[:, 0] * left + matrix[:, 1] * top
    return np.asarray(grey, dtype=np.uint8), moved


TEMPLATES = {"eyes-and-nose": crop}
"""How a bundle may want its faces aligned, by the name in its manifest."""
