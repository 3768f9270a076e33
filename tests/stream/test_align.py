from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.stream.faces.align import (
    ANCHOR_LANDMARKS,
    ANCHOR_TEMPLATE,
    anchor_matrix,
    anchors_of,
    crop,
    crop_matrix,
    warp,
)

CROP_PX = 48
Moved = tuple[NDArray[np.float32], NDArray[np.float64]]


def similarity(scale: float, angle_deg: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    angle = np.deg2rad(angle_deg)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def moved_anchors(to_image: NDArray[np.float64]) -> NDArray[np.float32]:
    """Anchors of a perfect face (6, 2), placed in an image by a matrix from crop pixels."""
    at = (ANCHOR_TEMPLATE * CROP_PX - 0.5) @ to_image[:, :2].T + to_image[:, 2]
    return np.asarray(at, np.float32)


def mesh(to_image: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mesh landmarks (468, 2) of which only the anchors mean something."""
    landmarks = np.zeros((468, 2), np.float32)
    landmarks[list(ANCHOR_LANDMARKS)] = moved_anchors(to_image)
    return landmarks


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(128, 300, (height, width)).astype(np.float32)
    return np.asarray(np.clip(cv2.GaussianBlur(noise, (0, 0), 3.0), 0, 255), np.uint8)


@pytest.mark.parametrize(
    "placed",
    [
        similarity(1, 0, (0, 0)),
        similarity(3.7, 25, (310, 120)),
        similarity(0.4, -140, (-50, 900)),
        similarity(12, 90, (1e4, 1e4)),
    ],
)
def test_the_similarity_is_recovered_from_moved_anchors(placed: NDArray[np.float64]) -> None:
    found = anchor_matrix(moved_anchors(placed), CROP_PX)
    both = np.vstack([found, [0, 0, 1]]) @ np.vstack([placed, [0, 0, 1]])
    np.testing.assert_allclose(both, np.eye(3), atol=2e-3)


def test_the_matrix_scales_with_the_crop() -> None:
    anchors = moved_anchors(similarity(2, 10, (40, 30)))
    small, large = anchor_matrix(anchors, 48), anchor_matrix(anchors, 96)
    np.testing.assert_allclose(large[:, :2], 2 * small[:, :2])
    np.testing.assert_allclose(large[:, 2] + 0.5, 2 * (small[:, 2] + 0.5))


def test_anchors_are_picked_from_both_meshes() -> None:
    numbers = np.stack([np.arange(478), -np.arange(478)], 1).astype(np.float32)
    for landmarks in (numbers, numbers[:468]):
        assert anchors_of(landmarks)[:, 0].tolist() == list(ANCHOR_LANDMARKS)
        assert anchors_of(landmarks).dtype == np.float32


def test_coinciding_landmarks_are_refused() -> None:
    with pytest.raises(ValueError, match="no face to align"):
        crop_matrix(np.full((468, 2), 7, np.float32), CROP_PX)
    with pytest.raises(ValueError, match="landmarks coincide"):
        crop(texture(60, 60), np.zeros((478, 2), np.float32), CROP_PX)


def test_identity_returns_the_picture() -> None:
    image = texture(48, 48)
    np.testing.assert_array_equal(crop(image, mesh(similarity(1, 0, (0, 0))), CROP_PX), image)


def test_a_whole_pixel_shift_cuts_the_window() -> None:
    image = texture(120, 160)
    cut = crop(image, mesh(similarity(1, 0, (31, 17))), CROP_PX)
    assert np.abs(cut.astype(int) - image[17:65, 31:79]).max() <= 1


@pytest.mark.parametrize("side", [4, 8])
def test_a_large_face_is_averaged_not_sampled(side: int) -> None:
    """A checkerboard of single pixels becomes an even grey instead of a false pattern."""
    board = (np.indices((48 * side, 48 * side)).sum(0) % 2 * 255).astype(np.uint8)
    small = warp(board, similarity(1 / side, 0, (0, 0)), CROP_PX)
    assert np.abs(small[2:-2, 2:-2].astype(float) - 127.5).max() < 16
    turned = warp(board, similarity(1.03 / side, 20, (8, -6)), CROP_PX)
    assert np.abs(turned[16:32, 16:32].astype(float) - 127.5).max() < 16


@pytest.mark.parametrize("side", [2.6, 5.0, 9.3])
def test_a_large_face_lands_where_a_small_one_does(side: float) -> None:
    """Reducing first must not shift the picture by a part of a pixel."""
    spot = np.zeros((600, 700), np.float32)
    to_image = similarity(side, 7, (60, 40))
    x, y = to_image @ [20, 29, 1]
    rows, columns = np.indices(spot.shape)
    spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (2.5 * side) ** 2))
    seen = crop(spot.astype(np.uint8), mesh(to_image), CROP_PX).astype(float)
    rows, columns = np.indices(seen.shape)
    centre = (columns * seen).sum() / seen.sum(), (rows * seen).sum() / seen.sum()
    np.testing.assert_allclose(centre, (20, 29), atol=0.12)


@pytest.mark.parametrize("angle_deg", [0, 9])
@pytest.mark.parametrize("side", [2.8, 4.4, 8.1])
def test_a_large_face_is_as_if_each_pixel_were_averaged(side: float, angle_deg: float) -> None:
    """To the rim: what is cut out before reducing is enough for all of the crop."""
    noise = np.random.default_rng(2).standard_normal((620, 640)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), side)
    image = np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    to_image = similarity(side, angle_deg, (110, 60))
    at = (np.arange(CROP_PX * 10) + 0.5) / 10 - 0.5  # ten samples across each pixel of the crop
    places = np.einsum("ij,jyx->iyx", to_image[:, :2], np.stack(np.meshgrid(at, at)))
    x, y = (places + to_image[:, 2:, None]).astype(np.float32)
    dense = np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR), np.float64)
    exact = dense.reshape(CROP_PX, 10, CROP_PX, 10).mean((1, 3))
    for picture in (image, np.stack([image] * 3, -1)):
        wrong = np.abs(crop(picture, mesh(to_image), CROP_PX) - exact)
        assert wrong.max() < 8
        assert max(rim.mean() for rim in (wrong[0], wrong[-1], wrong[:, 0], wrong[:, -1])) < 1.6


def test_grey_and_colour_give_the_same_crop() -> None:
    rng = np.random.default_rng(1)
    colour = np.stack([texture(200, 260, seed) for seed in range(3)], -1)
    grey = np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), np.uint8)
    for _ in range(8):
        place = similarity(
            rng.uniform(0.5, 4), rng.uniform(-40, 40), tuple(rng.uniform(-60, 200, 2))
        )
        a, b = crop(colour, mesh(place), CROP_PX), crop(grey, mesh(place), CROP_PX)
        assert np.abs(a.astype(int) - b).max() <= 2


@pytest.mark.parametrize("shift", [(-25, -25), (70, 80), (-300, 20), (30, 5000)])
@pytest.mark.parametrize("scale", [1, 6])
def test_beyond_the_border_its_edge_is_repeated(shift: tuple[float, float], scale: float) -> None:
    image = np.stack([texture(100, 100)] * 3, -1)
    cut = crop(image, mesh(similarity(scale, 0, shift)), CROP_PX)
    assert cut.shape == (CROP_PX, CROP_PX) and cut.dtype == np.uint8
    if shift == (-25, -25) and scale == 1:
        assert len(np.unique(cut[:25, :25])) == 1
    if shift[1] == 5000:
        assert (cut == cut[:1]).all(), "below the image only its last row is left"
