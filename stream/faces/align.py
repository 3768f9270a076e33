"""Landmarks to an upright crop: one similarity transform, shared by training and run time.

Sizes: H, W image height and width in pixels; ``crop_px`` the side of the square crop.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

ANCHOR_LANDMARKS = (33, 133, 362, 263, 168, 2)
"""MediaPipe mesh points that expressions hardly move: eye corners, nose bridge, nose base."""

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
    return np.ascontiguousarray(landmarks_xy[list(ANCHOR_LANDMARKS), :2], dtype=np.float32)


def anchor_matrix(anchors_xy: Points, crop_px: int) -> Matrix:
    """The similarity (2, 3), image pixels to crop pixels, that fits the anchors best.

    Least squares over scale, rotation and shift, in closed form: with z and t the centred
    anchors and template as complex numbers, the factor is ``<z, t> / <z, z>``.
    A pixel's centre has a whole-number coordinate, as in OpenCV.

    Raises:
        ValueError: all anchors fall on one point.
    """
    source = anchors_xy.astype(np.float64) @ np.array([1.0, 1j])
    target = (ANCHOR_TEMPLATE * crop_px - 0.5) @ np.array([1.0, 1j])
    centred = source - source.mean()
    power = float(np.vdot(centred, centred).real)
    if power < 1e-9:
        raise ValueError("the landmarks coincide: there is no face to align")
    factor = np.vdot(centred, target - target.mean()) / power
    shift = target.mean() - factor * source.mean()
    a, b = factor.real, factor.imag
    return np.array([[a, -b, shift.real], [b, a, shift.imag]], dtype=np.float64)


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
        image, matrix = _reduced(image, matrix, crop_px, shrink)
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
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return max(int(0.75 / scale), 1) if scale > 0 else 1


def _reduced(image: Image, matrix: Matrix, crop_px: int, shrink: int) -> tuple[Image, Matrix]:
    """The part of the image that the crop shows, ``shrink`` times smaller, and its matrix."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [crop_px, 0, 1], [0, crop_px, 1], [crop_px, crop_px, 1]])
    corners_xy = corners @ inverse.T
    height, width = image.shape[:2]
    low = np.clip(np.floor(corners_xy.min(0)) - shrink, 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(corners_xy.max(0)) + 2 * shrink, low + 1, [width, height]).astype(int)
    # Whole blocks only: their averaging is four times as fast as that of broken ones.
    size = np.maximum((high - low) // shrink, 1)
    high = np.minimum(low + size * shrink, high)
    part = image[low[1] : high[1], low[0] : high[0]]
    small = cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA)
    scale_x, scale_y = part.shape[1] / size[0], part.shape[0] / size[1]
    to_part = np.array(
        [[scale_x, 0, scale_x / 2 - 0.5 + low[0]], [0, scale_y, scale_y / 2 - 0.5 + low[1]]]
    )
    composed = matrix @ np.vstack([to_part, [0.0, 0.0, 1.0]])
    return np.asarray(small, dtype=np.uint8), np.asarray(composed, dtype=np.float64)


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
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [crop_px, 0, 1], [0, crop_px, 1], [crop_px, crop_px, 1]])
    corners_xy = corners @ inverse.T
    height, width = image.shape[:2]
    rim = 2 * _shrink(matrix) + 2
    low = np.clip(np.floor(corners_xy.min(0)) - rim, 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(corners_xy.max(0)) + rim, low + 1, [width, height]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    grey = np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ low
    return grey, moved


TEMPLATES = {"eyes-and-nose": crop}
"""How a bundle may want its faces aligned, by the name in its manifest."""
