"""A small data folder in the layout of the real one: drawn faces, so that nothing is downloaded.

A face's expression decides its blendshapes, its landmarks follow them by a fixed linear map, and
the picture is drawn from the landmarks; what training fits on real photographs is known here.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import ANCHOR_LANDMARKS, ANCHOR_TEMPLATE
from ferstream.training import datasets as data
from ferstream.training.datasets.fer import BASIC8

Floats = npt.NDArray[np.float32]

TWO_SIDED = (
    "browDown browOuterUp cheekSquint eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp "
    "eyeSquint eyeWide jaw mouthDimple mouthFrown mouth mouthLowerDown mouthPress mouthSmile "
    "mouthStretch mouthUpperUp noseSneer"
)
MIDDLE = (
    "_neutral browInnerUp cheekPuff jawForward jawOpen mouthClose mouthFunnel mouthPucker "
    "mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper"
)
BLENDSHAPES = (
    *MIDDLE.split(),
    *(f"{name}{side}" for name in TWO_SIDED.split() for side in ("Left", "Right")),
)
"""ARKit's 52 names, in an order of their own."""

LANDMARKS = 160
GROUPS = json.loads((Path(data.__file__).parent / "landmark_groups.json").read_text("utf-8"))
INDEX = np.array(sorted({number for group in GROUPS.values() for number in group}), dtype=np.int16)
ANCHORS = [int(np.flatnonzero(number == INDEX)[0]) for number in ANCHOR_LANDMARKS]
NOSE = int(np.flatnonzero(INDEX == 1)[0])


def resting_landmarks() -> Floats:
    """Landmarks (L, 2) of a face at rest, in the 48 pixels of a photograph."""
    rng = np.random.default_rng(3)
    angle, radius = rng.uniform(0, 2 * np.pi, LANDMARKS), np.sqrt(rng.uniform(0, 1, LANDMARKS))
    points = np.stack([24 + 17 * radius * np.cos(angle), 25 + 21 * radius * np.sin(angle)], 1)
    points[ANCHORS] = ANCHOR_TEMPLATE * 48 - 0.5
    points[NOSE] = (23.5, 29.0)
    return np.asarray(points, np.float32)


def landmark_map() -> Floats:
    """How each blendshape moves each landmark (52, L, 2), pixels; the anchors stay."""
    rng = np.random.default_rng(4)
    at, rest = rng.uniform((10, 15), (38, 42), (len(BLENDSHAPES), 1, 2)), resting_landmarks()
    near = np.exp(-((rest - at) ** 2).sum(-1) / (2 * 5.0**2))
    moves = near[..., None] * rng.normal(0, 2.5, (len(BLENDSHAPES), 1, 2))
    moves[0] = 0
    moves[:, [*ANCHORS, NOSE]] = 0
    return np.asarray(moves, np.float32)


def typical_blendshapes(emotion: int) -> Floats:
    """The blendshapes (52,) of a full expression; of neutral, almost none."""
    rng = np.random.default_rng(50 + emotion)
    on = rng.random(len(BLENDSHAPES)) < 0.25
    return np.asarray(on * rng.uniform(0.4, 0.9, on.shape) * (emotion > 0), np.float32)


def drawn(landmarks_xy: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A face (48, 48) with features at its landmarks and a skin's unevenness."""
    skin = cv2.GaussianBlur(rng.normal(0, 60, (48, 48)).astype(np.float32), (0, 0), 2.0)
    image = np.full((48, 48), rng.uniform(40, 90), np.float32)
    cv2.ellipse(image, (24, 25), (17, 21), 0, 0, 360, float(rng.uniform(130, 190)), -1)
    for x, y in landmarks_xy[[*ANCHORS[:4], NOSE]]:
        cv2.circle(image, (round(float(x)), round(float(y))), 2, 30.0, -1)
    for x, y in landmarks_xy:
        cv2.circle(image, (round(float(x)), round(float(y))), 0, 100.0, -1)
    image = cv2.GaussianBlur(image, (0, 0), 0.8) + skin
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def write_layout(folder: Path, per_class: int = 12, seed: int = 0) -> Path:
    """Write fer2013plus/ into ``folder`` and return ``folder``.

    Every split has ``per_class`` photographs of each emotion, a tenth of them without a face in
    the teacher's eyes; then one with too few usable votes and one that is marked as a twin.
    """
    rng = np.random.default_rng(seed)
    rest, moves = resting_landmarks(), landmark_map()
    pixels, votes, split, keep, units, presence, landmarks = [], [], [], [], [], [], []
    for part in range(3):
        kinds = [*np.repeat(np.arange(8), per_class), 8, 1]
        for number, kind in enumerate(kinds):
            emotion = int(kind) % 8
            strength = rng.uniform(0.5, 1.0)
            shapes = typical_blendshapes(emotion) * strength + rng.uniform(0, 0.06, 52)
            shapes[0] = 0
            face = rest + np.tensordot(shapes, moves, 1) + rng.normal(0, 0.1, rest.shape)
            face = (face - 24) * rng.uniform(0.92, 1.08) + 24 + rng.normal(0, 0.8, 2)
            pixels.append(drawn(face.astype(np.float32), rng))
            votes.append(_votes(emotion if kind < 8 else 8, rng))
            split.append(part)
            keep.append(number != len(kinds) - 1)
            units.append(np.clip(shapes, 0, 1))
            presence.append(0.2 if number % 10 == 9 else 0.95)
            landmarks.append(face)
    place = folder / "fer2013plus"
    place.mkdir(parents=True)
    half = len(pixels) // 2
    np.savez(place / "pixels_a.npz", pixels=np.stack(pixels[:half]))
    np.savez(place / "pixels_b.npz", pixels=np.stack(pixels[half:]))
    np.savez(
        place / "labels.npz",
        votes=np.stack(votes),
        split=np.array(split, np.uint8),
        keep=np.array(keep),
        vote_names=np.array([*BASIC8, "unknown", "not_a_face"]),
    )
    np.savez(
        place / "teacher.npz",
        blendshapes=np.stack(units).astype(np.float16),
        blendshape_names=np.array(BLENDSHAPES),
        face_presence=np.array(presence, np.float16),
        landmarks=np.stack(landmarks).astype(np.float16),
        landmark_index=INDEX,
    )
    return folder


def _votes(emotion: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Ten raters: seven and more see the emotion, some see another; 8 is none of the eight."""
    counts = np.zeros(10, np.uint8)
    sure = int(rng.integers(6, 10))
    counts[emotion] = sure
    counts[(emotion + int(rng.integers(1, 8))) % 8] += 10 - sure
    return counts
