"""Pictures without a face, for counting what passes for one.

Half of them are drawn (noise, gradients, patterns, text, shapes, landscapes, rooms, cells), half
are parts of scikit-image's photographs that show nobody. A picture follows from its number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_Rng = np.random.Generator

PHOTOGRAPHS = (
    *("brick", "cell", "chelsea", "chessboard_RGB", "clock_motion", "coffee", "color", "grass"),
    *("gravel", "horse", "hubble_deep_field", "ihc", "logo", "microaneurysms", "moon"),
    *("motorcycle_left", "motorcycle_right", "page", "phantom", "retina", "rocket", "text"),
)
"""scikit-image's pictures in which no person is; chelsea is a cat, whose face is none of ours."""
_SIDES = (160, 240, 320, 480, 640, 960)
_WORDS = ("the", "of", "and", "a", "to", "in", "is", "you", "that", "it", "he", "was", "for", "on")


def faceless_pictures(count: int, first: int = 0) -> Iterator[Picture]:
    """`count` RGB pictures (H, W, 3) of various sizes, from number `first` on."""
    for number in range(first, first + count):
        rng = np.random.default_rng([number, 7])
        if number % 2:
            yield _photograph(PHOTOGRAPHS[number // 2 % len(PHOTOGRAPHS)], rng)
        else:
            height, width = (int(side) for side in rng.choice(_SIDES, 2))
            yield _KINDS[number // 2 % len(_KINDS)](rng, height, width)


def _photograph(name: str, rng: _Rng) -> Picture:
    """A part of a photograph, at least a third of it, turned or mirrored now and then."""
    whole = _stored(name)
    share = rng.uniform(0.33, 1.0)
    height, width = (max(int(side * share), 16) for side in whole.shape[:2])
    top, left = (int(rng.integers(0, whole.shape[k] - s + 1)) for k, s in ((0, height), (1, width)))
    part = whole[top : top + height, left : left + width]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    scale = min(float(rng.choice(_SIDES)) / max(height, width), 3.0)
    size = (max(int(width * scale), 16), max(int(height * scale), 16))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return _picture(small * rng.uniform(0.6, 1.2) + rng.normal(0, 12))


@lru_cache(maxsize=len(PHOTOGRAPHS))
def _stored(name: str) -> Picture:
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("photographs come with scikit-image", name="skimage")
    (path,) = (Path(spec.origin).parent / "data").glob(f"{name}.[pj][np]g")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise FileNotFoundError(f"{path} cannot be read: reinstall scikit-image")
    return np.asarray(picture, np.uint8)


def _picture(values: npt.ArrayLike) -> Picture:
    return np.ascontiguousarray(np.clip(values, 0, 255), np.uint8)


def _colour(rng: _Rng) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _skin(rng: _Rng) -> tuple[int, int, int]:
    """A colour of skin, which is what a false face is most likely made of."""
    light = rng.uniform(0.3, 1.0)
    red, green, blue = (int(light * part) for part in (225, rng.integers(150, 190), 145))
    return red, green, blue


def _cloud(rng: _Rng, height: int, width: int) -> Floats:
    """Noise of all scales (height, width), 0..1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(1, 7):
        grid = rng.normal(0, 1, (2**octave, 2**octave)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 1.7**octave
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)


def _noise(rng: _Rng, height: int, width: int) -> Picture:
    grain = max(int(rng.choice([1, 2, 4, 8, 16, 32])), 1)
    size = (max(height // grain, 2), max(width // grain, 2), 3)
    noise = rng.normal(rng.uniform(60, 190), rng.uniform(20, 70), size)
    return _picture(cv2.resize(noise.astype(np.float32), (width, height)))


def _gradient(rng: _Rng, height: int, width: int) -> Picture:
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    if rng.random() < 0.5:
        along = np.hypot(x - rng.random(), y - rng.random())
    share = (0.5 + 0.5 * np.sin(along * rng.uniform(2, 20)))[..., None]
    return _picture(share * np.array(_skin(rng)) + (1 - share) * np.array(_colour(rng)))


def _pattern(rng: _Rng, height: int, width: int) -> Picture:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    step = rng.uniform(6, 80)
    kind = int(rng.integers(4))
    if kind == 0:
        on = (x // step + y // step) % 2
    elif kind == 1:
        on = (np.sin(x / step * 6.28) > 0) * 1.0
    elif kind == 2:
        on = np.hypot(x % step - step / 2, y % step - step / 2) < step * rng.uniform(0.15, 0.45)
    else:
        on = np.sin(np.hypot(x - width / 2, y - height / 2) / step * 6.28) > 0
    share = np.asarray(on, np.float32)[..., None]
    return _picture(share * np.array(_colour(rng)) + (1 - share) * np.array(_skin(rng)))


def _text(rng: _Rng, height: int, width: int) -> Picture:
    page = np.full((height, width, 3), int(rng.integers(180, 256)), np.uint8)
    scale = rng.uniform(0.4, 2.5)
    font = int(rng.integers(0, 8))
    for line in range(int(height / (28 * scale)) + 1):
        words = " ".join(rng.choice(_WORDS, 12).tolist())
        at = (int(8 * scale), int(24 * scale * (line + 1)))
        cv2.putText(page, words, at, font, scale, (20, 20, 30), max(int(scale), 1), cv2.LINE_AA)
    return page


def _shapes(rng: _Rng, height: int, width: int) -> Picture:
    """Ovals, lines and blocks in any colour, many of them of skin."""
    ground = np.full((height, width, 3), _colour(rng), np.uint8)
    for _ in range(int(rng.integers(4, 40))):
        colour = _skin(rng) if rng.random() < 0.5 else _colour(rng)
        x, y = int(rng.integers(width)), int(rng.integers(height))
        reach = [int(v) for v in rng.integers(4, max(min(height, width) // 3, 6), 2)]
        kind = int(rng.integers(3))
        if kind == 0:
            turn = float(rng.uniform(0, 180))
            cv2.ellipse(ground, (x, y), reach, turn, 0, 360, colour, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(ground, (x, y), (x + reach[0], y + reach[1]), colour, -1)
        else:
            thick = int(rng.integers(1, 12))
            cv2.line(ground, (x, y), (x + reach[0], y - reach[1]), colour, thick, cv2.LINE_AA)
    return _picture(cv2.GaussianBlur(ground, (0, 0), rng.uniform(0.3, 2.0)))


def _landscape(rng: _Rng, height: int, width: int) -> Picture:
    """Sky, a sun, hills, trees and houses with windows."""
    rows = np.linspace(0, 1, height)[:, None, None]
    sky = (1 - rows) * np.array([90, 140, 220]) + rows * np.array([220, 225, 235])
    scene = _picture(
        np.broadcast_to(sky, (height, width, 3)) + 40 * _cloud(rng, height, width)[..., None]
    )
    sun = (int(rng.integers(width)), int(rng.integers(1, height // 2)))
    cv2.circle(scene, sun, max(height // 14, 3), (250, 235, 170), -1, cv2.LINE_AA)
    for _ in range(3):
        line = (rng.uniform(0.4, 0.8) * height - 0.2 * height * _cloud(rng, 4, width)[2]).astype(
            int
        )
        below = np.arange(height)[:, None] >= line[None]
        scene[below] = rng.integers(40, 140, 3)
    for _ in range(int(rng.integers(2, 9))):
        x, y = int(rng.integers(width)), int(rng.integers(height // 2, height))
        side = int(rng.integers(10, max(height // 4, 12)))
        if rng.random() < 0.5:
            cv2.circle(scene, (x, y - side), side // 2, (40, 100, 50), -1, cv2.LINE_AA)
            cv2.line(scene, (x, y), (x, y - side), (80, 60, 40), max(side // 10, 1))
        else:  # two windows over a door are what faces are seen in
            cv2.rectangle(scene, (x, y), (x + side, y - side), _skin(rng), -1)
            for at in (0.25, 0.65):
                corner = (int(x + at * side), int(y - 0.7 * side))
                end = (int(x + (at + 0.15) * side), int(y - 0.5 * side))
                cv2.rectangle(scene, corner, end, (40, 40, 60), -1)
            door = (int(x + 0.4 * side), int(y - 0.35 * side))
            cv2.rectangle(scene, door, (int(x + 0.6 * side), y), (70, 45, 35), -1)
    grain = rng.normal(0, 6, scene.shape)
    return _picture(scene + grain)


def _room(rng: _Rng, height: int, width: int) -> Picture:
    """Walls in perspective, frames on them, lamps and furniture."""
    far = np.array([[0.3, 0.3], [0.7, 0.3], [0.7, 0.65], [0.3, 0.65]]) + rng.normal(0, 0.05, (4, 2))
    near = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    size = np.array([width, height])
    scene = np.full((height, width, 3), _skin(rng), np.uint8)
    for side in range(4):
        after = (side + 1) % 4
        wall = np.array([near[side], near[after], far[after], far[side]]) * size
        cv2.fillPoly(scene, [wall.astype(np.int32)], _colour(rng), cv2.LINE_AA)
    for _ in range(int(rng.integers(3, 14))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = (int(v) for v in rng.integers(8, max(min(size) // 3, 10), 2))
        cv2.rectangle(scene, (x, y), (x + w, y + h), _colour(rng), -1)
        cv2.rectangle(scene, (x, y), (x + w, y + h), _colour(rng), max(w // 12, 1))
        cv2.circle(scene, (x, y), max(w // 4, 2), _skin(rng), -1, cv2.LINE_AA)
    light = 0.6 + 0.6 * _cloud(rng, height, width)[..., None]
    return _picture(cv2.GaussianBlur(scene, (0, 0), 0.8) * light + rng.normal(0, 4, scene.shape))


def _cells(rng: _Rng, height: int, width: int) -> Picture:
    """Patches around random points, each of one colour."""
    count = int(rng.integers(8, 120))
    points = rng.uniform(0, 1, (count, 2)) * (height, width)
    small_y, small_x = np.mgrid[0:height:4, 0:width:4]
    apart = (small_y[..., None] - points[:, 0]) ** 2 + (small_x[..., None] - points[:, 1]) ** 2
    colours = np.array([_skin(rng) if rng.random() < 0.4 else _colour(rng) for _ in range(count)])
    return _picture(cv2.resize(colours[apart.argmin(-1)].astype(np.float32), (width, height)))


def _clouds(rng: _Rng, height: int, width: int) -> Picture:
    share = _cloud(rng, height, width)[..., None]
    if rng.random() < 0.5:
        share = 0.5 + 0.5 * np.sin(share * rng.uniform(5, 40))
    return _picture(share * np.array(_skin(rng)) + (1 - share) * np.array(_colour(rng)) * 0.5)


_KINDS: tuple[Callable[[_Rng, int, int], Picture], ...] = (
    *(_noise, _gradient, _pattern, _text, _shapes, _landscape, _room, _cells, _clouds),
)
